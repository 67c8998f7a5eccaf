"""A tiny foundation model and tiny labelled sets, small enough to train in a second."""

from __future__ import annotations

import copy
import functools

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.calculators.emt import EMT

from distill.models.labelling import carry_stress, label_structures
from distill.models.mace.family import Mace

TINY = {
    "epochs": 6,
    "patience": 100,
    "batch_size": 4,
    "lr": 0.01,
    "validation_fraction": 0.2,
    "threads": 1,
}


def tiny_model(elements=(1, 8, 29), heads=("Default",), max_ell=1):
    """A whole MACE of a few thousand weights in float64; always the same weights.

    With `max_ell=3` it is one that the fast engine takes: of correlation order 3, and of three
    hidden layers in its radial network.
    """
    return copy.deepcopy(_built_model(tuple(elements), tuple(heads), max_ell))


@functools.cache
def _built_model(elements, heads, max_ell):
    from distill.models.mace.torch_tools import import_mace, precision

    import_mace()
    import torch
    from e3nn import o3
    from mace import modules

    torch.manual_seed(0)
    with precision("float64"):
        return modules.ScaleShiftMACE(
            r_max=4.0,
            num_bessel=4,
            num_polynomial_cutoff=5,
            max_ell=max_ell,
            interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
            interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
            num_interactions=2,
            num_elements=len(elements),
            hidden_irreps=o3.Irreps("8x0e"),
            MLP_irreps=o3.Irreps("4x0e"),
            gate=torch.nn.functional.silu,
            atomic_energies=np.array([[-0.3, -1.5, -0.8][: len(elements)]] * len(heads)),
            avg_num_neighbors=10.0,
            atomic_numbers=list(elements),
            correlation=2 if max_ell < 3 else 3,
            radial_MLP=[8, 8] if max_ell < 3 else [8, 8, 8],
            atomic_inter_scale=[0.5] * len(heads),
            atomic_inter_shift=[0.1] * len(heads),
            heads=list(heads),
        )


def predicted(module, structures, **options) -> list[Atoms]:
    """Copies of structures with the labels of a MACE module; those with a stress get a stress."""
    model = Mace(module, **options)
    return label_structures(structures, model, stress=carry_stress(structures), label=None)


def lying_h2() -> Atoms:
    """H2 along x."""
    return Atoms("H2", [[0, 0, 0], [0.76, 0, 0]])


def rattled_structures(count: int, seed: int = 0) -> list[Atoms]:
    """H2 on Cu(111), bulk Cu and free H2, distorted, with energies and forces by EMT."""
    rng = np.random.default_rng(seed)
    structures = []
    for index in range(count):
        kind = ("slab", "bulk", "h2")[index % 3]
        if kind == "slab":
            atoms = fcc111("Cu", (1, 1, 3), a=3.65, vacuum=5.0)
            add_adsorbate(atoms, lying_h2(), rng.uniform(1.9, 3.0), "ontop")
            atoms.pbc = True
        elif kind == "bulk":
            atoms = bulk("Cu", "fcc", a=3.65 * rng.uniform(0.97, 1.04), cubic=True)
        else:
            atoms = lying_h2()
            atoms.positions *= rng.uniform(0.9, 1.4)
        atoms.rattle(0.05, rng=rng)
        atoms.info["config_type"] = kind
        structures.append(atoms)
    return label_structures(structures, EMT())


def aluminium_and_copper(count: int, seed: int = 0) -> list[Atoms]:
    """Crystals of Al, of Cu and of both, distorted, labelled by EMT; the tiny model lacks Al."""
    rng = np.random.default_rng(seed)
    structures = []
    for index in range(count):
        atoms = bulk("Al", "fcc", a=3.85 * rng.uniform(0.97, 1.04), cubic=True)
        atoms.symbols = ("Al4", "Al2Cu2", "Cu4")[index % 3]
        atoms.rattle(0.05, rng=rng)
        structures.append(atoms)
    return label_structures(structures, EMT())
