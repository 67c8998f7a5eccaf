"""What the sticking observable returns."""

from __future__ import annotations

from distill.core.results import Interval, Record, Result


class ModelSticking(Record):
    """One model under one condition.

    Attributes
    ----------
    probability, interval
        S0 and Wilson's interval.
    trajectories
        Sound ones behind it.
    outcomes
        Trajectories by how they ended, those set aside among them.
    mean_force_calls
        A trajectory.
    """

    probability: float
    interval: Interval
    trajectories: int
    outcomes: dict[str, int]
    mean_force_calls: float


class PairedSticking(Record):
    """Teacher minus student on trajectories from the same start.

    Attributes
    ----------
    difference, interval
        Of the probabilities.
    trajectories
        Pairs.
    only_teacher, only_student
        Pairs in which only that one dissociates the molecule.
    """

    difference: float
    interval: Interval
    trajectories: int
    only_teacher: int
    only_student: int


class TwoLevelSticking(Record):
    """The teacher's probability: the student's mean plus the mean difference of the pairs.

    Attributes
    ----------
    probability, interval
        Of the teacher.
    trajectories, pairs
        Student trajectories and pairs behind it.
    """

    probability: float
    interval: Interval
    trajectories: int
    pairs: int


class PrecisionReport(Record):
    """Whether a precision was reached, and the trajectories that it needs where not."""

    asked: float | None
    half_width: float | None
    reached: bool
    needed: int | None


class ConditionSticking(Record):
    """One facet, surface temperature (K), state and collision energy (eV); None without results."""

    name: str
    facet: str
    temperature: float
    v: int
    j: int
    energy: float
    teacher: ModelSticking | None
    student: ModelSticking | None
    paired: PairedSticking | None
    two_level: TwoLevelSticking | None
    precision: dict[str, PrecisionReport]

    @property
    def surface_and_state(self) -> str:
        """Title of the panel and rows that it belongs to."""
        return f"({self.facet}), {self.temperature:g} K, v = {self.v}, J = {self.j}"

    @property
    def title(self) -> str:
        """The condition in words."""
        return f"{self.surface_and_state}, {self.energy:g} eV"


class PublishedPoint(Record):
    """A published probability; what the file does not say of its condition is None."""

    energy: float
    probability: float
    interval: Interval | None
    source: str
    facet: str | None = None
    temperature: float | None = None
    v: float | None = None
    j: float | None = None

    def belongs(self, condition: ConditionSticking) -> bool:
        """Whether it is of a condition's surface and state, as far as it says."""
        own = (self.temperature, self.v, self.j)
        theirs = (condition.temperature, condition.v, condition.j)
        same = all(a is None or a == b for a, b in zip(own, theirs, strict=True))
        return same and self.facet in (None, condition.facet)


class StickingResult(Result):
    """Sticking probabilities under every condition.

    Attributes
    ----------
    confidence
        Of the intervals.
    initial_conditions_from
        Whose surfaces and molecular levels both models start from.
    precision
        Half width asked for.
    force_calls
        By model, and for the surfaces.
    """

    confidence: float
    initial_conditions_from: str
    precision: float | None
    conditions: list[ConditionSticking]
    published: list[PublishedPoint]
    force_calls: dict[str, int]
