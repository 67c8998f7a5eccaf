"""The checks on errors and times, and what was measured of observables without a bound."""

from __future__ import annotations

from typing import Any, NoReturn

from distill.compare.config import ErrorTolerances
from distill.compare.errors_result import ErrorsResult
from distill.compare.timing_result import TimingResult
from distill.core.errors import UserError
from distill.core.results import Result
from distill.metrics.errors import Errors
from distill.metrics.source_intervals import FEWEST_SOURCES
from distill.observables.base import STUDENT, Check, Observable, Question

# A bound that nothing measured exceeds.
_NONE = 1e9

# What each bound of an error is on: the question, the quantity, and the check in words.
_ERRORS: dict[str, tuple[Question, str, str]] = {
    "student_force_rmse": (
        "faithful",
        "forces",
        "student's force RMSE against the teacher, held-out structures",
    ),
    "student_energy_rmse": (
        "faithful",
        "energy_per_atom",
        "student's energy RMSE against the teacher, held-out structures",
    ),
    "teacher_force_rmse": (
        "teacher",
        "forces",
        "teacher's force RMSE against the reference, test set",
    ),
    "teacher_energy_rmse": (
        "teacher",
        "energy_per_atom",
        "teacher's energy RMSE against the reference, test set",
    ),
    "purpose_force_rmse": (
        "purpose",
        "forces",
        "student's force RMSE against the reference, test set",
    ),
    "purpose_energy_rmse": (
        "purpose",
        "energy_per_atom",
        "student's energy RMSE against the reference, test set",
    ),
}
_UNITS = {"forces": "eV/Å", "energy_per_atom": "eV/atom"}


def error_checks(tolerances: ErrorTolerances, errors: ErrorsResult) -> list[Check]:
    """A check for each error that was measured; without a bound it is not judged.

    Raises
    ------
    UserError
        If a bound is set and the structures carry no labels for it.
    """
    tables = {
        "faithful": errors.held_out,
        "teacher": errors.test.reference_teacher,
        "purpose": errors.test.reference_student,
    }
    checks = []
    for key, (question, quantity, title) in _ERRORS.items():
        bound = getattr(tolerances, key)
        measured: Errors | None = getattr(tables[question], quantity)
        if measured is None and bound is None:
            continue
        if measured is None:
            kind = "held-out" if question == "faithful" else "test"
            refuse_tolerance(key, f"the {kind} structures carry no labels for it")
        interval = measured.rmse_interval
        passed = None
        if bound is not None:
            passed = interval is not None and measured.rmse <= bound and interval[1] <= bound
        checks.append(
            Check(
                name=title,
                tolerance=key,
                value=measured.rmse,
                interval=interval,
                bound=bound,
                sense="at most",
                unit=_UNITS[quantity],
                passed=passed,
                comment=_error_comment(measured, bound, passed),
                question=question,
            )
        )
    return checks


def _error_comment(measured: Errors, bound: float | None, passed: bool | None) -> str:
    if measured.rmse_interval is None and (measured.sources or 0) < FEWEST_SOURCES:
        return (
            f"too few to judge: {measured.sources} trajectories or other sources, "
            f"{FEWEST_SOURCES} are needed for an interval"
        )
    if measured.rmse_interval is None:
        return "one of its sources makes nearly all of the error: more would give an interval"
    if bound is not None and measured.rmse <= bound and not passed:
        return "the interval reaches beyond the bound: more test trajectories would narrow it"
    return ""


def speedup_check(timing: TimingResult, bound: float | None) -> Check:
    """The check of the student's speed-up.

    Raises
    ------
    UserError
        If a bound is set and the student was not timed.
    """
    if STUDENT not in timing.models:
        refuse_tolerance("speedup", "teacher and student were not timed")
    speedup = timing.models[STUDENT].speedup_forces
    low, _ = speedup.interval
    wide = bound is not None and low < bound <= speedup.median
    return Check(
        name="time of a forces call, teacher / student",
        tolerance="speedup",
        value=speedup.median,
        interval=speedup.interval,
        bound=bound,
        sense="at least",
        unit="",
        passed=None if bound is None else low >= bound,
        comment="the interval reaches below the bound: time on an idle machine" if wide else "",
        question="sound",
    )


def observable_checks(observable: Observable[Any], result: Result, tolerances: Any) -> list[Check]:
    """The checks of an observable; what was measured without a bound is there, not judged."""
    checks = observable.checks(result, tolerances)
    unset = dict.fromkeys(observable.Tolerances.model_fields)
    for key in unset:
        if getattr(tolerances, key) is None:
            try:
                found = observable.checks(result, observable.Tolerances(**{**unset, key: _NONE}))
            except UserError:
                # There is nothing that this bound would be on.
                continue
            checks += [_without_bound(check) for check in found]
    return checks


def _without_bound(check: Check) -> Check:
    comment = check.comment if check.value is None else ""
    return check.model_copy(update={"bound": None, "passed": None, "comment": comment})


def refuse_tolerance(tolerance: str, reason: str) -> NoReturn:
    """Refuse a bound on what is not there.

    Raises
    ------
    UserError
        Always, naming the bound and the reason.
    """
    raise UserError(
        f"compare.tolerances.{tolerance} is set, but {reason}: "
        "ask for that computation or remove the tolerance"
    )
