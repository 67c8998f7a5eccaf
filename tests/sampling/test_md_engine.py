"""Sampling by molecular dynamics whose steps a student takes between the teacher's corrections."""

from pathlib import Path

import numpy as np
import pytest
from ase.io import write
from spring_toys import chain, stiff_springs

from distill.config import MdConfig
from distill.core.work import WorkFolder
from distill.data.structures import reference_forces
from distill.sampling.method import Sampler
from distill.sampling.methods.md import MolecularDynamics
from distill.simulation.multiple_time_steps import TwoModels
from distill.simulation.trust_bound import Trust

TEACHER, STUDENT = "spring_toys:stiff_springs", "spring_toys:Springs"


@pytest.fixture
def config(tmp_path) -> MdConfig:
    write(tmp_path / "ring.xyz", chain("LiFLiFLiFLiF"), format="extxyz")
    return MdConfig(
        structure=str(tmp_path / "ring.xyz"), temperatures=[300.0], time=80.0,
        equilibration_time=16.0, time_step=1.0, save_every=8.0, engine="multiple_time_steps",
        multiple_time_steps={"student": STUDENT, "outer_step": 4.0, "max_energy_error": 1.0,
                             "max_drift": 1e9, "test_time": 40.0},
    )  # fmt: skip


def sampled(config, out: Path, trust: Trust | None = None):
    method = MolecularDynamics()
    units = method.units([config], Sampler(TEACHER, WorkFolder(out, 1), trust))
    for unit in units:
        unit.run()
    return units, method.collect(units)


def test_frames_are_of_the_same_times_and_carry_the_teachers_labels(config, tmp_path):
    _, plain = sampled(config.model_copy(update={"engine": "teacher"}), tmp_path / "plain")
    [unit], found = sampled(config, tmp_path / "both")
    assert isinstance(unit.model, TwoModels)
    assert (unit.model.teacher, unit.model.inner_steps) == (TEACHER, 4)
    times = [[atoms.info["time_fs"] for atoms in visited.pool] for visited in (plain, found)]
    assert times[0] == times[1] == [16.0 + 8 * k for k in range(11)]
    assert (plain.calls["md"], found.calls["md"]) == (97, 25)
    for atoms in found.pool:
        labelled = atoms.copy()
        labelled.calc = stiff_springs()
        np.testing.assert_allclose(labelled.get_forces(), reference_forces(atoms), atol=1e-6)


def test_a_student_that_samples_takes_its_own_steps(config, tmp_path):
    trust = Trust(tmp_path / "student.npz", 2.0)
    [unit] = MolecularDynamics().units([config], Sampler(TEACHER, WorkFolder(tmp_path, 1), trust))
    assert unit.model == TEACHER
