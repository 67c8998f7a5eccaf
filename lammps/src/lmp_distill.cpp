// LAMMPS with pair_style distill, for a LAMMPS library without the package PLUGIN.

#include <mpi.h>

#include <cstdio>
#include <exception>

#include "compute_distill_grade_atom.h"
#include "force.h"
#include "input.h"
#include "lammps.h"
#include "modify.h"
#include "pair_distill.h"

using namespace LAMMPS_NS;

static Pair *new_pair(LAMMPS *lmp)
{
  return new PairDistill(lmp);
}

static Compute *new_compute(LAMMPS *lmp, int narg, char **arg)
{
  return new ComputeDistillGradeAtom(lmp, narg, arg);
}

int main(int argc, char **argv)
{
  MPI_Init(&argc, &argv);
  int code = 0;
  try {
    LAMMPS *lammps = new LAMMPS(argc, argv, MPI_COMM_WORLD);
    (*lammps->force->pair_map)["distill"] = &new_pair;
    (*lammps->modify->compute_map)["distill/grade/atom"] = &new_compute;
    lammps->input->file();
    delete lammps;
  } catch (const std::exception &failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    code = 1;
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  MPI_Finalize();
  return code;
}
