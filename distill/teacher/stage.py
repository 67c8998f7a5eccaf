"""The teacher stage: from a foundation model and labels to a fine-tuned, measured teacher."""

from __future__ import annotations

import csv
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.artifacts import atomic_path, hash_of, package_versions, sha256, write_json
from distill.config import TeacherConfig
from distill.errors import UserError
from distill.progress import say
from distill.structures import (
    config_type,
    read_structures,
    reference_energy,
    reference_stress,
    write_structures,
)
from distill.teacher.foundation import Foundation, find_foundation
from distill.teacher.freezing import Freezing, freezing
from distill.teacher.reference_energies import (
    ReferenceEnergies,
    composition_matrix,
    reference_energies,
    refuse_mixed_references,
)
from distill.teacher.splits import hold_out, nested_subset

if TYPE_CHECKING:
    import torch
    from ase import Atoms

    from distill.teacher.mace_adapter import ModelFacts
    from distill.teacher.training import Training

MODEL_NAME = "teacher.model"
CHECKPOINT_NAME = "checkpoint.pt"
ISOLATED_ATOM = "IsolatedAtom"
_NEW_WEIGHTS = 4


def run(config: TeacherConfig, *, train: Path, test: Path, out: Path, seed: int) -> None:
    """Fine-tune a foundation model and measure it against the untouched one.

    Writes to `out`: `teacher.model` (a whole MACE model), `teacher.json` (what it is and how it was
    made), `errors.json` (tables `foundation` and `teacher` on the test set), `history.csv`,
    `test_teacher.xyz` and `test_foundation.xyz` (test structures with predicted labels). The
    foundation model is measured with the same atomic reference energies as the teacher's start, so
    that its energies can be compared.

    Parameters
    ----------
    config
        The `teacher` section.
    train, test
        Labelled structures, extxyz with REF_ keys.
    out
        Output folder. A checkpoint in it is continued if it belongs to the same settings.
    seed
        The run's seed.

    Raises
    ------
    UserError
        For bad data, an unsuitable foundation model or strategy, diverging training, or too little
        memory; the message says what to change.
    """
    from distill.compare.errors import error_table
    from distill.teacher import mace_adapter as adapter
    from distill.teacher.mace_rebuild import restrict_elements, select_head

    start = time.monotonic()
    foundation = find_foundation(config.foundation)
    general = select_head(adapter.load_model(foundation), config.head)
    known = adapter.facts(general).elements
    train_set, isolated = without_isolated(read_structures(train, elements=known), train)
    test_structures = read_structures(test, elements=known)
    test_set, _ = without_isolated(test_structures, test)
    used = nested_subset([config_type(a) for a in train_set], config.fraction, seed)
    chosen = [train_set[i] for i in used]
    device = adapter.pick_device(config.device)

    def predict(model: torch.nn.Module, e0: ReferenceEnergies) -> list[Atoms]:
        return adapter.predict(
            model, test_structures, batch_size=config.batch_size, e0=e0.values, device=device
        )

    with (
        _threads(config.threads),
        _memory(config.batch_size),
        adapter.precision(config.dtype),
        adapter.deterministic(),
    ):
        general = general.to(_dtype(config.dtype))
        if not config.keep_elements and (elements := _elements(chosen, test_set)) != known:
            general = restrict_elements(general, elements, chosen[0])
        general_e0 = _reference_energies(config, general, chosen, isolated, device, check=True)
        general_predicted = predict(general, general_e0)
        if config.strategy == "none":
            teacher = _Teacher(general, general_e0)
        else:
            teacher = _train(
                config,
                general,
                general_e0,
                chosen,
                isolated,
                checkpoint=out / CHECKPOINT_NAME,
                settings=_settings_hash(config, foundation, train, seed),
                seed=seed,
                device=device,
            )
        adapter.set_e0(teacher.model, teacher.e0.values)
        predicted = predict(teacher.model, teacher.e0)

    errors = {
        name: error_table(test_set, without_isolated(structures, test)[0], seed=seed)
        for name, structures in (("foundation", general_predicted), ("teacher", predicted))
    }
    _say_errors(errors)
    adapter.save_model(teacher.model, out / MODEL_NAME)
    write_structures(out / "test_foundation.xyz", general_predicted)
    write_structures(out / "test_teacher.xyz", predicted)
    write_json(out / "errors.json", errors)
    _write_history(out / "history.csv", teacher.training.history if teacher.training else [])
    write_json(
        out / "teacher.json",
        {
            **_description(config, foundation, teacher, adapter.facts(teacher.model)),
            "training": {
                "available": len(train_set),
                "used": len(chosen),
                "config_types": dict(Counter(config_type(a) for a in chosen)),
                "indices": used,
                "validation_indices": [used[i] for i in teacher.held],
                "isolated_atoms": [a.get_chemical_formula() for a in isolated],
            },
            "test": {"structures": len(test_set), "sha256": sha256(test)},
            "seed": seed,
            "device": device,
            "wall_time_s": round(time.monotonic() - start, 2),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "versions": package_versions(),
        },
    )
    (out / CHECKPOINT_NAME).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Teacher:
    """A teacher and how it was made; `held` indexes the structures kept for validation."""

    model: torch.nn.Module
    e0: ReferenceEnergies
    plan: Freezing | None = None
    training: Training | None = None
    held: Sequence[int] = ()


