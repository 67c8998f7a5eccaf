// The styles as a plug-in: `plugin load distillplugin.so` in a LAMMPS with the package PLUGIN.

#include "compute_distill_grade_atom.h"
#include "lammpsplugin.h"
#include "pair_distill.h"
#include "version.h"

using namespace LAMMPS_NS;

static void *new_pair(void *lmp)
{
  return new PairDistill(static_cast<LAMMPS *>(lmp));
}

static void *new_compute(void *lmp, int narg, char **arg)
{
  return new ComputeDistillGradeAtom(static_cast<LAMMPS *>(lmp), narg, arg);
}

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc)
{
  const auto add = reinterpret_cast<lammpsplugin_regfunc>(regfunc);
  lammpsplugin_t plugin;
  plugin.version = LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.name = "distill";
  plugin.info = "students of distill: linear ACE";
  plugin.author = "distill";
  plugin.creator.v1 = &new_pair;
  plugin.handle = handle;
  add(&plugin, lmp);
  plugin.style = "compute";
  plugin.name = "distill/grade/atom";
  plugin.info = "extrapolation grades of pair style distill";
  plugin.creator.v2 = &new_compute;
  add(&plugin, lmp);
}
