"""A student straight from labelled structures, without a teacher: fitted, graded, tested, shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from distill.config.workflow import RunConfig
from distill.core.artifacts import atomic_path, refuse_to_overwrite, write_json
from distill.core.errors import UserError
from distill.core.input_files import named_files
from distill.core.progress import say
from distill.core.results import write_result
from distill.metrics.error_texts import study_table_text
from distill.metrics.errors import ErrorTable
from distill.report.fit_report import (
    DATA,
    FRONT,
    REQUEST_FILE,
    STUDENT,
    TIMING_FILE,
    write_fit_report,
)

# Sizes of the front, as factors on the degrees of the student that is asked for.
FRONT_SCALES = (0.6, 0.8, 1.0)
# An atom's time is taken from at least so many of them, in so many rounds.
_TIMED_ATOMS, _ROUNDS = 64, 7
_REPORTED = {"data", "student", "seed"}


def direct_fit(config: RunConfig, *, out: Path, front: bool = False) -> Path:
    """Fit a student to labelled structures, measure it on others, and write a page of report.

    The data are checked and split as in a workflow: where no test set is given, a share is held out
    by seed, stratified by config type, whole trajectories on one side.

    Parameters
    ----------
    config
        Its sections `data` and `student`, and its `seed`, are looked at.
    out
        The student's `.npz`. What belongs to it goes into the folder `NAME_fit` beside it: the sets
        as they were used, errors, uncertainties, times, figures and `report.html`.
    front
        Fit students of other orders and degrees too, and show speed against accuracy.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    UserError
        If the data are unusable, the fit is impossible, or an output lies on an input.
    """
    from distill.core.run_folder import locked, mark_folder, refuse_foreign_folder

    if out.suffix != ".npz":
        raise UserError(f"{out}: expected a student's file, such as {out.with_suffix('.npz').name}")
    folder = out.with_name(f"{out.stem}_fit")
    inputs = [name for _, name in named_files(config.data)]
    for written in (out, folder):
        refuse_to_overwrite(written, *inputs)
    refuse_foreign_folder(folder)
    with locked(folder):
        mark_folder(folder)
        return _fitted(config, out, folder, front)


def _fitted(config: RunConfig, out: Path, folder: Path, front: bool) -> Path:
    import yaml

    from distill.data import data_stage
    from distill.student import student_stage

    data_stage.run(config.data, out=folder / DATA, seed=config.seed)
    sets = {name: folder / DATA / f"{name}.xyz" for name in ("train", "test")}
    student_stage.run(
        config.student,
        train=sets["train"],
        test=sets["test"],
        out=folder / STUDENT,
        seed=config.seed,
    )
    made = folder / STUDENT / student_stage.STUDENT_FILE
    with atomic_path(out) as temporary:
        shutil.copyfile(made, temporary)
    _time(made, sets["test"], folder / TIMING_FILE)
    if front:
        _front(config, sets, folder / FRONT)
    shown = config.model_dump(mode="json", include=_REPORTED, exclude_unset=True)
    write_json(
        folder / REQUEST_FILE,
        {
            "output": str(out),
            "seed": config.seed,
            "front": front,
            "data": config.data.model_dump(mode="json"),
            "config": yaml.safe_dump(shown, sort_keys=False, allow_unicode=True),
        },
    )
    report = write_fit_report(folder)
    say(study_table_text(_tables(folder / STUDENT / student_stage.ERRORS_FILE)))
    say(f"student: {out}")
    say(f"report: {report}")
    return report


def _time(student: Path, test: Path, kept: Path) -> None:
    """Time the student on the largest test structure, repeated where it is small and periodic."""
    from distill.compare.timing import time_models
    from distill.data.structures import read_structures

    atoms = max(read_structures(test), key=len)
    while len(atoms) < _TIMED_ATOMS and atoms.pbc.any():
        lengths = atoms.cell.lengths()
        shortest = min(np.flatnonzero(atoms.pbc), key=lambda axis: lengths[axis])
        atoms = atoms.repeat([2 if axis == shortest else 1 for axis in range(3)])
    write_result(kept, time_models({"student": student}, atoms, _ROUNDS))


def _front(config: RunConfig, sets: dict[str, Path], out: Path) -> None:
    from distill.data.structures import read_structures
    from distill.student.search.search import settled
    from distill.studies.front import speed_accuracy_front

    train = read_structures(sets["train"], require=())
    student = settled(train, config.student, seed=config.seed, folder=out.parent / STUDENT)
    orders = range(min(2, student.order), student.order + 1)
    speed_accuracy_front(
        student,
        train=sets["train"],
        test=sets["test"],
        out=out,
        seed=config.seed,
        orders=orders,
        scales=FRONT_SCALES,
    )


def _tables(errors: Path) -> dict[str, ErrorTable]:
    from distill.core.artifacts import read_json

    found = read_json(errors)
    return {name: ErrorTable.model_validate(found[name]) for name in ("test", "train")}
