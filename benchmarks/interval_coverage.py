"""How often 95 % intervals cover a truth that is known.

    python benchmarks/interval_coverage.py [--repetitions 2000] [--only WORD] [--out FOLDER]

Each estimator gets synthetic data whose truth is known, again and again; the share of intervals
that hold the truth is written with its own 95 % interval. Intervals that are refused for want of
data are counted apart. With a word only the estimators with it in their names are measured, and the
rows of the others stay.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import kB

from distill.core.errors import UserError
from distill.metrics.isochores import teacher_crossing
from distill.metrics.jackknife import jackknife
from distill.metrics.multilevel import multilevel
from distill.metrics.source_intervals import rms_interval
from distill.metrics.statistics import paired_difference, proportion, wilson
from distill.metrics.teacher_level import free_energy_difference, teacher_mean
from distill.observables.against import Number, difference
from distill.observables.diffusion.arrhenius import fit_arrhenius
from distill.observables.diffusion.diffusivity import diffusivity
from distill.observables.diffusion.jumps import jump_statistics, jumps_of
from distill.observables.diffusion.window import choose_window
from distill.observables.sticking.effort import Counts, Effort
from distill.systems.crystals import mean_with_interval
from distill.systems.equation_of_state import fit_birch_murnaghan, intervals_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import quasi_harmonic
from jump_walks import exact_diffusivity, jump_walk
from oscillators import TEMPERATURE, Oscillators

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


def wilsons(trajectories: int, share: float) -> tuple[Trial, float]:
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
        return multilevel([cheap.tolist(), exact.tolist()], CONFIDENCE).interval

    return trial, 0.3 + 0.7 * differ


def three_levels(many: int, some: int, few: int) -> tuple[Trial, float]:
    """The reference's sticking probability from many of the student and few of teacher and its."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        cheap = rng.random(many) < 0.3
        teacher = cheap[:some] | (rng.random(some) < 0.1)
        exact = teacher[:few] | (rng.random(few) < 0.05)
        return multilevel([cheap.tolist(), teacher.tolist(), exact.tolist()], CONFIDENCE).interval

    return trial, 1 - 0.7 * 0.9 * 0.95


def stopped_two_levels(differ: float) -> tuple[Trial, float]:
    """The teacher's probability where it was known to ±0.06, a call of it costing 50."""
    effort = Effort(0.06, Counts(20, 100), Counts(1500, 6000), 50.0)

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        student = rng.random(effort.most.student) < 0.3
        teacher = student ^ (rng.random(len(student)) < differ)
        done, counts = None, effort.first
        while counts != done:
            done = counts
            cheap, exact = student[: done.student], teacher[: done.teacher]
            joint = multilevel([cheap, exact], CONFIDENCE)
            pairs = paired_difference(exact, cheap[: done.teacher], CONFIDENCE)
            counts = effort.after(joint, proportion(cheap, CONFIDENCE), pairs, done)
        return joint.interval

    return trial, 0.3 * (1 - differ) + 0.7 * differ


def blocks(number: int) -> tuple[Trial, float]:
    """A ratio of means from independent blocks (jackknife)."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        one, other = rng.normal(2.0, 0.3, number), rng.normal(1.0, 0.1, number)
        low, high = jackknife(lambda a, b: a / b, one, other).interval(CONFIDENCE)
        return float(low), float(high)

    return trial, 2.0


def shared(surfaces: int, each: int, share: float, scatter: float) -> tuple[Trial, float]:
    """A sticking probability of trajectories that share surfaces, each of which has its own."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        total = 1 / scatter - 1
        own = rng.beta(share * total, (1 - share) * total, surfaces)
        of = np.repeat(np.arange(surfaces), each)
        outcomes = rng.random(len(of)) < own[of]
        return proportion(outcomes, CONFIDENCE, clusters=of.tolist(), available=surfaces).interval

    return trial, share


