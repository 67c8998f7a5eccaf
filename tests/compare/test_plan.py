"""What a comparison says before it is done, and that the published protocols can pass."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.cli.app import app
from distill.compare.plan import comparison_plan
from distill.config.workflow import load_config
from distill.simulation.conditions import conditions

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_right_student_passes_every_condition_of_the_published_protocol():
    lines = comparison_plan(load_config(CONFIGS / "h2cu.yaml").compare)
    [power] = [line for line in lines if "passes all" in line]
    checks, percent, needed = map(
        int, re.search(r"all (\d+) checks .* with (\d+) %; 95 % takes (\d+)", power).groups()
    )
    assert checks == 18
    assert percent >= 95
    assert needed <= load_config(CONFIGS / "h2cu.yaml").compare.sticking.teacher_trajectories


def test_the_conditions_are_the_published_ones():
    config = load_config(CONFIGS / "h2cu.yaml")
    found = conditions(config.compare.sticking.scattering)
    energies = {
        (facet, v): [c.energy for c in found if (c.facet, c.v) == (facet, v)]
        for facet in ("111", "211")
        for v in (0, 1)
    }
    assert energies == {
        ("111", 0): [0.2, 0.4, 0.5, 0.6, 0.75, 0.85],
        ("111", 1): [0.2, 0.3, 0.4, 0.5, 0.6, 0.75],
        ("211", 0): [],
        ("211", 1): [0.2, 0.3, 0.4, 0.5, 0.6, 0.75],
    }
    assert {(c.temperature, c.j) for c in found} == {(925.0, 1)}
    sampling = config.sampling
    assert len(conditions(sampling.scattering)) * sampling.scattering.trajectories == 600
    assert sampling.selection.count + sum(path.keep for path in sampling.neb) == 2200
    assert not sampling.include_training
    assert config.teacher.fraction == 0.1
    assert config.compare.bulk.thermal_expansion.temperatures == list(range(200, 1001, 100))


@pytest.fixture
def dry_run(tmp_path, monkeypatch):
    """Lines of a dry run in an empty folder, given the seconds of a call and atom."""
    monkeypatch.chdir(tmp_path)

    def lines(name: str, seconds: float | None, *settings: str) -> list[str]:
        monkeypatch.setattr("distill.teacher.plan.call_seconds", lambda config, atoms: seconds)
        options = [word for setting in settings for word in ("--set", setting)]
        result = CliRunner().invoke(app, ["run", str(CONFIGS / name), "--dry-run", *options])
        assert result.exit_code == 0, result.output
        assert list(tmp_path.iterdir()) == []
        return result.output.splitlines()

    return lines


def test_a_dry_run_computes_nothing(dry_run):
    output = "\n".join(dry_run("lif.yaml", None))
    assert "jumps of the teacher at each temperature" in output
    assert "core-hours" in output
    assert "no call was measured" in output


def test_hours_of_sampling_follow_the_measured_call_and_the_steps(dry_run):
    def hours(seconds, *settings):
        lines = dry_run("lif_small.yaml", seconds, *settings)
        [found] = [line for line in lines if line.startswith("sampling: md")]
        calls = float(re.search(r"([\d,]+) force calls", found)[1].replace(",", ""))
        return calls, float(re.search(r"about (\S+) core-hours", found)[1])

    calls, one = hours(1e-3)
    config = load_config(CONFIGS / "lif_small.yaml").sampling.md[0]
    steps = (config.time + config.equilibration_time) / config.time_step
    assert calls == len(config.temperatures) * (steps + 1)
    assert hours(1e-2) == (calls, pytest.approx(10 * one, rel=0.1))


def test_trainings_are_counted(dry_run):
    [line] = [x for x in dry_run("lif_small.yaml", None) if x.startswith("teacher: ")]
    assert re.match(r"teacher: 1 training \(finetune\) of at most 25 epochs over about \d+", line)
    more = ("teacher.committee.members=3", "teacher.epochs=7")
    [line] = [x for x in dry_run("lif_small.yaml", None, *more) if x.startswith("teacher: ")]
    assert line.startswith("teacher: 3 trainings (finetune) of at most 7 epochs")


def test_hopeless_settings_are_refused_in_a_dry_run():
    config = load_config(CONFIGS / "h2cu.yaml", ["compare.sticking.teacher_trajectories=1"])
    with pytest.raises(Exception, match="below 2"):
        comparison_plan(config.compare)
