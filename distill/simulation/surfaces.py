"""What scattering trajectories start from: thermal surfaces and the molecule's potential curve.

Both are made once with one model and kept in files, so that trajectories of any other model can
start from identical conditions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.core.artifacts import atomic_path, read_json, write_json
from distill.core.config import ParallelConfig
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.work import run_waiting
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.config import ScatteringConfig
from distill.simulation.dynamics import thermalise
from distill.simulation.rovibrational import Diatomic, bound_level, diatomic_curve
from distill.systems.config import SlabConfig
from distill.systems.slabs import (
    USER_SLAB,
    build_slab,
    expanded,
    static_lattice_constant,
    thickness_message,
)

_MOLECULE_FILE = "molecule.json"
_RELAX_FMAX = 0.02
_RELAX_STEPS = 100


@dataclass(frozen=True)
class Surfaces:
    """Thermal surfaces by facet and temperature (K), and the molecule that meets them."""

    diatomic: Diatomic
    snapshots: dict[tuple[str, float], list[Atoms]]
    calls: int


@dataclass(frozen=True)
class _SurfaceUnit:
    """Thermalise one surface."""

    model: ModelSpec
    config: ScatteringConfig
    facet: str
    temperature: float
    lattice_constant: float
    seed: int
    path: Path

    @property
    def finished(self) -> bool:
        return self.path.exists()

    def run(self) -> None:
        _make_surface(self)


def make_surfaces(
    config: ScatteringConfig, *, model: ModelSpec, out: Path, seed: int, parallel: ParallelConfig
) -> Surfaces:
    """Thermalise every surface of a config with a model, or read those already in `out`.

    Parameters
    ----------
    config
        Facets, temperatures, molecule and thermalisation.
    model
        What `distill.models.calculators.load_calculator` takes.
    out
        Folder of `molecule.json` and one extended XYZ file for each facet and temperature.
    seed
        The run's seed.
    parallel
        Where the surfaces are thermalised, one unit each.

    Raises
    ------
    UserError
        For a state above dissociation, or a slab that cannot be built.
    """
    out.mkdir(parents=True, exist_ok=True)
    molecule = _molecule(config, model, out / _MOLECULE_FILE)
    diatomic = Diatomic.from_dict(molecule)
    for v, j in config.states:
        bound_level(diatomic, v, j)
    lengths = _lattice_constants(
        config, molecule["lattice_constant_0K_A"], model, out, seed, parallel
    )
    units = [
        _SurfaceUnit(
            model=model,
            config=config,
            facet=facet,
            temperature=temperature,
            lattice_constant=lengths[temperature],
            seed=seed,
            path=out / f"{surface_name(facet, temperature)}.xyz",
        )
        for facet in facets_of(config)
        for temperature in config.surface_temperatures
    ]
    run_waiting(units, parallel=parallel, label="thermal surfaces")
    return read_surfaces(config, out)


def surface_name(facet: str, temperature: float) -> str:
    """File name stem of the surfaces of a facet at a temperature (K)."""
    return f"{facet}_{temperature:g}K"


@dataclass(frozen=True)
class _LatticeUnit:
    """Measure the lattice constant at a temperature by dynamics at constant pressure."""

    model: ModelSpec
    config: SlabConfig
    temperature: float
    lattice_constant: float
    seed: int
    path: Path

    @property
    def finished(self) -> bool:
        return self.path.exists()

    def run(self) -> None:
        from ase.build import bulk

        from distill.systems.crystals import lattice_constant_at

        assert self.config.npt is not None
        result = lattice_constant_at(
            bulk(self.config.element, "fcc", a=self.lattice_constant, cubic=True),
            cached_calculator(self.model),
            self.temperature,
            config=self.config.npt,
            generator=stream(self.seed, "lattice constant", self.temperature),
        )
        if result["status"] != "complete":
            raise UserError(
                f"slab.npt: the lattice constant at {self.temperature:g} K could not be measured: "
                f"{result['reason']}; check the model, or give slab.thermal_expansion"
            )
        write_json(self.path, result)


def _lattice_constants(
    config: ScatteringConfig,
    a: float,
    model: ModelSpec,
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> dict[float, float]:
    """Lattice constant (Å) at each surface temperature (K): expanded from 0 K, or measured."""
    slab = config.slab
    if slab.npt is None:
        return {t: expanded(slab, a, t) for t in config.surface_temperatures}
    units = [
        _LatticeUnit(model, slab, temperature, a, seed, out / _lattice_file(temperature))
        for temperature in config.surface_temperatures
        if temperature > 0
    ]
    run_waiting(units, parallel=parallel, label="lattice constants")
    measured = {unit.temperature: read_json(unit.path) for unit in units}
    for temperature, result in measured.items():
        low, high = result["interval"]
        say(
            f"lattice constant at {temperature:g} K: {result['lattice_constant']:.4f} Å "
            f"({low:.4f} to {high:.4f})"
        )
    return {0.0: a, **{t: result["lattice_constant"] for t, result in measured.items()}}


def _lattice_file(temperature: float) -> str:
    return f"lattice_{temperature:g}K.json"


def _molecule(config: ScatteringConfig, model: ModelSpec, path: Path) -> dict[str, Any]:
    if path.exists():
        return read_json(path)
    calculator = cached_calculator(model)
    diatomic = diatomic_curve(config.molecule, calculator, config.masses)
    calls = len(diatomic.distances)
    a, lattice_calls = static_lattice_constant(config.slab, calculator)
    calls += lattice_calls
    for facet in facets_of(config):
        message = thickness_message(build_slab(config.slab, facet, a), calculator, facet)
        if message:
            say(message)
    data = {**diatomic.to_dict(), "lattice_constant_0K_A": a, "calls": calls, "levels": []}
    for v, j in config.states:
        level = bound_level(diatomic, v, j)
        bottom = float(diatomic.energies.min())
        data["levels"].append(
            {
                "v": v,
                "j": j,
                "energy_above_minimum_eV": level.energy - bottom,
                "turning_points_A": [level.inner, level.outer],
            }
        )
    write_json(path, data)
    return data


def _make_surface(unit: _SurfaceUnit) -> None:
    """Write the snapshots of one surface."""
    from ase.io import write

    config = unit.config
    slab = build_slab(config.slab, unit.facet, unit.lattice_constant)
    calculator = cached_calculator(unit.model)
    if unit.temperature == 0:
        snapshots, calls = _relaxed(slab, calculator)
    else:
        snapshots, calls = thermalise(
            slab,
            calculator,
            unit.temperature,
            stream(unit.seed, "surface", unit.facet, unit.temperature),
            time_step=config.surface_time_step,
            friction=config.friction,
            equilibration=config.thermalisation_time,
            interval=config.snapshot_interval,
            count=config.snapshots,
        )
    for number, snapshot in enumerate(snapshots):
        snapshot.info.update(
            snapshot=number,
            facet=unit.facet,
            surface_temperature=unit.temperature,
            top=slab.info["top"],
            calls=calls,
        )
    with atomic_path(unit.path) as temporary:
        # Constraints travel as the move_mask column.
        write(temporary, snapshots, format="extxyz")


def _relaxed(slab: Atoms, calculator: Calculator) -> tuple[list[Atoms], int]:
    """The surface at 0 K: relaxed and at rest."""
    from ase.optimize import BFGS

    relaxing = slab.copy()
    relaxing.calc = calculator
    optimiser = BFGS(relaxing, logfile=os.devnull)
    optimiser.run(fmax=_RELAX_FMAX, steps=_RELAX_STEPS)
    relaxing.calc = None
    relaxing.set_momenta(np.zeros((len(slab), 3)))
    return [relaxing], int(optimiser.nsteps) + 1


def _read(path: Path) -> list[Atoms]:
    from ase.io import iread

    try:
        return list(iread(path, index=":", format="extxyz"))
    except Exception as error:
        # ASE's reader raises whatever a damaged file makes its parsing meet first.
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}): remove it, then run again"
        ) from None


def read_surfaces(config: ScatteringConfig, folder: Path) -> Surfaces:
    """The surfaces and molecule that `make_surfaces` left in a folder.

    Raises
    ------
    UserError
        If a file is missing or damaged.
    """
    molecule = read_json(folder / _MOLECULE_FILE)
    snapshots: dict[tuple[str, float], list[Atoms]] = {
        (facet, temperature): _read(folder / f"{surface_name(facet, temperature)}.xyz")
        for facet in facets_of(config)
        for temperature in config.surface_temperatures
    }
    calls = molecule["calls"] + sum(s[0].info["calls"] for s in snapshots.values())
    if config.slab.npt:
        measured = [_lattice_file(t) for t in config.surface_temperatures if t > 0]
        calls += sum(read_json(folder / name)["force_calls"] for name in measured)
    return Surfaces(Diatomic.from_dict(molecule), snapshots, int(calls))


def facets_of(config: ScatteringConfig) -> list[str]:
    """Names of the surfaces: the facets, or `slab` for one of the user's own."""
    return [USER_SLAB] if config.slab.file else list(config.facets)
