// The evaluator of a linear ACE student: open a file, evaluate neighbour lists.
//
// Included alone, it is all there is, compiled for the instruction set of the including file. With
// DISTILL_ACE_DISPATCH the kernels are linked, one object for each instruction set, and the best
// that the processor has is taken when a student is opened.

#ifndef DISTILL_ACE_HPP
#define DISTILL_ACE_HPP

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <type_traits>
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "distill_ace_model.hpp"

#ifndef DISTILL_ACE_DISPATCH
#include "distill_ace_kernels.hpp"
#endif

namespace distill {

#ifdef DISTILL_ACE_DISPATCH
#define DISTILL_TARGET(name) \
  Kernels<double> double_kernels_##name(); \
  Kernels<float> float_kernels_##name();
DISTILL_TARGET(generic)
DISTILL_TARGET(avx2)
DISTILL_TARGET(avx512)
#undef DISTILL_TARGET
#endif

template <class T>
Kernels<T> best_kernels(const char **name);

#ifdef DISTILL_ACE_DISPATCH
#define DISTILL_BEST(T)                                                                        \
  template <>                                                                                  \
  inline Kernels<T> best_kernels<T>(const char **name) {                                       \
    __builtin_cpu_init();                                                                      \
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&             \
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))              \
      return *name = "AVX-512", T##_kernels_avx512();                                          \
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))                       \
      return *name = "AVX2", T##_kernels_avx2();                                               \
    return *name = "generic", T##_kernels_generic();                                           \
  }
DISTILL_BEST(double)
DISTILL_BEST(float)
#undef DISTILL_BEST
#else
template <class T>
inline Kernels<T> best_kernels(const char **name) {
  *name = "as compiled";
  return {distill_kernels::workspace_bytes<T>, distill_kernels::evaluate<T>};
}
#endif

// A student of either precision.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  virtual const std::vector<int> &numbers() const = 0;
  virtual double cutoff() const = 0;
  virtual bool graded() const = 0;
  virtual const char *instructions() const = 0;

  // Energies, forces and virials, on `threads` threads; with `grades` (of all atoms, may be null) the
  // parts of a grade that need no sum over ghosts: see `Grades`.
  virtual void evaluate(const Input &input, Output &output, int threads) = 0;

  struct Grades {
    double *energy;     // (all atoms): grade of the energy of each centre
    double *forces[2];  // (all atoms, 3): deviations of forces, to be summed over ghosts
  };
  virtual int force_members() const = 0;
  virtual void grade(const Input &input, Output &output, Grades &grades, int threads) = 0;

  // The grade of an atom from its energy's and from the deviations of the force on it.
  virtual double joined(int species, double energy_grade, const double *first, const double *second) const = 0;
};

template <class T>
class EvaluatorOf : public Evaluator {
 public:
  explicit EvaluatorOf(const ModelFile &file) : model_(file), kernels_(best_kernels<T>(&instructions_)) {}

  const std::vector<int> &numbers() const override { return model_.numbers; }
  double cutoff() const override { return model_.cutoff; }
  bool graded() const override { return model_.graded; }
  const char *instructions() const override { return instructions_; }
  int force_members() const override { return model_.tables.n_models - 1; }

  void evaluate(const Input &input, Output &output, int threads) override { run(input, output, 1, threads); }

  void grade(const Input &input, Output &output, Grades &grades, int threads) override {
    output.deviations = grades.energy;
    for (int m = 1; m < model_.tables.n_models; m++) output.forces[m] = grades.forces[m - 1];
    run(input, output, model_.tables.n_models, threads);
    output.deviations = nullptr;
    for (int64_t k = 0; k < input.n_centres; k++) {
      const int i = input.centres[k];
      const double deviation = std::sqrt(grades.energy[i] / model_.members());
      grades.energy[i] = ratio(deviation, model_.largest_energy_deviation[input.species[i]]);
    }
  }

  double joined(int species, double energy_grade, const double *first, const double *second) const override {
    const int members = force_members();
    double squares = 0.0;
    for (int axis = 0; axis < 3; axis++)
      squares += first[axis] * first[axis] + (members > 1 ? second[axis] * second[axis] : 0.0);
    const double deviation = std::sqrt(squares / (3 * members));
    return std::max(energy_grade, ratio(deviation, model_.largest_force_deviation[species]));
  }

