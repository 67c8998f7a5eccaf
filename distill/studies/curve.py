"""Learning curves: teachers of several strategies on growing shares of the data.

Every (strategy, fraction, seed) is a unit in a folder of its own, where the teacher stage runs: a
finished unit is not trained again, and a killed one goes on from its last epoch. The seed of a unit
draws its subset, its starting weights and its order of structures; the test set is one for all.
Labels that a model makes are made before the trainings, once for all units that ask for the same.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config.workflow import RunConfig, strategy_teacher
from distill.core.artifacts import (
    package_versions,
    read_json,
    refuse_to_overwrite,
    sha256,
    write_json,
)
from distill.core.errors import UserError
from distill.core.executors import run_units
from distill.core.input_files import named_files
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.student.julia.julia_session import kept_warm
from distill.studies.curve_results import FOLDER, FOUNDATION, unit_row
from distill.studies.curve_tables import write_results
from distill.teacher.config import TeacherConfig

if TYPE_CHECKING:
    from ase import Atoms

LABELS_FOLDER = "curve_labels"
SETTINGS_NAME, RESULT_NAME, FAILURE_NAME, LOG_NAME = (
    "settings.json",
    "result.json",
    "failure.txt",
    "log.txt",
)
# They change how long a training takes, not what it gives.
_NOT_SETTINGS = {"threads", "foundation"}


@dataclass(frozen=True)
class Unit:
    """One training of a learning curve.

    Attributes
    ----------
    strategy
        Name of the curve.
    fraction
        Share of the training set.
    seed
        Of the subset, the weights and the order.
    teacher
        Its whole teacher section.
    train, test
        Structures with labels.
    out
        Its folder.
    structures
        Structures of its subset, validation included.
    steps_per_epoch
        Optimiser steps of an epoch over the subset.
    """

    strategy: str
    fraction: float
    seed: int
    teacher: TeacherConfig
    train: Path
    test: Path
    out: Path
    structures: int
    steps_per_epoch: int

    @property
    def title(self) -> str:
        """The unit in words."""
        return f"{self.strategy}, {100 * self.fraction:g} % of the data, seed {self.seed}"


@kept_warm()
def learning_curves(config: RunConfig, *, train: bool = True) -> Path:
    """Train what is missing of a config's learning curves, then write tables and figures.

    The data stage runs first if it has not. RUN/curve gets a folder for each unit,
    `curve.json` and `curve.csv` (every unit, and mean and spread over seeds), and the figures
    `learning_curves` and `curve_cost` as PNG and PDF; RUN/curve_labels the labels that a model
    makes.

    Parameters
    ----------
    config
        A workflow; its `curve`, `teacher`, `data` and `parallel` sections count.
    train
        False: only draw what is finished.

    Returns
    -------
    Path
        The folder RUN/curve.

    Raises
    ------
    UserError
        If a fraction holds no structure or is too small to validate on, a unit's folder belongs to
        other settings, the config names a file in a folder that is written, or units failed; those
        are listed after the others are finished and drawn.
    """
    from distill.core.run_folder import locked
    from distill.pipeline import run_folder, run_pipeline

    folder = run_folder(config)
    for name in (FOLDER, LABELS_FOLDER):
        refuse_to_overwrite(folder / name, *(name for _, name in named_files(config)))
    if train:
        run_pipeline(config, last="data")
    elif not (folder / "data" / "train.xyz").is_file():
        raise UserError(f"{folder} has no data yet: leave out --draw-only to train first")
    with locked(folder):
        return _learning_curves(config, folder, train)


def _learning_curves(config: RunConfig, folder: Path, train: bool) -> Path:
    units = plan_units(config, folder)
    settings = {unit.out: unit_settings(unit) for unit in units}
    for unit in units:
        _refuse_other_settings(unit, settings[unit.out])
    waiting = [unit for unit in units if not (unit.out / RESULT_NAME).is_file()]
    if train and waiting:
        say(f"curve: {len(units)} trainings, {len(units) - len(waiting)} of them done before")
        for unit in waiting:
            write_json(unit.out / SETTINGS_NAME, settings[unit.out])
        ready = _labelled(waiting, folder)
        run_units(train_unit, ready, config=config.parallel, label="trainings")
    rows, missing, failed = [], [], []
    names = list(config.curve.strategies)
    for unit in sorted(units, key=lambda u: (names.index(u.strategy), u.fraction, u.seed)):
        if (unit.out / RESULT_NAME).is_file():
            rows += read_json(unit.out / RESULT_NAME)
        else:
            missing.append(unit.title)
            failure = unit.out / FAILURE_NAME
            if failure.is_file():
                failed.append(f"{unit.title}: {failure.read_text(encoding='utf-8')}")
    out = folder / FOLDER
    if rows:
        about = {
            "strategies": config.curve.model_dump(mode="json"),
            "missing": missing,
            "labels": _label_records(units, folder),
            "versions": package_versions(),
        }
        write_results(out, rows, about)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(units)} trainings failed; the others are kept:\n  "
            + "\n  ".join(failed)
        )
    if not rows:
        raise UserError(f"{out} holds no finished training yet: leave out --draw-only")
    return out


def plan_units(config: RunConfig, folder: Path) -> list[Unit]:
    """The trainings of a config, in the order in which they run.

    Seeds one after the other, so that a first look comes early; within a seed the long ones first,
    so that no core waits for a last one.

    Parameters
    ----------
    config
        The workflow.
    folder
        Run folder whose data stage is finished.

    Raises
    ------
    UserError
        As `learning_curves`.
    """
    from distill.data.isolated_atoms import without_isolated
    from distill.data.structures import config_type, read_structures

    train, test = (folder / "data" / name for name in ("train.xyz", "test.xyz"))
    structures, _ = without_isolated(read_structures(train, require=()), train)
    types = [config_type(atoms) for atoms in structures]
    units = []
    for seed in config.curve.seeds:
        for name, strategy in config.curve.strategies.items():
            fractions = strategy.fractions or config.curve.fractions
            _refuse_equal_subsets(types, fractions, f"{name}, ")
            teacher = strategy_teacher(config.teacher, name, strategy)
            for fraction in fractions:
                size, trained = _subset_sizes(structures, fraction, teacher, seed)
                per_epoch = math.ceil(trained / _structures_a_batch(teacher, structures))
                epochs = _epochs(config, strategy.steps, per_epoch)
                units.append(
                    Unit(
                        strategy=name,
                        fraction=fraction,
                        seed=seed,
                        teacher=_unit_teacher(teacher, fraction, epochs),
                        train=train,
                        test=test,
                        out=folder / FOLDER / name / f"{100 * fraction:g}pct_seed{seed}",
                        structures=size,
                        steps_per_epoch=per_epoch,
                    )
                )
    order = {seed: rank for rank, seed in enumerate(config.curve.seeds)}
    return sorted(units, key=lambda u: (order[u.seed], -u.teacher.epochs * u.steps_per_epoch))


def _structures_a_batch(teacher: TeacherConfig, structures: Sequence[Atoms]) -> float:
    """Structures in a batch, on average where it is bounded by atoms."""
    if teacher.batch_atoms is None:
        return teacher.batch_size
    return max(teacher.batch_atoms * len(structures) / sum(map(len, structures)), 1.0)


def unit_settings(unit: Unit) -> dict[str, Any]:
    """All that a unit's result depends on; options at their defaults are left out."""
    from distill.models.mace.foundation_store import find_foundation

    return {
        "teacher": unit.teacher.model_dump(
            mode="json", exclude=_NOT_SETTINGS, exclude_defaults=True
        ),
        "foundation": find_foundation(unit.teacher.foundation).sha256,
        "train": sha256(unit.train),
        "test": sha256(unit.test),
        "seed": unit.seed,
    }