def _train(
    config: TeacherConfig,
    general: torch.nn.Module,
    e0: ReferenceEnergies,
    structures: Sequence[Atoms],
    isolated: Sequence[Atoms],
    *,
    checkpoint: Path,
    settings: str,
    seed: int,
    device: str,
) -> _Teacher:
    """Fine-tune a foundation model, or train a new model of its architecture."""
    from distill.teacher import mace_adapter as adapter
    from distill.teacher.mace_rebuild import fresh_model
    from distill.teacher.training import train

    kept, held = hold_out([config_type(a) for a in structures], config.validation_fraction, seed)
    train_set = [structures[i] for i in kept]
    _check_stress(config, train_set)
    model, freeze = general, config.freeze
    if config.strategy == "scratch":
        weights_seed = np.random.SeedSequence([seed, _NEW_WEIGHTS]).generate_state(1)[0]
        elements = adapter.facts(general).elements
        model, freeze = fresh_model(general, train_set, elements, int(weights_seed)), "f0"
        e0 = _reference_energies(config, model, structures, isolated, device)
    plan = freezing(adapter.parameter_sizes(model), freeze, config.lr_factors)
    say(plan.summary())
    say(e0.summary())
    if config.strategy == "finetune" and (note := e0.explanation()):
        say(note)

    train_data = adapter.make_data(train_set, model, e0.values)
    valid_data = adapter.make_data([structures[i] for i in held], model, e0.values)
    # The labels are relative to the atomic reference energies, so the model's own are zero here.
    adapter.set_e0(model, dict.fromkeys(e0.values, 0.0))
    training = train(
        model.to(device),
        plan,
        config,
        train_data=train_data,
        valid_data=valid_data,
        checkpoint=checkpoint,
        settings=settings,
        seed=seed,
        device=device,
    )
    return _Teacher(model, e0, plan, training, held)


def _reference_energies(
    config: TeacherConfig,
    model: torch.nn.Module,
    structures: Sequence[Atoms],
    isolated: Sequence[Atoms],
    device: str,
    check: bool = False,
) -> ReferenceEnergies:
    from distill.teacher import mace_adapter as adapter

    info = adapter.facts(model)

    def differences(some: Sequence[Atoms]) -> np.ndarray:
        predicted = adapter.predict(model, some, batch_size=config.batch_size, device=device)
        pairs = zip(some, predicted, strict=True)
        return np.array([_energy(reference) - _energy(p) for reference, p in pairs])

    symbols = [atoms.get_chemical_symbols() for atoms in structures]
    present = [e for e in info.elements if any(e in s for s in symbols)]
    atom_differences = differences(isolated) if isolated else np.zeros(0)
    counts, apart = composition_matrix(symbols, present), differences(structures)
    if check:
        refuse_mixed_references(counts, apart)
    found = reference_energies(
        config.e0,
        elements=present,
        foundation=info.e0,
        counts=counts,
        differences=apart,
        isolated={
            atoms.get_chemical_symbols()[0]: float(d)
            for atoms, d in zip(isolated, atom_differences, strict=True)
        },
    )
    return found.with_others(info.e0)


