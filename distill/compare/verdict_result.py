"""The verdict as a result and in words: questions, their answers, and the checks behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from distill.core.number_text import number_text
from distill.core.quantities import MEV
from distill.core.results import Record, Result
from distill.observables.base import USUAL_CONFIDENCE, Check, Question

QUESTIONS: dict[Question, str] = {
    "faithful": "Is the student faithful to its teacher?",
    "teacher": "Is the teacher right about the reference?",
    "purpose": "Is the student good enough for its purpose?",
    "sound": "Is the student sound to run?",
}
NOT_JUDGED = "not judged"


class Answer(Record):
    """The answer to one question, and how many checks are behind it.

    Attributes
    ----------
    question, text
        Its key, and in words.
    answer
        `yes` if every check with a bound passed, `no` if one did not, `not judged` without any.
    reason
        In words.
    judged, failed, measured
        Checks with a bound, those of them that did not pass, and all.
    """

    question: Question
    text: str
    answer: Literal["yes", "no", "not judged"]
    reason: str
    judged: int
    failed: int
    measured: int


class Verdict(Result):
    """What the student is worth.

    Attributes
    ----------
    passed
        False if a check failed; True if every question is answered with yes; None where nothing
        failed and a question is not judged.
    warnings
        What has to be said first: a step of the workflow that did harm.
    answers
        One for each question.
    checks
        Every measured number, those without a bound too.
    """

    VERSION: ClassVar[int] = 2

    version: int = 2
    passed: bool | None
    warnings: list[str]
    answers: list[Answer]
    checks: list[Check]

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A file of version 1 has the judged checks alone, and they do not say what they answer."""
        checks = [
            Check(**{**check, "question": _question_of(check["tolerance"])})
            for check in data["checks"]
        ]
        return verdict_of(checks).model_dump()


def verdict_of(checks: Sequence[Check], warnings: Sequence[str] = ()) -> Verdict:
    """The answers that checks give, and what has to be said first."""
    answers = [_answer(question, checks) for question in QUESTIONS]
    if any(answer.answer == "no" for answer in answers):
        passed: bool | None = False
    else:
        passed = True if all(answer.answer == "yes" for answer in answers) else None
    return Verdict(passed=passed, warnings=list(warnings), answers=answers, checks=list(checks))


def verdict_text(verdict: Verdict) -> str:
    """The verdict as plain lines: what did harm, the answers, then one for each check."""
    marks = {True: "pass", False: "FAIL", None: "   –"}
    lines = [f"warning: {warning}" for warning in verdict.warnings]
    lines += [f"{found.text} {found.answer} ({found.reason})" for found in verdict.answers]
    lines += [
        f"  {marks[check.passed]}  {check.name}: {check_text(check)}" for check in verdict.checks
    ]
    return "\n".join(lines)


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
    if check.bound is None:
        return NOT_JUDGED
    scale, unit = _shown_unit(check)
    sense = {"at most": "at most ", "at least": "at least ", "within": "within ±"}[check.sense]
    return f"{sense}{number_text(scale * check.bound)}{unit}"


def _answer(question: Question, checks: Sequence[Check]) -> Answer:
    own = [check for check in checks if check.question == question]
    judged = [check for check in own if check.passed is not None]
    failed = sum(not check.passed for check in judged)
    answer: Literal["yes", "no", "not judged"] = "no" if failed else "yes"
    if not judged:
        answer = "not judged"
    return Answer(
        question=question,
        text=QUESTIONS[question],
        answer=answer,
        reason=_reason(own, judged, failed),
        judged=len(judged),
        failed=failed,
        measured=len(own),
    )


def _reason(own: Sequence[Check], judged: Sequence[Check], failed: int) -> str:
    if not own:
        return "nothing that answers it was measured"
    if not judged:
        keys = ", ".join(dict.fromkeys(check.tolerance for check in own))
        return f"no bound is set; set some of {keys} under compare.tolerances"
    checks = f"{len(judged)} check{'s' * (len(judged) != 1)}"
    passed = f"{failed} of {checks} failed" if failed else f"{checks} passed"
    rest = len(own) - len(judged)
    return f"{passed}; {rest} more not judged" if rest else passed


def _question_of(tolerance: str) -> Question:
    """What the checks of version 1 answer."""
    if tolerance == "speedup":
        return "sound"
    return "teacher" if tolerance.startswith("teacher_") else "faithful"


def _shown_unit(check: Check) -> tuple[float, str]:
    if check.unit.startswith("eV"):
        return MEV, f" m{check.unit}"
    return 1.0, f" {check.unit}" if check.unit else ""
