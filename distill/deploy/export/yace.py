"""The student as a `.yace` file for ML-PACE (`pair_style pace`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from distill.core.config import Count, Section
from distill.deploy.export.base import Draft, Exporter
from distill.deploy.export.parity import PairDistances
from distill.deploy.export.yace_products import Products, complex_products
from distill.deploy.export.yace_radial import (
    INNER_WIDTH,
    SPACINGS,
    RadialTargets,
    fit_series,
    tabulation_error,
)
from distill.models.base import Predictions

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student

Array = NDArray[np.float64]

LENGTHS = (200, 300, 450, 700, 1000, 1400, 2000)
# Part of the tolerance that ML-PACE's tables may take.
_TABLE_SHARE = 0.2


class YaceConfig(Section):
    """Options of `.yace` files."""

    lengths: tuple[Count, ...] = Field(
        LENGTHS, min_length=1, description="lengths of the radial series, tried in this order"
    )


class Yace(Exporter):
    """`.yace` files of ML-PACE.

    Invariants, harmonics, one-body energies and species go over exactly; the radial functions
    become series of ML-PACE's own, of which the shortest that meets the tolerance is kept.
    """

    name: ClassVar[str] = "yace"
    suffix: ClassVar[str] = ".yace"
    Config: ClassVar[type[Section]] = YaceConfig
    config: YaceConfig

    def write(
        self, student: Student, path: Path, *, tolerance: float, inner: PairDistances
    ) -> Iterator[Draft]:
        """Write the student with longer and longer series.

        Series that miss the pair potentials are left out, all but the last of the lengths.
        """
        products = complex_products(student)
        targets = bond_targets(student, products, inner)
        spacing, tabulation = _table_spacing(targets.values(), tolerance)
        counts = {
            symbol: sum(len(ms) for _, ms, _ in mine)
            for symbol, mine in zip(student.elements, products.functions, strict=True)
        }
        distances = ", ".join(f"{'-'.join(pair)} {r:.2f} Å" for pair, r in inner.items())
        for functions in self.config.lengths:
            series = {bond: fit_series(target, functions) for bond, target in targets.items()}
            worst = max(error for _, error in series.values())
            if worst > tolerance and functions != self.config.lengths[-1]:
                continue
            coefficients = {bond: found for bond, (found, _) in series.items()}
            text = yace_text(student, products, targets, coefficients, spacing)
            path.write_text(text, encoding="utf-8")
            memory = _table_megabytes(targets, products, functions, spacing)
            details = {
                "functions": functions,
                "spacing": spacing,
                "tabulation": tabulation,
                "products": counts,
                "memory_mb": memory,
            }
            notes = (
                f"{sum(counts.values())} products; ML-PACE needs {memory:.0f} MB of tables in "
                "each process",
                f"a repulsive core replaces the student below {distances}",
            )
            yield Draft(f"series of {functions}", details, notes)

    def read_back(self, path: Path, structures: Sequence[Atoms]) -> Predictions:
        """What the file says, without ML-PACE's interpolation tables."""
        from distill.deploy.export.yace_evaluator import evaluate_yace
        from distill.deploy.export.yace_reader import read_yace

        return evaluate_yace(read_yace(path), structures)


def bond_targets(
    student: Student, products: Products, inner: PairDistances
) -> dict[tuple[int, int], RadialTargets]:
    """The functions that each ordered pair of element indices needs."""
    elements = student.elements
    return {
        (i, j): RadialTargets(
            student,
            i,
            j,
            order_one=products.order_one[i],
            columns=products.columns_of(j),
            inner=inner[elements[i], elements[j]],
        )
        for i in range(len(elements))
        for j in range(len(elements))
    }


