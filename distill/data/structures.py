"""Labelled structures: reading, checking and writing them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.input_files import resolve_file
from distill.core.progress import listed, say
from distill.core.quantities import (
    CONFIG_TYPE_KEY,
    ENERGY_KEY,
    FORCES_KEY,
    PREDICTION_KEYS,
    STRESS_KEY,
)
from distill.data.label_keys import LabelKeys, take_labels
from distill.data.structure_formats import read_frames

if TYPE_CHECKING:
    from ase import Atoms

DEFAULT_CONFIG_TYPE = "default"
_ISOLATED = {"isolatedatom", "isolatedatoms"}
# An atom whose images are nearer than the sum of covalent radii and this is bound to them, Å.
_BOUND = 2.0
# No structure is larger, or thinner where it repeats itself, Å.
_LARGEST, _FLATTEST = 1e5, 0.1


def reference_energy(atoms: Atoms) -> float | None:
    """Total energy label, eV, or None."""
    value = atoms.info.get(ENERGY_KEY)
    return None if value is None else float(value)


def reference_forces(atoms: Atoms) -> np.ndarray | None:
    """Force labels, eV/Å, shape (N, 3), or None."""
    return atoms.arrays.get(FORCES_KEY)


def reference_stress(atoms: Atoms) -> np.ndarray | None:
    """Stress label, eV/Å³, Voigt order xx yy zz yz xz xy with ASE's sign, shape (6,), or None."""
    value = atoms.info.get(STRESS_KEY)
    return None if value is None else np.asarray(value, dtype=float)


def config_type(atoms: Atoms) -> str:
    """The structure's `config_type`, or `default`."""
    return str(atoms.info.get(CONFIG_TYPE_KEY, DEFAULT_CONFIG_TYPE))


def is_named_isolated(atoms: Atoms) -> bool:
    """Whether the structure's `config_type` says so: IsolatedAtom, isolated_atoms or the like."""
    return "".join(filter(str.isalpha, config_type(atoms).lower())) in _ISOLATED


def elements_of(*sets: Sequence[Atoms]) -> tuple[str, ...]:
    """Chemical symbols of all structures of some sets, by atomic number."""
    from ase.data import chemical_symbols

    numbers = {int(z) for structures in sets for atoms in structures for z in atoms.numbers}
    return tuple(chemical_symbols[z] for z in sorted(numbers))


def read_structures(
    path: str | os.PathLike[str],
    *,
    energy_key: str = ENERGY_KEY,
    forces_key: str = FORCES_KEY,
    stress_key: str = STRESS_KEY,
    virial_key: str | None = None,
    require: Sequence[str] = ("energy", "forces"),
    elements: Iterable[str] | None = None,
    max_force: float = np.inf,
    min_distance: float = 0.0,
) -> list[Atoms]:
    """Read every structure of a file and check it.

    Parameters
    ----------
    path
        A file that ASE reads (extxyz, ASE database, VASP's OUTCAR and vasprun.xml, CASTEP's
        .castep, ...), or `bundled:NAME`.
    energy_key, forces_key, stress_key, virial_key
        Where the labels are: energy in eV, forces in eV/Å, stress in eV/Å³ (ASE's sign), virial
        in eV (−stress × volume; used where there is no stress), whatever their case. Labels under
        none of the default keys are looked for under ASE's own names of results, of which
        `free_energy` is the energy that the forces are the gradient of.
    require
        Labels that each structure must carry: among energy, forces, stress.
    elements
        Chemical symbols that the model at hand knows; None allows all.
    max_force
        Structures with a larger force component norm (eV/Å) are listed and left out.
    min_distance
        Smallest distance allowed between two atoms, Å.

    Returns
    -------
    list of Atoms
        With labels under `REF_energy`, `REF_forces`, `REF_stress` (Voigt) and no calculator.

    Raises
    ------
    UserError
        For a missing, empty, truncated or unreadable file, and for structures with missing or
        non-finite labels, unknown elements, atoms on top of each other, pbc without a cell, or the
        name of an isolated atom for what is none;
        the message names the file and the structure's index.
    """
    file = resolve_file(path)
    keys = LabelKeys(energy_key, forces_key, stress_key, virial_key)
    frames, format_name = read_frames(file)
    if not frames:
        raise UserError(f"{file} holds no structure, read as {format_name}")
    take_labels(frames, keys, require=require, file=file, format_name=format_name)
    structures = [frame.atoms for frame in frames]
    check_structures(
        structures,
        require=require,
        elements=elements,
        min_distance=min_distance,
        origin=f"{file}: ",
    )
    return _without_large_forces(structures, max_force, file)


