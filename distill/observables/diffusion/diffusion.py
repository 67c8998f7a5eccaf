"""Diffusion of a point defect by every model: runs, diffusivities, Arrhenius fits, differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.core.progress import say
from distill.observables.diffusion.diffusion_analysis import (
    Analysis,
    analyse,
    differences,
    fit_end,
    jump_length,
    number_of_defects,
)
from distill.observables.diffusion.diffusivity import check_window
from distill.observables.model_comparison import claim_folder

if TYPE_CHECKING:
    from ase import Atoms

    from distill.core.executors import ParallelConfig
    from distill.models.cached_calculators import ModelSpec
    from distill.observables.diffusion.config import DiffusionConfig
    from distill.observables.diffusion.diffusion_runs import Run

RESULT_NAME = "diffusion.json"


@dataclass(frozen=True)
class _Volume:
    """Unit of work: the relaxed volume of the perfect crystal by one model."""

    model: ModelSpec
    crystal: Atoms
    file: Path


def run_diffusion(
    config: DiffusionConfig,
    *,
    models: Mapping[str, ModelSpec],
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> dict[str, Any]:
    """Diffusivities of a defect by every model, with Arrhenius fits and their differences.

    A run, or the part of it that was not finished, is done again only where its file is missing.
    Results do not depend on the number of workers nor on interruptions.

    Parameters
    ----------
    config
        Crystal, defect, temperatures, dynamics and fit.
    models
        File, import path or calculator of each model by name. Differences are to the one called
        teacher, or to the first.
    out
        Folder; trajectories go to `runs/`, the result to `diffusion.json`.
    seed
        Of the workflow.
    parallel
        Where the runs are done.

    Returns
    -------
    dict
        JSON-plain. `models` by name: `lattice_scale`; `temperatures`, a list, each with
        `temperature` (K), what `Diffusivity.summary` holds, `collective` and `kinisi` (other
        estimates; None where kinisi is not installed) and `runs`; `arrhenius` (what
        `Arrhenius.summary` holds, or None with `arrhenius_reason`); `nanoseconds_per_day` of one
        core. `differences` by name of the other model: `to`, `arrhenius` with
        `activation_energy` (eV), `log_prefactor` and their intervals, or None, and
        `log_diffusivity` by temperature. `settings`: the defect and the atoms.

    Raises
    ------
    UserError
        If the crystal or the defect cannot be made, the runs are too short for the fit, or the
        folder holds results of other settings.
    """
    from distill.core.executors import run_units
    from distill.observables.diffusion.diffusion_runs import simulate

    _check_lengths(config, models)
    crystal = _crystal(config)
    claim_folder(out, config, models, seed)
    scales = _lattice_scales(config, crystal, models, out, parallel)
    runs = {
        name: _runs_of(config, name, model, scales[name], crystal, seed, out)
        for name, model in models.items()
    }
    waiting = [run for of_model in runs.values() for run in of_model if not run.file.exists()]
    done = sum(len(of_model) for of_model in runs.values()) - len(waiting)
    if done:
        say(f"diffusion: {done} runs are done already")
    # The longest first, so that no worker is left with a long one at the end.
    waiting.sort(key=lambda run: -run.time)
    run_units(simulate, waiting, config=parallel, label="diffusion")
    analysed: dict[str, Analysis] = {
        name: analyse(config, runs[name], seed=seed) for name in models
    }
    result = {
        "settings": _settings(config, next(iter(runs.values()))[0]),
        "models": {
            name: {"lattice_scale": scales[name], **analysed[name].summary} for name in models
        },
        "differences": differences(analysed, config.confidence),
    }
    write_json(out / RESULT_NAME, result)
    plain: dict[str, Any] = read_json(out / RESULT_NAME)
    return plain


def _crystal(config: DiffusionConfig) -> Atoms:
    from ase.build import bulk

    from distill.observables.bulk.bulk import read_crystal
    from distill.systems.defects import LIF_LATTICE_CONSTANT

    if config.structure is not None:
        return read_crystal(config.structure, config.index)
    return bulk("LiF", "rocksalt", a=LIF_LATTICE_CONSTANT, cubic=True)


def _start(config: DiffusionConfig, crystal: Atoms, scale: float, temperature: float) -> Atoms:
    from distill.systems.defects import with_defect

    perfect = crystal.copy()
    scale *= 1 + config.thermal_expansion * temperature
    perfect.set_cell(crystal.cell * scale, scale_atoms=True)
    atoms = with_defect(perfect.repeat(config.supercell), config.defect, config.element)
    if config.element not in atoms.get_chemical_symbols():
        raise UserError(
            f"compare.diffusion.element: there is no {config.element} in "
            f"{atoms.get_chemical_formula()}"
        )
    return atoms


def _time_of(config: DiffusionConfig, name: str) -> float:
    return config.times.get(name, config.time)


def _check_lengths(config: DiffusionConfig, models: Mapping[str, ModelSpec]) -> None:
    """Refuse runs that are too short for the fit before they are done."""
    unknown = sorted(set(config.times) - set(models))
    if unknown:
        raise UserError(
            f"compare.diffusion.times: {', '.join(unknown)} is none of the models, which are "
            f"{', '.join(models)}"
        )
    for name in models:
        time = _time_of(config, name)
        frames = round(time / config.save_every) + 1
        try:
            check_window(frames, config.save_every, config.fit_start, fit_end(config, time))
        except UserError as error:
            raise UserError(f"compare.diffusion, model {name}: {error}") from None


def _lattice_scales(
    config: DiffusionConfig,
    crystal: Atoms,
    models: Mapping[str, ModelSpec],
    out: Path,
    parallel: ParallelConfig,
) -> dict[str, float]:
    from distill.core.executors import run_units

    if not config.relax_volume:
        return dict.fromkeys(models, 1.0)
    units = {
        name: _Volume(model, crystal, out / "volumes" / f"{name}.json")
        for name, model in models.items()
    }
    waiting = [unit for unit in units.values() if not unit.file.exists()]
    run_units(_relax_volume, waiting, config=parallel, label="volumes")
    return {name: float(read_json(unit.file)["scale"]) for name, unit in units.items()}


def _relax_volume(unit: _Volume) -> None:
    from distill.models.calculators import load_calculator
    from distill.systems.crystals import equation_of_state

    write_json(unit.file, equation_of_state(unit.crystal, load_calculator(unit.model)))


def _runs_of(
    config: DiffusionConfig,
    name: str,
    model: ModelSpec,
    scale: float,
    crystal: Atoms,
    seed: int,
    out: Path,
) -> list[Run]:
    from distill.observables.diffusion.diffusion_runs import Run

    return [
        Run(
            name=name,
            model=model,
            start=_start(config, crystal, scale, temperature),
            temperature=temperature,
            number=number,
            time=_time_of(config, name),
            config=config,
            seed=seed,
            folder=out / "runs",
        )
        for temperature in config.temperatures
        for number in range(config.runs)
    ]


def _settings(config: DiffusionConfig, run: Run) -> dict[str, Any]:
    return {
        "defect": config.defect,
        "element": config.element,
        "defects": number_of_defects(config, run.start),
        "atoms": len(run.start),
        "formula": run.start.get_chemical_formula(),
        "jump_length": jump_length(config, run.start),
        "ensemble": config.ensemble,
        "counting": config.counting,
        "confidence": config.confidence,
    }
