"""What holds atoms together: atomisation energies of molecules, cohesive energies of crystals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.core.results import Record
from distill.data.isolated_atoms import is_isolated_atom
from distill.data.structures import reference_energy

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Level:
    """One level of theory on some structures.

    Attributes
    ----------
    structures
        With its energies under REF_energy, eV; the same ones at each level.
    free_atoms
        Its energies of atoms without neighbours, eV by symbol.
    """

    structures: Sequence[Atoms]
    free_atoms: Mapping[str, float]


class Binding(Record):
    """The energy that parts a structure into free atoms.

    Attributes
    ----------
    formula, index, atoms
        Reduced formula, index of the structure and its number of atoms.
    energies
        eV/atom, by level; None where a level has no energy of it or lacks a free atom.
    """

    formula: str
    index: int
    atoms: int
    energies: dict[str, float | None]


def binding_energies(levels: Mapping[str, Level], *, most: int = 6) -> list[Binding]:
    """(Σ free atoms − energy) / N of the most strongly bound structure of each composition.

    Parameters
    ----------
    levels
        By name; the first one that knows a structure's free atoms chooses among those of a
        composition.
    most
        Compositions at most, the commonest ones first.

    Returns
    -------
    list of Binding
        Empty where no level has the free atoms of any structure.
    """
    groups: dict[str, list[int]] = {}
    for index, atoms in enumerate(next(iter(levels.values())).structures):
        if not is_isolated_atom(atoms):
            formula = atoms.symbols.formula.reduce()[0].format("metal")
            groups.setdefault(formula, []).append(index)
    found = []
    for formula, members in sorted(groups.items(), key=lambda entry: -len(entry[1])):
        tables = {
            index: {name: _energy(level, index) for name, level in levels.items()}
            for index in members
        }
        ranks = {
            index: next((e for e in table.values() if e is not None), None)
            for index, table in tables.items()
        }
        known = {index: energy for index, energy in ranks.items() if energy is not None}
        if known:
            best = max(known, key=lambda index: known[index])
            size = len(next(iter(levels.values())).structures[best])
            found.append(Binding(formula=formula, index=best, atoms=size, energies=tables[best]))
    return found[:most]


def _energy(level: Level, index: int) -> float | None:
    atoms = level.structures[index]
    energy = reference_energy(atoms)
    symbols = atoms.get_chemical_symbols()
    if energy is None or not set(symbols) <= set(level.free_atoms):
        return None
    return (sum(level.free_atoms[symbol] for symbol in symbols) - energy) / len(atoms)
