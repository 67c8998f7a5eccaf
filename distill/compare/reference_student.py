"""A student of equal size on the reference's labels: what teacher and sampling have to beat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from distill.compare.predictions import finish_here
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.results import read_result
from distill.core.work import Unit
from distill.data.structures import read_structures, write_structures
from distill.metrics.errors import ErrorTable, error_table
from distill.student.config import StudentConfig


@dataclass(frozen=True)
class ReferenceStudent(Unit):
    """The fit, and its labels of the test set.

    Attributes
    ----------
    config
        Of the student that it is compared with.
    train, test
        Files with the reference's labels.
    seed
        The run's seed.
    threads
        Threads of the fit; all cores if None.
    """

    unkeyed: ClassVar[frozenset[str]] = Unit.unkeyed | {"threads"}

    config: StudentConfig
    train: Path
    test: Path
    seed: int
    threads: int | None = None

    @property
    def predicted(self) -> Path:
        """File of the test set with its labels."""
        return self.folder / "test.xyz"

    @property
    def model(self) -> Path:
        """File of the student."""
        return self.folder / "student.npz"

    def files(self) -> list[Path]:
        """The labelled test set and the student."""
        return [self.predicted, self.model]

    def work(self) -> dict[str, int]:
        """Fit, and label the test set."""
        from distill.core.executors import available_cores
        from distill.student.fit_backends import fit_student
        from distill.student.student_stage import predicted_structures

        structures = read_structures(self.train, require=())
        config = self.config.model_copy(update={"threads": self.threads})
        student = fit_student(structures, config, seed=self.seed).student
        test = read_structures(self.test, require=(), elements=student.elements)
        student.save(self.model)
        labelled = predicted_structures(student, test, self.threads or available_cores())
        write_structures(self.predicted, labelled)
        return {"structures": len(structures)}


def settled_as(config: StudentConfig, folder: Path) -> StudentConfig:
    """The config of a student stage with the basis that was chosen in its folder, if one was."""
    from distill.student.search.basis_choice import CHOICE_FILE, BasisChoice
    from distill.student.search.search import given

    if config.basis == "given":
        return config
    return given(config, read_result(folder / CHOICE_FILE, BasisChoice))


def errors_alone(
    config: StudentConfig, *, train: Path, test: Path, folder: Path, seed: int
) -> ErrorTable | None:
    """Errors against the reference, on its test set, of a student fitted to its labels alone.

    It has the basis, weights and solver of the student, and no committee.

    Parameters
    ----------
    config
        The `student` section.
    train, test
        Files with the reference's labels.
    folder
        Of the fit; a finished one is not made again.
    seed
        The run's seed.

    Returns
    -------
    ErrorTable or None
        None, said with the reason, where these labels allow no such fit.
    """
    solver = config.solver.model_copy(update={"committee": 0})
    unit = ReferenceStudent(
        folder,
        "reference_student",
        config=config.model_copy(update={"solver": solver, "threads": None}),
        train=train,
        test=test,
        seed=seed,
        threads=config.threads,
    )
    say("a student on the reference data alone, for comparison")
    try:
        finish_here(unit)
    except UserError as error:
        say(f"no student on the reference data alone: {error}")
        return None
    return error_table(read_structures(test, require=()), read_structures(unit.predicted))