def _energy(atoms: Atoms) -> float:
    energy = reference_energy(atoms)
    assert energy is not None
    return energy


def without_isolated(structures: Sequence[Atoms], origin: Path) -> tuple[list[Atoms], list[Atoms]]:
    """Structures, and single atoms: those fix E0s, and no interaction can be learnt from them."""
    isolated = [
        len(a) == 1 and (config_type(a) == ISOLATED_ATOM or not a.pbc.any()) for a in structures
    ]
    if all(isolated):
        raise UserError(f"{origin} holds only isolated atoms; expected structures with interaction")
    pairs = list(zip(structures, isolated, strict=True))
    return [a for a, single in pairs if not single], [a for a, single in pairs if single]


def _elements(*sets: Sequence[Atoms]) -> tuple[str, ...]:
    from ase.data import chemical_symbols

    numbers = {int(z) for structures in sets for atoms in structures for z in atoms.numbers}
    return tuple(chemical_symbols[z] for z in sorted(numbers))


def _check_stress(config: TeacherConfig, structures: Sequence[Atoms]) -> None:
    two = config.stage_two
    if not (config.stress_weight or (two and two.stress_weight)):
        return
    if all(reference_stress(atoms) is None for atoms in structures):
        raise UserError(
            "teacher.stress_weight is above zero but no training structure has a stress "
            "(key REF_stress, or data.stress_key); set it to 0, or label stresses"
        )


def _settings_hash(config: TeacherConfig, foundation: Foundation, train: Path, seed: int) -> str:
    """Hash of all that the trained weights depend on."""
    return hash_of(
        {
            "config": config.model_dump(mode="json"),
            "foundation": foundation.sha256,
            "train": sha256(train),
            "seed": seed,
        }
    )


def _description(
    config: TeacherConfig, foundation: Foundation, teacher: _Teacher, info: ModelFacts
) -> dict[str, Any]:
    e0, plan, training = teacher.e0, teacher.plan, teacher.training
    description: dict[str, Any] = {
        "strategy": config.strategy,
        "freeze": config.freeze if config.strategy == "finetune" else None,
        "foundation": {"name": foundation.name, "sha256": foundation.sha256},
        "elements": info.elements,
        "e0": e0.values,
        "e0_method": e0.method,
        "e0_shifts": e0.shifts,
        "e0_start_rms_eV_per_atom": e0.rms,
        "r_max": info.r_max,
        "interactions": info.interactions,
        "dtype": info.dtype,
        "parameters": info.parameters,
        "trainable_parameters": plan.n_trainable if plan else 0,
        "trainable": plan.trainable if plan else [],
        "frozen": plan.frozen if plan else [],
    }
    if training:
        seconds = [row["seconds"] for row in training.history]
        description |= {
            "epochs": len(training.history),
            "best_epoch": training.best_epoch,
            "stopped_early": training.stopped_early,
            "seconds_per_epoch": float(np.mean(seconds)),
        }
    return description


def _say_errors(errors: dict[str, Any]) -> None:
    for name, table in errors.items():
        elements = ", ".join(
            f"{symbol} {1000 * e['rmse']:.1f}" for symbol, e in table["forces_by_element"].items()
        )
        say(
            f"{name} on the test set, RMSE: energies {1000 * table['energy_per_atom']['rmse']:.1f} "
            f"meV/atom, forces {1000 * table['forces']['rmse']:.1f} meV/Å ({elements})"
        )


def _write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    columns = [
        "epoch",
        "stage",
        "lr",
        "train_loss",
        "loss",
        "energy_rmse",
        "forces_rmse",
        "seconds",
    ]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=columns)
        writer.writeheader()
        writer.writerows(history)


def _dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
