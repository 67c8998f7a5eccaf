"""The teacher stage: from a foundation model and labels to a fine-tuned, measured teacher."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import hash_of, read_json, sha256
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.quantities import ENERGY_KEY
from distill.core.results import write_result
from distill.core.work import KEPT_NAME
from distill.data.isolated_atoms import isolated_energies, without_isolated
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
from distill.models.base import Family
from distill.models.composite import Delta
from distill.models.labelling import carry_stress, label_structures
from distill.models.mace.adapter import facts, set_e0
from distill.models.mace.family import Mace
from distill.models.mace.rebuild import restrict_elements
from distill.models.mace.torch_tools import deterministic, pick_device, precision, threads
from distill.models.mace.training import Place
from distill.models.teacher_model import MODEL_NAME, RECORD_NAME, TestSet, TrainingSet
from distill.teacher import calculator_teacher, fitting
from distill.teacher.config import TeacherConfig
from distill.teacher.fitting import Fitted
from distill.teacher.made_labels import LABELS_FOLDER, labelled_in_shards, self_labelled
from distill.teacher.replay import choose_replay
from distill.teacher.starting_model import (
    Start,
    combined_labels,
    free_atom_energies,
    open_start,
    settings_hash,
    starting_energies,
)
from distill.teacher.teacher_record import (
    describe,
    is_finished,
    measured_on,
    say_errors,
    say_gain,
    write_history,
)
from distill.teacher.teacher_results import ERRORS_NAME, TeacherErrors

if TYPE_CHECKING:
    from ase import Atoms


def run(config: TeacherConfig, *, train: Path, test: Path, out: Path, seed: int) -> None:
    """Make a teacher by the strategy of choice and measure it against what it started from.

    Writes to `out`: `teacher.model` (a whole MACE model, or for a delta model or a committee its
    parts; see `distill.models.composite`), `teacher.json` (what it is and how it was made),
    `errors.json` (tables `foundation` and `teacher` on the test set), `history.csv`,
    `test_teacher.xyz` and `test_foundation.xyz` (test structures with predicted labels), and the
    labels that were made, in `labels/`. The foundation model, or the base of a delta model, is
    measured with the atomic reference energies that training starts from, so that its energies can
    be compared. Training from scratch for elements that the foundation model does not know leaves
    it unmeasured.

    Parameters
    ----------
    config
        The `teacher` section.
    train, test
        Labelled structures, extxyz with REF_ keys.
    out
        Output folder. What it holds of the same settings is gone on with, or left if finished.
    seed
        The run's seed.

    Raises
    ------
    UserError
        For bad data, an unsuitable foundation model or strategy, diverging training, or too little
        memory; the message says what to change.
    """
    if config.calculator is not None:
        calculator_teacher.run(config, train=train, test=test, out=out, seed=seed)
        return
    if config.committee is not None:
        from distill.teacher.committee import run_committee

        run_committee(config, run, train=train, test=test, out=out, seed=seed)
        return
    began = time.monotonic()
    device = pick_device(config.device)
    start = open_start(config, device)
    settings = settings_hash(config, start, train, seed)
    if is_finished(out, settings, test):
        say("teacher: trained before with these settings, skipped")
        return
    with (
        threads(config.threads),
        _memory(config.batch_size),
        precision(config.dtype),
        deterministic(),
    ):
        train_structures, test_structures = _structures(config, start, train, test, out, device)
        train_set, isolated = without_isolated(train_structures, train)
        test_set, _ = without_isolated(test_structures, test)
        used = nested_subset([config_type(a) for a in train_set], config.fraction, seed)
        chosen = [train_set[i] for i in used]
        elements = elements_of(chosen, test_set)
        place = _place(out, hash_of([settings, elements]), seed, device)
        foreign = start.lacking(train_structures, test_structures)
        start = _fitting(config, start, elements, chosen[0], device, cut=not foreign)
        results: dict[str, list[Atoms]] = {}
        untouched = test_structures
        if foreign:  # only where training starts from scratch, see `_structures`
            fitted = fitting.from_scratch(config, place, start, chosen, isolated, elements)
        else:
            e0 = starting_energies(config, start, chosen, isolated, check=start.is_foundation)
            untouched = start.predict(test_structures)
            results["foundation"] = _shifted(untouched, e0)
            fitted = _fitted(config, place, start, e0, chosen, isolated, out, elements)
        results["teacher"] = _predicted(config, fitted, device, untouched, test_structures)

    errors = {
        name: error_table(test_set, without_isolated(structures, test)[0])
        for name, structures in results.items()
    }
    say_gain(config, fitted.training)
    say_errors(errors)
    teacher = _model(config, start, fitted)
    free_atoms, _ = free_atom_energies(teacher, elements)
    _say_free_atoms(free_atoms, isolated)
    teacher.save(out / MODEL_NAME)
    for name, structures in results.items():
        write_structures(out / f"test_{name}.xyz", structures)
    write_result(out / ERRORS_NAME, TeacherErrors(**errors))
    write_history(out / "history.csv", fitted.training.history if fitted.training else [])
    record = describe(
        config,
        start,
        fitted,
        facts(fitted.model),
        training=TrainingSet(
            available=len(train_set),
            used=len(chosen),
            config_types=dict(Counter(config_type(a) for a in chosen)),
            indices=used,
            validation_indices=[used[i] for i in fitted.held],
            isolated_atoms=[a.get_chemical_formula() for a in isolated],
        ),
        test=TestSet(structures=len(test_set), sha256=sha256(test)),
        free_atoms=free_atoms,
        labels=read_json(out / LABELS_FOLDER / "train.json") if config.labels else None,
        seed=seed,
        settings=settings,
        device=device,
        **measured_on(began),
    )
    # Written last: a folder with it holds a finished teacher.
    write_result(out / RECORD_NAME, record)


def _place(out: Path, settings: str, seed: int, device: str) -> Place:
    """Where a training leaves its weights: they stay, so that nothing of the kind is done twice."""
    return Place(out / KEPT_NAME / f"training-{settings[:32]}.pt", settings, seed, device)


def _structures(
    config: TeacherConfig, start: Start, train: Path, test: Path, out: Path, device: str
) -> tuple[list[Atoms], list[Atoms]]:
    """Training and test structures, with the labels of the files or those that a model makes."""
    files = {"train": train, "test": test}
    made = [] if config.labels is None else ["train", "test"] if config.labels.test else ["train"]
    scratch = config.strategy == "scratch"
    found = {
        name: read_structures(
            path,
            elements=None if scratch else start.model.elements,
            require=() if name in made else ("energy", "forces"),
        )
        for name, path in files.items()
    }
    if scratch:
        _check_foreign(config, start, start.lacking(*found.values()))
    for name in made:
        path = out / LABELS_FOLDER / f"{name}.xyz"
        found[name] = self_labelled(config, found[name], path=path, device=device)
    return found["train"], found["test"]


def _check_foreign(config: TeacherConfig, start: Start, foreign: Sequence[str]) -> None:
    """Elements that the foundation lacks are no obstacle to new weights, unless it must say more.

    Raises
    ------
    UserError
        If the config asks for something of the foundation model beside its architecture.
    """
    if not foreign:
        return
    lacks = f"the foundation model '{start.name}' does not know {', '.join(foreign)}"
    if config.e0 == "foundation":
        raise UserError(
            f"teacher.e0 is 'foundation', but {lacks}; use 'e0: lstsq', or give the values"
        )
    if config.keep_elements:
        raise UserError(
            f"teacher.keep_elements is true, but {lacks}; leave it out: a model trained from "
            "scratch learns the elements of the data alone"
        )
    say(f"{lacks}: training from scratch goes on without it, and it is not measured")


def _fitting(
    config: TeacherConfig,
    start: Start,
    elements: tuple[str, ...],
    example: Atoms,
    device: str,
    *,
    cut: bool,
) -> Start:
    """The start in the precision of choice; if cut, with the data's elements or all, as asked."""
    if not start.is_foundation:
        return start
    module = start.module.to(_dtype(config.dtype))
    if cut and not config.keep_elements and elements != facts(module).elements:
        module = restrict_elements(module, elements, example)
    return replace(start, model=Mace(module, device, config.batch_size))


