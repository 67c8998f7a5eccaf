"""Committees: several teachers on random shares of the data, their mean, and what the spread says.

Each member draws its own share and its own weights from the seed, so a killed run goes on with the
member it was at. The spread is tested against the errors on the test set.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from distill.core.artifacts import sha256
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.core.results import read_result, write_result
from distill.data.isolated_atoms import without_isolated
from distill.data.structures import (
    read_structures,
    reference_energy,
    reference_forces,
    reference_stress,
    set_labels,
    write_structures,
)
from distill.metrics.calibration import deviation_quality
from distill.metrics.errors import error_table, rmse_of
from distill.models.composite import join_files
from distill.models.teacher_model import (
    MODEL_NAME,
    RECORD_NAME,
    CommitteeSize,
    TeacherRecord,
    TrainingSet,
)
from distill.teacher.config import TeacherConfig
from distill.teacher.made_labels import LABELS_FOLDER, labelled_once
from distill.teacher.starting_model import open_start, settings_hash
from distill.teacher.teacher_record import is_finished, measured_on, say_errors, write_history
from distill.teacher.teacher_results import (
    COMMITTEE_NAME,
    ERRORS_NAME,
    CommitteeRecord,
    MeanErrors,
    MemberErrors,
    SpreadQuality,
    TeacherErrors,
)

if TYPE_CHECKING:
    from ase import Atoms

FOLDER = "members"
FIGURE_NAME = "committee_calibration"
ENERGY_SPREAD, FORCES_SPREAD = "energy_std", "forces_std"
_MEMBER = 6


class TrainOne(Protocol):
    """What trains one member: `distill.teacher.teacher_stage.run`."""

    def __call__(
        self, config: TeacherConfig, *, train: Path, test: Path, out: Path, seed: int
    ) -> None:
        """Train a teacher and leave its files in a folder."""


def run_committee(
    config: TeacherConfig, train_one: TrainOne, *, train: Path, test: Path, out: Path, seed: int
) -> None:
    """Train every member, put them together, and measure mean and spread on the test set.

    Writes what `train_one` writes for a member, for the mean of the members;
    `teacher.model` holds all of them. Also `committee.json` (errors of each member and of the
    mean, spread and its calibration), its figure, and the members' folders in `members/`.

    Parameters
    ----------
    config
        The `teacher` section, with `committee`; `fraction` is each member's share of the data.
    train_one
        Trains a member.
    train, test
        Labelled structures, extxyz with REF_ keys.
    out
        Output folder. Finished members in it are kept if they belong to the same settings.
    seed
        The run's seed.

    Raises
    ------
    UserError
        As `train_one`.
    """
    assert config.committee is not None
    began = time.monotonic()
    if config.labels is not None:
        train, test = labelled_once(config, train, test, out / LABELS_FOLDER)
        config = config.model_copy(update={"labels": None})
    folders = _train_members(config, train_one, train=train, test=test, out=out, seed=seed)

    reference, _ = without_isolated(read_structures(test, require=()), test)
    names = read_result(folders[0] / ERRORS_NAME, TeacherErrors).tables()
    means = {
        name: mean_and_spread([read_structures(f / f"test_{name}.xyz") for f in folders])
        for name in names
    }
    lone = {name: without_isolated(mean, test)[0] for name, mean in means.items()}
    errors = {name: error_table(reference, mean) for name, mean in lone.items()}
    say_errors(errors)
    result = CommitteeRecord(
        members=[_member_errors(folder) for folder in folders],
        mean=MeanErrors(
            energy_per_atom_rmse=rmse_of(errors["teacher"].energy_per_atom),
            forces_rmse=rmse_of(errors["teacher"].forces),
        ),
        calibration=calibration(reference, lone["teacher"]),
    )
    _say_calibration(result)
    _draw(result.calibration, out)
    join_files([folder / MODEL_NAME for folder in folders], out / MODEL_NAME)
    for name, mean in means.items():
        write_structures(out / f"test_{name}.xyz", mean)
    write_result(out / ERRORS_NAME, TeacherErrors(**errors))
    write_result(out / COMMITTEE_NAME, result)
    write_history(out / "history.csv", mean_history(folders))
    size = CommitteeSize(members=len(folders), fraction=config.fraction)
    record = shared_record(folders).model_copy(
        update={"committee": size, "seed": seed, **measured_on(began)}
    )
    write_result(out / RECORD_NAME, record)


def mean_and_spread(sets: Sequence[Sequence[Atoms]]) -> list[Atoms]:
    """Structures with the mean of several predictions, and their spread as further entries.

    Parameters
    ----------
    sets
        The same structures with the labels of each member, at least two.

    Returns
    -------
    list of Atoms
        With mean labels under the REF_ keys, and the members' sample standard deviation:
        `energy_std` [eV] and, for each atom, `forces_std` [eV/Å], the root mean square over its
        three components.
    """
    structures = []
    for members in zip(*sets, strict=True):
        energies = np.array([reference_energy(atoms) for atoms in members], dtype=float)
        forces = np.array([reference_forces(atoms) for atoms in members])
        stresses = [s for atoms in members if (s := reference_stress(atoms)) is not None]
        mean = set_labels(
            members[0].copy(),
            energy=energies.mean(),
            forces=forces.mean(axis=0),
            stress=np.mean(stresses, axis=0) if len(stresses) == len(members) else None,
        )
        mean.info[ENERGY_SPREAD] = float(energies.std(ddof=1))
        mean.arrays[FORCES_SPREAD] = np.sqrt(forces.var(axis=0, ddof=1).mean(axis=1))
        structures.append(mean)
    return structures


def calibration(reference: Sequence[Atoms], mean: Sequence[Atoms]) -> SpreadQuality:
    """How well the spread describes the errors of the mean.

    Parameters
    ----------
    reference
        Structures with reference labels.
    mean
        The same structures as `mean_and_spread` gives them.

    Returns
    -------
    SpreadQuality
        Of energies per atom [eV/atom] and of forces [eV/Å, over components].
    """
    energy_error, energy_spread, force_error, force_spread = [], [], [], []
    for true, found in zip(reference, mean, strict=True):
        energy, predicted = reference_energy(true), reference_energy(found)
        forces, predicted_forces = reference_forces(true), reference_forces(found)
        if energy is not None and predicted is not None:
            energy_error.append((predicted - energy) / len(true))
            energy_spread.append(found.info[ENERGY_SPREAD] / len(true))
        if forces is not None and predicted_forces is not None:
            force_error.append((predicted_forces - forces).ravel())
            force_spread.append(np.repeat(found.arrays[FORCES_SPREAD], 3))
    return SpreadQuality(
        energy_per_atom=deviation_quality(np.array(energy_error), np.array(energy_spread)),
        forces=deviation_quality(np.concatenate(force_error), np.concatenate(force_spread)),
    )


def mean_history(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Training history averaged over the members that were still training in an epoch."""
    rows: dict[int, list[dict[str, float]]] = {}
    for folder in folders:
        with (folder / "history.csv").open(newline="") as handle:
            for row in csv.DictReader(handle):
                rows.setdefault(int(row["epoch"]), []).append({k: float(v) for k, v in row.items()})
    history = []
    for epoch, members in sorted(rows.items()):
        mean: dict[str, Any] = {k: float(np.mean([m[k] for m in members])) for k in members[0]}
        stage = Counter(int(m["stage"]) for m in members).most_common(1)[0][0]
        history.append(mean | {"epoch": epoch, "stage": stage})
    return history


