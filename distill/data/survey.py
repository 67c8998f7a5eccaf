"""What is in a file of structures: elements, kinds of systems, labels and their keys, flaws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.input_files import resolve_file
from distill.core.quantities import ENERGY_KEY, FORCES_KEY, STRESS_KEY
from distill.data.isolated_atoms import is_isolated_atom, isolated_energies
from distill.data.label_keys import LabelKeys, label_names, take_labels
from distill.data.reference_energies import composition_matrix, least_squares_shifts
from distill.data.repeated_structures import repetitions
from distill.data.splits import sources_of
from distill.data.structure_formats import read_frames
from distill.data.structures import (
    check_structures,
    config_type,
    elements_of,
    reference_energy,
    reference_forces,
    reference_stress,
)

if TYPE_CHECKING:
    from ase import Atoms

    from distill.data.extxyz_frames import Frame

MOLECULE, SURFACE, BULK, LIQUID = "molecule", "surface", "bulk", "liquid"
KINDS = (MOLECULE, SURFACE, BULK, LIQUID)
# A layer without atoms as thick as this parts a slab from its images, Å.
_VACUUM = 6.0
_LIQUID_WORDS = ("liquid", "melt", "molten", "amorph", "water", "solution")
# Robust standard deviations, and eV/atom at least.
_FAR, _FAR_AT_LEAST = 20.0, 0.5
_DEFAULTS = {"energy": ENERGY_KEY, "forces": FORCES_KEY, "stress": STRESS_KEY, "virial": ""}


@dataclass(frozen=True)
class Survey:
    """What a set of structures is.

    Attributes
    ----------
    path
        As it was given.
    structures, atoms
        Number of structures, and smallest and largest number of atoms.
    elements
        Chemical symbols, by atomic number.
    kinds
        How many structures with interaction are molecules, surfaces, bulk, liquids.
    keys
        Keys of energy, forces, stress and virial, as `DataConfig` names them; those at their
        defaults, or found under ASE's own names, are left out.
    labelled
        How many structures carry an energy, forces, a stress.
    config_types
        How many of each.
    free_atoms
        Energies of isolated atoms, eV by symbol; None for one without an energy.
    trajectories
        Runs of several frames.
    repeated
        Structures that equal an earlier one.
    outliers
        Structures whose energy is far from the best fit to compositions, by index.
    example
        Index of the structure to start dynamics from: of the commonest kind, lowest in energy per
        atom where there are energies.
    neighbour
        Median distance to the nearest neighbour, Å; None for isolated atoms alone.
    """

    path: str
    structures: int
    atoms: tuple[int, int]
    elements: tuple[str, ...]
    kinds: dict[str, int]
    keys: dict[str, str]
    labelled: dict[str, int]
    config_types: dict[str, int]
    free_atoms: dict[str, float | None]
    trajectories: int
    repeated: list[int]
    outliers: list[int]
    example: int
    neighbour: float | None

    @property
    def kind(self) -> str:
        """The commonest kind of system."""
        return max(self.kinds, key=lambda kind: self.kinds[kind])

    @property
    def is_labelled(self) -> bool:
        """Whether every structure has energy and forces."""
        return self.labelled["energy"] == self.labelled["forces"] == self.structures


def survey(path: str) -> tuple[Survey, list[Atoms]]:
    """Look at a file of structures.

    Parameters
    ----------
    path
        A file that ASE reads, or `bundled:NAME`.

    Returns
    -------
    (Survey, list of Atoms)
        What is in it, and the structures with labels under the REF_ keys.

    Raises
    ------
    UserError
        If the file is missing, empty or damaged, holds isolated atoms only, or labels some of its
        structures and others not.
    """
    file = resolve_file(path)
    frames, format_name = read_frames(file)
    if not frames:
        raise UserError(f"{file} holds no structure, read as {format_name}")
    keys = _keys(frames)
    names = LabelKeys(
        energy=keys.get("energy", ENERGY_KEY),
        forces=keys.get("forces", FORCES_KEY),
        stress=keys.get("stress", STRESS_KEY),
        virial=keys.get("virial"),
    )
    take_labels(frames, names, require=(), file=file, format_name=format_name)
    structures = check_structures([frame.atoms for frame in frames], require=(), origin=f"{file}: ")
    alone = [is_isolated_atom(atoms) for atoms in structures]
    if all(alone):
        raise UserError(f"{file} holds only isolated atoms; expected structures with interaction")
    labelled = {
        "energy": sum(reference_energy(a) is not None for a in structures),
        "forces": sum(reference_forces(a) is not None for a in structures),
        "stress": sum(reference_stress(a) is not None for a in structures),
    }
    _refuse_half_labelled(file.name, structures)
    interacting = [i for i, single in enumerate(alone) if not single]
    kinds = {i: kind_of(structures[i]) for i in interacting}
    counts = Counter(kinds.values())
    energies = isolated_energies([a for a, single in zip(structures, alone, strict=True) if single])
    free = [a.get_chemical_symbols()[0] for a, s in zip(structures, alone, strict=True) if s]
    sources = Counter(sources_of(structures))
    commonest = max(KINDS, key=lambda kind: counts[kind])
    found = Survey(
        path=path,
        structures=len(structures),
        atoms=(min(map(len, structures)), max(map(len, structures))),
        elements=elements_of(structures),
        kinds={kind: counts[kind] for kind in KINDS if counts[kind]},
        keys=keys,
        labelled=labelled,
        config_types=dict(sorted(Counter(map(config_type, structures)).items())),
        free_atoms={symbol: energies.get(symbol) for symbol in dict.fromkeys(free)},
        trajectories=sum(count > 1 for count in sources.values()),
        repeated=[later for _, later, _ in repetitions(structures)],
        outliers=_far(structures, interacting),
        example=_example(structures, [i for i in interacting if kinds[i] == commonest]),
        neighbour=_neighbour([structures[i] for i in interacting]),
    )
    return found, structures


def kind_of(atoms: Atoms) -> str:
    """What kind of system a structure is, by its periodicity, its vacuum and its config type.

    A cell with a layer of vacuum along one direction is a surface, along all that are periodic a
    molecule; what its config type calls a liquid is one.
    """
    repeats = atoms.pbc & ~vacuum_layers(atoms)
    if repeats.sum() <= 1:
        return MOLECULE
    if repeats.sum() == 2:
        return SURFACE
    named = config_type(atoms).lower()
    return LIQUID if any(word in named for word in _LIQUID_WORDS) else BULK


def survey_text(found: Survey) -> str:
    """A survey in lines for people."""
    low, high = found.atoms
    keys = ", ".join(f"{label} under '{key}'" for label, key in found.keys.items())
    parts = [
        f"{found.path}: {found.structures} structures of {low} to {high} atoms, "
        f"{', '.join(found.elements)}",
        "  systems: " + ", ".join(f"{count} {kind}" for kind, count in found.kinds.items()),
        "  labels: "
        + (
            ", ".join(f"{name} in {count}" for name, count in found.labelled.items())
            if any(found.labelled.values())
            else "none"
        )
        + (f" ({keys})" if keys else ""),
        "  config types: " + ", ".join(f"{k} {n}" for k, n in found.config_types.items()),
    ]
    if found.free_atoms:
        energies = ", ".join(
            symbol if energy is None else f"{symbol} {energy:.4f} eV"
            for symbol, energy in found.free_atoms.items()
        )
        parts.append(f"  isolated atoms: {energies}")
    elif any(found.labelled.values()):
        parts.append(
            "  isolated atoms: none; energies of dissociation need them: add a structure of each "
            "atom alone, without a cell or in a large one, labelled as the others"
        )
    if found.trajectories:
        parts.append(f"  trajectories of several frames: {found.trajectories}; each is kept whole")
    for name, indices in (("repeated", found.repeated), ("far in energy", found.outliers)):
        if indices:
            shown = ", ".join(map(str, indices[:10])) + (" ..." if len(indices) > 10 else "")
            parts.append(f"  structures {name}: {len(indices)} (indices {shown})")
    return "\n".join(parts)


def _keys(frames: Sequence[Frame]) -> dict[str, str]:
    """Keys that are to be named: where nothing is under a default key or ASE's own names."""
    chosen: dict[str, str] = {}
    for label, names in label_names(frames).items():
        own = any(name.lower() == _DEFAULTS[label].lower() for name in names)
        standard = any(name in ("energy", "free_energy", "forces", "stress") for name in names)
        if not names or own or standard:
            continue
        if label == "virial" and any(frame.results.get("stress") is not None for frame in frames):
            continue
        # Of several the one that most frames have; DFT's before another method's.
        chosen[label] = max(names, key=lambda n: (names[n], "dft" in n.lower(), -len(n)))
    if "virial" in chosen and "stress" in chosen:
        del chosen["virial"]
    return chosen


