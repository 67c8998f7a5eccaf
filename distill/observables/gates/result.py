"""What the gates find."""

from __future__ import annotations

from distill.core.results import Interval, Record, Result


class Drift(Record):
    """Mean over nve runs, with Student's interval over them."""

    value: float
    interval: Interval


class HotRuns(Record):
    """Langevin runs at one temperature.

    Attributes
    ----------
    temperature
        K.
    times
        That each lasted, fs.
    problems
        Why the others ended early.
    """

    temperature: float
    times: list[float]
    problems: list[str]


class ForceChecks(Record):
    """Of one model's forces.

    Attributes
    ----------
    gradient_residual
        Against the gradient of its energy, RMS of components, eV/Å.
    curl
        Antisymmetric share of the derivative of its forces.
    """

    gradient_residual: float
    curl: float


class GatesResult(Result):
    """What the gates find of a student, and of its teacher's forces.

    Attributes
    ----------
    model
        Name of the model that was run.
    time, time_step
        Of each run, fs.
    hot
        At the temperature of the config and at twice that.
    energy_drift
        eV/atom/ns; None where no nve run came to its end.
    momentum_drift
        amu Å/fs per atom and ns, the largest.
    extensivity, smoothness
        The largest of the structures: eV/atom, eV/Å.
    forces
        By model.
    looks, outside
        Structures of the runs that the student's watch graded, and those of them outside its
        training data; 0 and 0 for a model that grades nothing.
    """

    model: str
    time: float
    time_step: float
    hot: list[HotRuns]
    energy_drift: Drift | None
    momentum_drift: float | None
    extensivity: float
    smoothness: float
    forces: dict[str, ForceChecks]
    looks: int
    outside: int

    @property
    def shortest(self) -> float:
        """Share of its time that the first hot run to end early lasted."""
        return min(time for runs in self.hot for time in runs.times) / self.time