def check_structures(
    structures: list[Atoms],
    *,
    require: Sequence[str] = ("energy", "forces"),
    elements: Iterable[str] | None = None,
    min_distance: float = 0.0,
    origin: str = "",
) -> list[Atoms]:
    """The structures, all of which can be worked with.

    Parameters
    ----------
    structures
        With labels under the REF_ keys.
    require, elements, min_distance
        As for `read_structures`.
    origin
        Where they are from, for messages.

    Raises
    ------
    UserError
        As `read_structures`, naming the structure's index; also where there is none.
    """
    if not structures:
        raise UserError(f"{origin}there is no structure")
    known = None if elements is None else set(elements)
    for index, atoms in enumerate(structures):
        problem = _problem(atoms, require, known, min_distance)
        if problem:
            raise UserError(f"{origin}structure {index}: {problem}")
    return structures


def structures_of(frames: Any, *, require: Sequence[str] = ("energy", "forces")) -> list[Atoms]:
    """Structures in memory as they are, or those of a file, checked.

    Parameters
    ----------
    frames
        A structure, structures, or a file of them.
    require
        Labels that each must have.

    Raises
    ------
    UserError
        As `read_structures` and `check_structures`.
    """
    from ase import Atoms

    if isinstance(frames, Atoms):
        frames = [frames]
    if isinstance(frames, (str, os.PathLike)):
        return read_structures(frames, require=require)
    return check_structures(list(frames), require=require)


def write_structures(path: str | os.PathLike[str], structures: Sequence[Atoms]) -> None:
    """Write structures with their labels as extxyz, atomically."""
    from ase.io import write

    with atomic_path(path) as temporary:
        if structures:
            write(temporary, list(structures), format="extxyz")
        else:
            temporary.touch()


def set_labels(
    atoms: Atoms,
    *,
    energy: float | None = None,
    forces: np.ndarray | None = None,
    stress: np.ndarray | None = None,
) -> Atoms:
    """Put labels (eV, eV/Å, eV/Å³ Voigt) on `atoms` under the `REF_` keys; return `atoms`."""
    if energy is not None:
        atoms.info[ENERGY_KEY] = float(energy)
    if forces is not None:
        atoms.arrays[FORCES_KEY] = np.array(forces, dtype=float)
    if stress is not None:
        atoms.info[STRESS_KEY] = np.array(stress, dtype=float)
    return atoms


def with_predictions(atoms: Atoms, predicted: Atoms) -> Atoms:
    """A copy of `predicted` with its labels under `predicted_` keys, and the labels of `atoms`."""
    found = predicted.copy()
    for place, own in ((found.info, atoms.info), (found.arrays, atoms.arrays)):
        for label, key in PREDICTION_KEYS.items():
            if label in place:
                place[key] = place.pop(label)
            if label in own:
                place[label] = own[label]
    return found


def without_labels(atoms: Atoms) -> Atoms:
    """A copy without labels under the `REF_` keys."""
    bare = atoms.copy()
    for key in (ENERGY_KEY, STRESS_KEY):
        bare.info.pop(key, None)
    bare.arrays.pop(FORCES_KEY, None)
    return bare


