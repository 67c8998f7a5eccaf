"""What the sticking observable returns."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from distill.core.results import Interval, Record, Result
from distill.simulation.conditions import normal_energy

# Of the fields of blocks of a condition, in version 1.
_FIRST_NAMES = {
    "paired": {"only_teacher": "only_first", "only_student": "only_second"},
    "two_level": {"teacher_alone": "alone"},
}


class ModelSticking(Record):
    """One model under one condition.

    Attributes
    ----------
    probability, interval
        S0 and Wilson's interval, of the effective number of trajectories.
    trajectories
        Sound ones behind it.
    surfaces
        Independent groups of surfaces that they started from; None for a surface at rest.
    design_effect
        By how much the surfaces that they share increase the variance; at least 1.
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
    surfaces: int | None = None
    design_effect: float = 1.0


class PairedSticking(Record):
    """One model minus another on trajectories from the same start.

    Attributes
    ----------
    difference, interval
        Of the probabilities.
    trajectories
        Pairs.
    design_effect
        As in `ModelSticking`.
    only_first, only_second
        Pairs in which only the one, or only the other, dissociates the molecule.
    """

    difference: float
    interval: Interval
    trajectories: int
    only_first: int
    only_second: int
    design_effect: float = 1.0


class MultilevelSticking(Record):
    """A costly model's probability: the student's mean plus mean differences on pairs.

    Attributes
    ----------
    probability, interval
        Of the costly model, not kept within 0 and 1.
    trajectories, pairs
        Starts behind it, and those of them with a trajectory of the costly model.
    alone
        Whether it is the model's own mean, because pairs disagree too often to help.
    """

    probability: float
    interval: Interval
    trajectories: int
    pairs: int
    alone: bool = False


class PrecisionReport(Record):
    """Whether a precision was reached, and what it needs where not.

    Attributes
    ----------
    asked, half_width
        Of the interval.
    reached
        Whether it is narrow enough.
    needed
        Trajectories; None where it is reached, or no number of them is enough on these surfaces.
    surfaces_needed
        Independent surfaces, where no number of trajectories is enough.
    """

    asked: float | None
    half_width: float | None
    reached: bool
    needed: int | None
    surfaces_needed: int | None = None


class Mean(Record):
    """A mean with its interval; None for a single value."""

    value: float
    interval: Interval | None


class Distribution(Record):
    """Shares of molecules by a number, or by the lower end of a bin, with intervals."""

    values: list[float]
    shares: list[float]
    intervals: list[Interval]


class ScatteredMolecules(Record):
    """What scattered molecules carry away.

    Attributes
    ----------
    molecules
        Their number.
    vibration, rotation
        By the nearest whole quantum numbers v and J; those above dissociation have no v.
    exit_angle
        By bins of 15 degrees from the outward normal.
    mean_rotation, mean_exit_angle
        J and degrees.
    energy_transfer
        To the surface, eV.
    """

    molecules: int
    vibration: Distribution
    rotation: Distribution
    exit_angle: Distribution
    mean_rotation: Mean
    mean_exit_angle: Mean
    energy_transfer: Mean


class ThermalSurface(Record):
    """A surface at a temperature (K).

    Attributes
    ----------
    snapshots, independent
        Structures, and groups of them that are independent.
    correlation_time
        Of the displacements, fs; None where it is too long to tell, and each walk is a group.
    """

    facet: str
    temperature: float
    snapshots: int
    independent: int
    correlation_time: float | None


class ConditionSticking(Record):
    """One facet, surface temperature (K), state, collision energy (eV) and polar angle (degrees).

    Attributes
    ----------
    reference, teacher, student
        None without results.
    paired
        Teacher minus student.
    against_reference
        Teacher and student minus the reference, where it was run.
    two_level, three_level
        The teacher's probability with the student's help, and the reference's with that of both.
    precision
        By model, and of `two_level` where a precision of it was asked for.
    scattered
        By model, where molecules scattered.
    energy_transfer_difference
        Teacher minus student where both scatter from one start, eV.
    """

    name: str
    facet: str
    temperature: float
    v: int
    j: int
    energy: float
    teacher: ModelSticking | None
    student: ModelSticking | None
    paired: PairedSticking | None
    two_level: MultilevelSticking | None
    precision: dict[str, PrecisionReport]
    polar_angle: float = 0.0
    reference: ModelSticking | None = None
    against_reference: dict[str, PairedSticking] = Field(default_factory=dict)
    three_level: MultilevelSticking | None = None
    scattered: dict[str, ScatteredMolecules] = Field(default_factory=dict)
    energy_transfer_difference: Mean | None = None

    @property
    def normal_energy(self) -> float:
        """Energy of the motion along the surface normal, eV."""
        return normal_energy(self.energy, self.polar_angle)

    @property
    def surface_and_state(self) -> str:
        """Title of the panel and rows that it belongs to."""
        return f"({self.facet}), {self.temperature:g} K, v = {self.v}, J = {self.j}"

    @property
    def title(self) -> str:
        """The condition in words."""
        angle = f" at {self.polar_angle:g}°" if self.polar_angle else ""
        return f"{self.surface_and_state}, {self.energy:g} eV{angle}"


class PublishedPoint(Record):
    """A published probability at a normal energy (eV); what the file does not say is None."""

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
    surfaces
        That molecules met, those at rest left out.
    force_calls
        By model, and for the surfaces.
    """

    VERSION: ClassVar[int] = 2

    version: int = 2
    confidence: float
    initial_conditions_from: str
    precision: float | None
    conditions: list[ConditionSticking]
    published: list[PublishedPoint]
    force_calls: dict[str, int]
    surfaces: list[ThermalSurface] = Field(default_factory=list)

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A file of version 1 names teacher and student in what any two models have now."""
        for condition in data["conditions"]:
            for block, names in _FIRST_NAMES.items():
                if found := condition[block]:
                    condition[block] = {names.get(key, key): found[key] for key in found}
        return data