 private:
  Model<T> model_;
  const char *instructions_ = "";
  Kernels<T> kernels_;
  struct Thread {
    std::vector<char> workspace;
    std::vector<double> forces, atom_virial, centroid_virial;
  };
  std::vector<Thread> threads_;

  // An element that the training data lack has no largest deviation: whatever differs is outside.
  static double ratio(double deviation, double largest) {
    if (!(deviation > 0.0)) return 0.0;
    return largest > 0.0 ? deviation / largest : HUGE_VAL;
  }

  void run(const Input &input, Output &output, int n_models, int threads) {
    int most = 0;
    int64_t n_all = 0;
    for (int64_t k = 0; k < input.n_centres; k++) {
      const int i = input.centres[k];
      const int count = input.rows ? input.counts[i] : int(input.first[i + 1] - input.first[i]);
      most = std::max(most, count);
    }
    const size_t bytes = kernels_.workspace_bytes(model_.tables, most) + 64;
    threads = int(std::max<int64_t>(1, std::min<int64_t>(threads, input.n_centres / 16)));
    if (int(threads_.size()) < threads) threads_.resize(threads);
    for (int n = 0; n < threads; n++)
      if (threads_[n].workspace.size() < bytes) threads_[n].workspace.resize(bytes);
    if (threads == 1) {
      kernels_.evaluate(model_.tables, input, output, n_models, most, aligned(threads_[0]));
      return;
    }
    n_all = input.n_all;
    std::vector<Output> outputs(threads, output);
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads) schedule(static, 1)
#endif
    for (int n = 0; n < threads; n++) {
      Thread &mine = threads_[n];
      Output &out = outputs[n];
      std::fill(out.virial, out.virial + 9, 0.0);
      mine.forces.assign(size_t(n_models) * 3 * n_all, 0.0);
      for (int m = 0; m < n_models; m++) out.forces[m] = mine.forces.data() + size_t(m) * 3 * n_all;
      if (output.atom_virial) {
        mine.atom_virial.assign(6 * n_all, 0.0);
        out.atom_virial = mine.atom_virial.data();
      }
      if (output.centroid_virial) {
        mine.centroid_virial.assign(9 * n_all, 0.0);
        out.centroid_virial = mine.centroid_virial.data();
      }
      Input part = input;
      const int64_t begin = input.n_centres * n / threads / 8 * 8;
      const int64_t end = n + 1 == threads ? input.n_centres : input.n_centres * (n + 1) / threads / 8 * 8;
      part.centres = input.centres + begin;
      part.n_centres = end - begin;
      kernels_.evaluate(model_.tables, part, out, n_models, most, aligned(mine));
    }
    for (int n = 0; n < threads; n++)
      for (int c = 0; c < 9; c++) output.virial[c] += outputs[n].virial[c];
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads) schedule(static)
#endif
    for (int64_t i = 0; i < n_all; i++)
      for (int n = 0; n < threads; n++) {
        for (int m = 0; m < n_models; m++)
          for (int c = 0; c < 3; c++) output.forces[m][3 * i + c] += outputs[n].forces[m][3 * i + c];
        if (output.atom_virial)
          for (int c = 0; c < 6; c++) output.atom_virial[6 * i + c] += outputs[n].atom_virial[6 * i + c];
        if (output.centroid_virial)
          for (int c = 0; c < 9; c++) output.centroid_virial[9 * i + c] += outputs[n].centroid_virial[9 * i + c];
      }
  }

  static void *aligned(const Thread &thread) {
    const auto address = reinterpret_cast<uintptr_t>(thread.workspace.data());
    return reinterpret_cast<void *>((address + 63) / 64 * 64);
  }
};

// Opens a student; throws std::runtime_error with what to do about it.
inline std::unique_ptr<Evaluator> open_student(const std::string &path, bool mixed) {
  const ModelFile file(path);
  if (mixed) return std::unique_ptr<Evaluator>(new EvaluatorOf<float>(file));
  return std::unique_ptr<Evaluator>(new EvaluatorOf<double>(file));
}

}  // namespace distill

#endif
