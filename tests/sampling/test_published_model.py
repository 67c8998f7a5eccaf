"""The sampling pieces on the published H2/Cu MACE."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from distill.config import SlabConfig
from distill.models.cached_calculators import cached_calculator
from distill.sampling.descriptors import structure_descriptors
from distill.simulation.rovibrational import bound_level, diatomic_curve
from distill.systems.slabs import build_slab, cutoff_of, lattice_constant, thickness_message

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def model(reference_data) -> Path:
    return reference_data / "h2cu" / "MACE_model_swa.model"


def test_hydrogen_vibrates_at_its_frequency(model):
    """Fundamental transition of H2: 4161 cm⁻¹, 0.516 eV (Huber and Herzberg)."""
    curve = diatomic_curve("H2", cached_calculator(model))
    quantum = bound_level(curve, 1, 0).energy - bound_level(curve, 0, 0).energy
    assert quantum == pytest.approx(0.516, rel=0.03)
    rotation = bound_level(curve, 0, 1).energy - bound_level(curve, 0, 0).energy
    # 2B of H2 in its ground state: 118.5 cm⁻¹, 14.7 meV.
    assert rotation == pytest.approx(0.0147, rel=0.04)


def test_copper_has_its_lattice_and_slabs_their_message(model):
    calculator = cached_calculator(model)
    a = lattice_constant("Cu", calculator)
    assert a == pytest.approx(3.645, abs=0.003)
    assert cutoff_of(calculator) == 5.0
    thin = build_slab(SlabConfig(layers=3), "111", a)
    assert "cutoff of 5 Å" in thickness_message(thin, calculator, "111")


def test_teacher_descriptors_tell_structures_apart(model):
    slab = build_slab(SlabConfig(size=(2, 2), layers=3), "111", 3.645)
    structures = []
    for height in (1.2, 1.3, 3.0):
        atoms = slab + Atoms("H2", [[1, 1, 0], [1.75, 1, 0]])
        atoms.positions[-2:, 2] = slab.info["top"] + height
        structures.append(atoms)
    values = structure_descriptors(structures, "teacher", str(model))
    near = np.linalg.norm(values[0] - values[1])
    assert 0 < near < 0.5 * np.linalg.norm(values[0] - values[2])
