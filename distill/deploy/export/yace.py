"""The student as a `.yace` file for ML-PACE (`pair_style pace`), checked before it is kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.core.artifacts import sha256, write_json, write_text
from distill.core.errors import UserError
from distill.core.progress import say
from distill.deploy.export.yace_products import Products, complex_products
from distill.deploy.export.yace_radial import (
    INNER_WIDTH,
    SPACINGS,
    RadialTargets,
    fit_series,
    tabulation_error,
)

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student

Array = NDArray[np.float64]
PairDistances = Mapping[tuple[str, str], float]

TOLERANCE = 1e-5
# Lengths of the series that are tried; those that miss the pair potentials are not compared.
LENGTHS = (200, 300, 450, 700, 1000, 1400, 2000)
# The file's repulsive core begins at this part of r0, or of the shortest distance that is known.
_INNER, _INNER_OF_SHORTEST = 0.45, 0.9
# Part of the tolerance that ML-PACE's tables may take.
_TABLE_SHARE = 0.2


@dataclass(frozen=True)
class YaceReport:
    """What an accepted `.yace` file is; stored beside it as JSON.

    Attributes
    ----------
    student_sha256
        Of the student file it stands for.
    functions
        Length of the radial series (`nradbase`).
    spacing
        Of ML-PACE's tables (`deltaSplineBins`), Å.
    products
        Products of each element.
    inner
        Distances below which the file has a repulsive core in place of the student, Å.
    file_mb, memory_mb
        Size of the file, and of the tables in each process that loads it, 10⁶ bytes.
    tolerance
        Asked for, eV/Å.
    structures
        Number of structures compared, by kind.
    force, energy
        Largest differences to the student by kind, eV/Å and eV/atom.
    tabulation
        What ML-PACE's tables add at most to the slope of a pair potential, eV/Å.
    """

    student_sha256: str
    functions: int
    spacing: float
    products: dict[str, int]
    inner: dict[str, float]
    file_mb: float
    memory_mb: float
    tolerance: float
    structures: dict[str, int]
    force: dict[str, float]
    energy: dict[str, float]
    tabulation: float


def export_yace(
    student: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    structures: Sequence[Atoms] = (),
    tolerance: float = TOLERANCE,
) -> YaceReport:
    """Write a student as `.yace`, read it back with ace-jax, compare, and keep it if it agrees.

    Writes OUTPUT and OUTPUT.json.

    Parameters
    ----------
    student
        Student file.
    output
        File to write.
    structures
        Of the training set, to compare on; dimers, trimers and strained cells are added.
    tolerance
        Largest difference of any force component that is accepted, eV/Å.

    Raises
    ------
    UserError
        If ace-jax is missing, a structure has elements that the student lacks, or no series that
        is tried meets the tolerance.
    """
    from distill.deploy.export.yace_check import Comparison, sample_structures
    from distill.student.student_model import Student

    if tolerance <= 0:
        raise UserError(f"export: expected a tolerance above 0 eV/Å, found {tolerance:g}")
    model = Student.load(student)
    if not structures:
        say("export: no training structures given: compared on crystals, dimers and trimers alone")
    inner = inner_distances(model, structures)
    comparison = Comparison(model, sample_structures(model, structures, inner))
    products = complex_products(model)
    targets = bond_targets(model, products, inner)
    spacing, tabulation = _table_spacing(targets.values(), tolerance)
    smallest = np.inf
    for functions in LENGTHS:
        series = {bond: fit_series(target, functions) for bond, target in targets.items()}
        worst = max(error for _, error in series.values())
        if worst > tolerance and functions != LENGTHS[-1]:
            continue
        coefficients = {bond: found for bond, (found, _) in series.items()}
        text = yace_text(model, products, targets, coefficients, spacing)
        with tempfile.TemporaryDirectory() as folder:
            candidate = Path(folder, "student.yace")
            candidate.write_text(text, encoding="utf-8")
            differences = comparison.run(candidate)
        largest = max(differences.force.values())
        smallest = min(smallest, largest)
        say(f"export: series of {functions}: forces differ by up to {largest:.2g} eV/Å")
        if largest <= tolerance:
            break
    else:
        raise UserError(
            f"export: no series of up to {LENGTHS[-1]} of ML-PACE's radial functions meets "
            f"{tolerance:g} eV/Å: forces differ by {smallest:.2g} eV/Å at the least. No file was "
            "written. Give a larger --tolerance: far below the student's own errors it loses "
            "nothing, and a shorter series is faster in ML-PACE"
        )
    report = YaceReport(
        student_sha256=sha256(student),
        functions=functions,
        spacing=spacing,
        products={
            symbol: sum(len(ms) for _, ms, _ in mine)
            for symbol, mine in zip(model.elements, products.functions, strict=True)
        },
        inner={"-".join(pair): distance for pair, distance in inner.items()},
        file_mb=1e-6 * len(text),
        memory_mb=_table_megabytes(targets, products, functions, spacing),
        tolerance=tolerance,
        structures=comparison.counts,
        force=differences.force,
        energy=differences.energy,
        tabulation=tabulation,
    )
    write_text(output, text)
    write_json(f"{output}.json", asdict(report))
    _say_report(report, output)
    return report


def inner_distances(student: Student, structures: Sequence[Atoms]) -> dict[tuple[str, str], float]:
    """Distances that no structure comes near, Å, for each ordered pair of elements.

    Parameters
    ----------
    student
        The model.
    structures
        Known structures; without them 0.45 r0 is taken.
    """
    from distill.student.engine.evaluate import species_indices
    from distill.student.engine.neighbours import list_neighbours

    r0 = student.basis.transform[..., 4]
    distances = _INNER * (r0 + r0.T) / 2
    for atoms in structures:
        species = species_indices(student.elements, atoms)
        near = list_neighbours(atoms, float(r0.max()))
        lengths = np.linalg.norm(near.vectors, axis=1)
        pairs = np.repeat(species, np.diff(near.first)), species[near.neighbour]
        np.minimum.at(distances, pairs, _INNER_OF_SHORTEST * lengths)
    distances = np.maximum(np.minimum(distances, distances.T), 2 * INNER_WIDTH)
    return {
        (first, second): float(distances[i, j])
        for i, first in enumerate(student.elements)
        for j, second in enumerate(student.elements)
    }


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


def _say_report(report: YaceReport, output: str | os.PathLike[str]) -> None:
    for kind, count in report.structures.items():
        say(
            f"  {kind} ({count}): forces within {report.force[kind]:.2g} eV/Å, energies within "
            f"{report.energy[kind]:.2g} eV/atom"
        )
    say(
        f"export: wrote {output} ({report.file_mb:.3g} MB; {sum(report.products.values())} "
        f"products, series of {report.functions}); ML-PACE needs {report.memory_mb:.0f} MB of "
        "tables in each process"
    )
    distances = ", ".join(f"{pair} {distance:.2f} Å" for pair, distance in report.inner.items())
    say(f"  a repulsive core replaces the student below {distances}")
