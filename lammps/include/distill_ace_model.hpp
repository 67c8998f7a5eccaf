// A student as read from its file, checked, and laid out for the kernels.

#ifndef DISTILL_ACE_MODEL_HPP
#define DISTILL_ACE_MODEL_HPP

#include <algorithm>
#include <memory>
#include <numeric>

#include "distill_ace_file.hpp"
#include "distill_ace_tables.hpp"

namespace distill {

// Members of the committee whose forces a grade looks at.
constexpr int FORCE_MEMBERS = 2;

// Memory on a boundary of 64 bytes, which vectors are loaded from.
template <class T>
class Aligned {
 public:
  Aligned() = default;
  template <class U>
  explicit Aligned(const std::vector<U> &values) : memory_(values.size() * sizeof(T) + 64) {
    std::copy(values.begin(), values.end(), data());
  }
  T *data() const {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    return reinterpret_cast<T *>((address + 63) / 64 * 64);
  }

 private:
  std::vector<char> memory_ = std::vector<char>(64);
};

template <class T>
class Model {
 public:
  std::vector<int> numbers;  // atomic numbers of the elements
  double cutoff = 0.0;       // the largest, Angstrom
  bool graded = false;
  std::vector<double> largest_energy_deviation, largest_force_deviation;  // of the training data, by element
  Tables<T> tables{};

  explicit Model(const ModelFile &file) {
    read_sizes(file);
    read_embedding(file);
    read_products(file);
    read_pairs(file);
    read_coefficients(file);
    read_committee(file);
    point();
  }
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

 private:
  int n_pairs_ = 0, pair_nodes_ = 0;
  std::vector<int32_t> row_width_, group_of_pair_, one_particle_;
  std::vector<int32_t> node_parent_, node_factor_, group_parent_, group_first_, leaf_factor_, leaf_order_;
  std::vector<int32_t> function_first_, parent_, factor_, member_parent_, member_factor_;
  std::map<std::string, std::vector<int32_t>> pairs_;
  std::vector<int64_t> spline_first_;
  std::vector<ShellGroup> groups_;
  std::vector<double> cutoff_, transform_, envelope_, grid_, pair_transform_, pair_envelope_, pair_grid_, core_;
  Aligned<T> splines_, norm_, recursion_, coefficient_, member_weights_, term_number_, back_number_;
  struct Folded {
    std::vector<double> one_body;
    Aligned<T> node, leaf, entry;
    Aligned<double> pair;
  };
  std::vector<Folded> models_;

  void read_sizes(const ModelFile &file) {
    const auto sizes = file.whole("sizes", 4, 1, 1 << 24);
    tables.n_species = sizes[0];
    tables.n_one = sizes[1];
    tables.n_nodes = sizes[2];
    tables.largest_l = file.whole("largest_l", 1, 0, 60)[0];
    tables.n_rows = sizes[3];
    if (tables.n_species > 118 || tables.n_rows % 8) file.damaged("its sizes do not fit together");
    n_pairs_ = tables.n_species * tables.n_species;
    for (int number : file.whole("elements", tables.n_species, 1, 118)) numbers.push_back(number);
  }

  void read_grid(const ModelFile &file, const std::string &name, std::vector<double> &grid) {
    grid = file.real(name, 3);
    if (!(grid[1] > 0.0) || !(grid[2] >= 2.0 && grid[2] <= 1048576.0)) file.damaged(name + " is no grid");
  }

  void check_exponents(const ModelFile &file, const std::vector<double> &table, int width,
                       std::initializer_list<int> places) const {
    for (size_t row = 0; row < table.size(); row += width)
      for (int place : places)
        if (!(table[row + place] >= 0.0 && table[row + place] <= 64.0)) file.damaged("an exponent is out of bounds");
  }