def published(trajectories: int, share: float, theirs: int) -> tuple[Trial, float]:
    """A sticking probability minus a published one (Newcombe)."""

    def trial(rng: np.random.Generator) -> tuple[float, float] | None:
        numbers = []
        for count, true in ((trajectories, share), (theirs, 0.3)):
            found = wilson(int(rng.binomial(count, true)), count, CONFIDENCE)
            numbers.append(Number("", found.value, found.interval))
        return difference(*numbers)[1]

    return trial, share - 0.3


def correlated(values: int, memory: float, number: int) -> tuple[Trial, float]:
    """A lattice constant over time, whose correlation decays in `memory` values (blocks)."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        keep = np.exp(-1 / memory)
        noise = rng.normal(scale=np.sqrt(1 - keep**2), size=values)
        series = np.empty(values)
        series[0] = rng.normal()
        for k in range(1, values):
            series[k] = keep * series[k - 1] + noise[k]
        _, low, high = mean_with_interval(series, number, CONFIDENCE)
        return low, high

    return trial, 0.0


def morse_crystal(name: str, scatter: float) -> tuple[Trial, float]:
    """Lattice constant or bulk modulus of fcc Morse atoms from nine energies that scatter (eV)."""
    depth, width, bond = 0.35, 1.35, 2.55
    length = np.sqrt(2) * bond
    # Six bonds an atom, r³/√2 the volume of one: B = V E''(V) at the bottom of each bond.
    modulus = 6 * 2 * depth * width**2 * (np.sqrt(2) / (3 * bond**2)) ** 2 * bond**3 / np.sqrt(2)
    lengths = length * np.linspace(0.97, 1.03, 9)
    stretch = 1 - np.exp(-width * (lengths / np.sqrt(2) - bond))
    exact = 24 * depth * (stretch**2 - 1)

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        fit = fit_birch_murnaghan(lengths**3, exact + rng.normal(scale=scatter, size=9))
        low, high = intervals_of(fit, length, length**3, CONFIDENCE)[f"{name}_interval"]
        return low, high

    return trial, {"lattice_constant": length, "bulk_modulus": modulus}[name]


_FRAME, _TIME, _LENGTH = 200.0, 1e6, 2.0


def walks(rng: np.random.Generator, residence_time: float, back: float) -> list[np.ndarray]:
    """Four runs of an interstitial that jumps, and goes back more often than by chance."""
    frames = round(_TIME / _FRAME) + 1
    return [
        jump_walk(rng, frames, _FRAME, residence_time=residence_time, back=back) for _ in range(4)
    ]


def diffusion(residence_time: float, back: float) -> tuple[Trial, float]:
    """A diffusivity in the window that the data choose (block bootstrap)."""

    def trial(rng: np.random.Generator) -> tuple[float, float] | None:
        runs = walks(rng, residence_time, back)
        window = choose_window(
            [runs], _FRAME, fit_start=2000.0, fit_end=None, defects=1, jump_length=_LENGTH
        )
        return diffusivity(
            runs,
            _FRAME,
            defects=1,
            jump_length=_LENGTH,
            fit_start=window.start,
            fit_end=window.end,
            confidence=CONFIDENCE,
            generator=rng,
        ).interval

    return trial, exact_diffusivity(residence_time, back)


def jumping(name: str, back: float) -> tuple[Trial, float]:
    """Residence time, share of jumps back, or correlation factor of such walks."""
    residence_time = 2e4

    def trial(rng: np.random.Generator) -> tuple[float, float] | None:
        jumps = [
            jumps_of(run, _FRAME, average=500.0, jump_length=_LENGTH)
            for run in walks(rng, residence_time, back)
        ]
        found = jump_statistics(jumps, defects=1, confidence=CONFIDENCE)
        return found and getattr(found, name).interval

    exact = {
        "residence_time": residence_time,
        "back": back + (1 - back) / 6,
        "correlation_factor": (1 - back) / (1 + back),
    }
    return trial, exact[name]


def activation(runs: int, frames: int) -> tuple[Trial, float]:
    """An activation energy from Brownian runs at four temperatures."""
    energy, prefactor, frame = 0.25, 0.2, 10.0
    temperatures = (500.0, 600.0, 800.0, 1000.0)

    def trial(rng: np.random.Generator) -> tuple[float, float] | None:
        found = []
        for temperature in temperatures:
            true = prefactor * np.exp(-energy / (kB * temperature))
            steps = rng.normal(scale=np.sqrt(2 * true * frame), size=(runs, frames, 1, 3))
            tracks = steps.cumsum(axis=1) + rng.normal(scale=0.05, size=steps.shape)
            found.append(
                diffusivity(
                    list(tracks),
                    frame,
                    defects=1,
                    jump_length=0.5,
                    fit_start=30.0,
                    fit_end=300.0,
                    confidence=CONFIDENCE,
                    generator=rng,
                )
            )
        if any(d.value is None for d in found):
            return None
        values, samples = [d.value for d in found], [d.samples for d in found]
        fit = fit_arrhenius(temperatures, values, samples, confidence=CONFIDENCE)
        return fit.activation_energy_interval

    return trial, energy


# Softer than the teacher's, which is reweighted, or elsewhere, whose weights degenerate.
OSCILLATORS = {
    "energies apart by 0.2 kT": Oscillators(modes=10, stiffer=1.1),
    "energies apart by 0.7 kT": Oscillators(modes=10, stiffer=1.3),
    "energies apart by 1 kT": Oscillators(modes=4, stiffer=1.7),
    "energies apart by 3 kT": Oscillators(modes=30, shifted=3.0),
}


def teachers_mean(of: Oscillators, calls: int) -> tuple[Trial, float]:
    """The mean square, or the mean, of oscillators of the teacher's, from the student's."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        values, differences = of.sampled(rng, calls=calls)
        found = teacher_mean(values, differences, TEMPERATURE, confidence=CONFIDENCE)
        return float(found.low), float(found.high)

    return trial, of.teachers_mean


