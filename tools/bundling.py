"""What the scripts that make the bundled data share: rounding, thinning, splitting, writing."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from distill.core.artifacts import sha256, write_json, write_text
from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY, FORCES_KEY, STRESS_KEY

DIGITS = 6
BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "distill" / "data" / "bundled"


def stream(seed: int, *unit: int) -> np.random.Generator:
    """The random stream of one unit of work."""
    return np.random.default_rng(np.random.SeedSequence([seed, *unit]))


def rounded(atoms: Atoms, config_type: str) -> Atoms:
    """A copy with positions and cell (Å) as they will be written, so that labels belong to them."""
    copy = Atoms(
        atoms.symbols,
        positions=atoms.positions.round(DIGITS),
        cell=atoms.cell.array.round(DIGITS),
        pbc=atoms.pbc,
    )
    copy.info[CONFIG_TYPE_KEY] = config_type
    return copy


def closest_contact(atoms: Atoms) -> float:
    """Shortest distance between two atoms under periodic boundaries, in Å (infinite for one)."""
    from ase.neighborlist import neighbor_list

    distances = neighbor_list("d", atoms, 3.5)
    return float(distances.min()) if len(distances) else float("inf")


def without_near_duplicates(structures: Sequence[Atoms], tolerance: float = 0.02) -> list[Atoms]:
    """Structures in order, without those within `tolerance` Å of an earlier one.

    Two structures of the same composition and config_type are compared by the root mean square
    difference of their sorted interatomic distances up to 6 Å, which knows nothing of where the
    structure lies or how it is turned.
    """
    kept: list[Atoms] = []
    seen: dict[tuple[str, str], list[np.ndarray]] = {}
    for atoms in structures:
        key = (atoms.get_chemical_formula(), atoms.info[CONFIG_TYPE_KEY])
        fingerprint = _sorted_distances(atoms)
        others = seen.setdefault(key, [])
        if all(_difference(fingerprint, other) > tolerance for other in others):
            others.append(fingerprint)
            kept.append(atoms)
    return kept


def _sorted_distances(atoms: Atoms) -> np.ndarray:
    from ase.neighborlist import neighbor_list

    first, second, distances = neighbor_list("ijd", atoms, 6.0)
    numbers = atoms.numbers
    # Light atoms first, so that a moved adsorbate is not drowned by the metal's many distances.
    order = np.lexsort((distances, numbers[first] + numbers[second]))
    light = numbers[first] + numbers[second] <= numbers.min() + numbers.max()
    chosen = order[light[order]]
    return distances[chosen]


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) != len(other):
        return float("inf")
    return float(np.sqrt(np.mean((one - other) ** 2))) if len(one) else 0.0


def split(
    structures: Sequence[Atoms], test_fraction: float, generator: np.random.Generator
) -> tuple[list[Atoms], list[Atoms]]:
    """Training and test structures, drawn by config_type so that both hold the same mixture.

    Isolated atoms stay in the training part: they set the energy zero, there is nothing to test.
    """
    by_type: dict[str, list[int]] = {}
    for index, atoms in enumerate(structures):
        by_type.setdefault(atoms.info[CONFIG_TYPE_KEY], []).append(index)
    test: set[int] = set()
    for config_type in sorted(by_type):
        indices = by_type[config_type]
        if config_type != "IsolatedAtom":
            count = round(test_fraction * len(indices))
            test.update(generator.choice(indices, size=count, replace=False).tolist())
    train = [atoms for index, atoms in enumerate(structures) if index not in test]
    return train, [structures[index] for index in sorted(test)]


def write_compact_extxyz(path: Path, structures: Sequence[Atoms]) -> None:
    """Extended XYZ with six decimals and single spaces: a third smaller than ASE's own layout."""
    buffer = io.StringIO()
    write(buffer, list(structures), format="extxyz", write_results=False)
    lines = []
    for line in buffer.getvalue().splitlines():
        if "Properties=" not in line:
            line = re.sub(r"(\.\d{6})\d{2}\b", r"\1", re.sub(r" +", " ", line)).strip()
        lines.append(line)
    write_text(path, "\n".join(lines) + "\n")


def package_versions(*names: str) -> dict[str, str]:
    """Installed versions of the named packages."""
    return {name: metadata.version(name) for name in names}


def describe(structures: Sequence[Atoms]) -> dict[str, Any]:
    """Counts per config_type and ranges of sizes, energies, forces and stresses."""
    atoms_counts = [len(atoms) for atoms in structures]
    energies = [atoms.info[ENERGY_KEY] / len(atoms) for atoms in structures]
    forces = [float(np.linalg.norm(atoms.arrays[FORCES_KEY], axis=1).max()) for atoms in structures]
    summary: dict[str, Any] = {
        "structures": len(structures),
        "atoms": int(sum(atoms_counts)),
        "by_config_type": dict(
            sorted(Counter(atoms.info[CONFIG_TYPE_KEY] for atoms in structures).items())
        ),
        "atoms_per_structure": [min(atoms_counts), max(atoms_counts)],
        "energy_per_atom_eV": [round(min(energies), 4), round(max(energies), 4)],
        "largest_force_eV_per_A": round(max(forces), 3),
        "elements": sorted({symbol for atoms in structures for symbol in atoms.symbols}),
    }
    stresses = [atoms.info[STRESS_KEY] for atoms in structures if STRESS_KEY in atoms.info]
    if stresses:
        summary["largest_stress_eV_per_A3"] = round(float(np.abs(stresses).max()), 4)
    return summary


def write_set(
    folder: Path, name: str, parts: dict[str, list[Atoms]], provenance: dict[str, Any]
) -> None:
    """Write `<name>_<part>.xyz` for each part, with a `.provenance.json` beside each."""
    for part, structures in parts.items():
        path = folder / f"{name}_{part}.xyz"
        write_compact_extxyz(path, structures)
        write_json(
            folder / f"{name}_{part}.provenance.json",
            {
                "file": path.name,
                "sha256": sha256(path),
                **provenance,
                "contents": describe(structures),
            },
        )


def thin(
    structures: Sequence[Atoms], count: int, progress: Callable[[Atoms], float]
) -> list[Atoms]:
    """About `count` structures spread evenly over the range of a progress coordinate."""
    if len(structures) <= count:
        return list(structures)
    values = np.array([progress(atoms) for atoms in structures])
    targets = np.linspace(values.min(), values.max(), count)
    return [structures[i] for i in sorted({int(np.abs(values - t).argmin()) for t in targets})]
