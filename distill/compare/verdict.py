"""Pass or fail: measured numbers with their intervals against the tolerances of the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.compare.checks import (
    error_checks,
    observable_checks,
    refuse_tolerance,
    speedup_check,
)
from distill.compare.config import CompareBase
from distill.compare.errors_result import ErrorsResult
from distill.compare.harm import harm
from distill.compare.timing_result import TimingResult
from distill.compare.verdict_result import verdict_of, verdict_text
from distill.core.errors import ChecksFailed
from distill.core.progress import say
from distill.core.results import read_result, write_result
from distill.core.sections import asked
from distill.observables.base import OBSERVABLES
from distill.teacher.teacher_results import TeacherErrors

VERDICT_FILE = "verdict.json"


def refuse_what_cannot_work(config: CompareBase) -> None:
    """Refuse a tolerance on something that will not be computed, and options that cannot work.

    Raises
    ------
    UserError
        Naming the tolerance and the section that it needs; and what observables refuse.
    """
    tolerances = tolerances_of(config)
    if tolerances.speedup is not None and config.timing is None:
        refuse_tolerance("speedup", "compare.timing is off")
    wanted = asked(config, OBSERVABLES)
    for name, kind in OBSERVABLES.members().items():
        if name in wanted:
            configs = wanted[name]
            kind().refuse(configs if kind.repeated else configs[0], tolerances)
            continue
        for key, field in kind.Tolerances.model_fields.items():
            if getattr(tolerances, key) not in (None, field.default):
                refuse_tolerance(key, f"compare.{name} is off")


def judge_student(config: CompareBase, out: Path, teacher_errors: Path | None = None) -> None:
    """Hold the results of a finished comparison against the tolerances; write the verdict.

    Parameters
    ----------
    config
        The `compare` section: its tolerances, and which parts were computed.
    out
        The stage's folder.
    teacher_errors
        The teacher stage's `errors.json`, which says whether fine-tuning did harm; not looked at
        where it is not there.

    Raises
    ------
    UserError
        If a tolerance is set for something that was not computed.
    ChecksFailed
        If a check did not pass; the verdict has been written by then.
    """
    refuse_what_cannot_work(config)
    tolerances = tolerances_of(config)
    errors = read_result(out / "errors.json", ErrorsResult)
    checks = error_checks(tolerances, errors)
    for name in asked(config, OBSERVABLES):
        observable = OBSERVABLES.load(name)()
        result = read_result(out / f"{name}.json", observable.Result)
        checks += observable_checks(observable, result, tolerances)
    if config.timing is not None:
        timing = read_result(out / "timing.json", TimingResult)
        checks.append(speedup_check(timing, tolerances.speedup))
    of_teacher = None
    if teacher_errors is not None and teacher_errors.is_file():
        of_teacher = read_result(teacher_errors, TeacherErrors)
    verdict = verdict_of(checks, harm(errors, of_teacher))
    write_result(out / VERDICT_FILE, verdict)
    say(verdict_text(verdict))
    failed = [check.name for check in verdict.checks if check.passed is False]
    if failed:
        raise ChecksFailed("checks that did not pass: " + "; ".join(failed))


def tolerances_of(config: CompareBase) -> Any:
    """The bounds of a `compare` section: its own and those of the observables."""
    return config.tolerances  # type: ignore[attr-defined]
