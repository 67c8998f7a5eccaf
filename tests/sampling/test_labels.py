"""Labels: the same one by one and in batches, with a stress where one was, and faults named."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from surface_potentials import STICKY

from distill.config import LabelConfig
from distill.core.errors import UserError
from distill.data.structures import reference_energy, reference_forces, reference_stress
from distill.models import labelling
from distill.models.labelling import label_units
from distill.models.mace.adapter import load_model, save_model
from distill.models.mace.foundation_store import find_foundation

EMT_PATH = "ase.calculators.emt:EMT"


@pytest.fixture(scope="module")
def mace(tmp_path_factory) -> str:
    """The bundled foundation model as a file."""
    path = tmp_path_factory.mktemp("model") / "foundation.model"
    save_model(load_model(find_foundation("bundled")), path)
    return str(path)


@pytest.fixture
def structures() -> list[Atoms]:
    """Molecules and crystals; every other one carries a stress."""
    generator = np.random.default_rng(0)
    found = []
    for number in range(5):
        crystal = bulk("Cu", a=3.6, cubic=True)
        crystal.positions += generator.normal(0, 0.05, crystal.positions.shape)
        if number % 2:
            crystal.info["REF_stress"] = np.zeros(6)
        found.append(crystal)
    found.append(Atoms("H2", [[6, 6, 6], [6.75, 6, 6]], cell=[12] * 3, pbc=True))
    return found


def labelled(structures, model, folder, **options) -> list[Atoms]:
    config = LabelConfig(**options)
    units = label_units(structures, model=model, folder=folder, name="x", options=config)
    for unit in units:
        unit.run()
    return [atoms for unit in units for atoms in unit.labelled()]


def test_batches_give_the_labels_of_single_structures(mace, structures, tmp_path):
    single = labelled(structures, mace, tmp_path / "one", batch_size=1)
    batched = labelled(structures, mace, tmp_path / "four", batch_size=4)
    for one, other, given in zip(single, batched, structures, strict=True):
        assert reference_energy(other) == pytest.approx(reference_energy(one), abs=1e-5)
        np.testing.assert_allclose(reference_forces(other), reference_forces(one), atol=1e-5)
        assert (reference_stress(other) is None) == ("REF_stress" not in given.info)
        if reference_stress(one) is not None:
            np.testing.assert_allclose(reference_stress(other), reference_stress(one), atol=1e-6)


def test_a_model_without_stresses_gives_none(structures, tmp_path):
    crystals = [structures[1], structures[-1]]
    for atoms in labelled(crystals, STICKY, tmp_path):
        assert reference_stress(atoms) is None
        assert reference_energy(atoms) is not None


def test_what_a_model_labelled_is_not_labelled_again_beside_others(
    structures, tmp_path, monkeypatch
):
    """Nor in another order; a stress that was not asked for before is another label."""
    asked: list[int] = []
    label = labelling.label_structures

    def counted(some, *rest, **options):
        asked.append(len(some))
        return label(some, *rest, **options)

    monkeypatch.setattr(labelling, "label_structures", counted)
    first = labelled(structures[:4], EMT_PATH, tmp_path)
    assert asked == [4]
    crystals = [structures[4], *structures[3::-1]]
    again = labelled(crystals, EMT_PATH, tmp_path)
    assert asked == [4, 1]
    assert [reference_energy(a) for a in again[1:]] == [reference_energy(a) for a in first[::-1]]
    np.testing.assert_array_equal(reference_forces(again[1]), reference_forces(first[3]))
    fresh = labelled(crystals, EMT_PATH, tmp_path / "fresh")
    for one, other in zip(again, fresh, strict=True):
        assert one == other
        assert reference_energy(one) == reference_energy(other)
        assert (reference_stress(one) is None) == (reference_stress(other) is None)
    asked.clear()
    structures[0].info["REF_stress"] = np.zeros(6)
    structures[1].positions[0, 0] += 1e-6
    with_stress, *_ = labelled(structures[:4], EMT_PATH, tmp_path)
    assert asked == [2]
    assert reference_stress(with_stress) is not None
    asked.clear()
    labelled(structures[:1], "ase.calculators.lj:LennardJones", tmp_path)
    assert asked == [1]


def test_missing_devices_and_elements_are_named(mace, structures, tmp_path):
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"sampling.labels.device: .* no CUDA device"):
            labelled(structures, mace, tmp_path, device="cuda")
    with pytest.raises(UserError, match="structure 1: element Og"):
        labelled([structures[0], Atoms("Og")], mace, tmp_path)
