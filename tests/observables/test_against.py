"""Bounds against the reference, an experiment or a publication: who is judged, and by what."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_observables import bulk_result, diffusion_result, sticking_result

from distill.core.errors import UserError
from distill.observables.against import Number, difference, held_against
from distill.observables.bulk.observable import Bulk, BulkTolerances
from distill.observables.diffusion.config import DiffusionConfig, PublishedEnergy
from distill.observables.diffusion.observable import Diffusion, DiffusionTolerances
from distill.observables.sticking.observable import Sticking, StickingTolerances
from distill.observables.sticking.published_points import published_at
from distill.observables.sticking.result import PublishedPoint

KEYS = ("teacher_lattice_constant", "purpose_lattice_constant")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Number("a", 1.2), Number("b", 1.0), None),
        (Number("a", 1.2, (1.1, 1.3)), Number("b", 1.0), (0.1, 0.3)),
        (Number("a", 1.2), Number("b", 1.0, (0.7, 1.1)), (0.1, 0.5)),
        (Number("a", 1.2, (0.9, 1.6)), Number("b", 1.0, (0.7, 1.4)), (-0.3, 0.7)),
    ],
)
def test_ends_that_widen_a_difference_add_in_squares(one, other, expected):
    value, interval = difference(one, other)
    assert value == pytest.approx(0.2)
    assert interval == (None if expected is None else pytest.approx(expected))


@pytest.mark.physics
def test_a_difference_of_proportions_has_newcombe_s_interval():
    """56 of 70 and 48 of 80: table II of his paper (method 10), to its four digits."""
    one = Number("a", 56 / 70, (0.6918, 0.8769))
    other = Number("b", 48 / 80, (0.4904, 0.7004))
    _, interval = difference(one, other)
    assert interval == pytest.approx((0.0524, 0.3339), abs=2e-4)


def test_a_relative_bound_is_on_shares_of_what_is_held_against():
    one, other = Number("student", 202.0, (200.0, 206.0)), Number("reference", 200.0)
    checks = [
        held_against(
            "k", "x", one, other, b, unit="", question="purpose", confidence=0.95, relative=True
        )
        for b in (0.031, 0.029)
    ]
    assert [check.passed for check in checks] == [True, False]
    assert checks[0].value == pytest.approx(0.01)
    assert checks[0].interval == pytest.approx((0.0, 0.03))
    assert "reaches beyond the bound" in checks[1].comment


def bulk_with(**changes):
    """The reference is the teacher, one percent longer at most."""
    result = bulk_result()
    reference = bulk_result().models["teacher"]
    models = {"reference": reference, **result.models} if changes.pop("reference", 0) else None
    return result.model_copy(update={**changes, **({"models": models} if models else {})})


def test_bulk_is_held_against_teacher_reference_and_given_numbers():
    result = bulk_with(reference=True, given={"lattice_constant": 3.42, "C11": 100.0})
    keys = dict.fromkeys(BulkTolerances.model_fields, 0.01)
    found = {check.name: check for check in Bulk().checks(result, BulkTolerances(**keys))}
    assert {name: check.question for name, check in found.items()} == {
        "lattice constant, student − teacher, relative": "faithful",
        "bulk modulus, student − teacher, relative": "faithful",
        "lattice constant, teacher − reference, relative": "teacher",
        "lattice constant, teacher − given values, relative": "teacher",
        "bulk modulus, teacher − reference, relative": "teacher",
        "lattice constant, student − reference, relative": "purpose",
        "lattice constant, student − given values, relative": "purpose",
        "bulk modulus, student − reference, relative": "purpose",
    }
    length = 40 ** (1 / 3)
    check = found["lattice constant, student − reference, relative"]
    assert check.value == pytest.approx(1.02 ** (1 / 3) - 1)
    assert np.ptp(check.interval) == pytest.approx(2 * math.sqrt(2) * 0.01 / length)
    given = found["lattice constant, teacher − given values, relative"]
    assert given.value == pytest.approx(length / 3.42 - 1)
    assert np.ptp(given.interval) == pytest.approx(0.02 / 3.42)


@pytest.mark.parametrize("key", KEYS)
def test_bulk_without_anything_to_hold_against_is_refused(key):
    with pytest.raises(UserError, match=f"{key} is set, but there is no lattice constant"):
        Bulk().checks(bulk_with(given={}), BulkTolerances(**{key: 0.01}))


def diffusion_with(published=None, reference=False):
    result = diffusion_result()
    models = dict(result.models)
    if reference:
        models["reference"] = models["teacher"]
    settings = result.settings.model_copy(update={"published": published})
    return result.model_copy(update={"settings": settings, "models": models})


def test_activation_energies_are_held_against_reference_and_published_value():
    result = diffusion_with((0.26, (0.23, 0.29)), reference=True)
    bounds = DiffusionTolerances(teacher_activation_energy=0.061, purpose_activation_energy=0.061)
    found = {check.name: check for check in Diffusion().checks(result, bounds)}
    what = "activation energy of diffusion"
    assert {name: check.passed for name, check in found.items()} == {
        f"{what}, teacher − reference": True,
        f"{what}, teacher − published value": False,
        f"{what}, student − reference": False,
        f"{what}, student − published value": True,
    }
    check = found[f"{what}, student − published value"]
    assert check.value == pytest.approx(-0.01)
    assert check.interval == pytest.approx((-0.06, 0.04))
    assert check.question == "purpose"


def test_no_fit_passes_no_bound():
    result = diffusion_with((0.26, None))
    student = result.models["student"].model_copy(update={"arrhenius": None})
    result = result.model_copy(update={"models": {**result.models, "student": student}})
    bounds = DiffusionTolerances(purpose_activation_energy=10.0)
    [check] = Diffusion().checks(result, bounds)
    assert (check.value, check.passed) == (None, False)
    assert "no Arrhenius fit" in check.comment


def test_diffusion_without_a_reference_is_refused_before_it_is_run():
    bounds = DiffusionTolerances(teacher_activation_energy=0.1)
    with pytest.raises(UserError, match="no activation energy to hold against"):
        Diffusion().refuse(DiffusionConfig(temperatures=[500.0, 700.0]), bounds)
    for given in ({"published": PublishedEnergy(value=0.3)}, {"times": {"reference": 3e6}}):
        Diffusion().refuse(DiffusionConfig(temperatures=[500.0, 700.0], **given), bounds)


@pytest.mark.parametrize("ends", [{"low": 0.1}, {"high": 0.4}, {"low": 0.31, "high": 0.4}])
def test_a_published_energy_lies_in_its_interval(ends):
    with pytest.raises(ValueError, match="low"):
        PublishedEnergy(value=0.3, **ends)


def point(energy, probability, **others):
    values = {"interval": (probability - 0.1, probability + 0.1), "source": "experiment"} | others
    return PublishedPoint(energy=energy, probability=probability, **values)


def test_published_points_are_read_at_the_energy_of_a_condition():
    condition = sticking_result().conditions[0]
    line = [point(1.0, 0.6), point(0.5, 0.1)]
    [between] = published_at(line, condition)
    assert between.probability == pytest.approx(0.4)
    assert between.interval == pytest.approx((0.3, 0.5))
    [exact] = published_at([*line, point(0.8, 0.5)], condition)
    assert exact.probability == 0.5
    theirs = [point(0.7, 0.3, source="theory", interval=None), point(0.9, 0.5, source="theory")]
    found = published_at([*line, *theirs], condition)
    assert [(p.source, p.interval is None) for p in found] == [
        ("experiment", False),
        ("theory", True),
    ]
    for elsewhere in (line[:1], [point(0.8, 0.4, facet="100")], [point(0.8, 0.4, temperature=1.0)]):
        assert published_at(elsewhere, condition) == []


def test_sticking_is_held_against_published_points():
    result = sticking_result(published=[point(0.8, 0.45)])
    bounds = StickingTolerances(teacher_sticking=0.2, purpose_sticking=0.2)
    teacher, student = Sticking().checks(result, bounds)
    assert (teacher.question, student.question) == ("teacher", "purpose")
    # The teacher's number is that of both levels.
    assert teacher.value == pytest.approx(0.41 - 0.45)
    half = math.hypot(0.15, 0.1)
    assert teacher.interval == pytest.approx((-0.04 - half, -0.04 + half))
    assert not teacher.passed
    assert student.value == pytest.approx(0.46 - 0.45)
    assert student.passed
    assert student.name.endswith("student − experiment")


def test_a_bound_on_sticking_that_no_point_is_for_fails_and_one_without_points_is_refused():
    bounds = StickingTolerances(purpose_sticking=1.0)
    [check] = Sticking().checks(sticking_result(published=[point(2.0, 0.9)]), bounds)
    assert (check.value, check.passed) == (None, False)
    with pytest.raises(UserError, match="there is nothing to hold it against"):
        Sticking().checks(sticking_result(), bounds)