  void read_embedding(const ModelFile &file) {
    cutoff_ = file.real("cutoff", n_pairs_);
    for (double each : cutoff_)
      if (!(each > 0.0 && each <= 100.0)) file.damaged("a cutoff is out of bounds");
    cutoff = *std::max_element(cutoff_.begin(), cutoff_.end());
    transform_ = file.real("transform", 7 * n_pairs_);
    envelope_ = file.real("envelope", 5 * n_pairs_);
    pair_transform_ = file.real("pair_transform", 7 * n_pairs_);
    pair_envelope_ = file.real("pair_envelope", 3 * n_pairs_);
    check_exponents(file, transform_, 7, {0, 1});
    check_exponents(file, envelope_, 5, {2, 3});
    check_exponents(file, pair_transform_, 7, {0, 1});
    check_exponents(file, pair_envelope_, 3, {2});
    read_grid(file, "grid", grid_);
    read_grid(file, "pair_grid", pair_grid_);
    pair_nodes_ = int(pair_grid_[2]);
    core_ = file.real("core", 3 * n_pairs_);
    row_width_ = file.whole("row_count", n_pairs_, 8, tables.n_rows);
    const size_t length = file.length("splines");
    const std::vector<double> splines = file.real("splines", length);
    spline_first_ = file.long_whole("spline_first", n_pairs_, 0, int64_t(length));
    for (int pair = 0; pair < n_pairs_; pair++) {
      const int64_t end = spline_first_[pair] + int64_t(row_width_[pair]) * (int64_t(grid_[2]) + 2);
      if (row_width_[pair] % 8 || end > int64_t(length)) file.damaged("a table of splines is out of bounds");
    }
    read_shells(file);
    pack_splines(splines);
    const int n_harmonics = (tables.largest_l + 1) * (tables.largest_l + 1);
    norm_ = Aligned<T>(file.real("harmonic_norm", n_harmonics));
    std::vector<double> recursion;
    for (int l = 0; l <= tables.largest_l; l++)
      for (int m = 0; m <= tables.largest_l; m++) {
        recursion.push_back(l > m ? (2.0 * l - 1.0) / (l - m) : 0.0);
        recursion.push_back(l > m ? (l + m - 1.0) / (l - m) : 0.0);
      }
    recursion_ = Aligned<T>(recursion);
  }

  // Leaves out what pads a table beyond its rows in whole registers.
  void pack_splines(const std::vector<double> &splines) {
    std::vector<double> packed;
    const int step = sizeof(T) == 8 ? 4 : 8;
    for (int pair = 0; pair < n_pairs_; pair++) {
      int used = 1;
      const int end = group_of_pair_[pair + 1];
      for (int g = group_of_pair_[pair]; g < end; g++) used = std::max(used, groups_[g].row + groups_[g].count);
      const int width = (used + step - 1) / step * step, wide = row_width_[pair];
      const double *from = splines.data() + spline_first_[pair];
      spline_first_[pair] = int64_t(packed.size());
      row_width_[pair] = width;
      for (int node = 0; node < int(grid_[2]) + 2; node++)
        packed.insert(packed.end(), from + size_t(node) * wide, from + size_t(node) * wide + width);
    }
    splines_ = Aligned<T>(packed);
  }

  // Shells of one l that have the same rows go through the kernels by threes.
  void read_shells(const ModelFile &file) {
    const int n_shells = int(file.length("shell_harmonic"));
    const int n_harmonics = (tables.largest_l + 1) * (tables.largest_l + 1);
    const int n_members = int(file.length("one_particle"));
    const auto first = file.whole("shell_first", n_pairs_ + 1, 0, n_shells);
    const auto harmonic = file.whole("shell_harmonic", n_shells, 0, n_harmonics - 1);
    const auto row = file.whole("shell_row", n_shells, 0, tables.n_rows - 1);
    const auto start = file.whole("shell_start", n_shells + 1, 0, n_members);
    const auto member = file.whole("one_particle", n_members, 0, tables.n_one - 1);
    if (first[0] != 0 || first[n_pairs_] != n_shells) file.damaged("its shells do not fit together");
    for (int pair = 0; pair < n_pairs_; pair++) {
      group_of_pair_.push_back(int(groups_.size()));
      if (first[pair] > first[pair + 1]) file.damaged("its shells do not fit together");
      for (int shell = first[pair]; shell < first[pair + 1];) {
        ShellGroup group{row[shell], start[shell + 1] - start[shell], 0, int(one_particle_.size()), {}};
        if (group.count < 1 || group.row + group.count > row_width_[pair]) file.damaged("a shell is out of bounds");
        int next = shell;
        while (next < first[pair + 1] && group.harmonics < 3 && row[next] == group.row &&
               start[next + 1] - start[next] == group.count)
          group.harmonic[group.harmonics++] = harmonic[next++];
        for (int n = 0; n < group.count; n++)
          for (int h = 0; h < group.harmonics; h++) one_particle_.push_back(member[start[shell + h] + n]);
        groups_.push_back(group);
        shell = next;
      }
      if (one_particle_.size() - (groups_.empty() ? 0 : first_of(pair)) > size_t(tables.n_one))
        file.damaged("a one-particle function is in two shells");
    }
    group_of_pair_.push_back(int(groups_.size()));
  }

