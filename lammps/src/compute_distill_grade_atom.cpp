// Extrapolation grades, evaluated when a dump, a variable or a fix asks for them.

#include "compute_distill_grade_atom.h"

#include <string>

#include "atom.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "pair_distill.h"
#include "update.h"

using namespace LAMMPS_NS;

ComputeDistillGradeAtom::ComputeDistillGradeAtom(LAMMPS *lmp, int narg, char **arg) : Compute(lmp, narg, arg)
{
  if (narg != 3) error->all(FLERR, std::string("Compute distill/grade/atom takes no arguments"));
  peratom_flag = 1;
  size_peratom_cols = 0;
}

ComputeDistillGradeAtom::~ComputeDistillGradeAtom()
{
  memory->destroy(vector_atom);
}

void ComputeDistillGradeAtom::init()
{
  pair = dynamic_cast<PairDistill *>(force->pair_match("distill", 1));
  if (!pair) error->all(FLERR, std::string("Compute distill/grade/atom needs one pair style distill"));
}

void ComputeDistillGradeAtom::compute_peratom()
{
  invoked_peratom = update->ntimestep;
  if (atom->nmax > most) {
    most = atom->nmax;
    memory->destroy(vector_atom);
    memory->create(vector_atom, most, "distill/grade/atom:vector_atom");
  }
  pair->grade(vector_atom);
  for (int i = 0; i < atom->nlocal; i++)
    if (!(atom->mask[i] & groupbit)) vector_atom[i] = 0.0;
}

double ComputeDistillGradeAtom::memory_usage()
{
  return double(most) * sizeof(double);
}