def _refuse_half_labelled(name: str, structures: Sequence[Atoms]) -> None:
    for label, value in (("energy", reference_energy), ("forces", reference_forces)):
        lacking = [i for i, atoms in enumerate(structures) if value(atoms) is None]
        if lacking and len(lacking) < len(structures):
            raise UserError(
                f"{name}: structure {lacking[0]} and {len(lacking) - 1} others of "
                f"{len(structures)} have no {label}, the rest has: give a file in which all or "
                "none are labelled"
            )


def vacuum_layers(atoms: Atoms) -> np.ndarray:
    """Along which cell vectors a layer without atoms lies, shape (3,)."""
    found = np.zeros(3, dtype=bool)
    if not atoms.pbc.any() or atoms.cell.rank != 3:
        return found
    scaled = atoms.get_scaled_positions(wrap=True)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell[:]), axis=0)
    for axis in np.flatnonzero(atoms.pbc):
        places = np.sort(scaled[:, axis])
        gaps = np.diff([*places, places[0] + 1.0])
        found[axis] = gaps.max() * heights[axis] > _VACUUM
    return found


def _far(structures: Sequence[Atoms], members: Sequence[int]) -> list[int]:
    known = [i for i in members if reference_energy(structures[i]) is not None]
    if len(known) < 10:
        return []
    chosen = [structures[i] for i in known]
    counts = composition_matrix([a.get_chemical_symbols() for a in chosen], elements_of(chosen))
    energies = np.array([reference_energy(a) for a in chosen], dtype=float)
    shifts, _ = least_squares_shifts(counts, energies)
    apart = (energies - counts @ shifts) / counts.sum(axis=1)
    apart -= np.median(apart)
    bound = max(_FAR * 1.4826 * float(np.median(np.abs(apart))), _FAR_AT_LEAST)
    return [known[k] for k in np.flatnonzero(np.abs(apart) > bound)]


def _example(structures: Sequence[Atoms], members: Sequence[int]) -> int:
    """The largest structure, and among equally large ones the lowest in energy."""

    def rank(index: int) -> tuple[int, float]:
        energy = reference_energy(structures[index])
        return -len(structures[index]), energy if energy is not None else 0.0

    return min(members, key=rank)


def _neighbour(structures: Sequence[Atoms]) -> float | None:
    from ase.neighborlist import neighbor_list

    shortest = []
    for atoms in structures[:: max(len(structures) // 20, 1)]:
        first, distances = neighbor_list("id", atoms, 4.5)
        nearest = np.full(len(atoms), np.inf)
        np.minimum.at(nearest, first, distances)
        shortest += [d for d in nearest if np.isfinite(d)]
    return float(np.median(shortest)) if shortest else None
