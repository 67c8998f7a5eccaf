"""Pass or fail: measured numbers with their intervals against the tolerances of the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.compare.config import CompareBase, ErrorTolerances
from distill.compare.errors_result import ErrorsResult
from distill.compare.timing_result import TimingResult
from distill.core.errors import ChecksFailed, UserError
from distill.core.number_text import number_text
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.core.results import Result, read_result, write_result
from distill.core.sections import asked
from distill.observables.base import OBSERVABLES, STUDENT, USUAL_CONFIDENCE, Check

VERDICT_FILE = "verdict.json"


class Verdict(Result):
    """Every check, and whether all passed; None without any."""

    passed: bool | None
    checks: list[Check]


# What each bound of an error is on: the table, the quantity, its unit, and the check in words.
_ERRORS = {
    "teacher_force_rmse": (
        "forces",
        "eV/Å",
        "teacher's force RMSE against the reference, test set",
    ),
    "teacher_energy_rmse": (
        "energy_per_atom",
        "eV/atom",
        "teacher's energy RMSE against the reference, test set",
    ),
    "student_force_rmse": (
        "forces",
        "eV/Å",
        "student's force RMSE against the teacher, held-out structures",
    ),
    "student_energy_rmse": (
        "energy_per_atom",
        "eV/atom",
        "student's energy RMSE against the teacher, held-out structures",
    ),
}


def refuse_what_cannot_work(config: CompareBase) -> None:
    """Refuse a tolerance on something that will not be computed, and options that cannot work.

    Raises
    ------
    UserError
        Naming the tolerance and the section that it needs; and what observables refuse.
    """
    tolerances = tolerances_of(config)
    if tolerances.speedup is not None and config.timing is None:
        _refuse("speedup", "compare.timing is off")
    wanted = asked(config, OBSERVABLES)
    for name, kind in OBSERVABLES.members().items():
        if name in wanted:
            configs = wanted[name]
            kind().refuse(configs if kind.repeated else configs[0], tolerances)
            continue
        for key in kind.Tolerances.model_fields:
            if getattr(tolerances, key) is not None:
                _refuse(key, f"compare.{name} is off")


def judge_student(config: CompareBase, out: Path) -> None:
    """Hold the results of a finished comparison against the tolerances; write the verdict.

    Parameters
    ----------
    config
        The `compare` section: its tolerances, and which parts were computed.
    out
        The stage's folder.

    Raises
    ------
    UserError
        If a tolerance is set for something that was not computed.
    ChecksFailed
        If a check did not pass; the verdict has been written by then.
    """
    refuse_what_cannot_work(config)
    tolerances = tolerances_of(config)
    checks = error_checks(tolerances, read_result(out / "errors.json", ErrorsResult))
    for name in asked(config, OBSERVABLES):
        observable = OBSERVABLES.load(name)()
        result = read_result(out / f"{name}.json", observable.Result)
        checks += observable.checks(result, tolerances)
    if tolerances.speedup is not None:
        checks.append(
            speedup_check(read_result(out / "timing.json", TimingResult), tolerances.speedup)
        )
    verdict = verdict_of(checks)
    write_result(out / VERDICT_FILE, verdict)
    say(verdict_text(verdict))
    failed = [check.name for check in verdict.checks if not check.passed]
    if failed:
        raise ChecksFailed("checks that did not pass: " + "; ".join(failed))


def tolerances_of(config: CompareBase) -> Any:
    """The bounds of a `compare` section: its own and those of the observables."""
    return config.tolerances  # type: ignore[attr-defined]


def verdict_of(checks: list[Check]) -> Verdict:
    """Passed if every check did, None without any."""
    return Verdict(passed=all(c.passed for c in checks) if checks else None, checks=checks)


def verdict_text(verdict: Verdict) -> str:
    """The verdict as plain lines, one for each check."""
    checks = verdict.checks
    if not checks:
        return "no tolerances are set, so there is no verdict"
    lines = [
        f"  {'pass' if check.passed else 'FAIL'}  {check.name}: {check_text(check)}"
        for check in checks
    ]
    failed = sum(not check.passed for check in checks)
    count = len(checks)
    head = f"{failed} of {count} checks failed" if failed else f"all {count} checks passed"
    return "\n".join([f"verdict: {head}", *lines])


def check_text(check: Check) -> str:
    """`value (low to high) unit, allowed ...; comment` of one check."""
    text = measured_text(check)
    if interval := measured_interval_text(check):
        text += f" ({interval})"
    comment = f"; {check.comment}" if check.comment else ""
    return f"{text}, {bound_text(check)}{comment}"


def measured_text(check: Check) -> str:
    """The measured value of one check with its unit; energies and forces in meV."""
    scale, unit = _shown_unit(check)
    if check.value is None:
        return "no number"
    return f"{number_text(scale * check.value)}{unit}"


def measured_interval_text(check: Check) -> str:
    """`low to high` of one check, in the unit of `measured_text`; empty without an interval.

    Followed by the confidence where it is not 95 %.
    """
    scale, _ = _shown_unit(check)
    if check.interval is None:
        return ""
    text = " to ".join(number_text(scale * end) for end in check.interval)
    usual = check.confidence == USUAL_CONFIDENCE
    return text if usual else f"{text}, {number_text(100 * check.confidence)} %"


def bound_text(check: Check) -> str:
    """The bound of one check in words, in the unit of `measured_text`."""
    scale, unit = _shown_unit(check)
    sense = {"at most": "at most ", "at least": "at least ", "within": "within ±"}[check.sense]
    return f"{sense}{number_text(scale * check.bound)}{unit}"


def _shown_unit(check: Check) -> tuple[float, str]:
    if check.unit.startswith("eV"):
        return MEV, f" m{check.unit}"
    return 1.0, f" {check.unit}" if check.unit else ""


def error_checks(tolerances: ErrorTolerances, errors: ErrorsResult) -> list[Check]:
    """A check for each bound of an error that is set.

    Raises
    ------
    UserError
        If the structures carry no labels for it.
    """
    checks = []
    for key, (quantity, unit, title) in _ERRORS.items():
        bound = getattr(tolerances, key)
        if bound is None:
            continue
        of_student = key.startswith(STUDENT)
        measured = getattr(
            errors.held_out if of_student else errors.test.reference_teacher, quantity
        )
        if measured is None:
            _refuse(
                key, f"the {'held-out' if of_student else 'test'} structures carry no labels for it"
            )
        interval = measured.rmse_interval
        inside = interval is not None and measured.rmse <= bound and interval[1] <= bound
        comment = ""
        if interval is None:
            comment = "a single structure gives no interval"
        elif measured.rmse <= bound and not inside:
            comment = "the interval reaches beyond the bound: more test structures would narrow it"
        checks.append(
            Check(
                name=title,
                tolerance=key,
                value=measured.rmse,
                interval=interval,
                bound=bound,
                sense="at most",
                unit=unit,
                passed=inside,
                comment=comment,
            )
        )
    return checks


def speedup_check(timing: TimingResult, bound: float) -> Check:
    """The check of the student's speed-up."""
    if STUDENT not in timing.models:
        _refuse("speedup", "teacher and student were not timed")
    speedup = timing.models[STUDENT].speedup_forces
    low, _ = speedup.interval
    wide = low < bound <= speedup.median
    return Check(
        name="time of a forces call, teacher / student",
        tolerance="speedup",
        value=speedup.median,
        interval=speedup.interval,
        bound=bound,
        sense="at least",
        unit="",
        passed=low >= bound,
        comment="the interval reaches below the bound: time on an idle machine" if wide else "",
    )


def _refuse(tolerance: str, reason: str) -> None:
    raise UserError(
        f"compare.tolerances.{tolerance} is set, but {reason}: "
        "ask for that computation or remove the tolerance"
    )
