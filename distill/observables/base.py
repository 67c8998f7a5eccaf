"""What an observable is: a number, or several, that models are compared on.

An observable computes its result with every model, and says how that is tabulated, drawn, judged
and shown. It is registered by name, which is its key in the `compare` section and the stem of its
files; another package adds one by an entry point. The stage, the verdict and the report loop over
what a config asks for and know none of them by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from distill.core.config import Section
from distill.core.registry import Registry
from distill.core.results import Interval, Record, Result
from distill.core.work import WorkFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.models.cached_calculators import ModelSpec
    from distill.observables.teacher_level import TeacherNumber

OBSERVABLES: Registry[type[Observable[Any]]] = Registry(
    "observable",
    "distill.observables",
    {
        "barriers": "distill.observables.barriers.observable:Barriers",
        "sticking": "distill.observables.sticking.observable:Sticking",
        "diffusion": "distill.observables.diffusion.observable:Diffusion",
        "bulk": "distill.observables.bulk.observable:Bulk",
        "rdf": "distill.observables.rdf.observable:RadialDistribution",
        "gates": "distill.observables.gates.observable:Gates",
        "vdos": "distill.observables.vdos.observable:VibrationalDensityOfStates",
    },
)

REFERENCE, TEACHER, STUDENT = "reference", "teacher", "student"
USUAL_CONFIDENCE = 0.95
Row = dict[str, Any]
Question = Literal["faithful", "teacher", "purpose", "sound"]


class Check(Record):
    """A measured number against its bound.

    Attributes
    ----------
    name
        What was measured, in words.
    tolerance
        Key of the bound.
    value
        None where the computation gave no number.
    interval
        None for a number without sampling error.
    bound, sense
        The number has to lie at most or at least there, or within ± the bound; a bound of None is
        one that the config does not set.
    unit
        Of all of them; empty for a pure number.
    passed
        Whether the whole interval lies inside the bound; None without a bound.
    comment
        What would settle it, or why there is no number.
    confidence
        Of the interval.
    question
        What it answers: whether the student is `faithful` to its teacher, whether the `teacher` is
        right about the reference, whether the student is good enough for its `purpose` (held
        against the reference, an experiment or a published value), or whether it is `sound` to run.
    """

    name: str
    tolerance: str
    value: float | None
    interval: Interval | None
    bound: float | None
    sense: Literal["at most", "at least", "within"]
    unit: str
    passed: bool | None
    comment: str = ""
    confidence: float = USUAL_CONFIDENCE
    question: Question = "faithful"


class Card(Record):
    """One of the few numbers that a reader looks for first, in the unit that it is shown in."""

    label: str
    value: float
    interval: Interval | None = None
    unit: str = ""
    note: str = ""
    confidence: float = USUAL_CONFIDENCE


class NoTolerances(Section):
    """For an observable that is not judged."""


Outcome = TypeVar("Outcome", bound=Result)


class Observable(ABC, Generic[Outcome]):
    """An observable.

    Attributes
    ----------
    name
        Its registered name.
    title
        Heading of its section in the report.
    Config
        Its options.
    repeated
        Whether its key in the `compare` section holds a list of them; `run` then gets the list.
    Tolerances
        Optional bounds that it adds to `compare.tolerances`.
    Result
        What `run` returns.
    template
        `package:file` of its section in the report; a plain one of tables and figures if empty.
    held_out_option
        Name of the option that gets the file of held-out structures where the config gives none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    Config: ClassVar[type[Section]]
    repeated: ClassVar[bool] = False
    Tolerances: ClassVar[type[Section]] = NoTolerances
    Result: ClassVar[type[Result]]
    template: ClassVar[str] = ""
    held_out_option: ClassVar[str] = ""

    def refuse(self, config: Any, tolerances: Any) -> None:
        """Refuse options that cannot work, before anything is computed; raises `UserError`."""

    def plan(self, config: Any, tolerances: Any) -> list[str]:
        """Lines on how much will be computed, and how surely what is right passes the checks."""
        return []

    @abstractmethod
    def run(self, config: Any, models: Mapping[str, ModelSpec], work: WorkFolder) -> Outcome:
        """Compute it with every model, by name; units of work that are finished are not repeated.

        The models are those of the levels `reference` (where it can be run), `teacher` and
        `student`, and others of the config, in this order.
        """

    def teacher_level(
        self, config: Any, teacher: ModelSpec, student: ModelSpec, calls: int, work: WorkFolder
    ) -> list[TeacherNumber]:
        """The teacher's numbers from the student's work and about so many calls of the teacher.

        `work` is that of `run`, whose finished units are used. None of an observable that has no
        such form.
        """
        return []

    @abstractmethod
    def rows(self, result: Outcome) -> dict[str, list[Row]]:
        """Flat rows of its CSV files, by their stem; no other observable may use the same stem."""

    def draw(self, result: Outcome) -> dict[str, Figure]:
        """Figures by the stem of their files: `name`, or what begins with `name` and `_`."""
        return {}

    def checks(self, result: Outcome, tolerances: Any) -> list[Check]:
        """A check for each bound that is set."""
        return []

    def cards(self, result: Outcome) -> list[Card]:
        """Numbers for the head of the report."""
        return []


def baseline(names: Iterable[str]) -> str:
    """The model that others are compared to: the one called teacher, or the first."""
    listed = list(names)
    return TEACHER if TEACHER in listed else listed[0]


def within(
    tolerance: str,
    name: str,
    value: float | None,
    interval: Interval | None,
    bound: float,
    unit: str,
    *,
    sound: bool = True,
    comment: str = "",
    confidence: float = USUAL_CONFIDENCE,
    question: Question = "faithful",
) -> Check:
    """The check of a difference that has to lie within ± a bound, its whole interval too.

    Parameters
    ----------
    tolerance, name, value, interval, bound, unit, comment, confidence, question
        Of `Check`. Without a value the check fails.
    sound
        False for a number that is not to be trusted, such as an unconverged one; it fails.
    """
    numbers = [value, *(interval or ())]
    # Not by the largest of them: a maximum may pass over what is no number.
    inside = all(number is not None and abs(number) <= bound for number in numbers)
    return Check(
        name=name,
        tolerance=tolerance,
        value=value,
        interval=interval,
        bound=bound,
        sense="within",
        unit=unit,
        passed=inside and sound,
        comment=comment,
        confidence=confidence,
        question=question,
    )
