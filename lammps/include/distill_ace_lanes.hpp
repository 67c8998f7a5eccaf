// Eight numbers that go through the kernels together, as values of the compiler's vector extensions.
//
// A vector of eight is one register with AVX-512 and for float with AVX, two halves otherwise: a
// compiler keeps a vector that is wider than its registers in memory.

#ifndef DISTILL_ACE_LANES_HPP
#define DISTILL_ACE_LANES_HPP

#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#define DISTILL_INLINE inline __attribute__((always_inline))

namespace {
namespace distill_lanes {

constexpr int LANES = 8;

template <class T, int N>
struct Register {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};

// One machine register.
template <class T, int N>
struct One {
  typename Register<T, N>::type v;
};

template <class Half>
struct Two {
  Half lo, hi;
};

#if defined(__AVX512F__)
typedef One<double, 8> Doubles;
#elif defined(__AVX__)
typedef Two<One<double, 4>> Doubles;
#else
typedef Two<Two<One<double, 2>>> Doubles;
#endif
#if defined(__AVX__)
typedef One<float, 8> Floats;
#else
typedef Two<One<float, 4>> Floats;
#endif

template <class T>
struct LanesOf;
template <>
struct LanesOf<double> {
  typedef Doubles type;
};
template <>
struct LanesOf<float> {
  typedef Floats type;
};
template <class T>
using Lanes = typename LanesOf<T>::type;

#define DISTILL_BINARY(op)                                                              \
  template <class T, int N>                                                             \
  DISTILL_INLINE One<T, N> operator op(One<T, N> a, One<T, N> b) {                      \
    return {a.v op b.v};                                                                \
  }                                                                                     \
  template <class H>                                                                    \
  DISTILL_INLINE Two<H> operator op(Two<H> a, Two<H> b) {                               \
    return {a.lo op b.lo, a.hi op b.hi};                                                \
  }
DISTILL_BINARY(+)
DISTILL_BINARY(-)
DISTILL_BINARY(*)
DISTILL_BINARY(/)
#undef DISTILL_BINARY

#define DISTILL_CHOICE(name, op)                                                        \
  template <class T, int N>                                                             \
  DISTILL_INLINE One<T, N> name(One<T, N> a, One<T, N> b) {                             \
    return {a.v op b.v ? a.v : b.v};                                                    \
  }                                                                                     \
  template <class H>                                                                    \
  DISTILL_INLINE Two<H> name(Two<H> a, Two<H> b) {                                      \
    return {name(a.lo, b.lo), name(a.hi, b.hi)};                                        \
  }
DISTILL_CHOICE(larger, >)
DISTILL_CHOICE(smaller, <)
#undef DISTILL_CHOICE

template <class V>
struct Load;
template <class T, int N>
struct Load<One<T, N>> {
  static DISTILL_INLINE One<T, N> from(const T *p) {
    One<T, N> a;
    std::memcpy(&a.v, p, sizeof a.v);
    return a;
  }
  static DISTILL_INLINE void to(T *p, One<T, N> a) { std::memcpy(p, &a.v, sizeof a.v); }
  static DISTILL_INLINE One<T, N> all(T x) { return {x - typename Register<T, N>::type{}}; }
  static constexpr int size = N;
};
template <class H>
struct Load<Two<H>> {
  template <class T>
  static DISTILL_INLINE Two<H> from(const T *p) {
    return {Load<H>::from(p), Load<H>::from(p + Load<H>::size)};
  }
  template <class T>
  static DISTILL_INLINE void to(T *p, Two<H> a) {
    Load<H>::to(p, a.lo);
    Load<H>::to(p + Load<H>::size, a.hi);
  }
  template <class T>
  static DISTILL_INLINE Two<H> all(T x) {
    return {Load<H>::all(x), Load<H>::all(x)};
  }
  static constexpr int size = 2 * Load<H>::size;
};

template <class T>
DISTILL_INLINE Lanes<T> load(const T *p) {
  return Load<Lanes<T>>::from(p);
}
template <class T>
DISTILL_INLINE void store(T *p, Lanes<T> a) {
  Load<Lanes<T>>::to(p, a);
}
template <class T>
DISTILL_INLINE Lanes<T> splat(T x) {
  return Load<Lanes<T>>::all(x);
}

template <class T, int N>
DISTILL_INLINE One<T, N> square_root(One<T, N> a) {
  One<T, N> b;
  for (int k = 0; k < N; k++) b.v[k] = std::sqrt(a.v[k]);
  return b;
}
#if defined(__AVX__)
DISTILL_INLINE One<double, 4> square_root(One<double, 4> a) { return {_mm256_sqrt_pd(a.v)}; }
#endif
#if defined(__AVX512F__)
DISTILL_INLINE One<double, 8> square_root(One<double, 8> a) { return {_mm512_sqrt_pd(a.v)}; }
#endif
template <class H>
DISTILL_INLINE Two<H> square_root(Two<H> a) {
  return {square_root(a.lo), square_root(a.hi)};
}

// Lanes of doubles in another type; through memory only where there is no instruction for it.
template <class T>
DISTILL_INLINE Lanes<T> converted(Lanes<double> a);
template <>
DISTILL_INLINE Lanes<double> converted<double>(Lanes<double> a) {
  return a;
}
template <>
DISTILL_INLINE Lanes<float> converted<float>(Lanes<double> a) {
#if defined(__AVX512F__)
  return {_mm512_cvtpd_ps(a.v)};
#elif defined(__AVX__)
  return {_mm256_set_m128(_mm256_cvtpd_ps(a.hi.v), _mm256_cvtpd_ps(a.lo.v))};
#else
  double from[LANES];
  float to[LANES];
  store<double>(from, a);
  for (int k = 0; k < LANES; k++) to[k] = float(from[k]);
  return load<float>(to);
#endif
}

DISTILL_INLINE Lanes<double> widened(Lanes<double> a) { return a; }
DISTILL_INLINE Lanes<double> widened(Lanes<float> a) {
#if defined(__AVX512F__)
  return {_mm512_cvtps_pd(a.v)};
#elif defined(__AVX__)
  return {{_mm256_cvtps_pd(_mm256_castps256_ps128(a.v))}, {_mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1))}};
#else
  float from[LANES];
  double to[LANES];
  store<float>(from, a);
  for (int k = 0; k < LANES; k++) to[k] = double(from[k]);
  return load<double>(to);
#endif
}

