"""The timing of a comparison: on which structure, of which models, and the files it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compare.config import TimingConfig
from distill.compare.errors_result import ErrorsResult
from distill.compare.predictions import Labels, finish_here
from distill.compare.timing import time_models, timing_rows
from distill.compare.timing_plots import cost_figure, timing_figure
from distill.compare.timing_result import TimingResult
from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.core.figures import save_figure
from distill.core.fingerprint import model_identity
from distill.core.progress import say
from distill.core.results import write_result
from distill.core.tables import write_table_csv
from distill.core.work import Unit
from distill.data.structures import read_structures
from distill.models.cached_calculators import ModelSpec
from distill.models.config import CalculatorConfig
from distill.models.fast_mace import torch_file_of
from distill.observables.base import STUDENT, TEACHER

if TYPE_CHECKING:
    from ase import Atoms

TIMING = "timing"
TORCH = "teacher (torch)"
JULIA = "ACEpotentials.jl"
JULIA_MENDED = f"{JULIA}, gradient mended"


@dataclass(frozen=True)
class ModelTimes(Unit):
    """Times of models on a structure.

    Attributes
    ----------
    models
        By name; ratios are to the first.
    title
        Of the structure.
    beside
        Another model that ratios refer to.
    """

    models: Mapping[str, ModelSpec]
    config: TimingConfig
    title: str
    atoms: Atoms
    seed: int
    beside: str | None = None

    def settings(self) -> dict[str, Any]:
        """All of it; models by their contents."""
        models = {name: model_identity(model) for name, model in self.models.items()}
        return {**super().settings(), "models": models}

    def work(self) -> dict[str, Any]:
        """Measure."""
        say(f"timing on {self.title} ({len(self.atoms)} atoms)")
        result = time_models(
            self.models,
            self.atoms,
            self.config.repeats,
            time_step=self.config.time_step,
            supercells=self.config.supercells,
            core_counts=self.config.cores,
            beside=self.beside,
            seed=self.seed,
        )
        return result.model_copy(update={"structure": self.title}).model_dump(mode="json")


def refuse_timing(config: TimingConfig) -> None:
    """Refuse what cannot be timed.

    Raises
    ------
    UserError
        If the structure cannot be read or is not in its file, or there are fewer cores than asked
        for.
    """
    _asked_structure(config)
    most = max(config.cores, default=1)
    if most > available_cores():
        raise UserError(
            f"compare.timing.cores asks for {most}, only {available_cores()} are available here"
        )


def compare_times(
    config: TimingConfig,
    models: Mapping[str, ModelSpec],
    labels: Labels,
    errors: ErrorsResult,
    out: Path,
    seed: int,
) -> TimingResult:
    """Time teacher, student and other models once; `timing.*` and figures go to a folder.

    Parameters
    ----------
    config
        Options.
    models
        By name, teacher and student among them. A teacher in a faster engine is timed in torch too,
        and ACEpotentials' own file of the student where it lies beside the student and Julia can
        run it.
    labels
        Where the config names no structure, the H2/Cu slab is timed if the test set is of H and Cu,
        and else the largest of the held-out structures.
    errors
        Drawn against the times.
    out
        Folder.
    seed
        The run's seed.

    Raises
    ------
    UserError
        As `refuse_timing` and `time_models`.
    """
    title, atoms = _asked_structure(config) or _usual_structure(config.facet, labels)
    torch = torch_file_of(models[TEACHER])
    timed: dict[str, ModelSpec] = {
        TEACHER: models[TEACHER],
        **({TORCH: torch} if torch else {}),
        STUDENT: models[STUDENT],
        **models,
    }
    timed |= julia_models(models[STUDENT])
    unit = ModelTimes(
        out / TIMING,
        "times",
        models=timed,
        config=config,
        title=title,
        atoms=atoms,
        seed=seed,
        beside=TORCH if torch else None,
    )
    if unit.finished:
        say("timing: done before, kept")
    finish_here(unit)
    result = TimingResult.model_validate(unit.numbers())
    write_result(out / f"{TIMING}.json", result)
    write_table_csv(out / f"{TIMING}.csv", timing_rows(result))
    save_figure(timing_figure(result), out, TIMING)
    on_test = {
        TEACHER: errors.test.reference_teacher.forces,
        STUDENT: errors.test.reference_student.forces,
    }
    against = {name: forces for name, forces in on_test.items() if forces is not None}
    if against:
        save_figure(cost_figure(result, against), out, "cost")
    return result


def julia_models(student: ModelSpec) -> dict[str, ModelSpec]:
    """ACEpotentials' own file of a student where it lies beside it and Julia can run it.

    As released, and with the gradient made type-stable, which is many times faster.
    """
    from distill.student.julia.acepotentials import MODEL_FILE, available

    path = Path(str(student)).with_name(MODEL_FILE)
    if not path.is_file() or available() is not None:
        return {}
    mended = CalculatorConfig(
        path="distill.student.julia.acepotentials:JuliaCalculator",
        args={"path": str(path.resolve()), "mended": True},
    )
    return {JULIA: path, JULIA_MENDED: mended}


def _asked_structure(config: TimingConfig) -> tuple[str, Atoms] | None:
    """Name and atoms of the structure that the config names."""
    if config.structure is None:
        return None
    structures = read_structures(config.structure, require=())
    if not -len(structures) <= config.index < len(structures):
        raise UserError(
            f"compare.timing.index is {config.index}, but {config.structure} holds "
            f"{len(structures)} structures, numbered from 0"
        )
    return str(config.structure), structures[config.index]


def _usual_structure(facet: str, labels: Labels) -> tuple[str, Atoms]:
    test = read_structures(labels.reference)
    elements = {symbol for atoms in test for symbol in atoms.get_chemical_symbols()}
    if elements >= {"H", "Cu"}:
        from distill.systems.slabs import timing_slab

        return f"H2/Cu({facet}) slab", timing_slab(facet)
    held_out = read_structures(labels.held_out_teacher)
    index = max(range(len(held_out)), key=lambda k: len(held_out[k]))
    return f"held-out structure {index}", held_out[index]
