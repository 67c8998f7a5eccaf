// LAMMPS with pair_style distill, for a LAMMPS library without the package PLUGIN.

#include <mpi.h>

#include <cstdio>
#include <cstdlib>
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

// How many processes a launcher of Open MPI or of the MPICH family says it started together.
static int launched()
{
  for (const char *name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char *text = std::getenv(name)) return std::atoi(text);
  return 1;
}

int main(int argc, char **argv)
{
  MPI_Init(&argc, &argv);
  int joined, code = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &joined);
  if (joined == 1 && launched() > 1) {
    // Each would run all of the input and write over the others' files.
    std::printf("ERROR: %d processes were started together, but MPI does not join them: is mpirun of "
                "another MPI than LAMMPS, or the machine too busy?\n", launched());
    MPI_Finalize();
    return 1;
  }
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
