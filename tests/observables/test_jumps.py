"""Diffusion with memory: the window, disagreement and jump statistics of walks that are known."""

from functools import cache

import numpy as np
import pytest
from jump_walks import exact_diffusivity, jump_walk

from distill.observables.diffusion.diffusivity import Diffusivity, diffusivity
from distill.observables.diffusion.jumps import jump_statistics, jumps_of, van_hove
from distill.observables.diffusion.window import Window, choose_window

INTERVAL, LENGTH, TIME = 200.0, 2.0, 1e6


def runs_of(trial: int, residence_time: float, back: float, time: float = TIME) -> list[np.ndarray]:
    generator = np.random.default_rng([21, trial])
    frames = round(time / INTERVAL) + 1
    return [
        jump_walk(generator, frames, INTERVAL, residence_time=residence_time, back=back)
        for _ in range(4)
    ]


def window_of(*models: list[np.ndarray], **options: float) -> Window:
    settings = {"fit_start": 2000.0, "fit_end": None, "defects": 1, "jump_length": LENGTH}
    return choose_window(models, INTERVAL, **settings | options)


def estimate(runs: list[np.ndarray], start: float, end: float, seed: int = 0) -> Diffusivity:
    return diffusivity(
        runs,
        INTERVAL,
        defects=1,
        jump_length=LENGTH,
        fit_start=start,
        fit_end=end,
        generator=np.random.default_rng(seed),
    )


WALKS = [(1e4, 0.4), (1e4, 0.0), (4e4, 0.4)]
TRIALS = 60


@cache
def trials_of(residence_time: float, back: float) -> tuple[int, np.ndarray]:
    """How many intervals hold the true diffusivity, and the values over it."""
    true = exact_diffusivity(residence_time, back)
    covered, values = 0, []
    for trial in range(TRIALS):
        runs = runs_of(trial, residence_time, back)
        window = window_of(runs)
        found = estimate(runs, window.start, window.end, trial)
        assert found.value is not None and found.interval is not None
        covered += found.interval[0] <= true <= found.interval[1]
        values.append(found.value / true)
    return covered, np.array(values)


@pytest.mark.physics
@pytest.mark.parametrize(("walk", "bias"), zip(WALKS, (0.05, 0.05, 0.15), strict=True))
def test_diffusivities_are_right_where_jumps_go_back(
    walk: tuple[float, float], bias: float
) -> None:
    """With a window from 2 ps the diffusivity at 40 % back-jumps is 1.8 times the true one."""
    covered, values = trials_of(*walk)
    # 60 trials of 95 %: 52 or fewer would come once in a hundred times.
    assert covered >= 53
    assert values.mean() == pytest.approx(1.0, abs=bias + 3 * values.std() / np.sqrt(TRIALS))


@pytest.mark.physics
def test_intervals_hold_as_often_as_they_say() -> None:
    """Of all walks together: fewer than 164 of 180, or more than 177, come once in a hundred."""
    assert 164 <= sum(trials_of(*walk)[0] for walk in WALKS) <= 177


@pytest.mark.physics
def test_a_window_within_the_memory_is_marked() -> None:
    trials = 10
    with_memory = [estimate(runs_of(t, 1e4, 0.4), 2e3, 5e4, t) for t in range(trials)]
    without = [estimate(runs_of(t, 1e4, 0.0), 2e3, 5e4, t) for t in range(trials)]
    assert np.mean([d.value for d in with_memory]) > 1.6 * exact_diffusivity(1e4, 0.4)
    assert sum("remember each other" in d.disagreement for d in with_memory) >= 8
    assert sum(bool(d.disagreement) for d in without) <= 1


def test_the_window_starts_after_three_residence_times() -> None:
    window = window_of(runs_of(0, 1e4, 0.0))
    assert window.residence_time == pytest.approx(1e4, rel=0.3)
    assert window.start == pytest.approx(3 * window.residence_time)
    assert window.end == max(4 * window.start, TIME / 20)
    assert not window.early


def test_fast_jumps_leave_the_window_where_it_is() -> None:
    window = window_of(runs_of(0, 500.0, 0.0))
    assert (window.start, window.end) == (2000.0, TIME / 20)


def test_short_runs_and_the_slowest_model_decide_for_all() -> None:
    slow, fast = runs_of(0, 2e4, 0.0), runs_of(1, 1e4, 0.0)
    both = window_of(fast, slow)
    assert both == window_of(slow)
    short = [run[: len(run) // 4] for run in slow]
    together = window_of(fast, short)
    quarter = (len(short[0]) - 1) * INTERVAL
    assert together.start == pytest.approx(quarter / 16)
    assert together.end == pytest.approx(quarter / 4)
    assert together.early


def test_a_window_that_is_asked_for_is_kept() -> None:
    window = window_of(runs_of(0, 1e4, 0.4), fit_end=3e4)
    assert (window.start, window.end) == (2000.0, 3e4)
    assert window.early


@pytest.mark.physics
@pytest.mark.parametrize("back", [0.0, 0.4])
def test_jumps_are_counted_with_their_directions(back: float) -> None:
    """Residence time, share of jumps back and correlation factor, known to the sampling error."""
    runs = [
        jump_walk(np.random.default_rng([3, k]), 20001, INTERVAL, residence_time=2e4, back=back)
        for k in range(4)
    ]
    jumps = [jumps_of(run, INTERVAL, average=500.0, jump_length=LENGTH) for run in runs]
    found = jump_statistics(jumps, defects=1, confidence=0.99)
    assert found.jumps > 700
    # Of jumps that go anywhere a sixth goes back.
    expected = {
        "residence_time": 2e4,
        "back": back + (1 - back) / 6,
        "correlation_factor": (1 - back) / (1 + back),
    }
    for name, exact in expected.items():
        measured = getattr(found, name)
        low, high = measured.interval
        # A few that go back within the averages are missed.
        assert 0.93 * low <= exact <= 1.07 * high, name


def test_without_jumps_there_are_no_statistics() -> None:
    still = np.random.default_rng(4).normal(scale=0.2, size=(1000, 3, 3))
    jumps = jumps_of(still, INTERVAL, average=1000.0, jump_length=LENGTH)
    assert len(jumps.cosines) == 0
    assert jump_statistics([jumps], defects=1, confidence=0.95) is None


def test_the_van_hove_function_is_where_the_sites_are() -> None:
    runs = runs_of(0, 1e4, 0.0)
    found = van_hove(runs, INTERVAL, [200.0, 2e4], LENGTH)
    width = found.distances[1] - found.distances[0]
    early, late = (np.array(d) * width for d in found.densities)
    distances = np.array(found.distances)
    assert early[distances < 0.5 * LENGTH].sum() > 0.95
    assert early.sum() == pytest.approx(1.0)
    # After two residence times, of a Poisson number of jumps: exp(-2) have not jumped.
    assert 0.1 < late[distances < 0.5 * LENGTH].sum() < 0.35
    assert late[abs(distances - LENGTH) < 0.4].sum() > 0.15
