"""Sizes of crystals at the teacher's level: against known answers, coverage, what is refused."""

import numpy as np
import pytest
from quasi_harmonic import KT, TEACHER, TEMPERATURE, Solid, isochore, solid

from distill.core.errors import UserError
from distill.metrics.isochores import crossing, teacher_crossing

STUDENT = solid(32)
# Of the static energies.
DERIVATIVE = 4.0


def volumes_around(of: Solid) -> list[float]:
    return [float(of.volume_at(0.0) * np.exp(side)) for side in (-0.015, 0.015)]


@pytest.mark.physics
@pytest.mark.parametrize("pressure", [0.0, 0.01])
@pytest.mark.parametrize("atoms", [8, 256])
def test_mean_pressures_at_two_volumes_give_the_mean_edge_at_a_pressure(atoms, pressure):
    of = solid(atoms, **TEACHER)
    volumes = volumes_around(of)
    found = crossing(
        volumes,
        [of.mean_pressure(v) for v in volumes],
        [0.0, 0.0],
        TEMPERATURE,
        pressure=pressure,
        derivative=DERIVATIVE,
    )
    # The fluctuation of eight atoms alone makes the edge longer by 5e-4.
    assert found.edge == pytest.approx(of.mean_edge(pressure), rel=1e-5)
    assert 0 < found.place < 1
    slope = (of.mean_pressure(volumes[1]) - of.mean_pressure(volumes[0])) / 0.03
    assert found.bulk_modulus == pytest.approx(-slope)


@pytest.mark.physics
def test_intervals_hold_the_teachers_edge_which_the_students_structures_alone_do_not_give():
    teacher = solid(32, larger=1.004, stiffness=3.2, grueneisen=2.1)
    volumes, exact = volumes_around(teacher), teacher.mean_edge(0.0)
    rng, held, repetitions = np.random.default_rng(3), np.zeros(3), 100
    edges = []
    for _ in range(repetitions):
        runs = [isochore(STUDENT, teacher, v, rng, calls=40, frames=400) for v in volumes]
        found, means = teacher_crossing(
            runs, TEMPERATURE, pressure=0.0, derivative=DERIVATIVE, confidence=0.95
        )
        assert [mean.calls for mean in means] == [40, 40]
        alone = crossing(
            volumes,
            [run.pressures.mean() + np.nanmean(run.corrections) for run in runs],
            [0.0, 0.0],
            TEMPERATURE,
            pressure=0.0,
            derivative=DERIVATIVE,
        ).edge
        low, high = found.edge_interval
        held += (low <= exact <= high, low <= alone <= high, low <= STUDENT.mean_edge(0.0) <= high)
        edges.append(found.edge)
    assert held[0] / repetitions > 0.91, held
    assert np.all(held[1:] / repetitions < 0.5), held
    assert np.mean(edges) == pytest.approx(exact, abs=3 * np.std(edges) / np.sqrt(repetitions))


def test_the_same_models_give_the_students_crossing():
    volumes = volumes_around(STUDENT)
    rng = np.random.default_rng(0)
    runs = [isochore(STUDENT, STUDENT, v, rng, calls=40, frames=400) for v in volumes]
    options = {"pressure": 0.0, "derivative": DERIVATIVE}
    found, means = teacher_crossing(runs, TEMPERATURE, **options)
    students = [float(mean.student) for mean in means]
    assert found.edge == pytest.approx(
        crossing(volumes, students, [0.0, 0.0], TEMPERATURE, **options).edge, rel=1e-5
    )


def test_what_the_first_order_leaves_out_widens_the_interval():
    teacher = solid(32, stiffness=3.9, modulus=0.84)
    volumes, options = volumes_around(teacher), {"pressure": 0.0, "derivative": DERIVATIVE}
    rng = np.random.default_rng(1)
    runs = [isochore(STUDENT, teacher, v, rng, calls=80, uneven=0.2) for v in volumes]
    found, means = teacher_crossing(runs, TEMPERATURE, **options)
    assert [mean.form for mean in means] == 2 * ["first order"]
    values = [float(mean.value) for mean in means]
    plain = [float(mean.high - mean.low) / 2 for mean in means]
    wider = [half + abs(float(m.next_term)) for half, m in zip(plain, means, strict=True)]
    expected = crossing(volumes, values, wider, TEMPERATURE, **options)
    assert found.edge_interval == pytest.approx(expected.edge_interval)
    assert np.ptp(expected.edge_interval) > 1.05 * np.ptp(
        crossing(volumes, values, plain, TEMPERATURE, **options).edge_interval
    )


def test_the_interval_is_that_of_the_pressure_over_the_slope_where_the_crossing_is():
    volumes = [100.0, 100.0 * np.exp(0.02)]
    options = {"pressure": 0.0, "derivative": 0.0}
    at_one = crossing(volumes, [0.0, -0.02], [0.001, 0.05e-3], TEMPERATURE, **options)
    assert at_one.place == 0
    assert at_one.bulk_modulus == pytest.approx(1.0)
    # dV/V = dp / B, a third of it in length.
    half = (at_one.edge_interval[1] - at_one.edge_interval[0]) / 2
    assert half / at_one.edge == pytest.approx(0.001 / 3)
    skewed = KT / (18 * 1.0 * 100.0)
    assert at_one.edge == pytest.approx(100.0 ** (1 / 3) * (1 + skewed))


@pytest.mark.parametrize(
    ("pressures", "halves", "pressure", "message"),
    [
        ([0.01, -0.01], [0.02, 0.02], 0.0, r"falls by 0.02 ± 0.028 .*more calls"),
        ([-0.01, 0.01], [0.0, 0.0], 0.0, r"falls by -0.02"),
        ([np.nan, 0.0], [0.0, 0.0], 0.0, r"falls by nan"),
        ([0.01, -0.01], [0.0, 0.0], -0.2, r"does not reach a pressure of -0.2"),
    ],
)
def test_pressures_without_a_crossing_are_refused(pressures, halves, pressure, message):
    with pytest.raises(UserError, match=message):
        crossing([100.0, 103.0], pressures, halves, TEMPERATURE, pressure=pressure, derivative=4.0)
