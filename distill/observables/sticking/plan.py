"""What a section of sticking will take, and how surely a student that is right passes."""

from __future__ import annotations

from distill.metrics.power import chance_each, chance_of_pairs, pairs_to_pass
from distill.observables.base import STUDENT, TEACHER
from distill.observables.call_times import work_text
from distill.observables.sticking.config import StickingConfig
from distill.simulation.conditions import conditions, places, snapshots_of

# A molecule is on its way for so long, fs (1680 calls of 0.1 fs were counted at 0.6 eV).
_TRAJECTORY = 170.0
# Of pairs of teacher and a good student, so many end differently (docs/measured.md: 13 of 232).
_DISAGREE = 0.06
# Chance at which a student that is right is to pass all checks.
CHANCE = 0.95


def sticking_plan(config: StickingConfig, bound: float | None) -> list[str]:
    """Counts, calls and hours; with a bound, the power of its checks."""
    scattering = config.all_trajectories()
    found, atoms = conditions(scattering), 2
    slab = scattering.slab
    if not slab.file:
        atoms += slab.size[0] * slab.size[1] * slab.layers
    each = min(_TRAJECTORY, scattering.max_time) / scattering.time_step
    most = {TEACHER: config.teacher_trajectories, STUDENT: config.student_trajectories}
    word = "at most " if config.precision else ""
    lines = []
    for role, trajectories in most.items():
        count = len(found) * trajectories
        what = f"{word}{count:,} trajectories under {len(found)} conditions"
        lines.append(work_text(role, what, count * each, atoms))
    snapshots = snapshots_of(scattering)
    time = snapshots * (scattering.thermalisation_time / 10 + scattering.snapshot_interval)
    hot = sum(temperature > 0 for _, temperature in places(scattering))
    calls = hot * time / scattering.surface_time_step
    if hot:
        what = f"{snapshots} snapshots of each of {hot} thermal surfaces"
        lines.append(work_text(config.initial_conditions, what, calls, atoms))
    if bound is not None and config.teacher_trajectories >= 2:
        lines.append(_power(config, bound, len(found)))
    return lines


def _power(config: StickingConfig, bound: float, checks: int) -> str:
    pairs = config.teacher_trajectories
    each = chance_of_pairs(pairs, _DISAGREE, bound, config.confidence)
    needed = pairs_to_pass(_DISAGREE, bound, chance_each(CHANCE, checks), config.confidence)
    return (
        f"with {100 * _DISAGREE:g} % of pairs disagreeing, a student that is right passes all "
        f"{checks} checks within ±{bound:g} with {100 * each**checks:.0f} %; {100 * CHANCE:g} % "
        f"takes {needed} teacher trajectories a condition"
    )
