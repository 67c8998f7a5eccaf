// The styles as a plug-in: `plugin load distillplugin.so` in a LAMMPS with the package PLUGIN.

#include "compute_distill_grade_atom.h"
#include "lammps.h"
#include "pair_distill.h"
#if __has_include("lammpsplugin.h")
#include "lammpsplugin.h"
#else
// Installed headers lack that of plug-ins: what LAMMPS wants to be told of a style.
struct lammpsplugin_t {
  const char *version, *style, *name, *info, *author;
  union {
    void *(*v1)(void *);
    void *(*v2)(void *, int, char **);
  } creator;
  void *handle;
};
typedef void (*lammpsplugin_regfunc)(lammpsplugin_t *, void *);
#endif

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
  plugin.version = static_cast<LAMMPS *>(lmp)->version;
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
