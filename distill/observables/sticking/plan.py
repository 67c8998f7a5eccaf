"""What a section of sticking will take, and how surely a student that is right passes."""

from __future__ import annotations

from distill.metrics.power import chance_each, chance_of_pairs, pairs_to_pass
from distill.observables.base import REFERENCE, STUDENT, TEACHER
from distill.observables.call_times import work_text
from distill.observables.sticking.config import StickingConfig
from distill.simulation.scattering_counts import scattering_counts

# Of pairs of teacher and a good student, so many end differently (docs/measured.md: 13 of 232).
_DISAGREE = 0.06
# Chance at which a student that is right is to pass all checks.
CHANCE = 0.95


def sticking_plan(config: StickingConfig, bound: float | None) -> list[str]:
    """Counts, calls and hours; with a bound, the power of its checks."""
    found = scattering_counts(config.all_trajectories())
    most = {
        TEACHER: config.teacher_trajectories,
        STUDENT: config.student_trajectories,
        **({REFERENCE: config.reference_trajectories} if config.reference_trajectories else {}),
    }
    stops = config.precision or config.two_level_precision
    lines = []
    for role, trajectories in most.items():
        count = found.conditions * trajectories
        word = "at most " if stops and role != REFERENCE else ""
        what = f"{word}{count:,} trajectories under {found.conditions} conditions"
        lines.append(work_text(role, what, count * found.calls, found.atoms))
    if found.surfaces:
        what = f"{found.snapshots} snapshots of each of {found.surfaces} thermal surfaces"
        role = config.initial_conditions
        lines.append(work_text(role, what, found.surface_calls, found.atoms))
    if bound is not None and config.teacher_trajectories >= 2:
        lines.append(_power(config, bound, found.conditions))
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
