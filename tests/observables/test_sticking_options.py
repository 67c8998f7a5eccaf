"""Every option of sticking changes what it should, on trajectories that end as they are told."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from distill.config import ScatteringConfig, StickingConfig
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.observables.sticking import sticking
from distill.observables.sticking.observable import Sticking, StickingTolerances
from distill.observables.sticking.scattered import ScatteredState
from distill.observables.sticking.sticking import run_sticking
from distill.observables.sticking.trajectories import StickingUnit
from distill.simulation.conditions import places, snapshots_of
from distill.simulation.scattering import Outcome
from distill.simulation.surface_independence import Independence

# Of every ten trajectories of a model, so many dissociate.
STICKING = {"T": 3, "S": 4}
SCATTERING = ScatteringConfig(
    facets=["111"],
    surface_temperatures=[300.0],
    states=[(0, 1)],
    collision_energies=[0.5],
    snapshots=100,
)


@pytest.fixture
def surfaces_of(monkeypatch):
    """Have no trajectory and no surface made; the models that surfaces were asked of."""
    asked = []

    def make_surfaces(config, *, model, work):
        asked.append(model)
        thermal = Independence(tuple(range(snapshots_of(config))), 40.0)
        return SimpleNamespace(
            keys={place: [f"{model} {place}"] * snapshots_of(config) for place in places(config)},
            independence=dict.fromkeys(places(config), thermal),
            calls=10,
        )

    def work(unit):
        return [end(unit, number) for number in range(unit.first, unit.first + unit.count)]

    def end(unit, number):
        found = outcome(unit, number)
        state = ScatteredState(number, 0.1, 1.4, 20.0, 0.1 if unit.model == "T" else 0.2)
        scattered = found.outcome == "scattered"
        return {"outcome": asdict(found), "state": asdict(state) if scattered else None}

    def outcome(unit, number):
        sticks = number % 10 < STICKING[unit.model]
        return Outcome(
            trajectory=f"{unit.condition.name}_{number}",
            **asdict(unit.condition),
            number=number,
            outcome="dissociated" if sticks else "scattered",
            reason="",
            time=100.0,
            calls=7,
            distance=1.0,
            height=5.0,
            lowest_height=1.0,
            energy_error=0.0,
            translation=0.2,
            exit_angle=20.0,
            internal_kinetic=0.1,
            rotation=1.4,
        )

    monkeypatch.setattr(sticking, "make_surfaces", make_surfaces)
    monkeypatch.setattr(StickingUnit, "work", work)
    return asked


@pytest.fixture
def run(tmp_path, surfaces_of):
    """A result for some options; without them there are 20 teacher and 60 student trajectories."""

    def sticking_of(**options):
        usual = {"scattering": SCATTERING, "teacher_trajectories": 20, "student_trajectories": 60}
        config = StickingConfig(**usual | options)
        return run_sticking(config, teacher="T", student="S", work=WorkFolder(tmp_path))

    return sticking_of


def counts(result):
    [condition] = result.conditions
    return condition.teacher.trajectories, condition.student.trajectories


def test_every_option_has_a_test_here():
    assert set(StickingConfig.model_fields) == {
        "scattering",
        "teacher_trajectories",
        "student_trajectories",
        "precision",
        "student_batch",
        "teacher_batch",
        "published",
        "initial_conditions",
        "confidence",
    }


def test_scattering_holds_the_conditions(run):
    wider = SCATTERING.model_copy(
        update={"facets": ["111", "100"], "collision_energies": [0.5, 0.7, 0.9]}
    )
    found = [(c.facet, c.energy) for c in run(scattering=wider).conditions]
    assert found == [(facet, energy) for facet in ("111", "100") for energy in (0.5, 0.7, 0.9)]


@pytest.mark.parametrize(
    ("option", "value", "again"),
    [
        ("time_step", 0.2, True),
        ("max_time", 100.0, True),
        ("max_energy_error", 0.2, True),
        ("dissociation_distance", 2.0, True),
        # Other conditions are other trajectories, and the number of those to sample is not used.
        ("collision_energies", [0.5, 0.7], False),
        ("trajectories", 9, False),
    ],
)
def test_trajectories_of_other_dynamics_are_run_again(run, monkeypatch, option, value, again):
    first = run()
    monkeypatch.setitem(STICKING, "S", 8)
    changed = run(scattering=SCATTERING.model_copy(update={option: value})).conditions[0]
    assert (changed.student.probability == pytest.approx(0.8)) is again
    assert (changed == first.conditions[0]) is not again


def test_numbers_of_trajectories(run):
    assert counts(run()) == (20, 60)
    assert counts(run(teacher_trajectories=30)) == (30, 60)
    assert counts(run(student_trajectories=90)) == (20, 90)


def test_a_student_has_the_teachers_trajectories_too():
    with pytest.raises(ValueError, match="must not be fewer than teacher_trajectories"):
        StickingConfig(teacher_trajectories=30, student_trajectories=20)


def test_precision_ends_it_and_batches_are_looked_at_first(run):
    budget = {"teacher_trajectories": 300, "student_trajectories": 600}
    assert counts(run(**budget)) == (300, 600)
    wide, narrow = (run(precision=p, **budget) for p in (0.2, 0.1))
    for role in ("teacher", "student"):
        for width, result in ((0.2, wide), (0.1, narrow)):
            report = result.conditions[0].precision[role]
            assert report.asked == width and report.reached and report.half_width <= width
    assert counts(wide)[0] < counts(narrow)[0] < 300
    assert counts(wide)[1] == 200
    # A first batch that is precise enough is all.
    assert counts(run(precision=0.2, teacher_batch=90, student_batch=150, **budget)) == (90, 150)
    assert counts(run(precision=0.2, teacher_batch=90, student_batch=300, **budget)) == (90, 300)
    assert counts(run(precision=0.2, teacher_batch=120, student_batch=150, **budget)) == (120, 150)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_initial_conditions_are_of_the_model_named(run, surfaces_of, role):
    result = run(initial_conditions=role)
    assert surfaces_of == [role[0].upper()]
    assert result.initial_conditions_from == role


def test_confidence_widens_every_interval(run):
    def widths(result):
        [c] = result.conditions
        blocks = (c.teacher, c.student, c.paired, c.two_level)
        return [block.interval[1] - block.interval[0] for block in blocks]

    usual, lax = run(), run(confidence=0.5)
    assert (usual.confidence, lax.confidence) == (0.95, 0.5)
    assert all(a > 1.5 * b for a, b in zip(widths(usual), widths(lax), strict=True))
    sticking = Sticking()
    (check,) = sticking.checks(lax, StickingTolerances(sticking=1.0))
    (card,) = sticking.cards(lax)
    assert check.confidence == card.confidence == 0.5


def test_published_points_are_kept_and_unreadable_ones_refused_at_once(run, tmp_path):
    file = tmp_path / "beam.csv"
    file.write_text("energy,probability\n0.5,0.3\n")
    assert run().published == []
    assert [point.probability for point in run(published=str(file)).published] == [0.3]
    file.write_text("energy\n0.5\n")
    config = StickingConfig(published=str(file))
    with pytest.raises(UserError, match="lacks column probability"):
        Sticking().refuse(config, StickingTolerances())


def test_a_budget_below_the_precision_is_refused_at_once():
    config = StickingConfig(precision=0.01, teacher_trajectories=5)
    with pytest.raises(UserError, match="teacher_trajectories is 5"):
        Sticking().refuse(config, StickingTolerances())


def test_rows_hold_every_model_and_what_is_still_needed(run):
    result = run(precision=0.1, teacher_trajectories=40, student_trajectories=60)
    rows = {row["model"]: row for row in Sticking().rows(result)["sticking"]}
    [condition] = result.conditions
    assert list(rows) == ["teacher", "student", "two_level"]
    for model in rows:
        found = getattr(condition, model)
        assert rows[model]["probability"] == found.probability
        assert rows[model]["interval"] == found.interval
    assert rows["teacher"]["outcomes"]["dissociated"] == 12
    assert rows["student"]["needed"] > 60
    for role in ("teacher", "student"):
        assert rows[role]["needed"] == condition.precision[role].needed


def test_the_card_is_the_largest_difference(run):
    wider = SCATTERING.model_copy(update={"collision_energies": [0.5, 0.7]})
    result = run(scattering=wider)
    larger = result.conditions[1].paired.model_copy(update={"difference": -0.3})
    second = result.conditions[1].model_copy(update={"paired": larger})
    result = result.model_copy(update={"conditions": [result.conditions[0], second]})
    (card,) = Sticking().cards(result)
    assert card.value == -0.3
    assert "0.7 eV, the largest of 2 conditions; 20 pairs" in card.note


def test_what_scattered_molecules_carry_is_kept_by_model(run):
    [condition] = run().conditions
    assert condition.scattered["teacher"].molecules == 14
    assert condition.scattered["student"].molecules == 36
    assert condition.energy_transfer_difference.value == pytest.approx(-0.1)
    rows = Sticking().rows(run())
    assert [row["model"] for row in rows["scattered"]] == ["teacher", "student"]
    assert rows["scattered"][0]["energy_transfer"] == pytest.approx(0.1)
    assert rows["scattered"][0]["share_v0"] == 1.0
    assert rows["surfaces"] == [
        {
            "model": "teacher",
            "facet": "111",
            "temperature": 300.0,
            "snapshots": 100,
            "independent": 100,
            "correlation_time": 40.0,
        }
    ]
    assert set(Sticking().draw(run())) == {"sticking", "scattered"}


def test_trajectories_that_share_surfaces_have_wider_intervals(run):
    """Ten surfaces, and every trajectory from one of them ends alike: they are worth ten."""
    few = SCATTERING.model_copy(update={"snapshots": 10})
    [shared], [own] = run(scattering=few).conditions, run().conditions
    assert (shared.student.surfaces, shared.student.trajectories) == (10, 60)
    assert shared.student.design_effect == pytest.approx(6.0)
    assert own.student.design_effect == 1.0
    for role in ("teacher", "student", "two_level"):
        wide, narrow = (getattr(c, role).interval for c in (shared, own))
        assert wide[1] - wide[0] > 1.3 * (narrow[1] - narrow[0])


def test_a_precision_that_the_surfaces_cannot_give_is_not_spent_on(run, capsys):
    few = SCATTERING.model_copy(update={"snapshots": 10})
    result = run(
        scattering=few,
        precision=0.1,
        student_batch=50,
        student_trajectories=1000,
        teacher_trajectories=0,
    )
    [condition] = result.conditions
    report = condition.precision["student"]
    assert condition.student.trajectories == 50
    assert not report.reached and report.needed is None and report.surfaces_needed > 100
    assert "raise scattering.snapshots" in capsys.readouterr().out
