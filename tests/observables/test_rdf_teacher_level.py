"""Averages of a teacher on springs from runs of a student on softer ones."""

import numpy as np
import pytest
from ase.io import write
from ase.units import kB
from spring_toys import Springs, chain

from distill.core.errors import UserError
from distill.core.work import Unit, WorkFolder
from distill.observables.rdf.config import RdfConfig
from distill.observables.rdf.observable import RadialDistribution

TEACHER, STUDENT = "spring_toys:stiff_springs", "spring_toys:Springs"
KT = kB * 300.0


class Failing(Springs):
    """Fails on its third structure."""

    calls = 0

    def calculate(self, *arguments, **options):
        self.calls += 1
        if self.calls == 3:
            raise UserError("no answer")
        super().calculate(*arguments, **options)

    def fingerprint(self) -> str:
        return "failing springs"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RdfConfig:
    path = tmp_path_factory.mktemp("rdf") / "ring.xyz"
    write(path, chain("LiFLiFLiFLiF"), format="extxyz")
    return RdfConfig(
        structure=str(path), pairs=["Li-F"], r_max=5.0, bins=10, coordination_radii={"Li-F": 2.0},
        runs=4, time=4000.0, equilibration_time=200.0, time_step=4.0, friction=0.05,
        save_every=40.0,
    )  # fmt: skip


def level(config, folder, calls=60, teacher=TEACHER):
    return RadialDistribution().teacher_level(config, teacher, STUDENT, calls, WorkFolder(folder))


@pytest.mark.physics
def test_the_teachers_energies_come_from_the_students_runs(config, tmp_path, monkeypatch):
    found = level(config, tmp_path)
    by_name = {number.quantity: number for number in found if number.quantity != "g"}
    energy, free = by_name["mean energy"], by_name["free energy, teacher − student"]
    # 21 vibrations of eight atoms, a fifth stiffer; both intervals are those of a few calls.
    for number, exact in ((energy, 10.5 * KT / 8), (free, 10.5 * KT * np.log(1.2) / 8)):
        low, high = number.interval
        assert low <= exact <= high
        assert high - low < 0.3 * exact
        assert number.calls == 60
    assert energy.student == pytest.approx(10.5 * KT / 8, rel=0.1)
    assert sum(number.quantity == "g" for number in found) == 10
    assert by_name["coordination number"].place == {"temperature": 300.0, "pair": "Li-F"}
    # Nothing is done again, and more calls leave the student's runs as they are.
    done = []
    run = Unit.run
    monkeypatch.setattr(Unit, "run", lambda unit: (done.append(unit.folder.parent.name), run(unit)))
    assert level(config, tmp_path) == found
    assert done == []
    level(config, tmp_path, calls=80)
    assert done == 4 * ["teacher_level"]


@pytest.mark.physics
def test_mean_energies_at_two_temperatures_give_the_heat_capacity(config, tmp_path):
    both = config.model_copy(update={"temperatures": [600.0, 300.0]})
    found = level(both, tmp_path)
    [number] = [each for each in found if each.quantity.startswith("heat capacity")]
    # 21 vibrations of eight atoms, and their motion as a whole.
    exact = 1.5 + 10.5 / 8
    low, high = number.interval
    assert low <= exact <= high
    assert high - low < 0.3 * exact
    assert number.student == pytest.approx(exact, rel=0.1)
    assert number.place == {"temperature": 450.0, "between": "300 and 600 K"}
    assert number.calls == 120


def test_calls_that_fail_are_said_and_left_out(config, tmp_path, capsys):
    found = level(config, tmp_path, teacher=Failing(6.0))
    assert "1 calls of the teacher failed" in capsys.readouterr().out
    assert found[0].calls == 59
