"""Any calculator as the teacher itself: measured, and put on the energy scale of the data."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from distill.core.artifacts import read_json, sha256
from distill.core.executors import ParallelConfig
from distill.core.progress import say
from distill.core.quantities import ENERGY_KEY
from distill.core.results import write_result
from distill.data.isolated_atoms import without_isolated
from distill.data.reference_energies import ReferenceEnergies
from distill.data.splits import nested_subset
from distill.data.structures import (
    config_type,
    elements_of,
    read_structures,
    reference_energy,
    write_structures,
)
from distill.metrics.errors import error_table
from distill.models.calculators import AnyCalculator
from distill.models.teacher_model import (
    MODEL_NAME,
    RECORD_NAME,
    Origin,
    TeacherRecord,
    TestSet,
    TrainingSet,
)
from distill.teacher.config import TeacherConfig
from distill.teacher.made_labels import LABELS_FOLDER, labelled_in_shards, self_labelled
from distill.teacher.starting_model import (
    Start,
    calculator_start,
    free_atom_energies,
    settings_hash,
    starting_energies,
)
from distill.teacher.teacher_record import is_finished, measured_on, say_errors, write_history
from distill.teacher.teacher_results import ERRORS_NAME, TeacherErrors

if TYPE_CHECKING:
    from ase import Atoms


def run(
    config: TeacherConfig,
    *,
    train: Path,
    test: Path,
    out: Path,
    seed: int,
    parallel: ParallelConfig | None = None,
) -> None:
    """Take a calculator as the teacher, and leave what the stage leaves of any other.

    Its energies are moved onto the scale of the data by atomic reference energies, as those of a
    foundation model are, which takes its labels of the training structures (`fraction` of them);
    with `e0: foundation`, or where it made the labels itself, they stay as they are.

    Parameters
    ----------
    config
        The `teacher` section, with `calculator`.
    train, test
        Structures, extxyz with REF_ keys.
    out
        Output folder.
    seed
        The run's seed.
    parallel
        Where labels are made; in this process if None.

    Raises
    ------
    UserError
        For bad data, or if the calculator cannot be made or fails on a structure.
    """
    assert config.calculator is not None
    began = time.monotonic()
    start = calculator_start(config.calculator, config, "cpu")
    settings = settings_hash(config, start, train, seed)
    if is_finished(out, settings, test):
        say("teacher: measured before with these settings, skipped")
        return
    sets = {"train": train, "test": test}
    own = set() if config.labels is None else {"train", "test"} if config.labels.test else {"train"}
    structures: dict[str, list[Atoms]] = {}
    for name, path in sets.items():
        found = read_structures(path, require=() if name in own else ("energy", "forces"))
        if name in own:
            kept = out / LABELS_FOLDER / f"{name}.xyz"
            found = self_labelled(config, found, path=kept, device="cpu", parallel=parallel)
        structures[name] = found
    train_set, isolated = without_isolated(structures["train"], train)
    test_set, _ = without_isolated(structures["test"], test)
    used = nested_subset([config_type(a) for a in train_set], config.fraction, seed)
    chosen = [train_set[i] for i in used]
    e0 = None
    if "train" not in own and config.e0 != "foundation":
        path = out / LABELS_FOLDER / "calculator.xyz"
        predicted = labelled_in_shards(chosen, start, path=path, parallel=parallel)
        e0 = starting_energies(config, start, chosen, isolated, check=True, predicted=predicted)
        say(e0.summary())
        if note := e0.explanation():
            say(note)
    teacher = AnyCalculator.of_config(config.calculator, e0.shifts if e0 else None)
    elements = elements_of(train_set, isolated, test_set)
    measured = _measured(start, test_set, out, e0, parallel)
    free_atoms, _ = free_atom_energies(teacher, elements)
    errors = {"teacher": error_table(test_set, measured)}
    say_errors(errors)
    teacher.save(out / MODEL_NAME)
    write_structures(out / "test_teacher.xyz", measured)
    write_result(out / ERRORS_NAME, TeacherErrors(**errors))
    write_history(out / "history.csv", [])
    record = TeacherRecord(
        strategy=config.strategy,
        foundation=Origin(name=start.name, sha256=start.sha256),
        elements=list(elements),
        e0=e0.values if e0 else free_atoms,
        e0_method=e0.method if e0 else "the calculator's own",
        e0_shifts=e0.shifts if e0 else {},
        e0_start_rms_eV_per_atom=e0.rms if e0 else {},
        free_atoms=free_atoms,
        worse_than_foundation=False,
        training=TrainingSet(
            available=len(train_set),
            used=len(chosen) if e0 else 0,
            config_types=dict(Counter(config_type(a) for a in chosen)),
            indices=used,
            isolated_atoms=[a.get_chemical_formula() for a in isolated],
        ),
        test=TestSet(structures=len(test_set), sha256=sha256(test)),
        labels=read_json(out / LABELS_FOLDER / "train.json") if config.labels else None,
        seed=seed,
        settings=settings,
        device="cpu",
        **measured_on(began),
    )
    # Written last: a folder with it holds a finished teacher.
    write_result(out / RECORD_NAME, record)


def _measured(
    start: Start,
    structures: list[Atoms],
    out: Path,
    e0: ReferenceEnergies | None,
    parallel: ParallelConfig | None,
) -> list[Atoms]:
    """The test structures with the teacher's labels."""
    path = out / LABELS_FOLDER / "calculator_test.xyz"
    labelled = labelled_in_shards(structures, start, path=path, parallel=parallel)
    for atoms in labelled if e0 else ():
        energy = reference_energy(atoms)
        assert energy is not None and e0 is not None
        atoms.info[ENERGY_KEY] = energy + sum(e0.shifts.get(s, 0.0) for s in atoms.symbols)
    return labelled
