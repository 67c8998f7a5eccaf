// Energies, forces and virials of a linear ACE model (Drautz, Phys. Rev. B 99, 014104 (2019)).
//
// Eight neighbours of an atom are embedded at once, and eight atoms of one element go through the
// products together. Distances and radial arguments are doubles; what depends on them is of type T.
//
// All is in an unnamed namespace, and nothing here allocates: the file is compiled once for each
// instruction set, and no function of one may serve another.

#ifndef DISTILL_ACE_KERNELS_HPP
#define DISTILL_ACE_KERNELS_HPP

#include "distill_ace_lanes.hpp"
#include "distill_ace_pairs.hpp"
#include "distill_ace_tables.hpp"

namespace {
namespace distill_kernels {

using namespace distill_lanes;
using distill::Coefficients;
using distill::Input;
using distill::Output;
using distill::ShellGroup;
using distill::Tables;

// Of one neighbour vector: unit vector (3), 1 / r, slope of the pair potential.
constexpr int GEOMETRY = 5;
constexpr int SPACE = 3;

inline int vectors_of(int count) { return (count + LANES - 1) / LANES; }

// Scratch for one block of eight atoms, cut from one piece of memory.
template <class T>
struct Workspace {
  double *slot_vector;  // of each place in the lists: three lanes
  int *slot_atom;
  double *geometry, *pair_slope;
  T *radial;            // of each vector: rows of eight values and eight slopes by r
  T *harmonics, *rows, *sums, *weights, *value, *adjoint, *products, *member_value, *features;
  int *place;           // (lanes, species): first vector of the slots, of the geometry; neighbours
  size_t bytes;
};

inline size_t spread(size_t bytes) { return (bytes + 63) / 64 * 64; }

template <class T>
Workspace<T> workspace_at(const Tables<T> &t, int most, char *memory) {
  Workspace<T> w{};
  size_t at = 0;
  auto take = [&](auto &pointer, size_t count) {
    using P = std::remove_reference_t<decltype(pointer)>;
    pointer = reinterpret_cast<P>(memory + at);
    at += spread(count * sizeof(*pointer));
  };
  const size_t harmonics = (t.largest_l + 1) * (t.largest_l + 1);
  const size_t listed = size_t(LANES) * t.n_species * vectors_of(most);
  const size_t kept = size_t(LANES) * (most / LANES + t.n_species);
  const size_t of_atom = vectors_of(most) + t.n_species;
  take(w.slot_vector, (listed + 1) * SPACE * LANES);
  take(w.slot_atom, (listed + 1) * LANES);
  take(w.geometry, kept * GEOMETRY * LANES);
  take(w.pair_slope, LANES);
  take(w.radial, kept * 2 * t.n_rows * LANES);
  take(w.harmonics, of_atom * harmonics * LANES + 4 * harmonics * LANES);
  take(w.rows, 2 * LANES * size_t(t.n_rows));
  take(w.sums, size_t(t.n_one + 4) * LANES);
  take(w.weights, size_t(t.n_one + 4));
  take(w.value, size_t(t.n_values) * LANES);
  take(w.adjoint, size_t(t.n_values) * LANES);
  take(w.products, size_t(t.pairs.most_products) * LANES);
  take(w.member_value, t.n_members ? size_t(t.n_one + t.n_member_nodes + 1) * LANES : 0);
  take(w.features, (t.n_functions + size_t(t.n_species) * t.pair_rows) * LANES);
  take(w.place, size_t(LANES) * t.n_species * 3);
  w.bytes = at;
  return w;
}

DISTILL_INLINE Lanes<double> power(Lanes<double> base, int exponent) {
  if (exponent == 2) return base * base;
  Lanes<double> result = splat(1.0);
  for (int k = 0; k < exponent; k++) result = result * base;
  return result;
}

// x(r) and dx/dr of the normalised Agnesi transform.
DISTILL_INLINE void transform_distance(Lanes<double> r, const double *p, Lanes<double> &x, Lanes<double> &slope) {
  const int low = int(p[0]), high = int(p[1]);
  const double scale = 1.0 / (p[4] - p[3]), stretch = 2.0 / (p[6] - p[5]);
  auto s = larger((r - splat(p[3])) * splat(scale), splat(0.0));
  auto inner = power(s, high - low), outer = power(s, high - 1);
  auto shifted = inner + splat(1.0);
  auto inverse = splat(1.0) / (shifted + outer * s * splat(p[2]));
  x = (shifted * inverse - splat(p[5])) * splat(stretch) - splat(1.0);
  slope = outer * inverse * inverse * (shifted * splat(double(high)) - inner * splat(double(high - low))) *
          splat(-p[2] * scale * stretch);
  x = smaller(larger(x, splat(-1.0)), splat(1.0));
}

// Interval of a spline, as numbers and as lanes, and the place in it.
DISTILL_INLINE Lanes<double> spline_interval(Lanes<double> x, const double *grid, int *interval) {
  auto position = (x - splat(grid[0])) * splat(1.0 / grid[1]);
  position = smaller(larger(position, splat(0.0)), splat(grid[2] - 1.0));
  double places[LANES], starts[LANES];
  store<double>(places, position);
  const int last = int(grid[2]) - 2;
  for (int k = 0; k < LANES; k++) {
    const int found = int(places[k]);
    interval[k] = found > last ? last : found;
    starts[k] = interval[k];
  }
  return position - load(starts);
}

DISTILL_INLINE void envelope_of_x(Lanes<double> x, const double *p, Lanes<double> &value, Lanes<double> &slope) {
  const int p1 = int(p[2]), p2 = int(p[3]);
  auto low = larger(x - splat(p[0]), splat(0.0)), high = larger(splat(p[1]) - x, splat(0.0));
  auto low_power = power(low, p1 > 1 ? p1 - 1 : 0), high_power = power(high, p2 > 1 ? p2 - 1 : 0);
  auto low_value = p1 > 0 ? low_power * low : low_power;
  auto high_value = p2 > 0 ? high_power * high : high_power;
  value = low_value * high_value * splat(p[4]);
  slope = (low_power * high_value * splat(double(p1)) - low_value * high_power * splat(double(p2))) * splat(p[4]);
}

// Neighbours within the cutoff of the lanes' atoms, in eights of one element, padded with points on
// the cutoff, where all vanishes.
template <class T>
void gather(const Tables<T> &t, const Input &in, const int *atoms, int n_atoms, Workspace<T> &w) {
  const int n_species = t.n_species;
  int at = 0, kept = 0;
  for (int lane = 0; lane < n_atoms; lane++) {
    const int i = atoms[lane];
    const double *cutoff = t.cutoff + in.species[i] * n_species;
    const int *list = in.rows ? in.rows[i] : in.neighbours + in.first[i];
    const int count = in.rows ? in.counts[i] : int(in.first[i + 1] - in.first[i]);
    const double *vectors = in.vectors ? in.vectors + 3 * in.first[i] : nullptr;
    const int step = vectors_of(count);
    int *place = w.place + lane * n_species * 3;
    for (int e = 0; e < n_species; e++) {
      place[3 * e] = at + e * step;
      place[3 * e + 2] = 0;
    }
    const double xi = vectors ? 0.0 : in.positions[3 * i], yi = vectors ? 0.0 : in.positions[3 * i + 1],
                 zi = vectors ? 0.0 : in.positions[3 * i + 2];
    for (int k = 0; k < count; k++) {
      const int j = list[k] & in.mask;
      const double *p = vectors ? vectors + 3 * k : in.positions + 3 * int64_t(j);
      const double x = p[0] - xi, y = p[1] - yi, z = p[2] - zi;
      const int e = in.species[j];
      if (e < 0) continue;
      const double squared = x * x + y * y + z * z;
      // Written always and counted if near: a branch here would cost more.
      const int slot = place[3 * e] * LANES + place[3 * e + 2];
      double *to = w.slot_vector + (slot / LANES) * SPACE * LANES + slot % LANES;
      to[0] = x;
      to[LANES] = y;
      to[2 * LANES] = z;
      w.slot_atom[slot] = j;
      place[3 * e + 2] += squared < cutoff[e] * cutoff[e];
    }
    for (int e = 0; e < n_species; e++) {
      const int found = place[3 * e + 2];
      place[3 * e + 1] = kept;
      kept += vectors_of(found);
      for (int slot = place[3 * e] * LANES + found; slot % LANES; slot++) {
        double *to = w.slot_vector + (slot / LANES) * SPACE * LANES + slot % LANES;
        to[0] = cutoff[e];
        to[LANES] = to[2 * LANES] = 0.0;
      }
    }
    at += n_species * step;
  }
}

// Harmonics of unit vectors, and their gradients as polynomials in them where wanted.
//
// Y_lm = N Q_l^m(z) Re or Im (x + i y)^m with Q_l^m = P_l^m / (1 - z^2)^(m/2), whose derivative is
// Q_l^(m+1). Written for each l^2 + l + m: the value, and with gradients d/dx, d/dy, d/dz.
template <class T, bool gradient>
DISTILL_INLINE void harmonics_of(const Tables<T> &t, Lanes<T> x, Lanes<T> y, Lanes<T> z, T *out, int largest_l) {
  constexpr int WIDTH = gradient ? 4 : 1;
  Lanes<T> re = splat(T(1)), im = splat(T(0)), re_below = re, im_below = im;
  const Lanes<T> zero = splat(T(0));
  T start = 1;
  for (int m = 0; m <= largest_l; m++) {
    // With m the functions Q_l^m from l = m on, and their slopes by z, by the same recursion.
    Lanes<T> older = zero, current = splat(start), older_slope = zero, slope = zero;
    for (int l = m; l <= largest_l; l++) {
      if (l > m) {
        const T a = t.recursion[2 * (l * (largest_l + 1) + m)], b = t.recursion[2 * (l * (largest_l + 1) + m) + 1];
        const Lanes<T> next = z * current * splat(a) - older * splat(b);
        if (gradient) {
          const Lanes<T> next_slope = (current + z * slope) * splat(a) - older_slope * splat(b);
          older_slope = slope;
          slope = next_slope;
        }
        older = current;
        current = next;
      }
      const Lanes<T> norm = splat(t.norm[l * l + l + m]), value = current * norm;
      T *plus = out + (l * l + l + m) * WIDTH * LANES;
      store<T>(plus, value * re);
      if (m > 0) {
        T *minus = out + (l * l + l - m) * WIDTH * LANES;
        store<T>(minus, value * im);
        if (gradient) {
          const Lanes<T> climb = slope * norm, times = value * splat(T(m));
          const Lanes<T> lower_re = times * re_below, lower_im = times * im_below;
          store<T>(plus + LANES, lower_re);
          store<T>(plus + 2 * LANES, zero - lower_im);
          store<T>(plus + 3 * LANES, climb * re);
          store<T>(minus + LANES, lower_im);
          store<T>(minus + 2 * LANES, lower_re);
          store<T>(minus + 3 * LANES, climb * im);
        }
      } else if (gradient) {
        store<T>(plus + LANES, zero);
        store<T>(plus + 2 * LANES, zero);
        store<T>(plus + 3 * LANES, slope * norm);
      }
    }
    re_below = re;
    im_below = im;
    const Lanes<T> turned = re * x - im * y;
    im = re * y + im * x;
    re = turned;
    start *= T(2 * m + 1);
  }
}

// The recursion unrolled for the largest l of most models.
template <class T, bool gradient>
DISTILL_INLINE void harmonics(const Tables<T> &t, Lanes<T> x, Lanes<T> y, Lanes<T> z, T *out) {
  switch (t.largest_l) {
    case 2: harmonics_of<T, gradient>(t, x, y, z, out, 2); break;
    case 3: harmonics_of<T, gradient>(t, x, y, z, out, 3); break;
    case 4: harmonics_of<T, gradient>(t, x, y, z, out, 4); break;
    default: harmonics_of<T, gradient>(t, x, y, z, out, t.largest_l);
  }
}

// Radial rows of eight neighbours: `weights` are those of four B-splines and of their slopes.
template <class T>
DISTILL_INLINE void radial_rows(const T *splines, int width, const T *weights, const int *interval, T *rows, T *out) {
  for (int lane = 0; lane < LANES; lane++) {
    const T *c = splines + interval[lane] * width;
    const Lanes<T> w0 = splat(weights[lane]), w1 = splat(weights[LANES + lane]);
    const Lanes<T> w2 = splat(weights[2 * LANES + lane]), w3 = splat(weights[3 * LANES + lane]);
    const Lanes<T> s0 = splat(weights[4 * LANES + lane]), s1 = splat(weights[5 * LANES + lane]);
    const Lanes<T> s2 = splat(weights[6 * LANES + lane]), s3 = splat(weights[7 * LANES + lane]);
    T *to = rows + lane * 2 * width;
    int row = 0;
    for (; row + LANES <= width; row += LANES) {
      const Lanes<T> c0 = load(c + row), c1 = load(c + width + row);
      const Lanes<T> c2 = load(c + 2 * width + row), c3 = load(c + 3 * width + row);
      store<T>(to + row, (w0 * c0 + w1 * c1) + (w2 * c2 + w3 * c3));
      store<T>(to + width + row, (s0 * c0 + s1 * c1) + (s2 * c2 + s3 * c3));
    }
    if (row < width) {
      const auto c0 = load_four(c + row), c1 = load_four(c + width + row);
      const auto c2 = load_four(c + 2 * width + row), c3 = load_four(c + 3 * width + row);
      const T *k = weights + lane;
      store_four(to + row, (k[0] * c0 + k[LANES] * c1) + (k[2 * LANES] * c2 + k[3 * LANES] * c3));
      store_four(to + width + row, (k[4 * LANES] * c0 + k[5 * LANES] * c1) + (k[6 * LANES] * c2 + k[7 * LANES] * c3));
    }
  }
  for (int part = 0; part < 2; part++)
    for (int row = 0; row < width; row += 4)
      for (int half = 0; half < LANES; half += 4) {
        const T *from = rows + half * 2 * width + part * width + row;
        auto a = load_four(from), b = load_four(from + 2 * width);
        auto c = load_four(from + 4 * width), d = load_four(from + 6 * width);
        turn(a, b, c, d);
        T *to = out + (2 * row + part) * LANES + half;
        store_four(to, a);
        store_four(to + 2 * LANES, b);
        store_four(to + 4 * LANES, c);
        store_four(to + 6 * LANES, d);
      }
}

// The pair potential of eight neighbours and its slope by r.
DISTILL_INLINE Lanes<double> pair_potential(const double *table, const double *transform, const double *envelope,
                                            const double *grid, Lanes<double> r, Lanes<double> &slope) {
  const double cutoff = envelope[0], r0 = envelope[1];
  const int p = int(envelope[2]);
  r = smaller(r, splat(cutoff));
  Lanes<double> x, climb;
  transform_distance(r, transform, x, climb);
  int interval[LANES];
  const Lanes<double> at = spline_interval(x, grid, interval);
  double powers[4 * LANES];
  for (int half = 0; half < LANES; half += 4) {
    auto a = load_four(table + 4 * interval[half]), b = load_four(table + 4 * interval[half + 1]);
    auto c = load_four(table + 4 * interval[half + 2]), d = load_four(table + 4 * interval[half + 3]);
    turn(a, b, c, d);
    store_four(powers + half, a);
    store_four(powers + LANES + half, b);
    store_four(powers + 2 * LANES + half, c);
    store_four(powers + 3 * LANES + half, d);
  }
  const Lanes<double> c1 = load(powers + LANES), c2 = load(powers + 2 * LANES), c3 = load(powers + 3 * LANES);
  const Lanes<double> value = load(powers) + at * (c1 + at * (c2 + at * c3));
  const Lanes<double> rise = (c1 + at * (splat(2.0) * c2 + at * (splat(3.0) * c3))) * splat(1.0 / grid[1]);
  double end = 1.0;
  for (int k = 0; k < p; k++) end *= r0 / cutoff;
  const double end_slope = p * end * (r0 / cutoff);
  const Lanes<double> ratio = splat(r0) / r, decay = power(ratio, p);
  const Lanes<double> shape = decay - splat(end) + (r * splat(1.0 / r0) - splat(cutoff / r0)) * splat(end_slope);
  const Lanes<double> shape_slope = (splat(end_slope) - decay * ratio * splat(double(p))) * splat(1.0 / r0);
  slope = value * shape_slope + rise * climb * shape;
  return value * shape;
}

// Half the ZBL repulsion of one neighbour (Ziegler, Biersack, Littmark, 1985) and its slope by r.
inline double core_potential(const double *core, double r, double &slope) {
  static const double amplitude[4] = {0.18175, 0.50986, 0.28022, 0.02817};
  static const double decay[4] = {3.19980, 0.94229, 0.40290, 0.20162};
  double screening = 0.0, screening_slope = 0.0;
  for (int k = 0; k < 4; k++) {
    const double part = amplitude[k] * std::exp(-decay[k] * r / core[1]);
    screening += part;
    screening_slope -= part * decay[k] / core[1];
  }
  const double x = r / core[2], x5 = x * x * x * x * x;
  const double end = 1.0 - x5 * x * (28.0 - x * (48.0 - 21.0 * x));
  const double end_slope = -168.0 * x5 * (1.0 - x) * (1.0 - x) / core[2];
  const double value = 0.5 * core[0] / r * screening * end;
  slope = 0.5 * core[0] / r * (screening_slope * end + screening * end_slope) - value / r;
  return value;
}

// Sums of radial rows times harmonics over neighbour vectors, eight partial sums each.
template <class T, int H, int N>
DISTILL_INLINE void add_up(const T *radial, size_t radial_step, const T *y, size_t y_step, const int *harmonic,
                           int n_vectors, T *sums) {
  Lanes<T> sum[N][H];
  for (int n = 0; n < N; n++)
    for (int h = 0; h < H; h++) sum[n][h] = splat(T(0));
  for (int v = 0; v < n_vectors; v++) {
    Lanes<T> angular[H];
    for (int h = 0; h < H; h++) angular[h] = load(y + v * y_step + harmonic[h] * LANES);
    for (int n = 0; n < N; n++) {
      const Lanes<T> row = load(radial + v * radial_step + 2 * n * LANES);
      for (int h = 0; h < H; h++) sum[n][h] = sum[n][h] + row * angular[h];
    }
  }
  for (int n = 0; n < N; n++)
    for (int h = 0; h < H; h++) store<T>(sums + (n * H + h) * LANES, sum[n][h]);
}

template <class T, int H>
void add_up_group(const ShellGroup &group, const T *radial, size_t radial_step, const T *y, size_t y_step,
                  int n_vectors, T *sums) {
  constexpr int N = H == 1 ? 4 : 2;
  int n = 0;
  for (; n + N <= group.count; n += N)
    add_up<T, H, N>(radial + 2 * (group.row + n) * LANES, radial_step, y, y_step, group.harmonic, n_vectors,
                    sums + n * H * LANES);
  for (; n < group.count; n++)
    add_up<T, H, 1>(radial + 2 * (group.row + n) * LANES, radial_step, y, y_step, group.harmonic, n_vectors,
                    sums + n * H * LANES);
}

// Embeds one atom's neighbours of one element and adds to its one-particle functions.
template <class T>
void embed(const Tables<T> &t, int kind, int slots, int kept, int count, int lane, Workspace<T> &w) {
  const int n_vectors = vectors_of(count), n_harmonics = (t.largest_l + 1) * (t.largest_l + 1);
  const size_t radial_step = size_t(2) * t.n_rows * LANES, y_step = size_t(n_harmonics) * LANES;
  for (int v = 0; v < n_vectors; v++) {
    const double *at = w.slot_vector + size_t(slots + v) * SPACE * LANES;
    const Lanes<double> x = load(at), y = load(at + LANES), z = load(at + 2 * LANES);
    const Lanes<double> r = square_root(x * x + y * y + z * z), inverse = splat(1.0) / r;
    double *geometry = w.geometry + size_t(kept + v) * GEOMETRY * LANES;
    const Lanes<double> ux = x * inverse, uy = y * inverse, uz = z * inverse;
    store<double>(geometry, ux);
    store<double>(geometry + LANES, uy);
    store<double>(geometry + 2 * LANES, uz);
    store<double>(geometry + 3 * LANES, inverse);
    Lanes<double> argument, slope, shape, shape_slope;
    transform_distance(r, t.transform + 7 * kind, argument, slope);
    envelope_of_x(argument, t.envelope + 5 * kind, shape, shape_slope);
    int interval[LANES];
    const Lanes<double> b = spline_interval(argument, t.grid, interval), c = splat(1.0) - b;
    const Lanes<double> b2 = b * b, c2 = c * c, three = splat(3.0), six = splat(6.0), four = splat(4.0);
    const Lanes<double> spline[4] = {c2 * c, b2 * (three * b - six) + four, c2 * (three * c - six) + four, b2 * b};
    const Lanes<double> rise[4] = {splat(-0.5) * c2, b * (splat(1.5) * b - splat(2.0)),
                                   c * (splat(2.0) - splat(1.5) * c), splat(0.5) * b2};
    const Lanes<double> sixth = splat(1.0 / 6.0) * shape, sixth_slope = splat(1.0 / 6.0) * shape_slope * slope;
    const Lanes<double> stretch = shape * slope * splat(1.0 / t.grid[1]);
    T weights[8 * LANES];
    for (int k = 0; k < 4; k++) {
      store<T>(weights + k * LANES, converted<T>(spline[k] * sixth));
      store<T>(weights + (4 + k) * LANES, converted<T>(spline[k] * sixth_slope + rise[k] * stretch));
    }
    radial_rows(t.splines + t.spline_first[kind], t.row_width[kind], weights, interval, w.rows,
                w.radial + (kept + v) * radial_step);
    harmonics<T, false>(t, converted<T>(ux), converted<T>(uy), converted<T>(uz), w.harmonics + v * y_step);
  }
  const T *radial = w.radial + kept * radial_step;
  const int first = t.group_of_pair[kind], last = t.group_of_pair[kind + 1];
  if (first == last) return;
  const int offset = t.groups[first].first;
  int end = 0;
  for (int g = first; g < last; g++) {
    const ShellGroup &group = t.groups[g];
    T *sums = w.sums + size_t(group.first - offset) * LANES;
    end = group.first - offset + group.count * group.harmonics;
    if (group.harmonics == 1) add_up_group<T, 1>(group, radial, radial_step, w.harmonics, y_step, n_vectors, sums);
    if (group.harmonics == 2) add_up_group<T, 2>(group, radial, radial_step, w.harmonics, y_step, n_vectors, sums);
    if (group.harmonics == 3) add_up_group<T, 3>(group, radial, radial_step, w.harmonics, y_step, n_vectors, sums);
  }
  for (int k = 0; k < end; k += 4) {
    const auto found = four_totals(w.sums + k * LANES);
    for (int n = 0; n < 4 && k + n < end; n++)
      w.value[size_t(t.one_particle[offset + k + n]) * LANES + lane] += found[n];
  }
}

// Energies of eight atoms of one element, and their derivatives by all values.
template <class T>
Lanes<T> product_energy(const Tables<T> &t, const Coefficients<T> &model, int centre, const T *value, T *adjoint) {
  const T *node = model.node + size_t(centre) * t.n_nodes, *leaf = model.leaf + size_t(centre) * t.n_leaves;
  // Two sums side by side, so that one is added to while the other is waited for.
  Lanes<T> energy = splat(T(0)), more = splat(T(0));
  int i = 0;
  for (; i + 2 <= t.n_nodes; i += 2) {
    const Lanes<T> weight = splat(node[i]), next = splat(node[i + 1]);
    store<T>(adjoint + i * LANES, weight);
    store<T>(adjoint + (i + 1) * LANES, next);
    energy = energy + weight * load(value + i * LANES);
    more = more + next * load(value + (i + 1) * LANES);
  }
  for (; i < t.n_nodes; i++) {
    store<T>(adjoint + i * LANES, splat(node[i]));
    energy = energy + splat(node[i]) * load(value + i * LANES);
  }
  if (t.pairs.n_rows) {
    const T *entry = model.entry + size_t(centre) * t.pairs.n_entries;
    for (int k = t.n_nodes; k < t.n_values; k++) store<T>(adjoint + k * LANES, splat(T(0)));
    energy = energy + pair_products(t.pairs, entry, value, adjoint);
    pull_back_pairs(t.pairs, value, adjoint);
  }
  for (int group = 0; group < t.n_groups; group++) {
    const int parent = t.group_parent[group] * LANES;
    const Lanes<T> parent_value = load(value + parent);
    Lanes<T> sum = splat(T(0)), other = splat(T(0));
    const int last = t.group_first[group + 1];
    int k = t.group_first[group];
    for (; k + 2 <= last; k += 2) {
      const int factor = t.leaf_factor[k] * LANES, second = t.leaf_factor[k + 1] * LANES;
      const Lanes<T> weight = splat(leaf[k]), next = splat(leaf[k + 1]);
      sum = sum + weight * load(value + factor);
      other = other + next * load(value + second);
      store<T>(adjoint + factor, load(adjoint + factor) + weight * parent_value);
      store<T>(adjoint + second, load(adjoint + second) + next * parent_value);
    }
    if (k < last) {
      const int factor = t.leaf_factor[k] * LANES;
      const Lanes<T> weight = splat(leaf[k]);
      sum = sum + weight * load(value + factor);
      store<T>(adjoint + factor, load(adjoint + factor) + weight * parent_value);
    }
    sum = sum + other;
    more = more + sum * parent_value;
    store<T>(adjoint + parent, load(adjoint + parent) + sum);
  }
  for (int i = t.n_own_nodes - 1; i >= 0; i--) {
    const int parent = t.node_parent[i] * LANES, factor = t.node_factor[i] * LANES;
    const Lanes<T> slope = load(adjoint + (t.n_one + i) * LANES);
    store<T>(adjoint + parent, load(adjoint + parent) + slope * load(value + factor));
    store<T>(adjoint + factor, load(adjoint + factor) + slope * load(value + parent));
  }
  return energy + more;
}

// Adds one group's part to the slope by r and to the gradient by the unit vector.
template <class T, int H>
DISTILL_INLINE void pull_group(const ShellGroup &group, const T *weights, const T *radial, const T *harmonics,
                               Lanes<T> &along, Lanes<T> &gx, Lanes<T> &gy, Lanes<T> &gz) {
  Lanes<T> value[H], slope[H];
  for (int h = 0; h < H; h++) value[h] = slope[h] = splat(T(0));
  const T *row = radial + 2 * group.row * LANES;
  for (int n = 0; n < group.count; n++) {
    const Lanes<T> r = load(row + 2 * n * LANES), climb = load(row + (2 * n + 1) * LANES);
    for (int h = 0; h < H; h++) {
      const Lanes<T> weight = splat(weights[n * H + h]);
      value[h] = value[h] + weight * r;
      slope[h] = slope[h] + weight * climb;
    }
  }
  for (int h = 0; h < H; h++) {
    const T *y = harmonics + group.harmonic[h] * 4 * LANES;
    along = along + slope[h] * load(y);
    gx = gx + value[h] * load(y + LANES);
    gy = gy + value[h] * load(y + 2 * LANES);
    gz = gz + value[h] * load(y + 3 * LANES);
  }
}

struct Tally {
  double *forces, *atom_virial, *centroid_virial;
  Lanes<double> virial[9];
};

// What each of a vector's neighbours adds to the virials of atoms.
inline void tally_atoms(Tally &tally, int i, const int *atoms, int real, const double *vector, const double *gradient) {
  static const int first[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2}, second[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
  for (int k = 0; k < real; k++) {
    const int64_t j = atoms[k];
    double w[9];
    for (int c = 0; c < 9; c++) w[c] = -vector[first[c] * LANES + k] * gradient[second[c] * LANES + k];
    if (tally.centroid_virial)
      for (int c = 0; c < 9; c++) tally.centroid_virial[9 * j + c] += w[c];
    if (tally.atom_virial)
      for (int c = 0; c < 6; c++) {
        const double half = c < 3 ? 0.5 * w[c] : 0.25 * (w[c] + w[c + 3]);
        tally.atom_virial[6 * j + c] += half;
        tally.atom_virial[6 * int64_t(i) + c] += half;
      }
  }
}

// Pushes one atom's neighbours of one element by minus the gradients of its energy.
template <class T>
void pull_back(const Tables<T> &t, const Coefficients<T> &model, bool with_core, int kind, int i, int slots, int kept,
               int count, const T *weights, Workspace<T> &w, Tally &tally, Lanes<double> &own_x, Lanes<double> &own_y,
               Lanes<double> &own_z, double &energy) {
  const int first = t.group_of_pair[kind], last = t.group_of_pair[kind + 1];
  const int offset = first < last ? t.groups[first].first : 0;
  const int n_harmonics = (t.largest_l + 1) * (t.largest_l + 1);
  const double *table = model.pair + size_t(kind) * 4 * (int(t.pair_grid[2]) - 1);
  T *angular = w.harmonics;
  (void)n_harmonics;
  Lanes<double> pair_energy = splat(0.0);
  for (int v = 0; v < vectors_of(count); v++) {
    const double *geometry = w.geometry + size_t(kept + v) * GEOMETRY * LANES;
    const double *vector = w.slot_vector + size_t(slots + v) * SPACE * LANES;
    const int *atoms = w.slot_atom + size_t(slots + v) * LANES;
    const int real = count - v * LANES < LANES ? count - v * LANES : LANES;
    const Lanes<double> ux = load(geometry), uy = load(geometry + LANES), uz = load(geometry + 2 * LANES);
    const Lanes<double> inverse = load(geometry + 3 * LANES);
    Lanes<double> pair_slope;
    pair_energy = pair_energy + pair_potential(table, t.pair_transform + 7 * kind, t.pair_envelope + 3 * kind,
                                               t.pair_grid, splat(1.0) / inverse, pair_slope);
    if (with_core && t.core[3 * kind] > 0.0) {
      double slopes[LANES], inverses[LANES];
      store<double>(slopes, pair_slope);
      store<double>(inverses, inverse);
      for (int k = 0; k < real; k++) {
        const double r = 1.0 / inverses[k];
        if (r >= t.core[3 * kind + 2]) continue;
        double slope;
        energy += core_potential(t.core + 3 * kind, r, slope);
        slopes[k] += slope;
      }
      pair_slope = load(slopes);
    }
    harmonics<T, true>(t, converted<T>(ux), converted<T>(uy), converted<T>(uz), angular);
    const T *radial = w.radial + size_t(kept + v) * 2 * t.n_rows * LANES;
    Lanes<T> along = splat(T(0)), ax = along, ay = along, az = along;
    for (int g = first; g < last; g++) {
      const ShellGroup &group = t.groups[g];
      const T *mine = weights + (group.first - offset);
      if (group.harmonics == 1) pull_group<T, 1>(group, mine, radial, angular, along, ax, ay, az);
      if (group.harmonics == 2) pull_group<T, 2>(group, mine, radial, angular, along, ax, ay, az);
      if (group.harmonics == 3) pull_group<T, 3>(group, mine, radial, angular, along, ax, ay, az);
    }
    Lanes<double> gx = widened(ax), gy = widened(ay), gz = widened(az);
    const Lanes<double> slope = widened(along) + pair_slope - (ux * gx + uy * gy + uz * gz) * inverse;
    gx = gx * inverse + slope * ux;
    gy = gy * inverse + slope * uy;
    gz = gz * inverse + slope * uz;
    static const double ones[2 * LANES] = {1, 1, 1, 1, 1, 1, 1, 1};
    const Lanes<double> mask = load(ones + LANES - real);
    gx = gx * mask;
    gy = gy * mask;
    gz = gz * mask;
    own_x = own_x + gx;
    own_y = own_y + gy;
    own_z = own_z + gz;
    double gradient[3 * LANES];
    store<double>(gradient, gx);
    store<double>(gradient + LANES, gy);
    store<double>(gradient + 2 * LANES, gz);
    for (int k = 0; k < real; k++) {
      double *force = tally.forces + 3 * int64_t(atoms[k]);
      force[0] -= gradient[k];
      force[1] -= gradient[LANES + k];
      force[2] -= gradient[2 * LANES + k];
    }
    for (int a = 0; a < 3; a++) {
      const Lanes<double> r = load(vector + a * LANES);
      tally.virial[3 * a] = tally.virial[3 * a] - r * gx;
      tally.virial[3 * a + 1] = tally.virial[3 * a + 1] - r * gy;
      tally.virial[3 * a + 2] = tally.virial[3 * a + 2] - r * gz;
    }
    if (tally.atom_virial || tally.centroid_virial) tally_atoms(tally, i, atoms, real, vector, gradient);
  }
  energy += total<double>(pair_energy);
}

// Deviations of the energies of eight atoms over the committee.
template <class T>
void member_deviations(const Tables<T> &t, int centre, const int *atoms, int n_atoms, Workspace<T> &w,
                       double *deviations) {
  T *features = w.features, *member_value = w.member_value;
  for (int k = 0; k < t.n_one * LANES; k++) member_value[k] = w.value[k];
  for (int i = 0; i < t.n_member_nodes; i++)
    store<T>(member_value + (t.n_one + i) * LANES, load(member_value + t.member_parent[i] * LANES) *
                                                       load(member_value + t.member_factor[i] * LANES));
  store<T>(member_value + (t.n_one + t.n_member_nodes) * LANES, splat(T(1)));
  for (int f = 0; f < t.n_functions; f++) {
    Lanes<T> sum = splat(T(0));
    for (int k = t.function_first[f]; k < t.function_first[f + 1]; k++)
      sum = sum + splat(t.coefficient[k]) * (load(member_value + size_t(t.parent[k]) * LANES) *
                                             load(member_value + size_t(t.factor[k]) * LANES));
    store<T>(features + f * LANES, sum);
  }
  const int n_features = t.n_functions + t.n_species * t.pair_rows;
  for (int k = t.n_functions * LANES; k < n_features * LANES; k++) features[k] = 0;
  for (int lane = 0; lane < n_atoms; lane++)
    for (int e = 0; e < t.n_species; e++) {
      const int kind = centre * t.n_species + e;
      const int *place = w.place + (lane * t.n_species + e) * 3;
      const double *envelope = t.pair_envelope + 3 * kind;
      for (int n = 0; n < place[2]; n++) {
        const double inverse = w.geometry[(size_t(place[1] + n / LANES) * GEOMETRY + 3) * LANES + n % LANES];
        const Lanes<double> r = smaller(splat(1.0 / inverse), splat(envelope[0]));
        Lanes<double> x, unused;
        transform_distance(r, t.pair_transform + 7 * kind, x, unused);
        int interval[LANES];
        double at[LANES], distance[LANES];
        store<double>(at, spline_interval(x, t.pair_grid, interval));
        store<double>(distance, r);
        const double b = at[0], c = 1.0 - b, ratio = envelope[1] / envelope[0];
        const int p = int(envelope[2]);
        double end = 1.0, decay = 1.0;
        for (int k = 0; k < p; k++) {
          end *= ratio;
          decay *= envelope[1] / distance[0];
        }
        const double shape =
            (decay - end + (distance[0] - envelope[0]) / envelope[1] * p * end * ratio) / 6.0;
        T *to = features + (t.n_functions + e * t.pair_rows + interval[0]) * LANES + lane;
        to[0] += T(shape * c * c * c);
        to[LANES] += T(shape * (b * b * (3.0 * b - 6.0) + 4.0));
        to[2 * LANES] += T(shape * (c * c * (3.0 * c - 6.0) + 4.0));
        to[3 * LANES] += T(shape * b * b * b);
      }
    }
  const T *weights = t.member_weights + size_t(centre) * n_features * t.n_members;
  for (int lane = 0; lane < n_atoms; lane++) deviations[atoms[lane]] = 0.0;
  for (int first = 0; first < t.n_members; first += 4) {
    Lanes<T> e0 = splat(T(0)), e1 = e0, e2 = e0, e3 = e0;
    for (int k = 0; k < n_features; k++) {
      const Lanes<T> value = load(features + k * LANES);
      const T *mine = weights + size_t(k) * t.n_members + first;
      e0 = e0 + value * splat(mine[0]);
      e1 = e1 + value * splat(mine[1]);
      e2 = e2 + value * splat(mine[2]);
      e3 = e3 + value * splat(mine[3]);
    }
    T squared[LANES];
    store<T>(squared, (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3));
    for (int lane = 0; lane < n_atoms; lane++) deviations[atoms[lane]] += squared[lane];
  }
}

template <class T>
size_t workspace_bytes(const Tables<T> &t, int most) {
  return workspace_at(t, most, nullptr).bytes;
}

template <class T>
void evaluate(const Tables<T> &t, const Input &in, Output &out, int n_models, int most, void *memory) {
  Workspace<T> w = workspace_at(t, most, static_cast<char *>(memory));
  const int n_species = t.n_species;
  Tally tally[4];
  for (int m = 0; m < n_models; m++) {
    tally[m] = {out.forces[m], m ? nullptr : out.atom_virial, m ? nullptr : out.centroid_virial, {}};
    for (auto &each : tally[m].virial) each = splat(0.0);
  }
  for (int64_t start = 0; start < in.n_centres;) {
    const int *atoms = in.centres + start;
    const int centre = in.species[atoms[0]];
    int n_atoms = 1;
    while (n_atoms < LANES && start + n_atoms < in.n_centres && in.species[atoms[n_atoms]] == centre) n_atoms++;
    start += n_atoms;
    gather(t, in, atoms, n_atoms, w);
    for (size_t k = 0; k < size_t(t.n_one) * LANES; k++) w.value[k] = 0;
    for (int lane = 0; lane < n_atoms; lane++)
      for (int e = 0; e < n_species; e++) {
        const int *place = w.place + (lane * n_species + e) * 3;
        if (place[2]) embed(t, centre * n_species + e, place[0], place[1], place[2], lane, w);
      }
    for (int i = 0; i < t.n_own_nodes; i++)
      store<T>(w.value + (t.n_one + i) * LANES,
               load(w.value + t.node_parent[i] * LANES) * load(w.value + t.node_factor[i] * LANES));
    couple_pairs(t.pairs, w.value, w.products);
    if (out.deviations) member_deviations(t, centre, atoms, n_atoms, w, out.deviations);
    for (int m = 0; m < n_models; m++) {
      const Coefficients<T> &model = t.model[m];
      T energies[LANES];
      store<T>(energies, product_energy(t, model, centre, w.value, w.adjoint));
      for (int lane = 0; lane < n_atoms; lane++) {
        const int i = atoms[lane];
        double energy = model.one_body[centre] + double(energies[lane]);
        Lanes<double> own_x = splat(0.0), own_y = own_x, own_z = own_x;
        for (int e = 0; e < n_species; e++) {
          const int *place = w.place + (lane * n_species + e) * 3;
          const int kind = centre * n_species + e;
          if (!place[2]) continue;
          const int first = t.group_of_pair[kind], last = t.group_of_pair[kind + 1];
          const int begin = first < last ? t.groups[first].first : 0;
          const int end = first < last ? t.groups[last - 1].first + t.groups[last - 1].count * t.groups[last - 1].harmonics : 0;
          for (int k = begin; k < end; k++)
            w.weights[k - begin] = w.adjoint[size_t(t.one_particle[k]) * LANES + lane];
          pull_back(t, model, m == 0, kind, i, place[0], place[1], place[2], w.weights, w, tally[m], own_x, own_y,
                    own_z, energy);
        }
        double *force = out.forces[m] + 3 * int64_t(i);
        force[0] += total<double>(own_x);
        force[1] += total<double>(own_y);
        force[2] += total<double>(own_z);
        if (m == 0) out.energies[i] = energy;
      }
    }
  }
  for (int k = 0; k < 9; k++) out.virial[k] += total<double>(tally[0].virial[k]);
}

}  // namespace distill_kernels
}  // namespace

#endif
