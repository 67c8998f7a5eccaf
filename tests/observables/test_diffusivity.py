"""Diffusivities of synthetic walks whose diffusivity is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from distill.core.errors import UserError
from distill.observables.diffusion.diffusivity import (
    Diffusivity,
    _block_sums,
    diffusivity,
    displacements_in_framework,
)

INTERVAL = 10.0


def walk(
    generator: np.random.Generator,
    frames: int,
    diffusivity: float,
    *,
    atoms: int = 5,
    vibration: float = 0.1,
) -> np.ndarray:
    """One defect whose motion is carried by an atom that changes at random, plus vibrations."""
    steps = generator.normal(scale=np.sqrt(2 * diffusivity * INTERVAL), size=(frames - 1, 3))
    carrier = np.repeat(generator.integers(atoms, size=frames // 20 + 1), 20)[: frames - 1]
    increments = np.zeros((frames, atoms, 3))
    increments[np.arange(1, frames), carrier] = steps
    track = np.cumsum(increments, axis=0)
    return track + generator.normal(scale=vibration, size=track.shape)


def estimate(runs: list[np.ndarray], seed: int = 0, **options: object) -> Diffusivity:
    settings: dict = {"defects": 1, "jump_length": 1.0, "fit_start": 50.0, "fit_end": 400.0}
    settings.update(options)
    return diffusivity(runs, INTERVAL, generator=np.random.default_rng(seed), **settings)


def test_interval_covers_the_true_diffusivity_as_often_as_it_says() -> None:
    true, trials = 1e-3, 80
    covered, values = 0, []
    for trial in range(trials):
        generator = np.random.default_rng([7, trial])
        runs = [walk(generator, 600, true) for _ in range(3)]
        found = estimate(runs, trial)
        assert found.value is not None and found.interval is not None
        covered += found.interval[0] <= true <= found.interval[1]
        values.append(found.value)
    # 80 trials of 95 %: 70 or fewer would come once in some thousand times.
    assert covered > 70
    assert np.mean(values) == pytest.approx(true, abs=4 * np.std(values) / np.sqrt(trials))


@pytest.mark.parametrize("frames", [61, 80])
def test_interval_of_two_or_three_blocks_is_wide_enough(frames: int) -> None:
    """Their scatter alone, which is the bootstrap's, covers the truth less often than it says."""
    true, trials, covered = 1e-2, 100, 0
    for trial in range(trials):
        generator = np.random.default_rng([13, trial])
        run = walk(generator, frames, true, vibration=0.02)
        found = estimate([run], trial, fit_start=10.0, fit_end=50.0)
        assert found.blocks == frames // 25
        assert found.interval is not None
        covered += found.interval[0] <= true <= found.interval[1]
    assert covered >= 85


def test_vibrations_that_still_ring_do_not_pass_for_diffusion() -> None:
    """Their mean squared displacement swings between neighbouring lags long after it has risen."""
    true, frames, atoms = 1e-4, 4000, 8
    damping, angle = 0.95, 2 * np.pi / 9
    values = []
    for trial in range(6):
        generator = np.random.default_rng([11, trial])
        track = walk(generator, frames, true, atoms=atoms, vibration=0)
        kicks = generator.normal(scale=0.02, size=(frames, atoms, 3))
        coefficients = [1, -2 * damping * np.cos(angle), damping**2]
        vibrations = lfilter([1], coefficients, kicks, axis=0)
        found = estimate([track + vibrations], fit_start=300.0, fit_end=1200.0)
        values.append(found.value)
    assert np.mean(values) == pytest.approx(true, rel=0.2)


def test_sum_over_atoms_counts_a_defect_whose_carrier_changes() -> None:
    """Following one atom loses the motion; the sum over atoms does not."""
    runs = [walk(np.random.default_rng(i), 2000, 1e-3) for i in range(4)]
    whole = estimate(runs)
    single = estimate([run[:, :1] for run in runs])
    assert whole.value == pytest.approx(1e-3, rel=0.25)
    assert (single.value or 0.0) < 0.4e-3


