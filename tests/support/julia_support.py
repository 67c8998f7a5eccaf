"""What the tests of the Julia side share: settings, a random student, structures of all kinds."""

import pickle

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from distill.config import LabelWeights, StudentConfig
from distill.data.structures import set_labels
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.julia import acepotentials
from distill.student.student_model import Student

FILES = {"student.npz", "ace_model.json", "parity.json"}
E0 = {"Cu": 0.3, "H": -0.4}


def small_config(**changes):
    settings = {
        "backend": "acepotentials",
        "elements": ["Cu", "H"],
        "order": 2,
        "totaldegree": [5, 4],
        "rcut": 5.0,
        "weights": {"default": LabelWeights(), "slab": LabelWeights(energy=60, forces=2)},
        "e0": E0,
        "threads": 2,
        **changes,
    }
    return StudentConfig(**settings)


def random_student(config, seed=0):
    basis = build_basis(BasisSpec.from_config(config, ["Cu", "H"]))
    rng = np.random.default_rng(seed)
    return Student(basis, 0.1 * rng.normal(size=basis.n_functions), E0)


def some_structures():
    """A bulk cell with atoms outside it, a slab, a molecule without a cell, an isolated atom."""
    rng = np.random.default_rng(1)
    crystal = bulk("Cu", cubic=True)
    crystal.positions += [40.0, -30.0, 0.0]
    slab = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    slab.pbc = [True, True, False]
    slab += Atoms("H2", [[1.0, 1.0, 12.0], [1.0, 1.0, 12.8]])
    slab.info["config_type"] = "slab"
    hydrogen = molecule("H2")
    structures = [crystal, slab, hydrogen, Atoms("H", cell=[9, 9, 9], pbc=True)]
    for atoms in structures:
        atoms.rattle(0.05, rng=rng)
        forces = rng.normal(size=(len(atoms), 3))
        stress = rng.normal(size=6) if atoms.pbc.all() else None
        set_labels(atoms, energy=rng.normal(), forces=forces, stress=stress)
    return structures


def recorded(folder):
    calls = []
    with open(folder / "record.pickle", "rb") as handle:
        while True:
            try:
                calls.append(pickle.load(handle))
            except EOFError:
                return calls


def julia_config(**changes):
    """All rows by Julia, unless a test is of the other assembly."""
    return small_config(**{"assembly": "julia", **changes})


def run_fit(folder, config=None, structures=None):
    return acepotentials.fit(
        some_structures() if structures is None else structures,
        config or julia_config(),
        seed=7,
        folder=folder / "out",
    ).student


def written(folder):
    """Which of a fit's files are there."""
    out = folder / "out"
    return {p.name for p in out.iterdir()} & FILES if out.exists() else set()
