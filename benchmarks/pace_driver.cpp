// Times ML-PACE on neighbour lists that a file holds; see pace.py.
//   pace_driver POTENTIAL.yace INPUT OUTPUT product|recursive REPEATS
// INPUT: int32 n_local, n_all, n_pairs; int32 element of each atom (n_all); double positions
// (n_all x 3), Angstrom; int32 first (n_local + 1); int32 neighbours (n_pairs).
// OUTPUT: double energies (n_local), forces (n_all x 3), processor seconds of each repeat.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "ace-evaluator/ace_c_basis.h"
#include "ace-evaluator/ace_evaluator.h"
#include "ace-evaluator/ace_recursive.h"

template <class T> static std::vector<T> take(FILE *file, size_t count) {
    std::vector<T> values(count);
    if (fread(values.data(), sizeof(T), count, file) != count) {
        fprintf(stderr, "the input is cut short\n");
        exit(1);
    }
    return values;
}

int main(int argc, char **argv) {
    if (argc != 6) return 1;
    ACECTildeBasisSet basis{std::string(argv[1])};
    FILE *in = fopen(argv[2], "rb");
    if (!in) return 1;
    auto sizes = take<int32_t>(in, 3);
    const int n_local = sizes[0], n_all = sizes[1];
    auto type = take<int32_t>(in, n_all);
    auto x = take<double>(in, 3 * (size_t) n_all);
    auto first = take<int32_t>(in, n_local + 1);
    auto neighbours = take<int32_t>(in, sizes[2]);
    fclose(in);
    std::vector<double *> rows(n_all);
    for (int i = 0; i < n_all; i++) rows[i] = &x[3 * (size_t) i];

    std::unique_ptr<ACEEvaluator> evaluator;
    if (std::string(argv[4]) == "recursive") {
        auto recursive = std::make_unique<ACERecursiveEvaluator>();
        recursive->set_recursive(true);
        recursive->set_basis(basis, 1);
        evaluator = std::move(recursive);
    } else {
        auto product = std::make_unique<ACECTildeEvaluator>();
        product->set_basis(basis);
        evaluator = std::move(product);
    }
    evaluator->element_type_mapping.init(basis.nelements);
    int most = 0;
    for (int k = 0; k < basis.nelements; k++) evaluator->element_type_mapping(k) = k;
    for (int i = 0; i < n_local; i++) most = std::max(most, first[i + 1] - first[i]);
    evaluator->resize_neighbours_cache(most);

    std::vector<double> energies(n_local), forces(3 * (size_t) n_all), seconds;
    for (int repeat = 0; repeat < atoi(argv[5]); repeat++) {
        const std::clock_t start = std::clock();
        std::fill(forces.begin(), forces.end(), 0.0);
        for (int i = 0; i < n_local; i++) {
            const int *list = &neighbours[first[i]];
            const int count = first[i + 1] - first[i];
            evaluator->compute_atom(i, rows.data(), type.data(), count, list);
            energies[i] = evaluator->e_atom;
            for (int k = 0; k < count; k++)
                for (int axis = 0; axis < 3; axis++) {
                    const double f = evaluator->neighbours_forces(k, axis);
                    forces[3 * (size_t) i + axis] += f;
                    forces[3 * (size_t) list[k] + axis] -= f;
                }
        }
        seconds.push_back(double(std::clock() - start) / CLOCKS_PER_SEC);
    }
    FILE *out = fopen(argv[3], "wb");
    fwrite(energies.data(), 8, energies.size(), out);
    fwrite(forces.data(), 8, forces.size(), out);
    fwrite(seconds.data(), 8, seconds.size(), out);
    fclose(out);
}
