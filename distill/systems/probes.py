"""What a model says of simple systems: energy-volume curves of crystals, energies of dimers.

The crystals and the reference points beside the curves come from the labelled structures at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from distill.core.results import Record
from distill.data.structures import reference_energy, reference_forces
from distill.systems.equation_of_state import equation_of_state, fit_birch_murnaghan

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

MOST_CRYSTALS = 2
_MOST_ELEMENTS = 3
_STRAIN, _VOLUMES = 0.04, 15
_DISTANCES = 36
# Shortest distance of a dimer, in sums of covalent radii.
_CLOSEST = 0.8
_BEYOND_CUTOFF = 0.5
# A gap between atoms that is wider than this is vacuum, Å.
_VACUUM = 5.0
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Crystal:
    """A bulk structure, and the reference energies of its uniformly scaled copies.

    Attributes
    ----------
    name
        Chemical formula, reduced.
    atoms
        The copy with the lowest energy per atom; without labels or calculator.
    volumes, energies
        Å³/atom and eV/atom of all copies, ascending in volume.
    """

    name: str
    atoms: Atoms
    volumes: tuple[float, ...]
    energies: tuple[float, ...]


class CrystalCurve(Record):
    """An energy-volume curve.

    Attributes
    ----------
    volumes, energies
        Å³/atom, and eV/atom above the minimum.
    volume, bulk_modulus_GPa
        Of the Birch-Murnaghan fit, Å³/atom and GPa.
    """

    volumes: list[float]
    energies: list[float]
    volume: float
    bulk_modulus_GPa: float


class DimerCurve(Record):
    """Energy of two atoms, eV, over their distance, Å; zero far apart."""

    distances: list[float]
    energies: list[float]


def crystals_of(structures: Sequence[Atoms]) -> list[Crystal]:
    """One crystal of each composition: the one of which there are most uniformly scaled copies.

    Where no structure has scaled copies, the one with the smallest forces is taken. Those with the
    most copies come first, `MOST_CRYSTALS` at most.

    Parameters
    ----------
    structures
        With labels; those without a bulk phase are passed over.
    """
    families: list[list[Atoms]] = []
    for atoms in structures:
        if reference_energy(atoms) is None or not _is_bulk(atoms):
            continue
        for family in families:
            if _is_scaled_copy(atoms, family[0]):
                family.append(atoms)
                break
        else:
            families.append([atoms])
    best: dict[str, list[Atoms]] = {}
    for family in sorted(families, key=lambda f: (-len(f), _largest_force(f[0]))):
        best.setdefault(_reduced_formula(family[0]), family)
    return [_crystal(name, family) for name, family in best.items()][:MOST_CRYSTALS]


def energy_volume(crystal: Crystal, calculator: Calculator) -> CrystalCurve:
    """Energy-volume curve of a crystal with a calculator.

    Raises
    ------
    UserError
        If there is no minimum; see `distill.systems.equation_of_state.equation_of_state`.
    """
    found = equation_of_state(crystal.atoms, calculator, strain=_STRAIN, points=_VOLUMES)
    count = len(crystal.atoms)
    return CrystalCurve(
        volumes=[volume / count for volume in found["volumes"]],
        energies=[energy / count - found["energy_per_atom"] for energy in found["energies"]],
        volume=found["volume_per_atom"],
        bulk_modulus_GPa=found["bulk_modulus_GPa"],
    )


def energy_volume_of_data(crystal: Crystal) -> CrystalCurve | None:
    """The same from the reference energies of the scaled copies; None where they are too few."""
    from ase.units import GPa

    try:
        fit = fit_birch_murnaghan(crystal.volumes, crystal.energies)
    except ValueError:
        # Too few points, or not around a minimum.
        return None
    if not min(crystal.volumes) < fit.volume < max(crystal.volumes):
        return None
    return CrystalCurve(
        volumes=list(crystal.volumes),
        energies=[e - fit.energy for e in crystal.energies],
        volume=fit.volume,
        bulk_modulus_GPa=fit.bulk_modulus / GPa,
    )


def dimer_pairs(elements: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of elements, the lightest first; of the first three elements where there are more."""
    from ase.data import atomic_numbers

    ordered = sorted(elements, key=lambda symbol: int(atomic_numbers[symbol]))[:_MOST_ELEMENTS]
    return list(combinations_with_replacement(ordered, 2))