  size_t first_of(int pair) const {
    return group_of_pair_[pair] < int(groups_.size()) ? groups_[group_of_pair_[pair]].first : one_particle_.size();
  }

  void read_products(const ModelFile &file) {
    tables.n_own_nodes = int(file.length("node_parent"));
    tables.n_groups = int(file.length("group_parent"));
    tables.n_leaves = int(file.length("leaf_factor"));
    if (tables.n_one + tables.n_own_nodes != tables.n_nodes) file.damaged("its products do not fit together");
    node_parent_ = file.whole("node_parent", tables.n_own_nodes, 0, tables.n_nodes - 1);
    node_factor_ = file.whole("node_factor", tables.n_own_nodes, 0, tables.n_one - 1);
    group_parent_ = file.whole("group_parent", tables.n_groups, 0, tables.n_nodes - 1);
    group_first_ = file.whole("group_first", tables.n_groups + 1, 0, tables.n_leaves);
    leaf_factor_ = file.whole("leaf_factor", tables.n_leaves, 0, tables.n_one - 1);
    for (int i = 0; i < tables.n_own_nodes; i++)
      if (node_parent_[i] >= tables.n_one + i) file.damaged("a product comes before its parent");
    if (group_first_[0] != 0 || group_first_[tables.n_groups] != tables.n_leaves ||
        !std::is_sorted(group_first_.begin(), group_first_.end()))
      file.damaged("its products are not in order");
    sort_groups();
  }

  // Ends of runs in an array of `total` numbers, beginning with 0.
  const std::vector<int32_t> &read_ends(const ModelFile &file, const std::string &name, size_t count, int total) {
    auto &ends = pairs_[name] = file.whole(name, count + 1, 0, total);
    if (ends.front() != 0 || ends.back() != total || !std::is_sorted(ends.begin(), ends.end()))
      file.damaged(name + " is not in order");
    return ends;
  }

  const std::vector<int32_t> &read_pair(const ModelFile &file, const std::string &name, size_t count, int end) {
    return pairs_[name] = file.whole(name, count, 0, std::max(0, end - 1));
  }

