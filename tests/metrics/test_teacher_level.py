"""Averages at the teacher's level: coverage, forms, bias, budgets too small, allocations."""

import numpy as np
import pytest
from oscillators import TEMPERATURE, Oscillators

from distill.core.errors import UserError
from distill.metrics.allocation import Level, allocation
from distill.metrics.teacher_level import free_energy_difference, teacher_mean

NEAR = Oscillators(modes=10, stiffer=1.3)
FAR = Oscillators(modes=30, shifted=3.0)


def mean_of(of: Oscillators, seed: int = 0, **options):
    return teacher_mean(*of.sampled(np.random.default_rng(seed), **options), TEMPERATURE)


@pytest.mark.physics
@pytest.mark.parametrize(("of", "form"), [(NEAR, "reweighting"), (FAR, "first order")])
def test_intervals_hold_the_teachers_mean_and_free_energy(of, form):
    rng, held = np.random.default_rng(4), np.zeros(3)
    for _ in range(250):
        values, differences = of.sampled(rng, calls=40, frames=400)
        mean = teacher_mean(values, differences, TEMPERATURE)
        energy = free_energy_difference(differences, TEMPERATURE)
        assert (mean.form, energy.form, mean.calls) == (form, form, 40)
        held += (
            mean.low <= of.teachers_mean <= mean.high,
            energy.low <= of.free_energy <= energy.high,
            # The student's own mean is not the teacher's.
            mean.low <= mean.student <= mean.high,
        )
    assert np.all(held[:2] / 250 > 0.91), held
    assert held[2] / 250 < 0.5


def test_the_correction_is_narrower_than_the_calls_alone():
    near = Oscillators(modes=10, stiffer=1.05)
    widths = []
    for seed in range(20):
        values, differences = near.sampled(np.random.default_rng(seed), calls=40)
        found = teacher_mean(values, differences, TEMPERATURE)
        called = values[np.isfinite(differences)]
        alone = 2 * 2.02 * called.std(ddof=1) / np.sqrt(len(called))
        widths.append((found.high - found.low) / alone)
    assert np.mean(widths) < 0.6


@pytest.mark.physics
@pytest.mark.parametrize("of", [NEAR, FAR])
def test_what_follows_from_the_students_energy_comes_from_the_whole_trajectory(of):
    rng, held, widths = np.random.default_rng(6), 0, []
    for _ in range(50):
        values, differences = of.sampled(rng, calls=40)
        # The difference is linear in the observable, as it may be in the energy.
        found = teacher_mean(values, differences, TEMPERATURE, features=values[..., None])
        plain = teacher_mean(values, differences, TEMPERATURE)
        assert found.form == plain.form
        held += found.low <= of.teachers_mean <= found.high
        widths.append((found.high - found.low) / (plain.high - plain.low))
    assert held / 50 > 0.88
    assert np.mean(widths) < 0.6


def test_too_few_calls_for_a_fit_and_a_feature_that_says_nothing_change_no_number():
    values, differences = NEAR.sampled(np.random.default_rng(1), calls=40)
    plain = teacher_mean(values, differences, TEMPERATURE)
    for features in (np.ones((*values.shape, 1)), np.ones((*values.shape, 5)) * values[..., None]):
        found = teacher_mean(values, differences, TEMPERATURE, features=features)
        assert found.value == pytest.approx(plain.value, rel=1e-9)


def test_the_same_models_give_the_students_mean():
    values, differences = NEAR.sampled(np.random.default_rng(1), calls=40)
    found = teacher_mean(values, 0.0 * differences, TEMPERATURE)
    assert found.value == pytest.approx(found.student, rel=1e-2)
    assert (found.effective_samples, found.form) == (pytest.approx(40), "reweighting")
    energy = free_energy_difference(0.0 * differences + 0.2, TEMPERATURE)
    assert energy.value == pytest.approx(0.2)


def test_an_observable_of_the_model_itself_is_corrected():
    # The teacher's energy is the student's and a constant: nothing but that is to be found.
    values, differences = NEAR.sampled(np.random.default_rng(1), calls=40)
    constant = np.where(np.isfinite(differences), 0.3, np.nan)
    found = teacher_mean(values, constant, TEMPERATURE, corrections=constant)
    plain = teacher_mean(values, constant, TEMPERATURE)
    assert found.value - plain.value == pytest.approx(0.3)


def test_arrays_keep_their_shape_and_each_number_is_as_if_alone():
    values, differences = NEAR.sampled(np.random.default_rng(1), calls=40)
    alone = teacher_mean(values, differences, TEMPERATURE)
    together = teacher_mean(
        np.stack([values, 2 * values], axis=-1)[..., None], differences, TEMPERATURE
    )
    assert together.value.shape == (2, 1)
    np.testing.assert_allclose(together.value[:, 0], [alone.value, 2 * alone.value])


def test_the_first_order_says_where_it_misses_something():
    assert not mean_of(FAR, calls=80).missed
    # x^2 under a shift: the second order is as large as kT.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 2000))
    shift, kt = 3.0, TEMPERATURE * 8.617333262e-5
    differences = kt * (0.5 * shift**2 - shift * x)
    found = teacher_mean(x**2, differences, TEMPERATURE)
    assert found.form == "first order"
    assert found.missed
    assert found.next_term == pytest.approx(shift**2, rel=0.2)


def test_too_few_calls_are_refused_and_say_what_to_do():
    values, differences = NEAR.sampled(np.random.default_rng(1), calls=40)
    few = np.full_like(differences, np.nan)
    few[0, -3:] = 0.0
    with pytest.raises(UserError, match=r"3 calls are in 1 independent blocks.*raise the budget"):
        teacher_mean(values, few, TEMPERATURE)
    with pytest.raises(UserError, match="expected 4 or more"):
        free_energy_difference(few, TEMPERATURE)


def test_an_allocation_is_the_best_there_is():
    levels = [Level(1.0, 1.0), Level(0.04, 100.0)]
    found = allocation(levels, cost=10_000.0)
    assert found.cost <= 10_000.0

    def error(pairs: int) -> float:
        return float(np.sqrt(0.04 / pairs + 1.0 / (10_000 - 100 * pairs)))

    best = min(range(2, 99), key=error)
    assert found.samples[1] == pytest.approx(best, abs=1)
    assert found.standard_error == pytest.approx(error(best), rel=0.01)
    wanted = allocation(levels, standard_error=found.standard_error)
    assert wanted.cost == pytest.approx(found.cost, rel=0.02)
    assert wanted.standard_error <= found.standard_error


def test_every_level_gets_two_samples_and_a_budget_below_that_is_refused():
    levels = [Level(1.0, 1.0), Level(1e-9, 100.0)]
    found = allocation(levels, cost=300.0)
    assert found.samples == (100, 2)
    with pytest.raises(UserError, match="does not buy two samples of each level, which cost 202"):
        allocation(levels, cost=150.0)
    for wrong in ({}, {"cost": 1.0, "standard_error": 1.0}, {"cost": -1.0}):
        with pytest.raises(UserError, match="allocation"):
            allocation(levels, **wrong)
