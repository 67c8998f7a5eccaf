// Products of orders two to four as products of two coupled pairs: see distill::PairForm.

#ifndef DISTILL_ACE_PAIRS_HPP
#define DISTILL_ACE_PAIRS_HPP

#include "distill_ace_lanes.hpp"
#include "distill_ace_tables.hpp"

namespace {
namespace distill_kernels {

using namespace distill_lanes;
using distill::PairForm;

// Components of all pairs of eight atoms from their one-particle functions.
template <class T>
void couple_pairs(const PairForm<T> &p, T *value, T *products) {
  for (int block = 0; block < p.n_blocks; block++) {
    const int pattern = p.block_pattern[block];
    const T *first = value + p.block_first[block] * LANES, *second = value + p.block_second[block] * LANES;
    const int start = p.pattern_product[pattern], n_products = p.pattern_product[pattern + 1] - start;
    const int target = p.pattern_target[pattern], n_targets = p.pattern_target[pattern + 1] - target;
    const int32_t *to = p.target_value + p.block_target[block];
    for (int k = 0; k < n_products; k++)
      store<T>(products + k * LANES, load(first + p.product_first[start + k] * LANES) *
                                         load(second + p.product_second[start + k] * LANES));
    for (int k = 0; k < n_targets; k++) {
      Lanes<T> sum = splat(T(0));
      for (int term = p.target_term[target + k]; term < p.target_term[target + k + 1]; term++)
        sum = sum + splat(p.term_number[term]) * load(products + p.term_product[term] * LANES);
      store<T>(value + to[k] * LANES, sum);
    }
  }
}

// Adds the derivatives by the pairs to those by the one-particle functions.
template <class T>
void pull_back_pairs(const PairForm<T> &p, const T *value, T *adjoint) {
  for (int block = 0; block < p.n_blocks; block++) {
    const int pattern = p.block_pattern[block];
    const int first = p.block_first[block], second = p.block_second[block];
    const int32_t *from = p.target_value + p.block_target[block];
    for (int k = p.pattern_product[pattern]; k < p.pattern_product[pattern + 1]; k++) {
      Lanes<T> slope = splat(T(0));
      for (int term = p.product_term[k]; term < p.product_term[k + 1]; term++)
        slope = slope + splat(p.back_number[term]) * load(adjoint + from[p.back_target[term]] * LANES);
      const int a = (first + p.product_first[k]) * LANES, b = (second + p.product_second[k]) * LANES;
      store<T>(adjoint + a, load(adjoint + a) + slope * load(value + b));
      store<T>(adjoint + b, load(adjoint + b) + slope * load(value + a));
    }
  }
}

// N components of one row from `component` on: S sums side by side hide the time of an addition.
template <class T, int N, int S>
DISTILL_INLINE void row_part(const int32_t *entry, const T *weight, int count, int component, int row, const T *value,
                             T *adjoint, Lanes<T> &energy) {
  Lanes<T> sum[S][N];
  for (int s = 0; s < S; s++)
    for (int n = 0; n < N; n++) sum[s][n] = splat(T(0));
  int k = 0;
  for (; k + S <= count; k += S)
    for (int s = 0; s < S; s++) {
      const T *other = value + (entry[k + s] + component) * LANES;
      const Lanes<T> w = splat(weight[k + s]);
      for (int n = 0; n < N; n++) sum[s][n] = sum[s][n] + w * load(other + n * LANES);
    }
  for (; k < count; k++) {
    const T *other = value + (entry[k] + component) * LANES;
    const Lanes<T> w = splat(weight[k]);
    for (int n = 0; n < N; n++) sum[0][n] = sum[0][n] + w * load(other + n * LANES);
  }
  for (int n = 0; n < N; n++) {
    Lanes<T> slope = sum[0][n];
    for (int s = 1; s < S; s++) slope = slope + sum[s][n];
    const int at = (row + component + n) * LANES;
    store<T>(adjoint + at, load(adjoint + at) + slope);
    energy = energy + slope * load(value + at);
  }
}

// Energies of eight atoms from all products of two values; adds the derivatives by them.
template <class T>
Lanes<T> pair_products(const PairForm<T> &p, const T *weights, const T *value, T *adjoint) {
  Lanes<T> energy = splat(T(0));
  for (int r = 0; r < p.n_rows; r++) {
    const int size = p.row_size[r], row = p.row_value[r], first = p.row_first[r];
    const int count = p.row_first[r + 1] - first;
    const int32_t *entry = p.entry_value + first;
    const T *weight = weights + first;
    int done = 0;
    // Sixteen registers hold the sums of seven components, a component being two with AVX2.
    for (; done + 7 <= size; done += 7) row_part<T, 7, 1>(entry, weight, count, done, row, value, adjoint, energy);
    switch (size - done) {
      case 1: row_part<T, 1, 4>(entry, weight, count, done, row, value, adjoint, energy); break;
      case 2: row_part<T, 2, 2>(entry, weight, count, done, row, value, adjoint, energy); break;
      case 3: row_part<T, 3, 2>(entry, weight, count, done, row, value, adjoint, energy); break;
      case 4: row_part<T, 4, 1>(entry, weight, count, done, row, value, adjoint, energy); break;
      case 5: row_part<T, 5, 1>(entry, weight, count, done, row, value, adjoint, energy); break;
      case 6: row_part<T, 6, 1>(entry, weight, count, done, row, value, adjoint, energy); break;
    }
  }
  return energy * splat(T(0.5));
}

}  // namespace distill_kernels
}  // namespace

#endif