template <class T>
DISTILL_INLINE T total(Lanes<T> a) {
  T lanes[LANES];
  store<T>(lanes, a);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// Four numbers, the unit of turning tables on their side.
template <class T>
using Four = typename Register<T, 4>::type;

template <class T>
DISTILL_INLINE Four<T> load_four(const T *p) {
  Four<T> a;
  std::memcpy(&a, p, sizeof a);
  return a;
}
template <class T>
DISTILL_INLINE void store_four(T *p, Four<T> a) {
  std::memcpy(p, &a, sizeof a);
}

// Turns four rows of four: afterwards a holds the first of each.
template <class V>
DISTILL_INLINE void turn(V &a, V &b, V &c, V &d) {
  V ab_low = __builtin_shufflevector(a, b, 0, 4, 2, 6);
  V ab_high = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  V cd_low = __builtin_shufflevector(c, d, 0, 4, 2, 6);
  V cd_high = __builtin_shufflevector(c, d, 1, 5, 3, 7);
  a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  b = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  c = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

// Sums over the lanes of four vectors that follow each other in memory.
template <class T>
DISTILL_INLINE Four<T> four_totals(const T *p) {
  Four<T> a = load_four(p) + load_four(p + 4), b = load_four(p + 8) + load_four(p + 12);
  Four<T> c = load_four(p + 16) + load_four(p + 20), d = load_four(p + 24) + load_four(p + 28);
  turn(a, b, c, d);
  return (a + b) + (c + d);
}

}  // namespace distill_lanes
}  // namespace

#endif
