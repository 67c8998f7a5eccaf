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
from distill.observables.sticking.result import StickingResult
from distill.observables.sticking.scattered import ScatteredState
from distill.observables.sticking.sticking import run_sticking
from distill.observables.sticking.trajectories import CallTime, StickingUnit
from distill.simulation.conditions import places, snapshots_of
from distill.simulation.scattering import Outcome
from distill.simulation.surface_independence import Independence

# Of every ten trajectories of a model, so many dissociate.
STICKING = {"R": 2, "T": 3, "S": 4}
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
        return run_sticking(
            config, teacher="T", student="S", reference="R", work=WorkFolder(tmp_path)
        )

    return sticking_of


def counts(result):
    [condition] = result.conditions
    return condition.teacher.trajectories, condition.student.trajectories


def test_every_option_has_a_test_here():
    assert set(StickingConfig.model_fields) == {
        "scattering",
        "teacher_trajectories",
        "student_trajectories",
        "reference_trajectories",
        "precision",
        "two_level_precision",
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
    with pytest.raises(ValueError, match="must not be fewer than reference_trajectories"):
        StickingConfig(teacher_trajectories=30, reference_trajectories=31)


def test_a_reference_is_run_on_the_first_starts_of_both(run):
    without, [found] = run().conditions[0], run(reference_trajectories=10).conditions
    assert (without.reference, without.three_level, without.against_reference) == (None, None, {})
    assert found.model_copy(
        update={"reference": None, "three_level": None, "against_reference": {}, "scattered": {}}
    ) == without.model_copy(update={"scattered": {}})
    assert found.reference.trajectories == 10
    assert found.reference.probability == pytest.approx(0.2)
    assert found.scattered["reference"].molecules == 8
    # Of every ten starts the reference's molecule sticks at two of the teacher's three.
    teacher, student = (found.against_reference[role] for role in ("teacher", "student"))
    assert (teacher.difference, student.difference) == pytest.approx((0.1, 0.2))
    assert (teacher.only_first, teacher.only_second, teacher.trajectories) == (1, 0, 10)
    assert (student.only_first, student.trajectories) == (2, 10)
    # So few of the others are no help.
    assert (found.three_level.alone, found.three_level.pairs) == (True, 10)
    assert found.three_level.probability == pytest.approx(0.2)


def test_three_levels_add_differences_of_neighbours(run, monkeypatch):
    monkeypatch.setitem(STICKING, "R", 3)
    many = {"student_trajectories": 600, "teacher_trajectories": 200}
    many["scattering"] = SCATTERING.model_copy(update={"snapshots": 2000})
    [found] = run(reference_trajectories=100, **many).conditions
    # The student's further 400, the teacher's further 100, and 100 on which it is the reference.
    assert not found.three_level.alone
    assert found.three_level.probability == pytest.approx(0.4 - 0.1)
    assert (found.three_level.trajectories, found.three_level.pairs) == (600, 100)
    assert found.three_level.interval != found.two_level.interval


def test_a_precision_keeps_the_references_pairs(run):
    found = run(precision=0.3, teacher_batch=2, student_batch=5, reference_trajectories=20)
    assert found.conditions[0].against_reference["student"].trajectories == 20


def test_trajectories_of_no_reference_are_refused(tmp_path):
    config = StickingConfig(scattering=SCATTERING, reference_trajectories=1)
    with pytest.raises(UserError, match="no reference that can be run"):
        run_sticking(config, teacher="T", student="S", work=WorkFolder(tmp_path))


@pytest.mark.parametrize(
    ("key", "first", "value", "question"),
    [
        ("teacher_sticking", "teacher", 0.1, "teacher"),
        ("purpose_sticking", "student", 0.2, "purpose"),
    ],
)
def test_bounds_hold_models_against_the_reference(run, key, first, value, question):
    result, sticking = run(reference_trajectories=20), Sticking()
    for bound, passed in ((0.9, True), (0.05, False)):
        [check] = sticking.checks(result, StickingTolerances(**{key: bound}))
        assert check.name.endswith(f"0.5 eV, {first} − reference")
        assert (check.value, check.passed) == (pytest.approx(value), passed)
        assert (check.tolerance, check.question) == (key, question)
    [check] = sticking.checks(result, StickingTolerances(**{key: value + 0.02}))
    assert "reference trajectories are needed instead of 20" in check.comment
    with pytest.raises(UserError, match="nothing to hold it against"):
        sticking.checks(run(), StickingTolerances(**{key: 0.3}))
    sticking.refuse(StickingConfig(reference_trajectories=1), StickingTolerances(**{key: 0.3}))
    with pytest.raises(UserError, match="nothing to hold it against"):
        sticking.refuse(StickingConfig(), StickingTolerances(**{key: 0.3}))


def test_a_result_of_version_one_is_read(run):
    data = run().model_dump(mode="json") | {"version": 1}
    [condition] = data["conditions"]
    for name in ("reference", "against_reference", "three_level"):
        del condition[name]
    condition["paired"]["only_teacher"] = condition["paired"].pop("only_first")
    condition["paired"]["only_student"] = condition["paired"].pop("only_second")
    condition["two_level"]["teacher_alone"] = condition["two_level"].pop("alone")
    upgraded = StickingResult.upgrade(data) | {"version": 2}
    assert StickingResult.model_validate(upgraded) == run()


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


@pytest.fixture
def times(monkeypatch):
    """Seconds of a call by model, and which were asked for."""
    seconds, asked = {"T": 50.0, "S": 1.0}, []

    def work(unit):
        asked.append(unit.model)
        return seconds[unit.model]

    monkeypatch.setattr(CallTime, "work", work)
    return seconds, asked


# Of so many surfaces few trajectories share one.
TO_TWO_LEVELS = {
    "scattering": SCATTERING.model_copy(update={"snapshots": 5000}),
    "two_level_precision": 0.1,
    "teacher_batch": 20,
    "student_batch": 50,
    "teacher_trajectories": 600,
    "student_trajectories": 1500,
}


def test_two_level_precision_ends_it(run, times, capsys):
    first = run(**TO_TWO_LEVELS)
    report = first.conditions[0].precision["two_level"]
    assert report.reached and report.half_width <= report.asked == 0.1
    assert "a call of the teacher costs 50 of the student's on 111" in capsys.readouterr().out
    teacher, student = counts(first)
    assert 20 < teacher < 600 and teacher < student < 1500
    # The times are measured once, and decide again.
    times[0]["T"] = 1.0
    assert run(**TO_TWO_LEVELS) == first
    assert sorted(times[1]) == ["S", "T"]


def test_both_precisions_are_reached(run, times):
    [alone], [both] = (
        run(**TO_TWO_LEVELS, precision=precision).conditions for precision in (None, 0.05)
    )
    reports = both.precision
    assert all(reports[key].reached for key in ("teacher", "student", "two_level"))
    widths = [(c.paired.interval[1] - c.paired.interval[0]) / 2 for c in (alone, both)]
    assert widths[1] <= 0.05 < widths[0]


def test_dear_teachers_have_fewer_trajectories(run, times, tmp_path):
    dear = counts(run(**TO_TWO_LEVELS))
    for file in tmp_path.rglob("*call_time.json"):
        file.unlink()
    times[0]["T"] = 1.0
    cheap = counts(run(**TO_TWO_LEVELS))
    assert cheap[0] > dear[0] and cheap[1] < dear[1]


def test_a_two_level_budget_that_is_spent_says_what_it_gave(run, times, capsys):
    few = {**TO_TWO_LEVELS, "teacher_trajectories": 50, "student_trajectories": 150}
    report = run(**few).conditions[0].precision["two_level"]
    assert (report.reached, report.needed) == (False, None)
    assert "50 teacher and 150 student trajectories gave ±0.1" in capsys.readouterr().out


def test_a_two_level_precision_that_no_budget_gives_is_refused():
    few = {**TO_TWO_LEVELS, "teacher_trajectories": 10, "student_trajectories": 200}
    with pytest.raises(UserError, match="10 teacher_trajectories and 200 student"):
        Sticking().refuse(StickingConfig(**few), StickingTolerances())
    with pytest.raises(ValueError, match="needs teacher_trajectories"):
        StickingConfig(two_level_precision=0.1, teacher_trajectories=0)


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