def _labelled(units: Sequence[Unit], folder: Path) -> list[Unit]:
    """The units on files with their labels; those whose labels cannot be made are left out."""
    from distill.teacher.made_labels import labelled_once

    made: dict[Path, tuple[Path, Path] | UserError] = {}
    ready = []
    for unit in units:
        out = _labels_of(unit, folder)
        if out is None:
            ready.append(unit)
            continue
        if out not in made:
            try:
                made[out] = labelled_once(unit.teacher, unit.train, unit.test, out)
            except UserError as error:
                made[out] = error
        found = made[out]
        if isinstance(found, UserError):
            _note_failure(unit, found)
            continue
        teacher = unit.teacher.model_copy(update={"labels": None})
        ready.append(replace(unit, teacher=teacher, train=found[0], test=found[1]))
    return ready


def _labels_of(unit: Unit, folder: Path) -> Path | None:
    """Where the labels of a unit are that a model makes; units that ask for the same share them."""
    from distill.teacher.made_labels import labels_hash

    if unit.teacher.labels is None:
        return None
    return folder / LABELS_FOLDER / labels_hash(unit.teacher)[:12]


def _label_records(units: Sequence[Unit], folder: Path) -> list[dict[str, Any]]:
    """What made the labels of each file that units share."""
    folders = dict.fromkeys(_labels_of(unit, folder) for unit in units)
    records = [file for out in folders if out for file in sorted(out.glob("*.json"))]
    return [
        {
            "file": f"{file.parent.relative_to(folder)}/{file.stem}.xyz",
            **read_json(file, dict[str, Any]),
        }
        for file in records
    ]


