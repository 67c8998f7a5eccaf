/* -*- c++ -*- A student of distill in LAMMPS: pair_style distill. */

#ifdef PAIR_CLASS
// clang-format off
PairStyle(distill,PairDistill);
// clang-format on
#else

#ifndef LMP_PAIR_DISTILL_H
#define LMP_PAIR_DISTILL_H

#include <memory>
#include <string>
#include <vector>

#include "pair.h"

namespace distill {
class Evaluator;
struct Input;
struct Output;
}

namespace LAMMPS_NS {

class PairDistill : public Pair {
 public:
  explicit PairDistill(class LAMMPS *);
  ~PairDistill() override;
  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  void *extract(const char *, int &) override;
  virtual void *extract_peratom(const char *, int &);  // of Pair since 2022, for fix pair
  double memory_usage() override;

  // Extrapolation grade of each owned atom at its place and time; zero for atoms of other styles.
  void grade(double *grades);

 private:
  std::unique_ptr<distill::Evaluator> student;
  std::string file;
  bool mixed = false;
  int watch_every = 200, grade_flag = 0;
  bigint evaluations = 0;
  bool warned = false, outrun = false;
  double cutoff = 0.0;
  std::vector<int> species, centres, element_of_type;
  std::vector<double> listed_at;  // where local atoms were when the list was made
  std::vector<double> own_forces, own_virials, own_centroids;  // where LAMMPS does not sum over ghosts
  std::vector<double> energy_sums, grades, energy_grades, deviations[2];
  enum { FORCES, DEVIATIONS } summed = FORCES;
  int widths[3] = {0, 0, 0};

  void allocate();
  [[noreturn]] void refuse(const std::string &) const;
  void refuse_missing_pairs();
  void refuse_short_ghosts();
  int excluded_atoms(int exclusion) const;
  void say_of_masses();
  void watch_list();
  void prepare(distill::Input &);
  void evaluate(distill::Input &, distill::Output &, bool graded);
  void join_grades(double *);
  void look(const distill::Input &);
};

}  // namespace LAMMPS_NS

#endif
#endif