def test_collective_counting_sees_correlated_atoms_and_tracer_counting_does_not() -> None:
    """Two atoms that move alike: the sum of squares is 2 D, the square of the sum is 4 D."""
    tracks = [walk(np.random.default_rng(i), 3000, 1e-3, atoms=1, vibration=0) for i in range(4)]
    pairs = [np.concatenate([track, track], axis=1) for track in tracks]
    single = estimate(tracks)
    assert estimate(pairs).value == pytest.approx(2 * single.value, rel=0.01)
    collective = estimate(pairs, counting="collective")
    assert collective.value == pytest.approx(4 * single.value, rel=0.01)


def test_diffusivity_is_that_of_one_defect() -> None:
    runs = [walk(np.random.default_rng(i), 2000, 1e-3) for i in range(4)]
    both = [np.concatenate([run, run[::-1] - run[-1]], axis=1) for run in runs]
    assert estimate(both, defects=2).value == pytest.approx(estimate(runs).value, rel=0.25)


def test_vibrations_alone_give_an_upper_bound() -> None:
    generator = np.random.default_rng(3)
    runs = [generator.normal(scale=0.2, size=(1000, 8, 3)) for _ in range(2)]
    found = estimate(runs, jump_length=2.85)
    time = 2 * 999 * INTERVAL
    assert found.value is None and found.interval is None
    assert "no atom left its site" in found.reason
    # No event in a time T: fewer than −ln(0.05) in 95 % of cases.
    assert found.upper_bound == pytest.approx(-np.log(0.05) * 2.85**2 / (6 * time))


def test_one_jump_gives_an_upper_bound_above_its_own_rate() -> None:
    generator = np.random.default_rng(4)
    runs = [generator.normal(scale=0.1, size=(1000, 8, 3)) for _ in range(2)]
    runs[0][500:, 2] += (2.0, 0.0, 0.0)
    found = estimate(runs, jump_length=2.0)
    assert found.value is None
    assert "jumps" in found.reason
    assert found.upper_bound > 2.0**2 / (6 * 2 * 999 * INTERVAL)


def test_block_sums_match_a_plain_loop() -> None:
    track = np.random.default_rng(1).normal(size=(53, 3, 3)).cumsum(axis=0)
    lags, block = np.array([1, 4, 9]), 20
    for counting in ("tracer", "collective"):
        sums, counts = _block_sums(track, lags, block, counting)
        assert sums.shape == (2, 3)
        for b in range(2):
            for column, lag in enumerate(lags):
                origins = [t for t in range(53 - lag) if min(t // block, 1) == b]
                steps = [track[t + lag] - track[t] for t in origins]
                if counting == "tracer":
                    plain = sum((step**2).sum() for step in steps)
                else:
                    plain = sum((step.sum(axis=0) ** 2).sum() for step in steps)
                assert counts[b, column] == len(origins)
                assert sums[b, column] == pytest.approx(plain)


def test_kinisi_and_the_bootstrap_agree() -> None:
    pytest.importorskip("kinisi")
    from distill.observables.diffusion.kinisi_check import kinisi_diffusivity

    runs = [walk(np.random.default_rng(i), 2000, 1e-3) for i in range(4)]
    ours = estimate(runs)
    theirs = kinisi_diffusivity(runs, INTERVAL, ours.lags, defects=1, seed=1)
    assert ours.interval is not None
    assert theirs is not None
    assert theirs.value == pytest.approx(ours.value, rel=0.1)
    assert theirs.interval[0] < ours.interval[1]
    assert theirs.interval[1] > ours.interval[0]
    again = kinisi_diffusivity(runs, INTERVAL, ours.lags, defects=1, seed=1)
    assert again == theirs


def test_drift_and_recoil_of_the_framework_are_taken_out() -> None:
    generator = np.random.default_rng(2)
    positions = generator.normal(size=(50, 6, 3))
    mobile = np.array([True, True, False, False, False, False])
    drift = np.cumsum(generator.normal(size=(50, 1, 3)), axis=0)
    still = displacements_in_framework(positions, mobile)
    assert still.shape == (50, 2, 3)
    assert np.allclose(displacements_in_framework(positions + drift, mobile), still)
    alone = displacements_in_framework(positions, np.ones(6, dtype=bool))
    assert np.allclose(alone.sum(axis=1), 0)


def test_too_short_a_run_or_window_is_refused() -> None:
    runs = [walk(np.random.default_rng(0), 60, 1e-3)]
    with pytest.raises(UserError, match="run more than twice as long"):
        estimate(runs)
    with pytest.raises(UserError, match="fewer than three frames"):
        estimate(runs, fit_start=50.0, fit_end=60.0)
