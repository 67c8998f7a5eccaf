"""The members are found by distill and keep its contracts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from distill_plugin_example.pair_table import PairTable
from distill_plugin_example.strain import Strain, strained
from distill_plugin_example.thermal_displacement import (
    DisplacementConfig,
    ThermalDisplacement,
    mean_squares,
)
from exporter_tests import ExporterContract
from helpers import SAMPLE_STUDENT, rattled_copper
from observable_tests import HARMLESS_TO_RUNS, INPUTS_OF_RUNS, ObservableContract

from distill.config import CalculatorConfig, ParallelConfig, load_config
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.data.structures import (
    read_structures,
    reference_energy,
    reference_stress,
    write_structures,
)
from distill.deploy.export.base import EXPORTERS
from distill.observables.base import OBSERVABLES
from distill.sampling import sampling_stage
from distill.sampling.method import SAMPLING_METHODS
from distill.student.basis.basis import BasisSpec, build_basis
from distill.student.student_model import Student

EMT_PATH = "ase.calculators.emt:EMT"

WORKFLOW = """
sampling:
  include_training: false
  selection: {count: 6, held_out: 2}
  strain:
    - {structures: crystal.xyz, modes: [volume, xy], amounts: [-0.02, 0.02]}
    - {structures: crystal.xyz, modes: [xx, yy, yz]}
compare:
  thermal_displacement: {structure: crystal.xyz, temperatures: [300], runs: 2}
  tolerances: {thermal_displacement: 0.1}
"""


@pytest.fixture
def workflow(tmp_path) -> Path:
    """A workflow file with keys of this package, and the crystal that it names."""
    write(tmp_path / "crystal.xyz", bulk("Cu", a=3.59, cubic=True), format="extxyz")
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    return tmp_path / "workflow.yaml"


def test_every_member_is_registered_under_its_name():
    assert OBSERVABLES.load("thermal_displacement") is ThermalDisplacement
    assert SAMPLING_METHODS.load("strain") is Strain
    assert EXPORTERS.load("pair_table") is PairTable


def test_a_workflow_takes_the_keys_and_refuses_misspelt_ones(workflow):
    config = load_config(workflow)
    assert config.compare.thermal_displacement.runs == 2
    assert config.compare.tolerances.thermal_displacement == 0.1
    assert [len(series.amounts) for series in config.sampling.strain] == [2, 4]
    # Files of a workflow are found from its folder.
    assert config.sampling.strain[0].structures == str(workflow.parent / "crystal.xyz")
    with pytest.raises(UserError, match=r"sampling\.strain\.0\.mods: .* did you mean 'modes'"):
        load_config(workflow, ["sampling.strain=[{structures: crystal.xyz, mods: [xx]}]"])


def test_strain_stretches_the_cell_and_what_is_in_it():
    crystal = bulk("Cu", a=3.6, cubic=True)
    assert strained(crystal, "volume", 0.01).get_volume() == pytest.approx(3.636**3)
    angle = strained(crystal, "xy", 0.01).cell.angles()[2]
    assert angle == pytest.approx(90 - np.degrees(2 * np.arctan(0.01)))
    np.testing.assert_allclose(
        strained(crystal, "zz", 0.1).get_scaled_positions(), crystal.get_scaled_positions()
    )


def test_the_sampling_stage_labels_and_selects_strained_crystals(workflow, tmp_path):
    write_structures(tmp_path / "train.xyz", rattled_copper(4))
    config = load_config(workflow).sampling
    sampling_stage.run(
        config,
        teacher=Path(EMT_PATH),
        train=tmp_path / "train.xyz",
        out=tmp_path / "sampling",
        seed=1,
        parallel=ParallelConfig(backend="serial"),
    )
    selected = read_structures(tmp_path / "sampling" / "selected.xyz")
    assert len(selected) == 6
    for atoms in selected:
        assert atoms.info["config_type"] == "strain"
        again = atoms.copy()
        again.calc = EMT()
        assert reference_energy(atoms) == pytest.approx(again.get_potential_energy())
        np.testing.assert_allclose(reference_stress(atoms), again.get_stress(), atol=1e-6)
    calls = read_json(tmp_path / "sampling" / "sampling.json")["teacher_calls"]
    assert calls["strain"] == 2 * 2 + 3 * 4


def test_a_molecule_cannot_be_strained(workflow, tmp_path):
    write(tmp_path / "crystal.xyz", Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]]), format="extxyz")
    with pytest.raises(UserError, match="periodic in all directions"):
        sampling_stage.run(
            load_config(workflow).sampling,
            teacher=Path(EMT_PATH),
            train=tmp_path / "crystal.xyz",
            out=tmp_path / "sampling",
            seed=1,
            parallel=ParallelConfig(backend="serial"),
        )


class TestThermalDisplacement(ObservableContract):
    observable = ThermalDisplacement
    models: ClassVar = {
        "teacher": "spring_toys:Springs",
        "student": "spring_toys:stiff_springs",
    }
    other = CalculatorConfig(path="spring_toys:Springs", args={"stiffness": 9.0})
    harmless: ClassVar = HARMLESS_TO_RUNS | {"confidence": 0.9}
    inputs: ClassVar = INPUTS_OF_RUNS | {"structure": "preset:lif"}

    @classmethod
    def config(cls, folder: Path) -> DisplacementConfig:
        from spring_toys import chain

        write(folder / "ring.xyz", chain("LiFLiFLiFLiF"), format="extxyz")
        return DisplacementConfig(
            structure=str(folder / "ring.xyz"),
            runs=3,
            time=800.0,
            equilibration_time=100.0,
            time_step=2.0,
            friction=0.05,
            save_every=10.0,
        )

    def test_stiffer_springs_let_atoms_swing_less(self, done) -> None:
        students = [e for e in done.result.displacements if e.model == "student"]
        assert {entry.element for entry in students} == {"Li", "F"}
        for entry in students:
            assert entry.difference < 0
            low, high = entry.difference_interval
            # Amplitudes go as one over the root of the stiffness.
            assert low <= 1 / np.sqrt(1.2) - 1 <= high


def test_the_motion_as_a_whole_is_no_displacement():
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.1, size=(4000, 50, 3))
    drift = np.cumsum(generator.normal(size=(4000, 1, 3)), axis=0)
    found = mean_squares(noise + drift, np.ones(50))
    np.testing.assert_allclose(found, 3 * 0.01 * (1 - 1 / 50), rtol=0.1)


class TestPairTable(ExporterContract):
    tolerance = 1e-5

    @pytest.fixture
    def name(self) -> str:
        return "pair_table"

    @pytest.fixture
    def model(self) -> Student:
        basis = build_basis(BasisSpec(("Cu", "H"), 1, (8.0,), rcut=5.0))
        coefficients = np.random.default_rng(0).normal(size=basis.n_functions)
        return Student(
            basis=basis,
            coefficients=0.1 * coefficients / (1 + basis.gamma(2.0)),
            e0={"Cu": -3.5, "H": -1.1},
        )

    @pytest.fixture
    def inexpressible(self) -> tuple[Student, dict, float]:
        return Student.load(SAMPLE_STUDENT), {}, 1.0

    def test_lammps_finds_its_units_in_the_first_line(self, student_file, export, tmp_path) -> None:
        report = export(student_file, tmp_path / "cu.table")
        text = (tmp_path / "cu.table").read_text()
        assert text.startswith("# UNITS: metal\n")
        assert f"\nCu_H\nN {report.details['points']} R " in text