def _fitted(
    config: TeacherConfig,
    place: Place,
    start: Start,
    e0: ReferenceEnergies,
    chosen: Sequence[Atoms],
    isolated: Sequence[Atoms],
    out: Path,
    elements: tuple[str, ...],
) -> Fitted:
    """The model that the strategy gives."""
    if config.strategy == "delta":
        base = labelled_in_shards(chosen, start, path=out / LABELS_FOLDER / "base.xyz")
        return fitting.delta(config, place, start, e0, chosen, base, isolated, elements)
    if config.strategy == "none":
        return fitting.Fitted(start.module, e0)
    if config.strategy == "scratch":
        return fitting.from_scratch(
            config, place, start, chosen, isolated, facts(start.module).elements
        )
    replay = None
    if config.replay is not None:
        replay = choose_replay(config.replay, start, chosen, seed=place.seed)
    return fitting.finetune(config, place, start, e0, chosen, isolated, replay)


def _predicted(
    config: TeacherConfig,
    fitted: Fitted,
    device: str,
    untouched: Sequence[Atoms],
    structures: Sequence[Atoms],
) -> list[Atoms]:
    """The test structures with the teacher's labels; its atomic reference energies are set.

    `untouched` are those of the model that a delta model corrects.
    """
    delta = config.strategy == "delta"
    if not delta:
        set_e0(fitted.model, fitted.e0.values)
    model = Mace(fitted.model, device, config.batch_size)
    labelled = label_structures(structures, model, stress=carry_stress(structures), label=None)
    return combined_labels(untouched, labelled, sign=1) if delta else labelled


def _model(config: TeacherConfig, start: Start, fitted: Fitted) -> Family:
    """The teacher as it is kept."""
    trained = Mace(fitted.model)
    return Delta(start.model, trained, start.source) if config.strategy == "delta" else trained


def _say_free_atoms(found: Mapping[str, float], isolated: Sequence[Atoms]) -> None:
    """Say how the teacher's free atoms compare with those of the data."""
    given = {e: energy for e, energy in isolated_energies(isolated).items() if e in found}
    if given:
        shown = ", ".join(f"{e} {found[e]:.3f} ({energy:.3f})" for e, energy in given.items())
        say(f"free atoms, teacher (reference) [eV]: {shown}")


def _shifted(structures: Sequence[Atoms], e0: ReferenceEnergies) -> list[Atoms]:
    """Predicted structures with their energies on the data's scale."""
    shifted = []
    for atoms in structures:
        energy = reference_energy(atoms)
        assert energy is not None
        copy = atoms.copy()
        copy.info[ENERGY_KEY] = energy + sum(e0.shifts.get(s, 0.0) for s in atoms.symbols)
        shifted.append(copy)
    return shifted


def _dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)


@contextmanager
def _memory(batch_size: int) -> Iterator[None]:
    """Turn running out of memory into advice."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and not (
            isinstance(error, torch.OutOfMemoryError)
            or "can't allocate memory" in text
            or "out of memory" in text
        ):
            raise
        raise UserError(
            f"out of memory with batches of {batch_size} structures: set teacher.batch_size to "
            f"{max(batch_size // 2, 1)}, or teacher.dtype to float32, and run the same command "
            "again"
        ) from None
