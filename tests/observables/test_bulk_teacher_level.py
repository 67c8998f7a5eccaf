"""Lattice constants over temperature of a teacher whose answer is known, by its student's runs."""

import numpy as np
import pytest
from ase.units import GPa
from observable_tests import count_units
from quasi_harmonic import TEACHER, TEMPERATURE, Crystal, solid

from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.observables.bulk.config import BulkConfig
from distill.observables.bulk.observable import Bulk

MODELS = "quasi_harmonic:teacher_crystal", "quasi_harmonic:student_crystal"
PRESSURE = 0.005
EXPANSION = {
    "pressure": PRESSURE,
    "temperatures": [TEMPERATURE],
    "supercell": (2, 2, 2),
    "time": 4000.0,
    "equilibration_time": 300.0,
    "time_step": 10.0,
    "thermostat_time": 80.0,
    "barostat_time": 300.0,
    "blocks": 4,
}


class Forces(Crystal):
    """Gives no stress."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def fingerprint(self) -> str:
        return "forces alone"


def level(folder, calls=61, models=MODELS, **changed):
    config = BulkConfig(formula="Al", elastic=False, thermal_expansion=EXPANSION | changed)
    return Bulk().teacher_level(config, *models, calls, WorkFolder(folder, 4))


@pytest.mark.physics
def test_the_teachers_size_comes_from_the_students_runs_at_two_volumes(tmp_path, monkeypatch):
    length, modulus = found = level(tmp_path)
    teacher, student = solid(32, **TEACHER), solid(32)
    low, high = length.interval
    assert low <= teacher.mean_edge(PRESSURE) / 2 <= high
    assert not low <= student.mean_edge(PRESSURE) / 2 <= high
    assert length.student == pytest.approx(student.mean_edge(PRESSURE) / 2, rel=1e-3)
    middle = teacher.volume_at(PRESSURE)
    ends = [teacher.mean_pressure(middle * np.exp(side)) for side in (-0.015, 0.015)]
    low, high = modulus.interval
    assert low <= (ends[0] - ends[1]) / 0.03 / GPa <= high
    # Both volumes have thirty, and one was made on the cell at rest.
    assert [number.calls for number in found] == [61, 61]
    assert length.place == {"temperature": TEMPERATURE}
    made = count_units(monkeypatch)
    assert level(tmp_path) == found
    assert made == []
    level(tmp_path, calls=81)
    assert [record.stem for record in made] == [
        f"calls_on_isochore_600K_{number}" for number in (0, 1)
    ]


def test_a_temperature_without_an_answer_is_said_and_left_out(tmp_path, capsys):
    assert level(tmp_path, calls=5, time=400.0) == []
    said = capsys.readouterr().out
    assert "at 600 K there is no lattice constant at the teacher's level: the teacher's 2" in said
    assert level(tmp_path, temperatures=[60000.0], time=400.0) == []
    assert "at 60000 K there is no lattice constant" in capsys.readouterr().out


def test_a_teacher_without_stress_is_refused_and_without_temperatures_nothing_is_asked(tmp_path):
    with pytest.raises(UserError, match="need stresses"):
        level(tmp_path, models=(Forces(), MODELS[1]), time=400.0)
    config = BulkConfig(formula="Al", elastic=False)
    assert Bulk().teacher_level(config, *MODELS, 40, WorkFolder(tmp_path / "none")) == []
