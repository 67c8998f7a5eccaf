"""Timing: calculators that take a known time give known times and ratios."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from distill.compare.timing import machine_text, time_models, timing_rows, timing_table_text
from distill.compare.timing_process import median_interval
from distill.compare.timing_result import Ratio, TimingResult
from distill.config import CalculatorConfig
from distill.core.artifacts import write_json
from distill.core.errors import UserError
from distill.core.results import read_result


def timed(energy_s, forces_s):
    args = {"energy_s": energy_s, "forces_s": forces_s}
    return CalculatorConfig(path="clock_toys:Timed", args=args)


@pytest.fixture(scope="module")
def result():
    return time_models(
        {"teacher": timed(0.04, 0.06), "student": timed(0.002, 0.012)},
        bulk("Cu", cubic=True),
        repeats=7,
        time_step=0.5,
        supercells=[(2, 1, 1)],
        core_counts=[1],
        beside="student",
    )


def test_times_and_ratios_are_the_known_ones(result):
    # The clock's machine is slow for a while: the shortest time is the known one.
    for name, quantity, known in (
        ("teacher", "energy_ms", 40),
        ("teacher", "forces_ms", 60),
        ("student", "energy_ms", 2),
        ("student", "forces_ms", 12),
    ):
        found = getattr(result.models[name], quantity)
        assert found.min == pytest.approx(known)
        assert found.min <= found.q1 <= found.median <= found.q3 <= 1.5 * known
    teacher, student = result.models["teacher"], result.models["student"]
    assert teacher.forces_ms.q3 > 1.1 * teacher.forces_ms.min
    assert teacher.speedup_forces == Ratio(median=1.0, interval=(1.0, 1.0))
    # In each round both models are slow together, so that their ratio stays.
    assert student.speedup_forces.median == pytest.approx(5)
    assert student.speedup_energy.median == pytest.approx(20)
    low, high = student.speedup_forces.interval
    assert low <= student.speedup_forces.median <= high


def test_ratios_refer_to_a_second_model_too(result):
    found = {name: times.speedup_beside.median for name, times in result.models.items()}
    assert found == pytest.approx({"teacher": 0.2, "student": 1})
    assert result.beside == "student"
    assert {row["model"]: row["speedup_beside"] for row in timing_rows(result)[:2]} == found
    words = timing_table_text(result).splitlines()[1].split()
    assert (words[0], words[-4:-1]) == ("teacher", ["1", "(1–1)", "0.2"])


def test_times_of_layout_1_are_read(result, tmp_path):
    old = result.model_dump(mode="json", exclude={"beside"})
    blocks = [old, *old["scaling"], *old["core_scaling"]]
    for times in (times for block in blocks for times in block["models"].values()):
        del times["speedup_beside"]
    write_json(tmp_path / "old.json", {**old, "version": 1})
    found = read_result(tmp_path / "old.json", TimingResult)
    assert found.models["student"].speedup_forces == result.models["student"].speedup_forces
    assert "times faster than student" not in timing_table_text(found)


def test_derived_numbers_follow_from_the_median(result):
    student = result.models["student"]
    seconds = student.forces_ms.median / 1e3
    assert result.atoms == 4
    assert student.us_per_atom == pytest.approx(1e6 * seconds / 4)
    assert student.ns_per_day == pytest.approx(86400 / seconds * 0.5e-6)


def test_the_circumstances_are_recorded(result):
    machine = result.machine
    assert machine.threads == 1
    assert machine.pinned_cores is None or len(machine.pinned_cores) == 1
    assert machine.cpu and machine.cores >= 1 and machine.load_before >= 0
    assert 0 <= machine.busy_percent_before <= 100


def test_a_busy_machine_is_mentioned(result):
    for busy, mentioned in ((5.0, False), (60.0, True)):
        machine = result.machine.model_copy(update={"busy_percent_before": busy})
        text = machine_text(result.model_copy(update={"machine": machine}))
        assert ("machine was busy" in text) is mentioned


def test_scaling_repeats_the_structure(result):
    assert [block.atoms for block in result.scaling] == [8]
    rows = timing_rows(result)
    # Two sizes, and the larger again for the scaling with cores.
    assert [(row["atoms"], row["cores"]) for row in rows[::2]] == [(4, 1), (8, 1), (8, 1)]
    text = timing_table_text(result)
    assert "times faster than teacher  times faster than student" in text
    assert "new positions and includes the neighbour list" in text


def test_cores_are_measured_in_processes_of_their_own(result):
    (block,) = result.core_scaling
    assert block.cores == block.machine.threads == 1
    assert block.atoms == 8
    assert block.models["student"].forces_ms.min == pytest.approx(12)


def test_more_cores_than_there_are_is_refused():
    with pytest.raises(UserError, match="timing on 4096 cores: only"):
        time_models({"student": timed(0.0, 0.0)}, bulk("Cu"), core_counts=[1, 4096])


def test_a_model_that_cannot_be_loaded_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"no_such\.npz"):
        time_models({"student": tmp_path / "no_such.npz"}, bulk("Cu"), repeats=3)
    with pytest.raises(UserError, match="at least one model"):
        time_models({}, bulk("Cu"))


def test_a_model_that_fails_is_reported():
    with pytest.raises(UserError, match="no energy today"):
        time_models({"broken": CalculatorConfig(path="clock_toys:Broken")}, bulk("Cu"), repeats=3)


def test_median_interval_covers_the_median():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = median_interval(rng.exponential(size=15))
        hits += low <= np.log(2) <= high
    assert hits / 400 >= 0.93
    assert median_interval([3.0, 1.0, 2.0]) == [1.0, 3.0]
