"""Molecules and slabs that a model sees together with their own images through vacuum."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.io import write

from distill.config import DataConfig
from distill.data import data_stage
from distill.data.own_images import own_image, say_own_images
from distill.data.structures import set_labels


def boxed(name: str, cell) -> Atoms:
    atoms = molecule(name)
    atoms.set_cell(cell)
    atoms.center()
    atoms.pbc = True
    return atoms


def h2(cell) -> Atoms:
    """With its bond of 0.737 Å along z."""
    return boxed("H2", cell)


@pytest.mark.parametrize(
    ("atoms", "distance", "formula"),
    [
        (h2([5, 9, 9]), 5.0, "H2"),
        (h2([9, 9, 5]), 5.0 - 0.7372, "H2"),
        # The difference of the two edges is the shortest translation.
        (h2([[9, 0, 0], [7, 3, 0], [0, 0, 9]]), np.sqrt(13), "H2"),
        (boxed("CH3CH2OH", [8, 8, 8]), 3.945, "C2H6O"),
        (Atoms("O", cell=[5, 9, 9], pbc=True), 5.0, "O"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], cell=[5, 5, 5], pbc=[0, 0, 1]), 3.8, "O2"),
    ],
)
def test_a_molecule_in_a_small_box_is_found(atoms, distance, formula):
    found = own_image(atoms)
    assert found.formula == formula
    assert found.distance == pytest.approx(distance, abs=2e-3)
    moved = atoms.copy()
    moved.positions += atoms.cell.array.sum(axis=0) / 2
    moved.wrap()
    assert own_image(moved).distance == pytest.approx(found.distance)


def test_the_distance_is_judged_by_what_the_model_sees():
    atoms = h2([9, 9, 5])
    assert own_image(atoms, 4.2) is None
    assert own_image(atoms, 4.3) is not None


def two_sheets() -> Atoms:
    """Graphite: layers 3.35 Å apart."""
    sheets = [[0, 0, 0], [0, 1.42, 0], [0, 1.42, 3.35], [0, 2.84, 3.35]]
    return Atoms("C4", sheets, cell=[[2.46, 0, 0], [1.23, 2.13, 0], [0, 0, 6.7]], pbc=True)


def slab_with_h2(height: float, vacuum: float = 8.0) -> Atoms:
    slab = fcc111("Cu", (2, 2, 4), a=3.6, vacuum=vacuum)
    add_adsorbate(slab, molecule("H2"), height)
    slab.pbc = True
    return slab


@pytest.mark.parametrize(
    "atoms",
    [
        h2([9, 9, 9]),
        Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]),
        bulk("Cu"),
        bulk("LiF", "rocksalt", a=4.03),
        bulk("Ar", "fcc", a=5.31),
        two_sheets(),
        # Beside a slab it is at the slab's coverage, near and far.
        slab_with_h2(1.5),
        slab_with_h2(5.0),
    ],
)
def test_free_molecules_crystals_and_slabs_are_not(atoms):
    assert own_image(atoms) is None


def test_a_slab_with_thin_vacuum_is():
    atoms = fcc111("Cu", (2, 2, 4), a=3.6, vacuum=2.6)
    atoms.pbc = True
    found = own_image(atoms)
    assert found.formula == "Cu16"
    assert found.distance == pytest.approx(5.2)


def test_atoms_that_flew_apart_do_not_end_the_search():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1e6]], cell=[5, 5, 5], pbc=[1, 1, 0])
    assert own_image(atoms) is None


def test_the_data_stage_names_them(tmp_path, capsys):
    rng = np.random.default_rng(0)
    structures = []
    for k in range(8):
        atoms = h2([5, 5, 5]) if k in (2, 5) else bulk("Cu", cubic=True)
        atoms.rattle(0.01, rng=rng)
        structures.append(set_labels(atoms, energy=-1.0, forces=np.zeros((len(atoms), 3)) + 0.1))
    path = tmp_path / "set.xyz"
    write(path, structures, format="extxyz")
    config = DataConfig(train=str(path), test_fraction=0.3)
    data_stage.run(config, out=tmp_path / "data", seed=1)
    shown = capsys.readouterr().out
    assert "2 structures hold a molecule or slab that is nearer to its own periodic image" in shown
    assert "with vacuum between: 2, 5; nearest H2, 4.2" in shown
    say_own_images(structures, "set", reach=4.0)
    assert not capsys.readouterr().out
