"""Diffusion of a point defect by every model: runs, diffusivities, Arrhenius fits, differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.core.errors import UserError
from distill.core.results import Interval
from distill.core.work import Unit, WorkFolder
from distill.models.kept_calls import KeptCalls
from distill.observables.base import STUDENT
from distill.observables.crystal_files import read_crystal
from distill.observables.diffusion.diffusion_analysis import (
    analyse,
    differences,
    jump_length,
    number_of_defects,
)
from distill.observables.diffusion.diffusion_runs import Run
from distill.observables.diffusion.diffusivity import check_window
from distill.observables.diffusion.result import DiffusionResult, DiffusionSettings
from distill.observables.diffusion.window import first_window
from distill.simulation.outer_step import with_steps_of
from distill.systems.defects import LIF_LATTICE_CONSTANT, with_defect
from distill.systems.equation_of_state import equation_of_state
from distill.systems.supercells import supercell

if TYPE_CHECKING:
    from ase import Atoms

    from distill.models.cached_calculators import ModelSpec
    from distill.observables.diffusion.config import DiffusionConfig


@dataclass(frozen=True)
class _VolumeUnit(Unit):
    """The volume of the perfect crystal at 0 K by one model."""

    model: ModelSpec
    crystal: Atoms

    def work(self) -> dict[str, Any]:
        return equation_of_state(self.crystal, KeptCalls(self.model, self.parts))


def run_diffusion(
    config: DiffusionConfig, models: Mapping[str, ModelSpec], work: WorkFolder
) -> DiffusionResult:
    """Diffusivities of a defect by every model, with Arrhenius fits and their differences.

    Results do not depend on the number of workers nor on interruptions.

    Parameters
    ----------
    config
        Crystal, defect, temperatures, dynamics and fit.
    models
        File, import path or calculator of each model by name. Differences are to the one called
        teacher, or to the first.
    work
        Folder of `volumes/` and `runs/`, seed, and where the runs are done.

    Raises
    ------
    UserError
        If the crystal or the defect cannot be made, or the runs are too short for the fit.
    """
    unknown = sorted(set(config.times) - set(models))
    if unknown:
        raise UserError(
            f"compare.diffusion.times: {', '.join(unknown)} is none of the models, which are "
            f"{', '.join(models)}"
        )
    check_lengths(config, models)
    crystal = perfect_crystal(config)
    scales = _lattice_scales(config, crystal, models, work)
    moved = _moved_by_engine(config, crystal, scales, models, work)
    runs = {
        role: _runs_of(config, role, model, scales[role], crystal, work)
        for role, model in moved.items()
    }
    # The longest first, so that no worker is left with a long one at the end.
    every = sorted((run for of_model in runs.values() for run in of_model), key=lambda r: -r.time)
    work.run(every, "diffusion")
    analysed = analyse(config, runs, lattice_scales=scales, seed=work.seed)
    return DiffusionResult(
        settings=_settings(config, next(iter(runs.values()))[0].start),
        models={role: analysis.result for role, analysis in analysed.items()},
        differences=differences(analysed, config.confidence),
    )


def perfect_crystal(config: DiffusionConfig) -> Atoms:
    """The cell that a config names, by default rocksalt LiF.

    Raises
    ------
    UserError
        If the file cannot be read or holds no crystal.
    """
    from ase.build import bulk

    if config.structure is not None:
        return read_crystal(config.structure, config.index)
    return bulk("LiF", "rocksalt", a=LIF_LATTICE_CONSTANT, cubic=True)


def starting_structure(
    config: DiffusionConfig, crystal: Atoms, scale: float, temperature: float
) -> Atoms:
    """The supercell of a crystal that runs start from, with its defect.

    Parameters
    ----------
    config
        Supercell, defect and thermal expansion.
    crystal
        Perfect cell.
    scale
        Of its lengths at 0 K.
    temperature
        K, of the expansion.

    Raises
    ------
    UserError
        If the crystal cannot hold the defect, or the element is not in it.
    """
    perfect = crystal.copy()
    scale *= 1 + config.thermal_expansion * temperature
    perfect.set_cell(crystal.cell * scale, scale_atoms=True)
    atoms = with_defect(supercell(perfect, config.supercell), config.defect, config.element)
    if config.element not in atoms.get_chemical_symbols():
        raise UserError(
            f"compare.diffusion.element: there is no {config.element} in "
            f"{atoms.get_chemical_formula()}"
        )
    return atoms


def check_lengths(config: DiffusionConfig, roles: Iterable[str]) -> None:
    """Refuse runs that are too short for the fit, of any of the models named.

    Raises
    ------
    UserError
        Naming the model, and what would do.
    """
    for role in roles:
        time = _time_of(config, role)
        frames = round(time / config.save_every) + 1
        try:
            window = first_window(time, config.fit_start, config.fit_end)
            check_window(frames, config.save_every, window.start, window.end)
        except UserError as error:
            raise UserError(f"compare.diffusion, model {role}: {error}") from None


def _time_of(config: DiffusionConfig, role: str) -> float:
    return config.times.get(role, config.time)


def _lattice_scales(
    config: DiffusionConfig, crystal: Atoms, models: Mapping[str, ModelSpec], work: WorkFolder
) -> dict[str, float]:
    if not config.relax_volume:
        return dict.fromkeys(models, 1.0)
    folder = work.path / "volumes"
    units = {role: _VolumeUnit(folder, role, model, crystal) for role, model in models.items()}
    work.run(list(units.values()), "volumes")
    return {role: unit.numbers()["scale"] for role, unit in units.items()}


def _moved_by_engine(
    config: DiffusionConfig,
    crystal: Atoms,
    scales: Mapping[str, float],
    models: Mapping[str, ModelSpec],
    work: WorkFolder,
) -> dict[str, ModelSpec]:
    """The models with the engine of the config, by role."""
    if config.engine == "teacher":
        return dict(models)
    hottest = max(config.temperatures)
    return with_steps_of(
        STUDENT,
        models,
        work.sub("outer_steps"),
        start={
            role: starting_structure(config, crystal, scale, hottest)
            for role, scale in scales.items()
        },
        temperatures=config.temperatures,
        time_step=config.time_step,
        steps=config.inner_steps(),
        config=config.multiple_time_steps,
        where="compare.diffusion",
    )


def _runs_of(
    config: DiffusionConfig,
    role: str,
    model: ModelSpec,
    scale: float,
    crystal: Atoms,
    work: WorkFolder,
) -> list[Run]:
    return [
        Run(
            work.path / "runs",
            f"{role}_{temperature:g}K_{number}",
            role=role,
            model=model,
            start=starting_structure(config, crystal, scale, temperature),
            temperature=temperature,
            number=number,
            time=_time_of(config, role),
            config=config,
            seed=work.seed,
        )
        for temperature in config.temperatures
        for number in range(config.runs)
    ]


def _settings(config: DiffusionConfig, start: Atoms) -> DiffusionSettings:
    published: tuple[float, Interval | None] | None = None
    if (given := config.published) is not None:
        ends = None if given.low is None or given.high is None else (given.low, given.high)
        published = given.value, ends
    return DiffusionSettings(
        defect=config.defect,
        element=config.element,
        defects=number_of_defects(config, start),
        atoms=len(start),
        formula=start.get_chemical_formula(),
        jump_length=jump_length(config, start),
        ensemble=config.ensemble,
        counting=config.counting,
        confidence=config.confidence,
        published=published,
    )
