"""Students of two bodies as LAMMPS' tables: `pair_style table`, units metal.

A student of order 1 is a sum over pairs of atoms, so two atoms alone tell all of it. The file holds
the energy and force of each pair of elements on a grid of distances. LAMMPS knows no energy of a
free atom: those of the student stand in comments, and the energies of LAMMPS lack them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from ase import Atoms

from distill.core.errors import UserError
from distill.deploy.export.base import Draft, Exporter
from distill.models.base import Predictions

if TYPE_CHECKING:
    from distill.deploy.export.parity import PairDistances
    from distill.student.student_model import Student

# Distances in a table, the next tried where the splines between those before are too coarse.
_POINTS = (1000, 4000, 16000)
# The table goes on inwards to this part of the distances that are compared.
_START = 0.5
# LAMMPS reads the units in the first line.
_HEADER = "# UNITS: metal\n# energies without those of free atoms, which are in eV:"
_FREE_ATOM = "# free atom"


class PairTable(Exporter):
    """Tables of pair potentials for LAMMPS."""

    name: ClassVar = "pair_table"
    suffix: ClassVar = ".table"

    def write(
        self, student: Student, path: Path, *, tolerance: float, inner: PairDistances
    ) -> Iterator[Draft]:
        """Tables of more and more distances; see `Exporter.write`."""
        order = max(len(body) for body in student.basis.coupling.bodies)
        if order != 1:
            raise UserError(
                f"a table of pairs holds a student of order 1, found order {order}: fit one with "
                "student.order 1, or export as another format"
            )
        start = _START * min(inner.values())
        pairs = list(combinations_with_replacement(student.elements, 2))
        for points in _POINTS:
            free = [f"{_FREE_ATOM} {symbol} {student.e0[symbol]!r}" for symbol in student.elements]
            blocks = [_block(student, pair, start, points) for pair in pairs]
            path.write_text("\n".join([_HEADER, *free, *blocks]) + "\n", encoding="utf-8")
            keywords = ["_".join(pair) for pair in pairs]
            yield Draft(
                f"{points} distances a pair",
                {"points": points, "start": start, "keywords": keywords},
                [
                    f"LAMMPS: pair_style table spline {points}, then pair_coeff I J FILE KEYWORD "
                    f"with {', '.join(keywords)}",
                    "LAMMPS' energies lack those of the free atoms",
                ],
            )

    def read_back(self, path: Path, structures: Sequence[Atoms]) -> Predictions:
        """Sums over pairs with cubic splines through the tables, energies of free atoms added."""
        table = _Table(path)
        found = [table.predict(atoms) for atoms in structures]
        return Predictions(
            energies=np.array([energy for energy, _ in found]),
            forces=[forces for _, forces in found],
            stresses=[None] * len(found),
        )


def _block(student: Student, pair: tuple[str, str], start: float, points: int) -> str:
    """A table of one pair of elements, from two atoms at each distance, all evaluated at once."""
    distances = np.linspace(start, student.cutoff, points)
    dimers = Atoms(list(pair) * points, np.zeros((2 * points, 3)))
    dimers.positions[1::2, 0] = distances
    # Side by side, out of each other's reach.
    dimers.positions[:, 1] = 2 * student.cutoff * np.repeat(np.arange(points), 2)
    found = student.evaluate(dimers)
    energies = found.energies.reshape(points, 2).sum(axis=1) - sum(student.e0[s] for s in pair)
    rows = zip(distances, energies, found.forces[1::2, 0], strict=True)
    return "\n".join(
        ["", "_".join(pair), f"N {points} R {start!r} {student.cutoff!r}", ""]
        + [f"{number} {r:.12f} {e:.16e} {f:.16e}" for number, (r, e, f) in enumerate(rows, 1)]
    )


class _Table:
    """A file of tables as LAMMPS reads it: keyword, `N POINTS R FIRST LAST`, then the rows."""

    def __init__(self, path: Path) -> None:
        from scipy.interpolate import CubicSpline

        self.free: dict[str, float] = {}
        self.splines: dict[tuple[str, ...], CubicSpline] = {}
        self.cutoff = 0.0
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        while lines:
            line = lines.pop(0)
            if line.startswith(_FREE_ATOM):
                symbol, energy = line.removeprefix(_FREE_ATOM).split()
                self.free[symbol] = float(energy)
            if line.startswith("#"):
                continue
            _, count, _, _, last = lines.pop(0).split()
            rows = np.array([row.split() for row in lines[: int(count)]], dtype=float)
            del lines[: int(count)]
            self.splines[tuple(sorted(line.split("_")))] = CubicSpline(rows[:, 1], rows[:, 2:])
            self.cutoff = max(self.cutoff, float(last))

    def predict(self, atoms: Atoms) -> tuple[float, np.ndarray]:
        """Energy (eV) and forces (N, 3) (eV/Å) of a structure."""
        from ase.neighborlist import neighbor_list

        symbols = np.array(atoms.get_chemical_symbols())
        first, second, distances, vectors = neighbor_list("ijdD", atoms, self.cutoff)
        ends = np.sort(np.stack([symbols[first], symbols[second]], axis=1))
        energy, forces = sum(self.free[symbol] for symbol in symbols), np.zeros((len(atoms), 3))
        for pair, spline in self.splines.items():
            mine = (ends == pair).all(axis=1)
            energies, pulls = spline(distances[mine]).T
            # Each pair is listed from both of its ends.
            energy += 0.5 * energies.sum()
            along = vectors[mine] / distances[mine][:, None]
            np.add.at(forces, first[mine], -pulls[:, None] * along)
        return float(energy), forces
