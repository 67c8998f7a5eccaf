"""Numbers at the teacher's level: what an observable makes of a student's work and a few calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.core.artifacts import atomic_path, read_json, write_json
from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint, model_identity
from distill.core.progress import say
from distill.core.results import Interval, Record, Result
from distill.core.work import Unit, WorkFolder
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.dynamics import Forces

if TYPE_CHECKING:
    from typing import Self

    from ase import Atoms

    from distill.metrics.teacher_level import TeacherMean
    from distill.simulation.trajectory import TrajectoryUnit

Array = NDArray[np.float64]
# Stem of the files with them.
TEACHER_LEVEL = "teacher_level"


class TeacherNumber(Record):
    """A number at the level of the teacher, or of the reference in its place.

    Attributes
    ----------
    quantity
        What it is.
    place
        Which of several: temperature (K), pair, path, ... by name.
    value, interval
        The teacher's; None for a number without sampling error.
    student
        The student's own.
    unit
        Of all three; empty for a pure number.
    form
        How it was made, such as reweighting.
    calls
        Of the teacher, shared by the numbers of one place.
    comment
        What may be wrong with it; empty where nothing was found.
    """

    quantity: str
    place: dict[str, str | float]
    value: float
    interval: Interval | None
    student: float
    unit: str
    form: str
    calls: int
    comment: str = ""


class TeacherLevelResult(Result):
    """Numbers at the level of the teacher, and of the reference, by level and observable."""

    levels: dict[str, dict[str, list[TeacherNumber]]]


def calls_folder(work: WorkFolder, model: ModelSpec) -> Path:
    """Where calls of a teacher are kept, or of a reference, each in a folder of its own."""
    return work.path / TEACHER_LEVEL / fingerprint(model_identity(model))[:8]


@dataclass(frozen=True)
class EnergiesUnit(Unit):
    """Energies of a student on all frames of a run, and of its teacher on some of them.

    Leaves `NAME.npz`; the numbers are the teacher's `calls` and how many of them `failed`.

    Attributes
    ----------
    model, student
        Teacher and student.
    frames
        File with the positions, `frames` (Å, (frames, N, 3)).
    like
        The structure, of which these are positions.
    places
        Frames on which the teacher is called.
    """

    model: ModelSpec
    student: ModelSpec
    frames: Path
    like: Atoms
    places: tuple[int, ...]

    @classmethod
    def of_run(
        cls, run: TrajectoryUnit, name: str, teacher: ModelSpec, calls: int, folder: Path
    ) -> Self:
        """The calls on frames of a student's run, evenly apart; one at least."""
        frames = round(run.config.time / run.config.frame_interval) + 1
        return cls(
            folder,
            name,
            model=teacher,
            student=run.model,
            frames=run.files()[0],
            like=run.start,
            places=thinned(frames, max(calls, 1)),
        )

    def settings(self) -> dict[str, Any]:
        """Both models by their contents, the frames by theirs."""
        return {**super().settings(), "student": model_identity(self.student)}

    def files(self) -> list[Path]:
        """The energies."""
        return [self.folder / f"{self.name}.npz"]

    def answers(self, model: ModelSpec) -> Callable[[Array], Array]:
        """What a model says of positions (Å, (N, 3)), an array of any shape: its energy, eV."""
        forces = Forces(self.like, cached_calculator(model))
        return lambda positions: np.array(forces(positions)[0])

    def answered(self) -> tuple[Array, Array]:
        """Of the student, (frames, ...), and of the teacher, NaN where it gave none."""
        with np.load(self.files()[0], allow_pickle=False) as data:
            return data["student"], data["teacher"]

    def work(self) -> dict[str, int]:
        """Call both models; what the teacher said is kept on the way."""
        with np.load(self.frames, allow_pickle=False) as data:
            positions = data["frames"].astype(float)
        by_student = self.answers(self.student)
        student = np.array([by_student(frame) for frame in positions])
        teacher = np.full_like(student, np.nan)
        said, failed = self.parts / "teacher.json", []
        known = read_json(said, dict[str, Any]) if said.exists() else {}
        by_teacher = self.answers(self.model)
        for place in self.places:
            if str(place) not in known:
                try:
                    known[str(place)] = by_teacher(positions[place]).tolist()
                except UserError as error:
                    failed.append(f"frame {place}: {error}")
                    continue
                said.parent.mkdir(parents=True, exist_ok=True)
                write_json(said, known)
            teacher[place] = known[str(place)]
        if failed:
            say(f"{self.name}: {len(failed)} calls of the teacher failed, the first at {failed[0]}")
        with atomic_path(self.files()[0]) as temporary:
            np.savez(temporary, student=student, teacher=teacher)
        return {"calls": len(self.places), "failed": len(failed)}


def thinned(frames: int, calls: int) -> tuple[int, ...]:
    """Places of so many frames of a run, evenly apart and as far from its start as from its end."""
    number = min(calls, frames)
    return tuple(((np.arange(number) + 0.5) * frames / number).astype(int).tolist())


def comment_on(found: TeacherMean) -> str:
    """What may be wrong with an estimate; empty where nothing was found."""
    if not found.missed:
        return ""
    return (
        "the first order leaves out what is seen of the second: more alike models, or multiple "
        "time steps"
    )


def numbers_of(
    found: TeacherMean, quantity: str, unit: str, places: Sequence[dict[str, str | float]]
) -> list[TeacherNumber]:
    """The numbers of an estimate of one dimension, one for each place."""
    return [
        TeacherNumber(
            quantity=quantity,
            place=place,
            value=float(value),
            interval=(float(low), float(high)),
            student=float(student),
            unit=unit,
            form=found.form,
            calls=found.calls,
            comment=comment_on(found),
        )
        for place, value, low, high, student in zip(
            places, found.value, found.low, found.high, found.student, strict=True
        )
    ]
