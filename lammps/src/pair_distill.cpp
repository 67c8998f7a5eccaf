// A student of distill in LAMMPS. The forces on ghosts go to their owners as LAMMPS does with
// `newton on`; with `newton off` this style sums them itself.

#include "pair_distill.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstdio>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "group.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

#include "distill_ace.hpp"
#include "lammps_versions.h"

using namespace LAMMPS_NS;

// Grade from which the watch warns: twice what the training data reach.
static constexpr double FAR_OUTSIDE = 2.0;
static constexpr double CUTOFF_MARGIN = 1e-6;
static const char *const SYMBOLS[] = {
    "",   "H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",  "Ne", "Na", "Mg", "Al", "Si", "P",  "S",
    "Cl", "Ar", "K",  "Ca", "Sc", "Ti", "V",  "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y",  "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn",
    "Sb", "Te", "I",  "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho",
    "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W",  "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po",
    "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U",  "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md",
    "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"};

// Of the elements, amu (CIAAW; of the longest lived isotope where an element has no stable one).
static const double MASSES[] = {
    0, 1.008, 4.0026, 6.94, 9.0122, 10.81, 12.011, 14.007, 15.999, 18.998, 20.18, 22.99, 24.305, 26.982, 28.085,
    30.974, 32.06, 35.45, 39.948, 39.098, 40.078, 44.956, 47.867, 50.941, 51.996, 54.938, 55.845, 58.933, 58.693,
    63.546, 65.38, 69.723, 72.63, 74.922, 78.971, 79.904, 83.798, 85.468, 87.62, 88.906, 91.224, 92.906, 95.95,
    97.907, 101.07, 102.91, 106.42, 107.87, 112.41, 114.82, 118.71, 121.76, 127.6, 126.9, 131.29, 132.91, 137.33,
    138.91, 140.12, 140.91, 144.24, 144.91, 150.36, 151.96, 157.25, 158.93, 162.5, 164.93, 167.26, 168.93, 173.05,
    174.97, 178.49, 180.95, 183.84, 186.21, 190.23, 192.22, 195.08, 196.97, 200.59, 204.38, 207.2, 208.98, 208.98,
    209.99, 222.02, 223.02, 226.03, 227.03, 232.04, 231.04, 238.03, 237.05, 244.06, 243.06, 247.07, 247.07, 251.08,
    252.08, 257.1, 258.1, 259.1, 262.11, 267.12, 268.13, 271.13, 270.13, 269.13, 278.16, 281.17, 281.17, 285.18,
    286.18, 289.19, 289.19, 293.2, 293.21, 294.21};
// Shares of a mass by which users' masses differ from these: isotopes, and rounding.
static constexpr double SAME_MASS = 0.03, ROUNDED = 0.001;

PairDistill::PairDistill(LAMMPS *lmp) : Pair(lmp)
{
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_AVAIL;
  // Room in LAMMPS' buffers for forces and both virials of an atom.
  comm_reverse = comm_reverse_off = 3 + 6 + 9;
}