def free_energy(of: Oscillators, calls: int) -> tuple[Trial, float]:
    """The free energy from the student's oscillators to the teacher's."""

    def trial(rng: np.random.Generator) -> tuple[float, float]:
        _, differences = of.sampled(rng, calls=calls)
        found = free_energy_difference(differences, TEMPERATURE, confidence=CONFIDENCE)
        return found.low, found.high

    return trial, of.free_energy


# How much stiffer all of a crystal's oscillators are than the student's, and each by chance.
CRYSTALS = {
    "energies apart by 0.2 kT": 0.02,
    "energies apart by 0.7 kT": 0.07,
    "energies apart by 2 kT": 0.2,
}


def teachers_edge(stiffer: float, calls: int) -> tuple[Trial, float]:
    """A teacher's mean edge at zero pressure, from runs of a student of 32 atoms at two volumes."""
    student = quasi_harmonic.solid(32)
    of = quasi_harmonic.solid(
        32, larger=1.003, stiffness=3 * (1 + stiffer), grueneisen=2.1, modulus=0.84
    )
    volumes = [of.volume_at(0.0) * np.exp(side) for side in (-0.015, 0.015)]

    def trial(rng: np.random.Generator) -> tuple[float, float] | None:
        runs = [
            quasi_harmonic.isochore(student, of, volume, rng, calls=calls // 2, uneven=stiffer)
            for volume in volumes
        ]
        try:
            found, _ = teacher_crossing(
                runs,
                quasi_harmonic.TEMPERATURE,
                pressure=0.0,
                derivative=4.0,
                confidence=CONFIDENCE,
            )
        except UserError:
            return None
        return found.edge_interval

    return trial, of.mean_edge(0.0)


ESTIMATORS: dict[str, tuple[Trial, float]] = {
    **{
        f"RMSE, {sources} trajectories, errors apart by {np.exp(2 * scatter):.2g}": errors(
            sources, scatter
        )
        for scatter in (0.0, 0.15, 0.3, 0.45)
        for sources in (4, 8, 30)
    },
    **{
        f"proportion {share}, {n} trajectories": wilsons(n, share)
        for share in (0.1, 0.3)
        for n in (20, 200)
    },
    "paired difference, 20 pairs, 5 and 5 % disagree": pairs(20, 0.05, 0.05),
    "paired difference, 100 pairs, 10 and 2 % disagree": pairs(100, 0.1, 0.02),
    "two-level, 200 and 20 trajectories": two_levels(200, 20, 0.1),
    "two-level, 1000 and 100 trajectories": two_levels(1000, 100, 0.05),
    "three-level, 1000, 200 and 40 trajectories": three_levels(1000, 200, 40),
    "two-level until ±0.06, no pair differs": stopped_two_levels(0.0),
    "two-level until ±0.06, 5 % differ": stopped_two_levels(0.05),
    "two-level until ±0.06, 40 % differ": stopped_two_levels(0.4),
    "ratio of means, 5 blocks": blocks(5),
    "ratio of means, 20 blocks": blocks(20),
    "proportion 0.3, 20 surfaces with 10 trajectories": shared(20, 10, 0.3, 0.1),
    "proportion 0.1, 50 surfaces with 4 trajectories": shared(50, 4, 0.1, 0.1),
    "difference to a published proportion, 50 and 30 trajectories": published(50, 0.4, 30),
    "difference to a published proportion, 500 and 200 trajectories": published(500, 0.35, 200),
    "mean in time, 5 blocks of 20 correlation times": correlated(2000, 10.0, 5),
    "mean in time, 10 blocks of 4 correlation times": correlated(800, 10.0, 10),
    "lattice constant, energies that scatter by 1 meV": morse_crystal("lattice_constant", 1e-3),
    "bulk modulus, energies that scatter by 1 meV": morse_crystal("bulk_modulus", 1e-3),
    "diffusivity, 400 jumps": diffusion(1e4, 0.0),
    "diffusivity, 400 jumps, 40 % more go back": diffusion(1e4, 0.4),
    "diffusivity, 100 jumps, 40 % more go back": diffusion(4e4, 0.4),
    "residence time, 200 jumps, 40 % more go back": jumping("residence_time", 0.4),
    "share of jumps back, 200 jumps, 40 % more go back": jumping("back", 0.4),
    "correlation factor, 200 jumps, 40 % more go back": jumping("correlation_factor", 0.4),
    **{
        f"teacher's mean, {text}, {calls} calls": teachers_mean(of, calls)
        for text, of in OSCILLATORS.items()
        for calls in (20, 80)
    },
    **{
        f"free energy to the teacher, {text}, {calls} calls": free_energy(of, calls)
        for text, of in OSCILLATORS.items()
        for calls in (20, 80)
    },
    **{
        f"teacher's lattice constant, {text}, {calls} calls": teachers_edge(stiffer, calls)
        for text, stiffer in CRYSTALS.items()
        for calls in (40, 160)
    },
    "activation energy, 4 runs of 400 frames": activation(4, 400),
    "activation energy, 8 runs of 1000 frames": activation(8, 1000),
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
    lines = [
        "| estimator | covered | its 95 % interval | refused | repetitions |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["interval"]
        share = f"{row['refused'] / row['repetitions']:.1%}"
        lines.append(
            f"| {row['estimator']} | {row['coverage']:.1%} | {low:.1%} to {high:.1%} | {share} "
            f"| {row['repetitions']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "interval_coverage.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    known = {row["estimator"]: row for row in before}
    for title in ESTIMATORS:
        if options.only not in title:
            continue
        known[title] = measured(title, options.repetitions)
        print(table([known[title]]).splitlines()[-1], flush=True)
        rows = [known[name] for name in ESTIMATORS if name in known]
        (options.out / "interval_coverage.md").write_text(table(rows), encoding="utf-8")
        file.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
