/* -*- c++ -*- Extrapolation grade of each atom: compute ID group distill/grade/atom. */

#ifdef COMPUTE_CLASS
// clang-format off
ComputeStyle(distill/grade/atom,ComputeDistillGradeAtom);
// clang-format on
#else

#ifndef LMP_COMPUTE_DISTILL_GRADE_ATOM_H
#define LMP_COMPUTE_DISTILL_GRADE_ATOM_H

#include "compute.h"

namespace LAMMPS_NS {

class ComputeDistillGradeAtom : public Compute {
 public:
  ComputeDistillGradeAtom(class LAMMPS *, int, char **);
  ~ComputeDistillGradeAtom() override;
  void init() override;
  void compute_peratom() override;
  double memory_usage() override;

 private:
  class PairDistill *pair = nullptr;
  int most = 0;
};

}  // namespace LAMMPS_NS

#endif
#endif