def train_unit(unit: Unit) -> None:
    """Run the teacher stage in a unit's folder, its words in `log.txt`; note what it gave.

    A user's error is noted in `failure.txt`, so that one training that diverges does not end the
    others.
    """
    from distill.core.results import read_result
    from distill.teacher.teacher_results import ERRORS_NAME, TeacherErrors
    from distill.teacher.teacher_stage import run

    (unit.out / FAILURE_NAME).unlink(missing_ok=True)
    try:
        with _logged(unit.out / LOG_NAME):
            run(unit.teacher, train=unit.train, test=unit.test, out=unit.out, seed=unit.seed)
    except UserError as error:
        _note_failure(unit, error)
        return
    measured = read_result(unit.out / ERRORS_NAME, TeacherErrors).tables()
    rows = [
        unit_row(
            unit.out,
            table,
            {"strategy": name, "fraction": unit.fraction, "seed": unit.seed},
            structures=unit.structures,
            steps_per_epoch=unit.steps_per_epoch,
        )
        for name, table in ((unit.strategy, "teacher"), (FOUNDATION, FOUNDATION))
        if table in measured
    ]
    write_json(unit.out / RESULT_NAME, rows)
    say(f"{unit.title}: force RMSE {MEV * rows[0]['errors']['forces']['rmse']:.1f} meV/Å")


def _note_failure(unit: Unit, error: UserError) -> None:
    (unit.out / FAILURE_NAME).write_text(str(error), encoding="utf-8")
    say(f"{unit.title}: failed: {error}")


def _epochs(config: RunConfig, steps: int | None, per_epoch: int) -> int | None:
    """Epochs that make the wanted steps; None where the teacher section's count."""
    wanted = steps or config.curve.steps
    return None if wanted is None else max(round(wanted / per_epoch), config.curve.least_epochs)


def _unit_teacher(teacher: TeacherConfig, fraction: float, epochs: int | None) -> TeacherConfig:
    """A unit's teacher section: its share of the data, and its epochs."""
    changes: dict[str, Any] = {"fraction": fraction, "threads": None}
    if epochs is not None:
        scale = epochs / teacher.epochs
        for key in ("patience", "plateau_patience"):
            changes[key] = max(round(scale * getattr(teacher, key)), 1)
        changes["epochs"] = epochs
        two = teacher.stage_two
        if two:
            start = max(round(scale * two.start_epoch), 1)
            # A training too short to be parted has the first stage alone.
            changes["stage_two"] = (
                two.model_copy(update={"start_epoch": start}) if start < epochs else None
            )
    return teacher.model_copy(update=changes)


def _subset_sizes(
    structures: list[Atoms], fraction: float, teacher: TeacherConfig, seed: int
) -> tuple[int, int]:
    """Structures of a subset, and those of them that train."""
    from distill.data.splits import hold_out_trajectories, nested_subset, sources_of
    from distill.data.structures import config_type

    types = [config_type(atoms) for atoms in structures]
    used = [structures[i] for i in nested_subset(types, fraction, seed)]
    try:
        kept, _ = hold_out_trajectories(
            [config_type(atoms) for atoms in used],
            sources_of(used),
            teacher.validation_fraction,
            seed,
        )
    except UserError as error:
        raise UserError(f"curve.fractions: {fraction:g} is too little: {error}") from None
    return len(used), len(kept)


def _refuse_equal_subsets(types: list[str], fractions: list[float], name: str) -> None:
    """Every fraction must hold a structure, and two fractions must not hold the same ones."""
    from distill.data.splits import least_subset

    least = least_subset(types)
    sizes: dict[int, float] = {}
    for fraction in sorted(fractions):
        if round(fraction * len(types)) < 1:
            raise UserError(
                f"curve.fractions: {name}{fraction:g} of {len(types)} structures is none; give at "
                f"least {1 / len(types):.2g}"
            )
        size = max(round(fraction * len(types)), least)
        if size in sizes:
            raise UserError(
                f"curve.fractions: {name}{sizes[size]:g} and {fraction:g} of {len(types)} "
                f"structures are the same {size} structures (one of each of {least} config types "
                "at least); leave one out"
            )
        sizes[size] = fraction


def _refuse_other_settings(unit: Unit, settings: dict[str, Any]) -> None:
    from distill.core.stage_results import differences

    path = unit.out / SETTINGS_NAME
    if not path.is_file():
        return
    changed = differences(read_json(path, dict[str, Any]), settings)
    if changed:
        raise UserError(
            f"{unit.out} was trained with other settings ({'; '.join(changed)}). Give another name "
            "or output in the config, name the strategy otherwise, or delete that folder"
        )


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send what is printed inside the block to the end of a file."""
    with (
        path.open("a", encoding="utf-8", buffering=1) as handle,
        contextlib.redirect_stdout(handle),
    ):
        yield