def dimer(pair: tuple[str, str], calculator: Calculator, cutoff: float) -> DimerCurve:
    """Energy of two atoms over their distance, relative to the largest distance.

    Parameters
    ----------
    pair
        Chemical symbols.
    calculator
        Any ASE calculator; the atoms lie in a periodic box without neighbours in reach.
    cutoff
        The curve ends a little beyond it, Å.
    """
    from ase import Atoms
    from ase.data import atomic_numbers, covalent_radii

    closest = _CLOSEST * sum(float(covalent_radii[atomic_numbers[symbol]]) for symbol in pair)
    farthest = cutoff + _BEYOND_CUTOFF
    distances = np.geomspace(closest, farthest, _DISTANCES)
    box = 2 * farthest + 1
    energies = []
    for distance in distances:
        atoms = Atoms(list(pair), [[0, 0, 0], [0, 0, distance]], cell=[box] * 3, pbc=True)
        atoms.calc = calculator
        energies.append(float(atoms.get_potential_energy()))
    return DimerCurve(
        distances=distances.tolist(), energies=[energy - energies[-1] for energy in energies]
    )


def dimers_of_data(structures: Sequence[Atoms]) -> dict[tuple[str, str], DimerCurve]:
    """Free dimers among labelled structures, by pair of symbols.

    Energies are relative to the free atoms of the same data; pairs whose atoms are not there are
    left out, as their energies have no zero.
    """
    single: dict[str, float] = {}
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for atoms in structures:
        energy = reference_energy(atoms)
        if energy is None or not _is_free(atoms):
            continue
        symbols = atoms.get_chemical_symbols()
        if len(atoms) == 1:
            single[symbols[0]] = energy
        elif len(atoms) == 2:
            first, second = sorted(zip(atoms.numbers, symbols, strict=True))
            distance = float(atoms.get_distance(0, 1, mic=bool(atoms.pbc.any())))
            pairs.setdefault((first[1], second[1]), []).append((distance, energy))
    return {
        pair: DimerCurve(
            distances=[distance for distance, _ in sorted(points)],
            energies=[e - single[pair[0]] - single[pair[1]] for _, e in sorted(points)],
        )
        for pair, points in pairs.items()
        if pair[0] in single and pair[1] in single
    }


def _crystal(name: str, family: Sequence[Atoms]) -> Crystal:
    points = sorted(
        (float(a.get_volume()) / len(a), energy / len(a), index)
        for index, a in enumerate(family)
        if (energy := reference_energy(a)) is not None
    )
    lowest = family[min(points, key=lambda point: point[1])[2]]
    bare = lowest.__class__(
        lowest.numbers, positions=lowest.positions, cell=lowest.cell, pbc=lowest.pbc
    )
    volumes, energies, _ = zip(*points, strict=True)
    return Crystal(name, bare, volumes, energies)


def _is_bulk(atoms: Atoms) -> bool:
    """Periodic in all directions, with no gap that a slab or molecule has around it."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        return False
    return all(gap < _VACUUM for gap in _gaps(atoms))


def _is_free(atoms: Atoms) -> bool:
    """Without periodic images in reach."""
    return all(
        not periodic or gap > _VACUUM
        for periodic, gap in zip(
            atoms.pbc, _gaps(atoms) if atoms.cell.rank == 3 else (), strict=False
        )
    )


def _gaps(atoms: Atoms) -> Iterator[float]:
    """Widest empty layer along each cell vector, Å, measured across the layer."""
    heights = 1 / np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    for axis, height in enumerate(heights):
        places = np.sort(atoms.get_scaled_positions(wrap=True)[:, axis])
        gaps = np.diff(np.append(places, places[0] + 1.0))
        yield float(gaps.max() * height)


def _is_scaled_copy(atoms: Atoms, other: Atoms) -> bool:
    if len(atoms) != len(other) or not np.array_equal(atoms.numbers, other.numbers):
        return False
    scale = (atoms.get_volume() / other.get_volume()) ** (1 / 3)
    if not np.allclose(atoms.cell[:], scale * other.cell[:], atol=_SAME_PLACE):
        return False
    apart = atoms.get_scaled_positions(wrap=False) - other.get_scaled_positions(wrap=False)
    return bool(np.abs(apart - np.round(apart)).max() < _SAME_PLACE)


def _largest_force(atoms: Atoms) -> float:
    forces = reference_forces(atoms)
    return 0.0 if forces is None else float(np.abs(forces).max())


def _reduced_formula(atoms: Atoms) -> str:
    return str(atoms.symbols.formula.reduce()[0])
