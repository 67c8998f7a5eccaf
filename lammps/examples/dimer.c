/* Energy and force of a dimer: dimer STUDENT.ace DISTANCE

   cc dimer.c -I../include -L BUILD -ldistill_ace -Wl,-rpath,BUILD -o dimer */

#include <stdio.h>
#include <stdlib.h>

#include "distill_ace.h"

int main(int argc, char **argv) {
  char reason[1024] = "";
  distill_ace *student;
  int species[2] = {0, 0}, neighbours[2] = {1, 0};
  int64_t first[3] = {0, 1, 2};
  double positions[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0}, energies[2], forces[6];
  distill_ace_input input = {2, 2, NULL, NULL, NULL, NULL, NULL};
  distill_ace_output output = {NULL, NULL, {0.0}, NULL, NULL, NULL, NULL};

  if (argc != 3) {
    fprintf(stderr, "usage: dimer STUDENT.ace DISTANCE\n");
    return 2;
  }
  student = distill_ace_open(argv[1], DISTILL_ACE_DOUBLE, reason, sizeof reason);
  if (!student) {
    fprintf(stderr, "%s\n", reason);
    return 1;
  }
  positions[3] = atof(argv[2]);
  input.species = species;
  input.first = first;
  input.neighbours = neighbours;
  input.positions = positions;
  output.energies = energies;
  output.forces = forces;
  if (distill_ace_evaluate(student, &input, &output, 1)) {
    fprintf(stderr, "%s\n", distill_ace_error(student));
    distill_ace_close(student);
    return 1;
  }
  printf("energy %.12g eV force %.12g eV/Angstrom\n", energies[0] + energies[1], forces[3]);
  distill_ace_close(student);
  return 0;
}
