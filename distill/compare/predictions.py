"""The test set and the held-out structures with the labels of reference, teacher and student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill.compare.accuracy import predictions
from distill.core.progress import say
from distill.core.work import Unit
from distill.data.structures import read_structures, write_structures
from distill.models.cached_calculators import ModelSpec

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Prediction(Unit):
    """A model's labels of structures, `folder/NAME.xyz`.

    Attributes
    ----------
    model
        What `load_calculator` takes.
    structures
        Their file.
    """

    model: ModelSpec
    structures: Path

    @property
    def path(self) -> Path:
        """File of the structures with the model's labels."""
        return self.folder / f"{self.name}.xyz"

    def files(self) -> list[Path]:
        """The labelled structures."""
        return [self.path]

    def work(self) -> dict[str, int]:
        """Label the structures."""
        structures = read_structures(self.structures)
        title = self.name.replace("_", " ")
        write_structures(self.path, predictions(structures, self.model, f"labels: {title}"))
        return {"structures": len(structures)}


@dataclass(frozen=True)
class Labels:
    """Files of the test set at three levels, and of the held-out structures at two."""

    reference: Path
    teacher: Path
    student: Path
    held_out_teacher: Path
    held_out_student: Path

    def read(self) -> dict[str, list[Atoms]]:
        """The structures of each file by the name of its field."""
        return {name: read_structures(path) for name, path in vars(self).items()}


def label_test_sets(
    teacher: ModelSpec, student: ModelSpec, reference_test: Path, held_out: Path, folder: Path
) -> Labels:
    """Label the test set by teacher and student, and the held-out structures by the student.

    Parameters
    ----------
    teacher, student
        Models.
    reference_test
        Test set with the reference's labels.
    held_out
        Structures with the teacher's labels; where the file is empty the test set takes their
        place.
    folder
        Of the predictions; those that are there already are not made again.

    Raises
    ------
    UserError
        If a file lacks labels, or a model cannot be loaded or evaluated.
    """

    def predicted(name: str, model: ModelSpec, structures: Path) -> Path:
        unit = Prediction(folder, name, model=model, structures=structures)
        finish_here(unit)
        return unit.path

    on_test = predicted("test_teacher", teacher, reference_test)
    if not held_out.stat().st_size:
        say("no sampled structures were held out: the test set takes their place")
        held_out = on_test
    return Labels(
        reference=reference_test,
        teacher=on_test,
        student=predicted("test_student", student, reference_test),
        held_out_teacher=held_out,
        held_out_student=predicted("held_out_student", student, held_out),
    )


def finish_here(unit: Unit) -> None:
    """Do a unit in this process, with all its cores, unless it is done."""
    if unit.finished:
        return
    if unit.record.exists():
        say(f"{unit.name} is made again: {unit.fault()}")
    unit.run()


def pairs(labels: Mapping[str, list[Atoms]]) -> dict[str, tuple[list[Atoms], list[Atoms]]]:
    """(true, predicted) structures of `Labels.read` by the titles of `ErrorsResult.tables`."""
    return {
        "reference → teacher": (labels["reference"], labels["teacher"]),
        "teacher → student, held out": (labels["held_out_teacher"], labels["held_out_student"]),
        "reference → student": (labels["reference"], labels["student"]),
    }