def _train_members(
    config: TeacherConfig, train_one: TrainOne, *, train: Path, test: Path, out: Path, seed: int
) -> list[Path]:
    """Folders of the members, each trained unless it was before with the same settings."""
    assert config.committee is not None
    member_config = config.model_copy(update={"committee": None})
    start = open_start(member_config, "cpu")
    folders = []
    for number in range(config.committee.members):
        folder = out / FOLDER / f"{number:02d}"
        stream = np.random.SeedSequence([seed, _MEMBER, number])
        member_seed = int(stream.generate_state(1)[0])
        expected = settings_hash(member_config, start, train, member_seed)
        name = f"member {number + 1} of {config.committee.members}"
        if is_finished(folder, expected, test):
            say(f"{name}: done before, skipped")
        else:
            say(name)
            train_one(member_config, train=train, test=test, out=folder, seed=member_seed)
        folders.append(folder)
    return folders


def _member_errors(folder: Path) -> MemberErrors:
    errors = read_result(folder / ERRORS_NAME, TeacherErrors).teacher
    about = read_result(folder / RECORD_NAME, TeacherRecord)
    assert about.seed is not None
    return MemberErrors(
        folder=f"{FOLDER}/{folder.name}",
        sha256=sha256(folder / MODEL_NAME),
        seed=about.seed,
        structures=about.training.used,
        energy_per_atom_rmse=rmse_of(errors.energy_per_atom),
        forces_rmse=rmse_of(errors.forces),
    )


def shared_record(folders: Sequence[Path]) -> TeacherRecord:
    """What the members share; atomic reference energies are means, like the energies.

    Entries that have a default and are not the same for all take the default.
    """
    members = [read_result(folder / RECORD_NAME, TeacherRecord) for folder in folders]
    first = members[0]
    shared = {
        name: getattr(first, name)
        for name, field in TeacherRecord.model_fields.items()
        if field.is_required() or all(getattr(m, name) == getattr(first, name) for m in members)
    }
    indices = sorted({i for member in members for i in member.training.indices})
    elements = sorted({symbol for member in members for symbol in member.elements})
    worse = [m.worse_than_foundation for m in members if m.worse_than_foundation is not None]
    return TeacherRecord(
        **{
            **shared,
            "elements": elements,
            "e0": _means([member.e0 for member in members]),
            "free_atoms": _means([member.free_atoms for member in members]),
            "worse_than_foundation": any(worse) if worse else None,
            "training": TrainingSet(
                available=first.training.available,
                used=len(indices),
                indices=indices,
                indices_by_member=[member.training.indices for member in members],
            ),
        }
    )


def _means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each entry over the tables that have it."""
    names = sorted({name for table in tables for name in table})
    return {n: float(np.mean([table[n] for table in tables if n in table])) for n in names}


def _say_calibration(result: CommitteeRecord) -> None:
    forces = result.calibration.forces
    errors = [member.forces_rmse for member in result.members if member.forces_rmse is not None]
    rank = forces.rank_correlation
    say(
        f"committee: forces of the mean {MEV * forces.rmse:.1f} meV/Å, of its members "
        f"{MEV * min(errors):.1f} to {MEV * max(errors):.1f}; spread "
        f"{MEV * forces.predicted_deviation:.1f} meV/Å"
        f"{'' if rank is None else f', rank correlation with the errors {rank:.2f}'}"
    )


def _draw(quality: SpreadQuality, out: Path) -> None:
    from distill.core.figures import save_figure
    from distill.metrics.error_plots import calibration_figure

    bins = quality.forces.bins
    predicted = [MEV * part.predicted_deviation for part in bins]
    actual = [MEV * part.rmse for part in bins]
    save_figure(calibration_figure(predicted, actual, "meV/Å", "teacher"), out, FIGURE_NAME)