  void read_pairs(const ModelFile &file) {
    tables.n_values = file.whole("n_values", 1, tables.n_nodes, 1 << 24)[0];
    const int blocks = int(file.length("block_first")), rows = int(file.length("row_value"));
    const int patterns = int(file.length("pattern_product")) - 1, targets = int(file.length("target_term")) - 1;
    const int products = int(file.length("product_first")), terms = int(file.length("term_product"));
    const int entries = int(file.length("entry_value")), components = int(file.length("target_value"));
    const auto &product_end = read_ends(file, "pattern_product", patterns, products);
    const auto &target_end = read_ends(file, "pattern_target", patterns, targets);
    const auto &target_term = read_ends(file, "target_term", targets, terms);
    const auto &product_term = read_ends(file, "product_term", products, terms);
    read_ends(file, "row_first", rows, entries);
    const auto &first = read_pair(file, "product_first", products, tables.n_one);
    const auto &second = read_pair(file, "product_second", products, tables.n_one);
    const auto &term_product = read_pair(file, "term_product", terms, products);
    const auto &back_target = read_pair(file, "back_target", terms, targets);
    int most = 0;
    for (int p = 0; p < patterns; p++) {
      const int n_products = product_end[p + 1] - product_end[p], n_targets = target_end[p + 1] - target_end[p];
      most = std::max(most, n_products);
      for (int k = target_term[target_end[p]]; k < target_term[target_end[p + 1]]; k++)
        if (term_product[k] >= n_products) file.damaged("a pair is of products that it has not");
      for (int k = product_term[product_end[p]]; k < product_term[product_end[p + 1]]; k++)
        if (back_target[k] >= n_targets) file.damaged("a product is part of pairs that it has not");
    }
    const auto &block_first = read_pair(file, "block_first", blocks, tables.n_one);
    const auto &block_second = read_pair(file, "block_second", blocks, tables.n_one);
    const auto &block_pattern = read_pair(file, "block_pattern", blocks, patterns);
    const auto &block_target = read_pair(file, "block_target", blocks, components);
    for (int b = 0; b < blocks; b++) {
      const int p = block_pattern[b];
      if (p >= patterns || block_target[b] + target_end[p + 1] - target_end[p] > components)
        file.damaged("a block of pairs is out of bounds");
      for (int k = product_end[p]; k < product_end[p + 1]; k++)
        if (block_first[b] + first[k] >= tables.n_one || block_second[b] + second[k] >= tables.n_one)
          file.damaged("a pair is of one-particle functions that are none");
    }
    for (int32_t value : read_pair(file, "target_value", components, tables.n_values))
      if (value < tables.n_nodes) file.damaged("a pair is written where it does not belong");
    const auto &row = read_pair(file, "row_value", rows, tables.n_values);
    const auto &size = pairs_["row_size"] = file.whole("row_size", rows, 1, 2 * 120 + 1);
    const auto &ends = pairs_["row_first"];
    const auto &entry = read_pair(file, "entry_value", entries, tables.n_values);
    for (int r = 0; r < rows; r++) {
      bool inside = row[r] + size[r] <= tables.n_values;
      for (int k = ends[r]; k < ends[r + 1]; k++) inside = inside && entry[k] + size[r] <= tables.n_values;
      if (!inside) file.damaged("a row of pairs is out of bounds");
    }
    term_number_ = Aligned<T>(file.real("term_number", terms));
    back_number_ = Aligned<T>(file.real("back_number", terms));
    auto at = [&](const char *name) { return pairs_.at(name).data(); };
    tables.pairs = {blocks, rows, entries, most,
                    at("block_first"), at("block_second"), at("block_pattern"), at("block_target"), at("target_value"),
                    at("pattern_product"), at("pattern_target"), at("product_first"), at("product_second"),
                    at("target_term"), at("term_product"), at("product_term"), at("back_target"),
                    term_number_.data(), back_number_.data(),
                    at("row_value"), at("row_size"), at("row_first"), at("entry_value")};
  }

