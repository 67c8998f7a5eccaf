"""Structures repeated along their cells."""

from __future__ import annotations

import pytest
from ase.build import fcc111, molecule

from distill.core.errors import UserError
from distill.sampling.methods.md import MdConfig, MolecularDynamics
from distill.systems.supercells import supercell


def test_a_slab_without_a_cell_across_it_is_repeated_along_its_plane():
    slab = fcc111("Cu", (1, 1, 3))
    assert not slab.cell[2].any()
    repeated = supercell(slab, (2, 3, 1))
    assert len(repeated) == 18
    assert repeated.get_all_distances(mic=True)[0, 1:].min() > 2.0


def test_copies_on_top_of_each_other_are_refused_before_dynamics_begin(tmp_path):
    with pytest.raises(UserError, match="no cell along axis 3"):
        supercell(fcc111("Cu", (1, 1, 3)), (1, 1, 2))
    molecule("H2O").write(tmp_path / "water.xyz")
    config = MdConfig(structure=str(tmp_path / "water.xyz"), supercell=(2, 1, 1))
    with pytest.raises(UserError, match=r"2x1x1 of H2O: .* axis 1"):
        MolecularDynamics().refuse([config])