def yace_text(
    student: Student,
    products: Products,
    targets: Mapping[tuple[int, int], RadialTargets],
    series: Mapping[tuple[int, int], Array],
    spacing: float,
) -> str:
    """The text of a `.yace` file (keys of ML-PACE, `ACECTildeBasisSet::load_yaml`).

    Parameters
    ----------
    student
        The model.
    products
        Its many-body part.
    targets
        The functions of each ordered pair of elements.
    series
        Their coefficients, (functions, 1 + columns), from `fit_series`.
    spacing
        Of ML-PACE's tables, Å.
    """
    from distill.student.engine.kernels.zbl import SCREENING, core_parameters

    elements = student.elements
    cores = core_parameters(elements).reshape(len(elements), len(elements), 3)
    lines = [
        f"elements: [{', '.join(elements)}]",
        f"E0: {_list(student.e0[symbol] for symbol in elements)}",
        f"deltaSplineBins: {spacing}",
        "embeddings:",
    ]
    for i in range(len(elements)):
        lines.append(
            f"  {i}: {{ndensity: 1, FS_parameters: [1.0, 1.0], "
            "npoti: FinnisSinclairShiftedScaled, rho_core_cutoff: 100000.0, "
            "drho_core_cutoff: 250.0}"
        )
    largest_n = max((n for _, n, _ in products.columns), default=1)
    largest_l = max((ell for _, _, ell in products.columns), default=0)
    lines.append("bonds:")
    for (i, j), target in targets.items():
        coefficients = series[i, j]
        functions = len(coefficients)
        zeros = _list(np.zeros(functions))
        texts = {
            column: _list(coefficients[:, 1 + place])
            for place, column in enumerate(products.columns_of(j))
        }
        table = ", ".join(
            "["
            + ", ".join(
                texts.get(products.columns.get((j, n, ell), -1), zeros)
                for ell in range(largest_l + 1)
            )
            + "]"
            for n in range(1, largest_n + 1)
        )
        # Half the bare repulsion of the nuclei, screened as ZBL has it where the core takes over.
        prefactor, length, _ = cores[i, j]
        r = target.inner - INNER_WIDTH / 2
        screening = sum(c * np.exp(-decay * r / length) for c, decay in SCREENING)
        lines.append(
            f"  [{i}, {j}]: {{nradmax: {largest_n}, lmax: {largest_l}, nradbasemax: {functions}, "
            f"radbasename: ChebExpCos, radparameters: [{_number(target.distortion)}], "
            f"prehc: {_number(prefactor / 2)}, lambdahc: {_number(-np.log(screening) / r**2)}, "
            f"rcut: {_number(target.cutoff)}, dcut: 0.0, rcut_in: {_number(target.inner)}, "
            f"dcut_in: {INNER_WIDTH}, inner_cutoff_type: distance, radcoefficients: [{table}]}}"
        )
    lines.append("functions:")
    for i in range(len(elements)):
        lines.append(f"  {i}:")
        for j in range(len(elements)):
            lines += [
                _function_line(i, ((j, n, 0),), [(0,)], [float(c)])
                for n, c in enumerate(series[i, j][:, 0], 1)
            ]
        lines += [_function_line(i, *function) for function in products.functions[i]]
    return "\n".join(lines) + "\n"


def _function_line(
    centre: int,
    factors: Sequence[tuple[int, int, int]],
    ms: Sequence[Sequence[int]],
    coefficients: Sequence[float],
) -> str:
    mus, ns, ls = (list(column) for column in zip(*factors, strict=True))
    return (
        f"    - {{mu0: {centre}, rank: {len(factors)}, ndensity: 1, num_ms_combs: {len(ms)}, "
        f"mus: {mus}, ns: {ns}, ls: {ls}, ms_combs: {[m for row in ms for m in row]}, "
        f"ctildes: {_list(coefficients)}}}"
    )


def _number(value: float) -> str:
    # With a point: YAML 1.1 takes 1e-7 for a word.
    return f"{value:.16e}"


def _list(values: Iterable[float]) -> str:
    return "[" + ", ".join(_number(value) for value in values) + "]"


def _table_spacing(targets: Iterable[RadialTargets], tolerance: float) -> tuple[float, float]:
    """The widest spacing of ML-PACE's tables that is fine enough, and what it adds."""
    listed = list(targets)
    for spacing in SPACINGS:
        error = max(tabulation_error(target, spacing) for target in listed)
        if error <= _TABLE_SHARE * tolerance:
            break
    return spacing, error


def _table_megabytes(
    targets: Mapping[Any, RadialTargets], products: Products, functions: int, spacing: float
) -> float:
    """Memory of ML-PACE's tables: four numbers for each bin, function and ordered pair."""
    largest_n = max((n for _, n, _ in products.columns), default=1)
    largest_l = max((ell for _, _, ell in products.columns), default=0)
    rows = functions + largest_n * (largest_l + 1) + 1
    bins = sum(int(target.cutoff / spacing) + 1 for target in targets.values())
    return 1e-6 * 4 * 8 * rows * bins