  // Groups of one length follow each other, so that the processor foresees where their loops end.
  void sort_groups() {
    std::vector<int> order(tables.n_groups);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return group_first_[a + 1] - group_first_[a] < group_first_[b + 1] - group_first_[b];
    });
    std::vector<int32_t> parent, first{0}, factor;
    for (int group : order) {
      parent.push_back(group_parent_[group]);
      for (int k = group_first_[group]; k < group_first_[group + 1]; k++) {
        leaf_order_.push_back(k);
        factor.push_back(leaf_factor_[k]);
      }
      first.push_back(int32_t(factor.size()));
    }
    group_parent_ = parent;
    group_first_ = first;
    leaf_factor_ = factor;
  }

  // A model's coefficients; the pair potential's B-splines become powers of the place in an interval.
  Folded folded(const std::vector<double> &one_body, const double *node, const double *leaf, const double *pair,
                const double *entry) const {
    const size_t nodes = size_t(tables.n_species) * tables.n_nodes;
    std::vector<double> powers;
    for (int kind = 0; kind < n_pairs_; kind++)
      for (int k = 0; k + 1 < pair_nodes_; k++) {
        const double *b = pair + size_t(kind) * (pair_nodes_ + 2) + k;
        powers.push_back((b[0] + 4.0 * b[1] + b[2]) / 6.0);
        powers.push_back((b[2] - b[0]) / 2.0);
        powers.push_back((b[0] - 2.0 * b[1] + b[2]) / 2.0);
        powers.push_back((b[3] - 3.0 * b[2] + 3.0 * b[1] - b[0]) / 6.0);
      }
    std::vector<double> sorted;
    for (int e = 0; e < tables.n_species; e++)
      for (int k : leaf_order_) sorted.push_back(leaf[size_t(e) * tables.n_leaves + k]);
    const size_t entries = size_t(tables.n_species) * tables.pairs.n_entries;
    return {one_body, Aligned<T>(std::vector<double>(node, node + nodes)), Aligned<T>(sorted),
            Aligned<T>(std::vector<double>(entry, entry + entries)), Aligned<double>(powers)};
  }

  void read_coefficients(const ModelFile &file) {
    const size_t n = tables.n_species;
    const auto node = file.real("node", n * tables.n_nodes), leaf = file.real("leaf", n * tables.n_leaves);
    const auto pair = file.real("pair", size_t(n_pairs_) * (pair_nodes_ + 2));
    const auto entry = file.real("entry", n * tables.pairs.n_entries);
    models_.push_back(folded(file.real("one_body", n), node.data(), leaf.data(), pair.data(), entry.data()));
  }

  void read_committee(const ModelFile &file) {
    tables.n_models = 1;
    tables.pair_rows = pair_nodes_ + 2;
    if (!file.has("largest_energy")) return;
    graded = true;
    const size_t n = tables.n_species;
    largest_energy_deviation = file.real("largest_energy", n);
    largest_force_deviation = file.real("largest_force", n);
    tables.n_functions = int(file.length("function_first")) - 1;
    const int entries = int(file.length("parent"));
    function_first_ = file.whole("function_first", tables.n_functions + 1, 0, entries);
    if (!std::is_sorted(function_first_.begin(), function_first_.end())) file.damaged("its functions are not in order");
    const int own = tables.n_member_nodes = int(file.length("member_parent"));
    const int n_values = tables.n_one + own;
    member_parent_ = file.whole("member_parent", own, 0, n_values - 1);
    member_factor_ = file.whole("member_factor", own, 0, tables.n_one - 1);
    for (int i = 0; i < own; i++)
      if (member_parent_[i] >= tables.n_one + i) file.damaged("a product comes before its parent");
    // The number after the last node is one.
    parent_ = file.whole("parent", entries, 0, n_values);
    factor_ = file.whole("factor", entries, 0, n_values);
    coefficient_ = Aligned<T>(file.real("coefficient", entries));
    tables.n_members = file.whole("members", 1, 1, 1 << 16)[0];
    const int stored = (tables.n_members + 7) / 8 * 8;
    const size_t features = tables.n_functions + n * tables.pair_rows;
    member_weights_ = Aligned<T>(file.real("member_weights", n * features * stored));
    members_ = tables.n_members;
    tables.n_members = stored;
    const int with_forces = std::min(FORCE_MEMBERS, members_);
    const size_t nodes = n * tables.n_nodes, leaves = n * tables.n_leaves, rows = size_t(n_pairs_) * tables.pair_rows;
    const auto node = file.real("member_node", with_forces * nodes), leaf = file.real("member_leaf", with_forces * leaves);
    const auto pair = file.real("member_pair", with_forces * rows);
    const size_t with_pairs = n * tables.pairs.n_entries;
    const auto entry = file.real("member_entry", with_forces * with_pairs);
    for (int m = 0; m < with_forces; m++)
      models_.push_back(folded(std::vector<double>(n, 0.0), node.data() + m * nodes, leaf.data() + m * leaves,
                               pair.data() + m * rows, entry.data() + m * with_pairs));
    tables.n_models = 1 + with_forces;
  }

  int members_ = 0;

  void point() {
    tables.cutoff = cutoff_.data();
    tables.transform = transform_.data();
    tables.envelope = envelope_.data();
    tables.grid = grid_.data();
    tables.splines = splines_.data();
    tables.spline_first = spline_first_.data();
    tables.row_width = row_width_.data();
    tables.group_of_pair = group_of_pair_.data();
    tables.groups = groups_.data();
    tables.one_particle = one_particle_.data();
    tables.norm = norm_.data();
    tables.recursion = recursion_.data();
    tables.pair_transform = pair_transform_.data();
    tables.pair_envelope = pair_envelope_.data();
    tables.pair_grid = pair_grid_.data();
    tables.core = core_.data();
    tables.node_parent = node_parent_.data();
    tables.node_factor = node_factor_.data();
    tables.group_parent = group_parent_.data();
    tables.group_first = group_first_.data();
    tables.leaf_factor = leaf_factor_.data();
    tables.function_first = function_first_.data();
    tables.parent = parent_.data();
    tables.factor = factor_.data();
    tables.coefficient = coefficient_.data();
    tables.member_parent = member_parent_.data();
    tables.member_factor = member_factor_.data();
    tables.member_weights = member_weights_.data();
    for (size_t m = 0; m < models_.size(); m++)
      tables.model[m] = {models_[m].one_body.data(), models_[m].node.data(), models_[m].leaf.data(),
                         models_[m].entry.data(), models_[m].pair.data()};
  }

 public:
  int members() const { return members_; }
};

}  // namespace distill

#endif
