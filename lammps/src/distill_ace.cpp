// The C interface.

#include "distill_ace.h"

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "distill_ace.hpp"

struct distill_ace {
  std::unique_ptr<distill::Evaluator> evaluator;
  std::string error;
  std::vector<int> centres;
  std::vector<double> deviations[2], energy_grades;
};

namespace {

void check(const distill::Evaluator &evaluator, const distill_ace_input &in, const distill_ace_output &out) {
  if (in.n_centres < 0 || in.n_all < in.n_centres) throw std::runtime_error("expected 0 <= n_centres <= n_all");
  if (!out.energies || !out.forces) throw std::runtime_error("expected room for energies and forces, found NULL");
  if (in.n_all && (!in.species || !in.first)) throw std::runtime_error("expected species and first, found NULL");
  if (in.n_centres && in.first[in.n_centres] && (!in.neighbours || (!in.positions == !in.vectors)))
    throw std::runtime_error("expected neighbours, and either positions or vectors");
  const int n_species = int(evaluator.numbers().size());
  for (int64_t i = 0; i < in.n_all; i++)
    if (in.species[i] < -1 || in.species[i] >= n_species)
      throw std::runtime_error("atom " + std::to_string(i) + " has species " + std::to_string(in.species[i]) +
                               ", expected -1 to " + std::to_string(n_species - 1));
  for (int64_t i = 0; i < in.n_centres; i++)
    if (in.first[i] < 0 || in.first[i] > in.first[i + 1]) throw std::runtime_error("first does not rise from 0");
  for (int64_t k = 0; in.n_centres && k < in.first[in.n_centres]; k++)
    if (in.neighbours[k] < 0 || in.neighbours[k] >= in.n_all)
      throw std::runtime_error("neighbour " + std::to_string(in.neighbours[k]) + " is no atom");
  if (out.grades && !evaluator.graded())
    throw std::runtime_error("the student has no extrapolation grades: fit it with a committee and export it again");
  if (!out.grades) return;
  if (!out.owner) throw std::runtime_error("expected the owner of each atom, found NULL");
  for (int64_t i = 0; i < in.n_all; i++)
    if (out.owner[i] < 0 || out.owner[i] >= in.n_centres)
      throw std::runtime_error("the owner of atom " + std::to_string(i) + " is no centre");
}

void run(distill_ace &student, const distill_ace_input &in, distill_ace_output &out, int threads) {
  distill::Evaluator &evaluator = *student.evaluator;
  check(evaluator, in, out);
  // Those of one element together.
  student.centres.clear();
  for (int e = 0; e < int(evaluator.numbers().size()); e++)
    for (int64_t i = 0; i < in.n_centres; i++)
      if (in.species[i] == e) student.centres.push_back(int(i));
  std::fill(out.energies, out.energies + in.n_centres, 0.0);
  std::fill(out.forces, out.forces + 3 * in.n_all, 0.0);
  std::fill(out.virial, out.virial + 9, 0.0);
  if (out.atom_virial) std::fill(out.atom_virial, out.atom_virial + 6 * in.n_all, 0.0);
  if (out.centroid_virial) std::fill(out.centroid_virial, out.centroid_virial + 9 * in.n_all, 0.0);
  distill::Input input{};
  input.n_centres = int64_t(student.centres.size());
  input.n_all = in.n_all;
  input.centres = student.centres.data();
  input.species = in.species;
  input.positions = in.positions;
  input.first = in.first;
  input.neighbours = in.neighbours;
  input.mask = ~0;
  input.vectors = in.vectors;
  distill::Output output{};
  output.energies = out.energies;
  output.forces[0] = out.forces;
  output.atom_virial = out.atom_virial;
  output.centroid_virial = out.centroid_virial;
  if (out.grades) {
    distill::Evaluator::Grades grades{};
    student.energy_grades.assign(in.n_all, 0.0);
    grades.energy = student.energy_grades.data();
    for (int m = 0; m < 2; m++) {
      student.deviations[m].assign(3 * in.n_all, 0.0);
      grades.forces[m] = student.deviations[m].data();
    }
    evaluator.grade(input, output, grades, threads);
    for (int64_t i = in.n_centres; i < in.n_all; i++)
      for (int m = 0; m < 2; m++)
        for (int c = 0; c < 3; c++) grades.forces[m][3 * int64_t(out.owner[i]) + c] += grades.forces[m][3 * i + c];
    for (int64_t i = 0; i < in.n_centres; i++)
      out.grades[i] = in.species[i] < 0 ? 0.0
                                        : evaluator.joined(in.species[i], grades.energy[i], grades.forces[0] + 3 * i,
                                                           grades.forces[1] + 3 * i);
  } else {
    evaluator.evaluate(input, output, threads);
  }
  std::copy(output.virial, output.virial + 9, out.virial);
}

}  // namespace

extern "C" {

distill_ace *distill_ace_open(const char *path, int precision, char *error, size_t error_size) {
  std::string reason;
  try {
    if (!path) throw std::runtime_error("expected the path of a student, found NULL");
    if (precision != DISTILL_ACE_DOUBLE && precision != DISTILL_ACE_MIXED)
      throw std::runtime_error("expected precision 0 (double) or 1 (mixed), found " + std::to_string(precision));
    std::unique_ptr<distill_ace> student(new distill_ace);
    student->evaluator = distill::open_student(path, precision == DISTILL_ACE_MIXED);
    return student.release();
  } catch (const std::exception &failure) {
    reason = failure.what();
  } catch (...) {
    reason = "an unknown error";
  }
  if (error && error_size) std::snprintf(error, error_size, "%s", reason.c_str());
  return nullptr;
}

void distill_ace_close(distill_ace *student) { delete student; }

int distill_ace_abi(void) { return DISTILL_ACE_ABI; }
int distill_ace_elements(const distill_ace *student) { return int(student->evaluator->numbers().size()); }

int distill_ace_atomic_number(const distill_ace *student, int index) {
  const auto &numbers = student->evaluator->numbers();
  return index < 0 || index >= int(numbers.size()) ? 0 : numbers[index];
}

double distill_ace_cutoff(const distill_ace *student) { return student->evaluator->cutoff(); }
int distill_ace_graded(const distill_ace *student) { return student->evaluator->graded() ? 1 : 0; }
const char *distill_ace_instructions(const distill_ace *student) { return student->evaluator->instructions(); }
const char *distill_ace_error(const distill_ace *student) { return student->error.c_str(); }

int distill_ace_evaluate(distill_ace *student, const distill_ace_input *input, distill_ace_output *output, int threads) {
  try {
    run(*student, *input, *output, threads);
    return 0;
  } catch (const std::exception &failure) {
    student->error = failure.what();
  } catch (...) {
    student->error = "an unknown error";
  }
  return 1;
}
}
