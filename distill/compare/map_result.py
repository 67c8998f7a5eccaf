"""Sampled and tested structures in a plane, and those that are worth a look."""

from __future__ import annotations

from typing import Literal

from distill.core.results import Record, Result

# Name of the result, and of the folder of files beside it.
MAP = "structure_map"
TRAINING, HELD_OUT, TEST = "training", "held out", "test"
# Why a structure is worth a look: student against reference, student against teacher, grade.
Reason = Literal["error", "disagreement", "grade"]
TITLES: dict[Reason, str] = {
    "error": "largest force errors: student against the reference",
    "disagreement": "largest disagreements: student against the teacher",
    "grade": "largest extrapolation grades",
}


class MapPoint(Record):
    """A structure in the plane.

    Attributes
    ----------
    source
        Set that it is from: training of the student, held out, or test of the reference.
    index
        In the file of that set.
    formula, config_type, atoms
        Of the structure.
    x, y
        First two principal components of the structures' descriptors.
    error, disagreement
        Root mean square difference of the student's forces from the reference's and from the
        teacher's, eV/Å; None without such labels.
    expected
        Root mean square of what the student expects its forces to err by, eV/Å; None without a
        committee.
    grade
        Largest extrapolation grade of its atoms; None for a student without grades.
    """

    source: str
    index: int
    formula: str
    config_type: str
    atoms: int
    x: float
    y: float
    error: float | None
    disagreement: float | None
    expected: float | None
    grade: float | None


class Listed(Record):
    """A structure that is worth a look.

    Attributes
    ----------
    reason
        What it is among the largest in.
    point
        Its number in the map.
    file
        Beside the result: the structure with the labels of the set that it is from, and the
        student's as `predicted_forces` and `predicted_energy`.
    """

    reason: Reason
    point: int
    file: str


class StructureMap(Result):
    """The map.

    Attributes
    ----------
    points
        Training structures first; at most a thousand of them, evenly spaced in their file.
    training
        Number of all training structures; 0 where they are not known.
    listed
        Those worth a look, the largest of each reason first.
    chemiscope
        Name of the file that chemiscope.org opens, beside the result.
    """

    points: list[MapPoint]
    training: int
    listed: list[Listed]
    chemiscope: str
