"""What the search for a basis returns: the bases tried, the one taken and why."""

from __future__ import annotations

import math
from typing import Literal

from distill.core.results import Record, Result

CHOICE_FILE = "basis.json"


class Trial(Record):
    """One basis that was tried.

    Attributes
    ----------
    stage
        What it was tried for: cutoff and weight of l, share of the orders, or size. Stages see
        different structures, so errors compare within a stage.
    order, totaldegree, wL, rcut
        The basis; Å.
    functions
        Its size.
    smoothness
        Power of the prior.
    log_evidence
        Of all rows of the stage, which the stages before the last choose by.
    force_error
        On trajectories left out, eV/Å: the geometric mean over them of root mean square errors;
        None before the last stage.
    far_error
        The same on kinds of data left out as a whole; None where there is no second kind.
    us_per_atom
        Measured processor time of an energy-and-forces call; None where size was not the matter.
    on_front
        No other of its stage is both faster and more accurate.
    chosen
        It is the one that was taken.
    """

    stage: Literal["radial", "shape", "size"]
    order: int
    totaldegree: tuple[float, ...]
    wL: float
    rcut: float
    functions: int
    smoothness: float
    log_evidence: float
    force_error: float | None = None
    far_error: float | None = None
    us_per_atom: float | None = None
    on_front: bool = False
    chosen: bool = False

    @property
    def near(self) -> float:
        """The error on trajectories left out, eV/Å; infinite where it was not measured."""
        return math.inf if self.force_error is None else self.force_error

    @property
    def score(self) -> float:
        """What is least for the best: the geometric mean of both errors, eV/Å."""
        return self.near if self.far_error is None else math.sqrt(self.near * self.far_error)


class Limits(Record):
    """What limits the basis that was taken.

    Attributes
    ----------
    structures, structure_errors
        Numbers of structures fitted to, and the error of that basis on those left out, eV/Å.
    functions, function_errors
        Sizes around it, and their errors with the same structures, eV/Å.
    by
        Which of the two brings the error down faster where it is doubled; neither where doubling
        either takes off less than a twentieth.
    """

    structures: tuple[int, ...]
    structure_errors: tuple[float, ...]
    functions: tuple[int, ...]
    function_errors: tuple[float, ...]
    by: Literal["basis", "structures", "neither"]


class BasisChoice(Result):
    """The search for a basis.

    Attributes
    ----------
    fingerprint
        Of the data and options that it was made with.
    trials
        Every basis tried, in order.
    limits
        What limits the one taken.
    structures, sources
        Numbers of structures looked at in the last stage and of trajectories they are from.
    left_out
        How structures were left out, in words.
    kinds
        Kinds of data that were left out as a whole.
    reason
        Why the basis was taken, in words.
    seconds
        Wall time.
    """

    fingerprint: str
    trials: tuple[Trial, ...]
    limits: Limits
    structures: int
    sources: int
    left_out: str
    kinds: tuple[str, ...]
    reason: str
    seconds: float

    @property
    def chosen(self) -> Trial:
        """The basis that was taken."""
        return next(trial for trial in self.trials if trial.chosen)
