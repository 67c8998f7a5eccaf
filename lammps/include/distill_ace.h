/* A linear ACE student from C, and from whatever calls C: Fortran, Julia, Python.

   Units are eV and Angstrom. A handle is used by one thread at a time; different handles may be used
   by different threads. Nothing throws or exits across this interface. */

#ifndef DISTILL_ACE_H
#define DISTILL_ACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct distill_ace distill_ace;

/* Of the structures below; a library of another number refuses them. */
#define DISTILL_ACE_ABI 1

enum { DISTILL_ACE_DOUBLE = 0, DISTILL_ACE_MIXED = 1 };

/* Opens a file of `distill export --to lammps`. NULL on failure, with the reason in `error`. */
distill_ace *distill_ace_open(const char *path, int precision, char *error, size_t error_size);
void distill_ace_close(distill_ace *student);

int distill_ace_abi(void);
int distill_ace_elements(const distill_ace *student);
/* Atomic number of element `index`, or 0. */
int distill_ace_atomic_number(const distill_ace *student, int index);
/* The largest cutoff, Angstrom. */
double distill_ace_cutoff(const distill_ace *student);
/* 1 if the student has extrapolation grades. */
int distill_ace_graded(const distill_ace *student);
/* The instruction set of the kernels in use. */
const char *distill_ace_instructions(const distill_ace *student);
/* Why the last call on this handle failed. */
const char *distill_ace_error(const distill_ace *student);

typedef struct {
  int64_t n_centres;        /* atoms that have an energy: the first of all */
  int64_t n_all;            /* with the images and ghosts that are only neighbours */
  const int *species;       /* (n_all): index of the element, -1 for an atom that is none */
  const int64_t *first;     /* (n_centres + 1): neighbours of i are entries first[i] to first[i + 1] */
  const int *neighbours;    /* every atom within the cutoff, each pair from both sides; more do no harm */
  const double *positions;  /* (n_all, 3); or NULL, with vectors */
  const double *vectors;    /* (entries, 3) from atom to neighbour; or NULL, with positions */
} distill_ace_input;

typedef struct {
  double *energies;         /* (n_centres), one-body parts included */
  double *forces;           /* (n_all, 3), set; those on images are to be added to their atoms' */
  double virial[9];         /* -sum over pairs of vector_a dE/dvector_b */
  double *atom_virial;      /* (n_all, 6) xx yy zz xy xz yz, half to each of a pair; or NULL */
  double *centroid_virial;  /* (n_all, 9) xx yy zz xy xz yz yx zx zy, all to the neighbour; or NULL */
  double *grades;           /* (n_centres) extrapolation grades, or NULL; costs two to three calls */
  const int *owner;         /* with grades: (n_all) the centre that each atom is an image of */
} distill_ace_output;

/* Returns 0, or 1 with the reason in distill_ace_error. */
int distill_ace_evaluate(distill_ace *student, const distill_ace_input *input, distill_ace_output *output, int threads);

#ifdef __cplusplus
}
#endif

#endif