def _problem(
    atoms: Atoms, require: Sequence[str], known: set[str] | None, min_distance: float
) -> str | None:
    """What is wrong with a structure, in one sentence, or None."""
    labels = {
        "energy": reference_energy(atoms),
        "forces": reference_forces(atoms),
        "stress": reference_stress(atoms),
    }
    if len(atoms) == 0:
        return "has no atoms"
    for name in require:
        if labels[name] is None:
            key = {"energy": ENERGY_KEY, "forces": FORCES_KEY, "stress": STRESS_KEY}[name]
            found = sorted({*atoms.info, *atoms.arrays} - {"numbers", "positions"})
            return (
                f"no {name}: expected the key '{key}' (or the one named in the config's data "
                f"section), found {', '.join(found) or 'no labels'}"
            )
    for name, value in (*labels.items(), ("positions", atoms.positions), ("cell", atoms.cell[:])):
        if value is not None and not np.all(np.isfinite(value)):
            return f"{name} is not finite (NaN or infinity)"
    if known is not None:
        missing = sorted(set(atoms.get_chemical_symbols()) - known)
        if missing:
            return f"element {', '.join(missing)} is not in the model (it knows {_join(known)})"
    problem = _cell_problem(atoms) or _isolation_problem(atoms)
    if problem:
        return problem
    if min_distance > 0:
        close = _closest_pair(atoms, min_distance)
        if close:
            i, j, distance = close
            return f"atoms {i} and {j} are {distance:.3f} Å apart, less than {min_distance} Å"
    return None


def _cell_problem(atoms: Atoms) -> str | None:
    largest = max(np.abs(atoms.positions).max(), np.abs(atoms.cell[:]).max())
    if largest > _LARGEST:
        return f"a coordinate or cell vector is {largest:.3g} Å long; expected at most {_LARGEST:g}"
    cell_rank = np.linalg.norm(atoms.cell[:], axis=1) > 1e-8
    if np.any(atoms.pbc & ~cell_rank):
        return f"pbc is {atoms.pbc.tolist()} but the cell has no vector along a periodic direction"
    periodic = atoms.cell[:][atoms.pbc]
    if len(periodic):
        # Heights of the cell over its periodic vectors: what neighbour searches step along.
        with np.errstate(over="ignore"):
            heights = 1.0 / np.linalg.norm(np.linalg.pinv(periodic, rcond=1e-12), axis=0)
        if heights.min() < _FLATTEST or np.linalg.matrix_rank(periodic, tol=1e-6) < len(periodic):
            return (
                f"the periodic cell is only {heights.min():.2g} Å thick: its vectors "
                "are too short, or lie in one plane or line"
            )
    return None


def _isolation_problem(atoms: Atoms) -> str | None:
    """Why a structure that is named an isolated atom is none."""
    from ase.data import covalent_radii

    if not is_named_isolated(atoms):
        return None
    named = f"its {CONFIG_TYPE_KEY} is {config_type(atoms)}"
    advice = "correct it, or leave the structure out"
    if len(atoms) > 1:
        formula = atoms.get_chemical_formula()
        return f"{named}, but it holds {len(atoms)} atoms ({formula}); expected one: {advice}"
    steps = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    steps = steps[np.any(steps, axis=1) & ~np.any(steps[:, ~atoms.pbc], axis=1)]
    nearest = np.linalg.norm(steps @ atoms.cell[:], axis=1).min(initial=np.inf)
    if nearest < 2 * covalent_radii[atoms.numbers[0]] + _BOUND:
        return (
            f"{named}, but its periodic image is {nearest:.2f} Å away, so it is a crystal: "
            f"{advice}, or give it a wider cell or none (pbc F)"
        )
    return None


def _closest_pair(atoms: Atoms, cutoff: float) -> tuple[int, int, float] | None:
    from ase.neighborlist import neighbor_list

    i, j, d = neighbor_list("ijd", atoms, cutoff)
    if len(d) == 0:
        return None
    first = int(np.argmin(d))
    return int(i[first]), int(j[first]), float(d[first])


def _without_large_forces(structures: list[Atoms], max_force: float, file: Path) -> list[Atoms]:
    kept, dropped = [], []
    for index, atoms in enumerate(structures):
        forces = reference_forces(atoms)
        largest = 0.0 if forces is None else float(np.linalg.norm(forces, axis=1).max())
        (dropped.append(f"{index} ({largest:.3g})") if largest > max_force else kept.append(atoms))
    if dropped:
        say(
            f"{file}: left out {len(dropped)} of {len(structures)} structures with a force above "
            f"{max_force:g} eV/Å: {listed(dropped)}"
        )
    if not kept:
        raise UserError(
            f"{file}: every structure has a force above {max_force:g} eV/Å; "
            "check the units or raise data.max_force"
        )
    return kept


def _join(symbols: Iterable[str]) -> str:
    return ", ".join(sorted(symbols))
