"""Label a broad set of Cu, H, Li and F structures, to pre-train the foundation model.

    python tools/make_foundation_data.py --output foundation_data
    python tools/make_foundation_data.py --output foundation_data --labels sevennet --python PYTHON

Writes `foundation_train.xyz`, `foundation_valid.xyz` and `foundation_test.xyz` with total energies
(eV, PBE level), forces (eV/Å) and stresses (eV/Å³, ASE's sign). Labels are made in shards in
`OUTPUT/labels`: a killed run goes on there. The set is not bundled: this script makes it again.

CHGNet: Deng et al., Nature Machine Intelligence 5, 1031 (2023), BSD licence. SevenNet: Park et al.,
Journal of Chemical Theory and Computation 20, 4857 (2024), MIT licence; it needs an environment of
its own (`pip install sevenn`), whose Python is PYTHON.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from bundling import (
    package_versions,
    rounded,
    split,
    stream,
    without_near_duplicates,
    write_set,
)
from foundation_structures import (
    MORE_SYMBOLS,
    SYMBOLS,
    families,
    families_of_more_elements,
    shortest_relative_contact,
)

from distill.core.executors import ParallelConfig
from distill.core.progress import say
from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY, FORCES_KEY, STRESS_KEY
from distill.core.work import run_waiting
from distill.data.structures import set_labels
from distill.models.config import CalculatorConfig, LabelConfig
from distill.models.labelling import label_units

LARGEST_FORCE = 25.0  # eV/Å
LARGEST_STRESS = 0.6  # eV/Å³
HIGHEST_BINDING = 0.6  # eV an atom above free atoms
SHORTEST_CONTACT = 0.55  # of the sum of the covalent radii
# What binds an atom in its element, eV: measured cohesive energies (Kittel, Introduction to Solid
# State Physics), and half of the binding energies of molecules.
COHESIVE = {
    "Cu": 3.49, "Li": 1.63, "H": 2.37, "F": 0.83, "C": 7.37, "O": 2.62, "Si": 4.63, "Al": 3.39,
    "Ti": 4.85,
}  # fmt: skip
# Energies of molecules and loose packings stand far from those of crystals and surfaces once the
# atomic reference energies are taken off, and are of less use: they weigh little in the training
# (mace-torch multiplies the energy weight of a structure by this number).
ENERGY_WEIGHT_KEY = "config_energy_weight"
ENERGY_WEIGHTS = {"molecules": 0.002, "packings": 0.02}
LONELY = 6.0  # Å without a neighbour, where CHGNet refuses an atom
CHGNET = CalculatorConfig(path="chgnet.model.dynamics:CHGNetCalculator", args={"use_device": "cpu"})
METHODS = {
    "chgnet": {
        "name": "CHGNet 0.3.0",
        "origin": "https://github.com/CederGroupHub/chgnet",
        "licence": "BSD-3-Clause-LBNL",
        "level_of_theory": "trained on MPtrj, PBE and PBE+U",
    },
    "sevennet": {
        "name": "SevenNet 7net-0",
        "origin": "https://github.com/MDIL-SNU/SevenNet",
        "licence": "MIT",
        "level_of_theory": "trained on MPtrj, PBE and PBE+U",
    },
}


def elements_alone(symbols: tuple[str, ...]) -> dict[str, Atoms]:
    """Each element as `COHESIVE` has it: its crystal, or its molecule."""
    pairs = {"H": 0.74, "F": 1.41, "O": 1.21}
    found = {}
    for symbol in symbols:
        if symbol in pairs:
            ends = [[0, 0, 0], [0, 0, pairs[symbol]]]
            found[symbol] = Atoms([symbol] * 2, positions=ends, cell=[10.0] * 3, pbc=True)
        else:
            found[symbol] = bulk(symbol)
    return found


def labelled(
    structures: list[Atoms], model: CalculatorConfig, folder: Path, workers: int, name: str
) -> list[Atoms]:
    """Copies with a model's energies, forces and stresses, in shards that survive a kill."""
    asking = [set_labels(atoms.copy(), stress=np.zeros(6)) for atoms in structures]
    units = label_units(asking, model=model, folder=folder, name=name, options=LabelConfig())
    run_waiting(units, parallel=ParallelConfig(workers=workers), label=name)
    return [atoms for unit in units for atoms in unit.labelled()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the labelled set")
    parser.add_argument("--labels", choices=METHODS, default="chgnet", help="what labels it")
    parser.add_argument("--python", help="Python of SevenNet's environment")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--fraction", type=float, default=1.0, help="of each family's number")
    parser.add_argument("--more-elements", action="store_true", help="C, O, Si, Al and Ti too")
    parser.add_argument("--workers", type=int, default=1, help="processes that label")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    model = CHGNET
    if arguments.labels == "sevennet":
        model = CalculatorConfig(
            path="sevenn.calculator:SevenNetCalculator",
            args={"model": "7net-0"},
            python=arguments.python,
        )
    more = arguments.more_elements
    symbols = (*SYMBOLS, *MORE_SYMBOLS) if more else SYMBOLS
    drawn = []
    chosen = families() | (families_of_more_elements() if more else {})
    for index, (name, (family, count)) in enumerate(chosen.items()):
        generator = stream(arguments.seed, index)
        wanted = max(4, round(arguments.fraction * count))
        drawn += [rounded(atoms, name) for atoms in family(generator, wanted)]
    distinct = without_near_duplicates([atoms for atoms in drawn if is_usable(atoms)])
    folder = arguments.output / "labels"
    alone = elements_alone(symbols)
    pure = labelled(list(alone.values()), model, folder, arguments.workers, "elements")
    free = {
        symbol: atoms.info[ENERGY_KEY] / len(atoms) + COHESIVE[symbol]
        for symbol, atoms in zip(alone, pure, strict=True)
    }
    answers = labelled(distinct, model, folder, arguments.workers, "structures")
    kept = [atoms for atoms in answers if is_physical(atoms, free)]
    for atoms in kept:
        atoms.info[ENERGY_KEY] = round(float(atoms.info[ENERGY_KEY]), 6)
        atoms.info[STRESS_KEY] = np.asarray(atoms.info[STRESS_KEY]).round(8)
        atoms.info[ENERGY_WEIGHT_KEY] = ENERGY_WEIGHTS.get(atoms.info[CONFIG_TYPE_KEY], 1.0)
    say(f"{len(drawn)} drawn, {len(distinct)} labelled, {len(kept)} kept")
    rest, test = split(kept, 0.07, stream(arguments.seed, 1000))
    train, valid = split(rest, 0.05, stream(arguments.seed, 1001))
    provenance = {
        "made_by": "tools/make_foundation_data.py",
        "options": {
            "seed": arguments.seed,
            "fraction": arguments.fraction,
            "labels": arguments.labels,
            "more_elements": more,
        },
        "reference_method": METHODS[arguments.labels],
        "energies_of_free_atoms_eV": {symbol: round(e, 4) for symbol, e in free.items()},
        "energy_weights_other_than_one": ENERGY_WEIGHTS,
        "largest_force_allowed_eV_per_A": LARGEST_FORCE,
        "largest_stress_allowed_eV_per_A3": LARGEST_STRESS,
        "highest_energy_allowed_eV_per_atom_above_free_atoms": HIGHEST_BINDING,
        "units": {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³, ASE's sign"},
        "versions": package_versions("ase", "numpy"),
    }
    parts = {"train": train, "valid": valid, "test": test}
    write_set(arguments.output, "foundation", parts, provenance)


def is_usable(atoms: Atoms) -> bool:
    """Whether no two atoms overlap and none is out of sight of all others."""
    seen = np.bincount(neighbor_list("i", atoms, LONELY), minlength=len(atoms))
    return shortest_relative_contact(atoms) > SHORTEST_CONTACT and bool(seen.all())


def is_physical(atoms: Atoms, free: dict[str, float]) -> bool:
    """Whether labels are of sizes that a model should learn."""
    above = atoms.info[ENERGY_KEY] - sum(free[symbol] for symbol in atoms.symbols)
    return bool(
        np.linalg.norm(atoms.arrays[FORCES_KEY], axis=1).max() <= LARGEST_FORCE
        and np.abs(atoms.info[STRESS_KEY]).max() <= LARGEST_STRESS
        and above / len(atoms) <= HIGHEST_BINDING
    )


if __name__ == "__main__":
    main()
