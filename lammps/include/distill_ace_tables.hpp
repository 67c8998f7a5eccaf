// What the kernels take: plain structures of pointers and sizes, which own nothing.

#ifndef DISTILL_ACE_TABLES_HPP
#define DISTILL_ACE_TABLES_HPP

#include <cstddef>
#include <cstdint>

namespace distill {

// One-particle functions of up to three harmonics of one l with the same consecutive radial rows.
struct ShellGroup {
  int row, count, harmonics, first;  // rows; number of harmonics; first of its one-particle functions
  int harmonic[3];                   // l^2 + l + m
};

// Pairs of shells coupled to L, and the quadratic form that the energy is in them: the arrays of
// `PairForm` in distill/student/engine/kernels/kernel_arguments.py. Values are one-particle
// functions, product nodes, then the components of pairs.
template <class T>
struct PairForm {
  int n_blocks, n_rows, n_entries, most_products;
  const int32_t *block_first, *block_second, *block_pattern, *block_target, *target_value;
  const int32_t *pattern_product, *pattern_target, *product_first, *product_second;
  const int32_t *target_term, *term_product, *product_term, *back_target;
  const T *term_number, *back_number;
  const int32_t *row_value, *row_size, *row_first, *entry_value;
};

// Coefficients of one model: the student, or the deviation of a member of its committee from it.
template <class T>
struct Coefficients {
  const double *one_body;  // (species), eV
  const T *node;           // (species, nodes)
  const T *leaf;           // (species, leaves)
  const T *entry;          // (species, entries of pairs)
  const double *pair;      // (pairs, intervals, 4): powers of the place in the interval
};

// A basis; a pair of elements is numbered centre * n_species + neighbour.
template <class T>
struct Tables {
  int n_species, n_one, n_nodes, n_values, n_own_nodes, n_groups, n_leaves, largest_l, n_rows;
  const double *cutoff;      // (pairs), Angstrom
  const double *transform;   // (pairs, 7)
  const double *envelope;    // (pairs, 5)
  const double *grid;        // start, step, nodes
  const T *splines;          // of each pair (nodes + 2, row_width)
  const int64_t *spline_first;
  const int *row_width;      // multiples of eight
  const int *group_of_pair;  // first shell group of each pair, (pairs + 1)
  const ShellGroup *groups;
  const int *one_particle;   // of the groups' functions, radial index slowest
  const T *norm;             // of harmonics, l^2 + l + m
  const T *recursion;        // (l, m, 2)
  const double *pair_transform, *pair_envelope, *pair_grid;
  const double *core;        // (pairs, 3): ZBL
  const int32_t *node_parent, *node_factor, *group_parent, *group_first, *leaf_factor;
  PairForm<T> pairs;
  // The committee, where there is one; its functions are made of nodes, whatever the energy is.
  int n_members, n_functions, pair_rows, n_member_nodes;
  const int32_t *member_parent, *member_factor;
  const int32_t *function_first, *parent, *factor;
  const T *coefficient;
  const T *member_weights;   // (species, features, members)
  int n_models;              // the student and the members whose forces are evaluated
  Coefficients<T> model[4];
};

struct Input {
  int64_t n_centres, n_all;
  const int *centres;       // atoms that have an energy, those of one element together
  const int *species;       // of all atoms, ghosts included; -1 for atoms that are none of ours
  const double *positions;  // (all atoms, 3), Angstrom
  // Neighbours of atom i: counts[i] entries from rows[i], or from neighbours + first[i].
  const int *const *rows;
  const int *counts;
  const int64_t *first;
  const int *neighbours;
  int mask;                 // of the bits that number an atom
  const double *vectors;    // (entries, 3) from atom to neighbour, in place of positions, or null
};

struct Output {
  double *energies;         // (all atoms), eV; written for centres
  double *forces[4];        // of each model, (all atoms, 3), eV/Angstrom; added to
  double virial[9];         // -sum r_a dE/dr_b, eV; added to
  double *atom_virial;      // (all atoms, 6) xx yy zz xy xz yz, half to each of a pair, or null
  double *centroid_virial;  // (all atoms, 9) xx yy zz xy xz yz yx zx zy, all to the neighbour, or null
  double *deviations;       // (all atoms), eV: of the energy over the committee; with grades only
};

// Most neighbours that a centre lists, and the bytes that the kernels need for them.
template <class T>
struct Kernels {
  size_t (*workspace_bytes)(const Tables<T> &, int most_neighbours);
  void (*evaluate)(const Tables<T> &, const Input &, Output &, int n_models, int most_neighbours, void *workspace);
};

}  // namespace distill

#endif
