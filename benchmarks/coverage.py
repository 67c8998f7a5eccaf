"""How often 95 % intervals cover a truth that is known.

    python benchmarks/coverage.py [--repetitions 2000] [--out FOLDER]

Each estimator gets synthetic data whose truth is known, again and again; the share of intervals
that hold the truth is written with its own 95 % interval. Intervals that are refused for want of
data are counted apart.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distill.metrics.jackknife import jackknife
from distill.metrics.source_intervals import rms_interval
from distill.metrics.statistics import paired_difference, two_level, wilson

CONFIDENCE = 0.95
Trial = Callable[[np.random.Generator], tuple[float, float] | None]


def errors(sources: int, scatter: float) -> tuple[Trial, float]:
    """RMSE of frames whose size is that of their trajectory, lognormal with this scatter."""

    def trial(rng: np.random.Generator) -> tuple[float, float] | None:
        frames = rng.integers(3, 12, size=sources)
        of = np.repeat(np.arange(sources), frames)
        sizes = np.exp(2 * scatter * rng.normal(size=sources) - 2 * scatter**2)
        squared = sizes[of] * rng.chisquare(30, size=len(of))
        return rms_interval(squared, np.full(len(of), 30.0), of, CONFIDENCE)

    return trial, 1.0


def proportion(trajectories: int, share: float) -> tuple[Trial, float]:
    """A sticking probability (Wilson)."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        return wilson(int(rng.binomial(trajectories, share)), trajectories, CONFIDENCE).interval

    return trial, share


def pairs(trajectories: int, only_first: float, only_second: float) -> tuple[Trial, float]:
    """A difference of sticking probabilities on the same trajectories (Bonett and Price)."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        kind = rng.choice(
            3, trajectories, p=(only_first, only_second, 1 - only_first - only_second)
        )
        return paired_difference(kind == 0, kind == 1, CONFIDENCE).interval

    return trial, only_first - only_second


def two_levels(many: int, few: int, differ: float) -> tuple[Trial, float]:
    """The teacher's sticking probability from many of the student and few pairs."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        cheap = rng.random(many) < 0.3
        # The teacher lets some stick that the student does not.
        exact = cheap[:few] | (rng.random(few) < differ)
        return two_level(cheap.tolist(), exact.tolist(), CONFIDENCE).interval

    return trial, 0.3 + 0.7 * differ


def blocks(number: int) -> tuple[Trial, float]:
    """A ratio of means from independent blocks (jackknife)."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        one, other = rng.normal(2.0, 0.3, number), rng.normal(1.0, 0.1, number)
        low, high = jackknife(lambda a, b: a / b, one, other).interval(CONFIDENCE)
        return float(low), float(high)

    return trial, 2.0


ESTIMATORS: dict[str, tuple[Trial, float]] = {
    **{
        f"RMSE, {sources} trajectories, errors apart by {np.exp(2 * scatter):.2g}": errors(
            sources, scatter
        )
        for scatter in (0.0, 0.15, 0.3, 0.45)
        for sources in (4, 8, 30)
    },
    **{
        f"proportion {share}, {n} trajectories": proportion(n, share)
        for share in (0.1, 0.3)
        for n in (20, 200)
    },
    "paired difference, 20 pairs, 5 and 5 % disagree": pairs(20, 0.05, 0.05),
    "paired difference, 100 pairs, 10 and 2 % disagree": pairs(100, 0.1, 0.02),
    "two-level, 200 and 20 trajectories": two_levels(200, 20, 0.1),
    "two-level, 1000 and 100 trajectories": two_levels(1000, 100, 0.05),
    "ratio of means, 5 blocks": blocks(5),
    "ratio of means, 20 blocks": blocks(20),
}


def measured(title: str, repetitions: int) -> dict[str, Any]:
    """Coverage of one estimator."""
    trial, truth = ESTIMATORS[title]
    rng = np.random.default_rng(list(title.encode()))
    found = [trial(rng) for _ in range(repetitions)]
    given = [interval for interval in found if interval is not None]
    covered = wilson(sum(low <= truth <= high for low, high in given), len(given), CONFIDENCE)
    return {
        "estimator": title,
        "coverage": covered.value,
        "interval": covered.interval,
        "repetitions": repetitions,
        "refused": repetitions - len(given),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| estimator | covered | its 95 % interval | refused |", "|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"]
        share = f"{row['refused'] / row['repetitions']:.1%}"
        lines.append(
            f"| {row['estimator']} | {row['coverage']:.1%} | {low:.1%} to {high:.1%} | {share} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows = [measured(title, options.repetitions) for title in ESTIMATORS]
    text = table(rows)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "coverage.md").write_text(text, encoding="utf-8")
    (options.out / "coverage.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
