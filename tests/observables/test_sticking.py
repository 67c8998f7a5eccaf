"""Sticking: counts, intervals, identical starts, resuming, any number of workers."""

import pytest
from surface_conditions import SCATTERING
from surface_potentials import STICKY, UNSTABLE, WALL

from distill.config import ParallelConfig, StickingConfig
from distill.core.results import read_result, write_result
from distill.core.work import WorkFolder, record_of
from distill.metrics.multilevel import multilevel
from distill.metrics.statistics import paired_difference, wilson
from distill.observables.sticking.result import StickingResult
from distill.observables.sticking.sticking import run_sticking


@pytest.fixture
def config() -> StickingConfig:
    """Three teacher and twelve student trajectories on a resting surface."""
    return StickingConfig(
        scattering=SCATTERING,
        teacher_trajectories=3,
        student_trajectories=12,
    )


@pytest.mark.physics
def test_probabilities_follow_from_the_outcomes(config, tmp_path):
    result = run_sticking(config, teacher=STICKY, student=WALL, work=WorkFolder(tmp_path, seed=1))
    write_result(tmp_path / "sticking.json", result)
    assert read_result(tmp_path / "sticking.json", StickingResult) == result
    [entry] = result.conditions
    assert entry.facet == "111"
    assert entry.energy == 1.0
    teacher, student = entry.teacher, entry.student
    assert sum(teacher.outcomes.values()) == teacher.trajectories == 3
    assert sum(student.outcomes.values()) == student.trajectories == 12
    dissociated = teacher.outcomes["dissociated"]
    assert dissociated >= 2
    assert student.outcomes["scattered"] == 12
    assert teacher.probability == dissociated / 3
    assert teacher.interval == pytest.approx(wilson(dissociated, 3).interval)
    stuck = [True] * dissociated + [False] * (3 - dissociated)
    paired = paired_difference(stuck, [False] * 3)
    assert entry.paired.trajectories == 3
    assert entry.paired.only_first == sum(stuck)
    assert entry.paired.only_second == 0
    assert entry.paired.difference == pytest.approx(paired.value)
    assert entry.paired.interval == pytest.approx(paired.interval)
    joint = multilevel([[False] * 12, stuck])
    assert entry.two_level.probability == pytest.approx(joint.value)
    assert entry.two_level.interval == pytest.approx(joint.interval)


def test_one_model_twice_gives_the_same_trajectories(config, tmp_path):
    result = run_sticking(config, teacher=STICKY, student=STICKY, work=WorkFolder(tmp_path, seed=1))
    [entry] = result.conditions
    assert entry.paired.difference == 0.0
    [student] = (tmp_path / "student").glob("*000000-000009.json")
    [teacher] = (tmp_path / "teacher").glob("*000001-000001.json")
    ends = [record_of(file.parent, file.stem)["numbers"] for file in (teacher, student)]
    assert ends[0][0] == ends[1][1]
    assert ends[0][0]["outcome"]["number"] == 1


def test_more_trajectories_keep_those_that_were_run(config, tmp_path):
    run_sticking(config, teacher=WALL, student=WALL, work=WorkFolder(tmp_path, seed=1))
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*000000-*.json")}
    more = config.model_copy(update={"teacher_trajectories": 4, "student_trajectories": 20})
    result = run_sticking(more, teacher=WALL, student=WALL, work=WorkFolder(tmp_path, seed=1))
    assert len(files) == 2
    assert all(p.stat().st_mtime_ns == made for p, made in files.items())
    assert result.conditions[0].student.trajectories == 20


@pytest.mark.slow
def test_result_does_not_depend_on_the_number_of_workers(config, tmp_path):
    results = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        parallel = ParallelConfig(workers=workers)
        work = WorkFolder(out, seed=3, parallel=parallel)
        results.append(run_sticking(config, teacher=STICKY, student=WALL, work=work))
    assert results[0] == results[1]


def test_blown_up_trajectories_do_not_count(config, tmp_path, capsys):
    strict = config.scattering.model_copy(update={"max_energy_error": 0.05})
    config = config.model_copy(update={"scattering": strict})
    result = run_sticking(config, teacher=UNSTABLE, student=WALL, work=WorkFolder(tmp_path, seed=1))
    [entry] = result.conditions
    assert entry.teacher is None
    assert entry.paired is None
    assert entry.student.trajectories == 12
    assert "set aside 3 of 3 trajectories" in capsys.readouterr().out


def test_student_alone_needs_no_teacher_trajectory(config, tmp_path):
    config = config.model_copy(update={"teacher_trajectories": 0, "initial_conditions": "student"})
    result = run_sticking(
        config, teacher="no such model", student=WALL, work=WorkFolder(tmp_path, seed=1)
    )
    assert result.conditions[0].teacher is None
    assert result.conditions[0].student.probability == 0.0
    assert result.force_calls["teacher"] == 0


def test_trajectories_are_added_until_the_interval_is_narrow(config, tmp_path, capsys):
    config = config.model_copy(
        update={
            "precision": 0.14,
            "student_batch": 10,
            "student_trajectories": 40,
            "teacher_batch": 2,
            "teacher_trajectories": 20,
        }
    )
    result = run_sticking(config, teacher=WALL, student=WALL, work=WorkFolder(tmp_path, seed=1))
    [entry] = result.conditions
    for role in ("teacher", "student"):
        assert entry.precision[role].reached
        assert entry.precision[role].half_width <= 0.14
    # Wilson's interval of none in ten is 0.139 wide to either side of its middle: one batch.
    assert entry.student.trajectories >= entry.teacher.trajectories > 2
    assert "more are run" in capsys.readouterr().out
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*eV_*.json")}
    again = run_sticking(config, teacher=WALL, student=WALL, work=WorkFolder(tmp_path, seed=1))
    assert again == result
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*eV_*.json")} == files


def test_a_spent_budget_says_how_many_are_needed(config, tmp_path, capsys):
    config = config.model_copy(
        update={"precision": 0.2, "student_batch": 5, "student_trajectories": 12}
    ).model_copy(update={"teacher_trajectories": 12, "teacher_batch": 12})
    result = run_sticking(config, teacher=STICKY, student=WALL, work=WorkFolder(tmp_path, seed=1))
    report = result.conditions[0].precision["teacher"]
    assert not report.reached
    assert report.needed > 12
    assert f"about {report.needed} are needed" in capsys.readouterr().out


def test_published_points_are_kept_with_the_result(config, tmp_path):
    (tmp_path / "beam.csv").write_text("energy,probability\n1.0,0.3\n")
    config = config.model_copy(update={"published": str(tmp_path / "beam.csv")})
    result = run_sticking(
        config, teacher=WALL, student=WALL, work=WorkFolder(tmp_path / "out", seed=1)
    )
    assert [(p.energy, p.probability) for p in result.published] == [(1.0, 0.3)]