PairDistill::~PairDistill()
{
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairDistill::refuse(const std::string &message) const
{
  error->all(FLERR, "Pair style distill: " + message);
}

void PairDistill::allocate()
{
  allocated = 1;
  const int n = atom->ntypes + 1;
  memory->create(setflag, n, n, "pair:setflag");
  memory->create(cutsq, n, n, "pair:cutsq");
  for (int i = 1; i < n; i++)
    for (int j = 1; j < n; j++) setflag[i][j] = 0;
}

void PairDistill::settings(int narg, char **arg)
{
  mixed = false;
  watch_every = 200;
  for (int k = 0; k < narg; k += 2) {
    const std::string word = arg[k], value = k + 1 < narg ? arg[k + 1] : "";
    if (word == "precision" && (value == "double" || value == "mixed"))
      mixed = value == "mixed";
    else if (word == "watch" && !value.empty() && value.find_first_not_of("0123456789") == std::string::npos)
      watch_every = std::atoi(value.c_str());
    else
      refuse("expected 'precision double', 'precision mixed' or 'watch N' (evaluations "
                        "between two looks at the extrapolation grade, 0 for none), found '" + word + " " + value + "'");
  }
}

void PairDistill::coeff(int narg, char **arg)
{
  if (!allocated) allocate();
  const int types = atom->ntypes;
  if (narg < 2 || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    refuse("expected 'pair_coeff * * FILE ELEMENTS' with an element for each atom type");
  // Where no file or no elements are named, those of the environment; `distill lammps --mpi` sets them.
  const char *named_file = std::getenv("DISTILL_STUDENT"), *named_elements = std::getenv("DISTILL_ELEMENTS");
  std::vector<std::string> words(arg + 2, arg + narg);
  if (words.empty() && named_file && named_elements) words = utils::split_words(named_elements);
  if (int(words.size()) == types && named_file) words.insert(words.begin(), named_file);
  if (int(words.size()) != types + 1)
    refuse("pair_coeff * * has " + std::to_string(narg - 2) + " words for " + std::to_string(types) +
           " atom types; expected a file of 'distill export --to lammps' and an element for each type, in order");
  file = words[0];
  try {
    student = distill::open_student(file, mixed);
  } catch (const std::exception &failure) {
    refuse(std::string() + failure.what());
  }
  cutoff = student->cutoff();
  std::string known;
  for (int number : student->numbers()) known += std::string(known.empty() ? "" : ", ") + SYMBOLS[number];
  element_of_type.assign(types + 1, -1);
  int set = 0;
  for (int type = 1; type <= types; type++) {
    const std::string symbol = words[type];
    if (symbol == "NULL") continue;
    const auto &numbers = student->numbers();
    for (size_t e = 0; e < numbers.size(); e++)
      if (symbol == SYMBOLS[numbers[e]]) element_of_type[type] = int(e);
    if (element_of_type[type] < 0)
      refuse("atom type " + std::to_string(type) + " is " + symbol + ", but the student " +
                            file + " knows " + known);
    set++;
  }
  if (!set) refuse("no atom type has an element; expected one of " + known);
  if (set < types && !utils::strmatch(force->pair_style ? force->pair_style : "", "^hybrid"))
    refuse("NULL leaves an atom type without a potential; give it an element, or use "
                      "pair_style hybrid");
  for (int i = 1; i <= types; i++)
    for (int j = 1; j <= types; j++)
      setflag[i][j] = element_of_type[i] >= 0 && element_of_type[j] >= 0 ? 1 : 0;
  if (comm->me == 0)
    utils::logmesg(lmp, "distill: " + file + ", elements " + known + ", cutoff " + std::to_string(cutoff) + ", " +
                            (mixed ? "mixed" : "double") + " precision, kernels " + student->instructions() + "\n");
}

void PairDistill::init_style()
{
  if (strcmp(update->unit_style, "metal") != 0)
    refuse(std::string("it needs 'units metal', found 'units ") + update->unit_style +
                          "': the student's energies are in eV and its distances in Angstrom");
  refuse_missing_pairs();
  say_of_masses();
  warned = outrun = false;
  distill_versions::request_full_list(neighbor, this, instance_me, error, 0);
}

// Bits of the groups by which fix gcmc and its kind take atoms out altogether while they try a move.
int PairDistill::excluded_atoms(int exclusion) const
{
  int bits = 0;
  for (int number : {neighbor->ex1_group[exclusion], neighbor->ex2_group[exclusion]})
    if (strstr(group->names[number], "exclusion_group")) bits |= group->bitmask[number];
  return bits;
}

// A mass that is another element's is seldom meant: the elements of pair_coeff may be in another order.
void PairDistill::say_of_masses()
{
  if (comm->me != 0 || !atom->mass || !atom->mass_setflag) return;
  const auto &numbers = student->numbers();
  for (int type = 1; type <= atom->ntypes; type++)
    for (int other = 1; other <= atom->ntypes; other++) {
      const int mine = element_of_type[type], theirs = element_of_type[other];
      if (mine < 0 || theirs < 0 || mine == theirs || !atom->mass_setflag[type]) continue;
      const double away = std::fabs(atom->mass[type] / MASSES[numbers[theirs]] - 1.0);
      const double own = std::fabs(atom->mass[type] / MASSES[numbers[mine]] - 1.0);
      if (away > SAME_MASS || own < 3.0 * away + ROUNDED) continue;
      error->warning(FLERR, std::string("Pair style distill: atom type ") + std::to_string(type) + " is " +
                                SYMBOLS[numbers[mine]] + " in pair_coeff and has the mass of " + SYMBOLS[numbers[theirs]] +
                                ": see whether pair_coeff lists the elements in order");
      break;
    }
}

// With 'neigh_modify check no' LAMMPS does not look whether atoms have outrun their list.
void PairDistill::watch_list()
{
  if (neighbor->dist_check || outrun || !atom->nlocal) return;
  const double *x = atom->x[0];
  if (neighbor->ago == 0 || int(listed_at.size()) != 3 * atom->nlocal) {
    listed_at.assign(x, x + 3 * atom->nlocal);
    return;
  }
  double farthest = 0.0;
  for (int i = 0; i < atom->nlocal; i++) {
    double squared = 0.0;
    for (int c = 0; c < 3; c++) squared += (x[3 * i + c] - listed_at[3 * i + c]) * (x[3 * i + c] - listed_at[3 * i + c]);
    farthest = std::max(farthest, squared);
  }
  if (4.0 * farthest <= neighbor->skin * neighbor->skin) return;
  outrun = true;
  error->warning(FLERR, "Pair style distill: at step " + std::to_string(update->ntimestep) +
                            " an atom has moved by more than half the skin since the neighbor list was made, and 'check "
                            "no' keeps it: pairs may be missing, and energy and forces wrong; use neigh_modify check "
                            "yes. This is said once a run");
}

// A many-body energy needs every pair within the cutoff, and what a list lacks none sees.
void PairDistill::refuse_missing_pairs()
{
  const char *what = nullptr;
  if (neighbor->nex_type) what = "'neigh_modify exclude type'";
  if (neighbor->nex_mol) what = "'neigh_modify exclude molecule'";
  if (neighbor->includegroup) what = "'neigh_modify include'";
  for (int k = 0; k < neighbor->nex_group; k++) {
    if (!excluded_atoms(k)) what = "'neigh_modify exclude group'";
  }
  if (what)
    refuse(std::string() + what + " takes pairs out of the neighbor list, and a "
                          "many-body energy needs them all; leave it out (to hold atoms fixed, fix setforce 0 0 0 is "
                          "enough)");
  if (atom->molecular == Atom::ATOMIC) return;
  for (int k = 1; k < 4; k++)
    if (force->special_lj[k] != 1.0 || force->special_coul[k] != 1.0)
      refuse("bonded neighbors are neighbors like all others to a many-body potential; "
                        "add 'special_bonds lj/coul 1.0 1.0 1.0'");
}

double PairDistill::init_one(int i, int j)
{
  if (setflag[i][j] == 0) refuse("not all pair coefficients are set");
  return cutoff;
}

// Seen when lists are made: with less than a cutoff of ghosts the energy would lack neighbors.
void PairDistill::refuse_short_ghosts()
{
  if (neighbor->ago != 0 || domain->triclinic) return;
  for (int axis = 0; axis < 3; axis++)
    if (comm->cutghost[axis] < cutoff - CUTOFF_MARGIN)
      refuse("the ghost cutoff is " + std::to_string(comm->cutghost[axis]) +
                            ", shorter than the student's cutoff of " + std::to_string(cutoff) +
                            "; raise it with comm_modify cutoff");
}

void PairDistill::prepare(distill::Input &input)
{
  const int n_all = atom->nlocal + atom->nghost;
  species.resize(n_all + 1);
  int excluded = 0;
  for (int k = 0; k < neighbor->nex_group; k++) excluded |= excluded_atoms(k);
  for (int i = 0; i < n_all; i++) species[i] = atom->mask[i] & excluded ? -1 : element_of_type[atom->type[i]];
  // Atoms of one element together, so that eight at a time go through the products.
  centres.clear();
  for (int e = 0; e < int(student->numbers().size()); e++)
    for (int k = 0; k < list->inum; k++)
      if (species[list->ilist[k]] == e) centres.push_back(list->ilist[k]);
  input.n_centres = int64_t(centres.size());
  input.n_all = n_all;
  input.centres = centres.data();
  input.species = species.data();
  input.positions = n_all ? atom->x[0] : nullptr;
  input.rows = list->firstneigh;
  input.counts = list->numneigh;
  input.mask = NEIGHMASK;
}

void PairDistill::evaluate(distill::Input &input, distill::Output &output, bool graded)
{
  if (!graded) return student->evaluate(input, output, comm->nthreads);
  distill::Evaluator::Grades parts{};
  energy_grades.assign(input.n_all + 1, 0.0);
  parts.energy = energy_grades.data();
  for (int m = 0; m < 2; m++) {
    deviations[m].assign(3 * input.n_all + 1, 0.0);
    parts.forces[m] = deviations[m].data();
  }
  student->grade(input, output, parts, comm->nthreads);
}

// Grades of owned atoms, once the deviations of forces on ghosts are with their owners.
void PairDistill::join_grades(double *found)
{
  summed = DEVIATIONS;
  comm_reverse = comm_reverse_off = 6;
  distill_versions::sum_over_ghosts(comm, this, 0);
  for (int i = 0; i < atom->nlocal; i++)
    found[i] = species[i] < 0 ? 0.0
                              : student->joined(species[i], energy_grades[i], &deviations[0][3 * i], &deviations[1][3 * i]);
}

void PairDistill::grade(double *found)
{
  if (!student->graded())
    refuse("the student " + file + " has no extrapolation grades; fit it with a "
                      "committee and export it again");
  distill::Input input{};
  distill::Output output{};
  prepare(input);
  std::vector<double> energies(input.n_all + 1), forces(3 * input.n_all + 1);
  output.energies = energies.data();
  output.forces[0] = forces.data();
  evaluate(input, output, true);
  join_grades(found);
}

void PairDistill::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  refuse_short_ghosts();
  watch_list();
  distill::Input input{};
  prepare(input);
  const int n_local = atom->nlocal;
  const int64_t n_all = input.n_all;
  // With newton off for all interactions, LAMMPS neither clears nor sums what is on ghosts.
  const bool own = !force->newton;
  std::vector<double> &energies = energy_sums;
  energies.resize(n_all + 1);
  distill::Output output{};
  output.energies = energies.data();
  if (own) {
    own_forces.assign(3 * n_all + 1, 0.0);
    own_virials.assign(vflag_atom ? 6 * n_all + 1 : 1, 0.0);
    own_centroids.assign(cvflag_atom ? 9 * n_all + 1 : 1, 0.0);
    output.forces[0] = own_forces.data();
    if (vflag_atom) output.atom_virial = own_virials.data();
    if (cvflag_atom) output.centroid_virial = own_centroids.data();
  } else if (n_all) {
    output.forces[0] = atom->f[0];
    if (vflag_atom) output.atom_virial = vatom[0];
    if (cvflag_atom) output.centroid_virial = cvatom[0];
  }
  const bool turn = watch_every > 0 && !warned && student->graded() && evaluations % watch_every == 0;
  const bool graded = (turn || grade_flag) && student->graded();
  evaluations++;
  evaluate(input, output, graded);

  double energy = 0.0;
  for (int64_t k = 0; k < input.n_centres; k++) energy += energies[centres[k]];
  if (!std::isfinite(energy))
    error->one(FLERR, "Pair style distill: step " + std::to_string(update->ntimestep) + ": the energy is not a finite "
                      "number: atoms coincide, or the simulation blew up; use a shorter time step or a better model");
  if (eflag_global) eng_vdwl += energy;
  if (eflag_atom)
    for (int64_t k = 0; k < input.n_centres; k++) eatom[centres[k]] += energies[centres[k]];
  if (vflag_global) {
    static const int first[6] = {0, 4, 8, 1, 2, 5}, second[6] = {0, 4, 8, 3, 6, 7};
    for (int k = 0; k < 6; k++) virial[k] += 0.5 * (output.virial[first[k]] + output.virial[second[k]]);
  }
  if (own) {
    summed = FORCES;
    widths[0] = 3;
    widths[1] = vflag_atom ? 6 : 0;
    widths[2] = cvflag_atom ? 9 : 0;
    comm_reverse = comm_reverse_off = widths[0] + widths[1] + widths[2];
    distill_versions::sum_over_ghosts(comm, this, 0);
    for (int i = 0; i < n_local; i++) {
      for (int c = 0; c < 3; c++) atom->f[i][c] += own_forces[3 * i + c];
      for (int c = 0; c < widths[1]; c++) vatom[i][c] += own_virials[6 * i + c];
      for (int c = 0; c < widths[2]; c++) cvatom[i][c] += own_centroids[9 * i + c];
    }
  }
  if (!graded) return;
  grades.assign(atom->nmax, 0.0);
  join_grades(grades.data());
  if (turn) look(input);
}

// One look at the grades in so many evaluations, and one warning.
void PairDistill::look(const distill::Input &input)
{
  struct {
    double grade;
    int rank;
  } mine{0.0, comm->me}, worst;
  int atom_of = 0;
  for (int64_t k = 0; k < input.n_centres; k++)
    if (grades[centres[k]] > mine.grade) mine.grade = grades[atom_of = centres[k]];
  MPI_Allreduce(&mine, &worst, 1, MPI_DOUBLE_INT, MPI_MAXLOC, world);
  if (!(worst.grade > FAR_OUTSIDE)) return;
  warned = true;
  int told[2] = {0, 0};
  if (comm->me == worst.rank) {
    told[0] = atom->tag_enable ? int(atom->tag[atom_of]) : 0;
    told[1] = student->numbers()[species[atom_of]];
  }
  MPI_Bcast(told, 2, MPI_INT, worst.rank, world);
  if (comm->me != 0) return;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", worst.grade);
  error->warning(FLERR, "Pair style distill: far outside the student's training data: at step " +
                            std::to_string(update->ntimestep) + " atom " + std::to_string(told[0]) + " (" +
                            SYMBOLS[told[1]] + ") has an extrapolation grade of " + text +
                            ", training sites have 1 at most. Do not trust energy and forces; see 'compute "
                            "distill/grade/atom'. This is said once a run");
}

int PairDistill::pack_reverse_comm(int n, int first, double *buf)
{
  int m = 0;
  for (int i = first; i < first + n; i++) {
    if (summed == DEVIATIONS) {
      for (int which = 0; which < 2; which++)
        for (int c = 0; c < 3; c++) buf[m++] = deviations[which][3 * i + c];
      continue;
    }
    for (int c = 0; c < widths[0]; c++) buf[m++] = own_forces[3 * i + c];
    for (int c = 0; c < widths[1]; c++) buf[m++] = own_virials[6 * i + c];
    for (int c = 0; c < widths[2]; c++) buf[m++] = own_centroids[9 * i + c];
  }
  return m;
}

void PairDistill::unpack_reverse_comm(int n, int *atoms, double *buf)
{
  int m = 0;
  for (int k = 0; k < n; k++) {
    const int i = atoms[k];
    if (summed == DEVIATIONS) {
      for (int which = 0; which < 2; which++)
        for (int c = 0; c < 3; c++) deviations[which][3 * i + c] += buf[m++];
      continue;
    }
    for (int c = 0; c < widths[0]; c++) own_forces[3 * i + c] += buf[m++];
    for (int c = 0; c < widths[1]; c++) own_virials[6 * i + c] += buf[m++];
    for (int c = 0; c < widths[2]; c++) own_centroids[9 * i + c] += buf[m++];
  }
}

// For fix pair: `fix ID all pair N distill grade 1`.
void *PairDistill::extract(const char *name, int &dimension)
{
  dimension = 0;
  if (strcmp(name, "grade_flag") == 0) return &grade_flag;
  return nullptr;
}

void *PairDistill::extract_peratom(const char *name, int &columns)
{
  columns = 0;
  if (strcmp(name, "grade") == 0) return grades.data();
  return nullptr;
}

double PairDistill::memory_usage()
{
  return Pair::memory_usage() + double(sizeof(int)) * (species.capacity() + centres.capacity()) +
         sizeof(double) * (own_forces.capacity() + own_virials.capacity() + own_centroids.capacity() +
                           grades.capacity() + energy_grades.capacity() + 2.0 * deviations[0].capacity());
}
