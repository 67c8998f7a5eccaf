"""What scattering trajectories start from: thermal surfaces and the molecule's potential curve.

Both are made once with one model and kept in files, so that trajectories of any other model can
start from identical conditions.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder, record_of
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.conditions import Place, conditions, places, snapshots_of
from distill.simulation.config import ScatteringConfig
from distill.simulation.dynamics import thermalise
from distill.simulation.rovibrational import (
    Diatomic,
    bound_level,
    diatomic_curve,
    molecule_at,
)
from distill.simulation.surface_independence import Independence, independence
from distill.simulation.surface_lattice import lattice_constants, lattice_name
from distill.systems.slabs import (
    build_slab,
    cutoff_of,
    refuse_slab,
    static_lattice_constant,
    thickness_message,
)

_MOLECULE = "molecule"
# Snapshots of one walk at most, a unit of work; the next begin anew from the crystal.
_LONGEST_WALK = 10
# Walks at least: their mean is where displacements are counted from.
_WALKS = 4
# Settings of the Langevin dynamics that a surface depends on.
_THERMALISATION = (
    "thermalisation_time",
    "snapshot_interval",
    "surface_time_step",
    "friction",
)
_RELAX_FMAX = 0.02
_RELAX_STEPS = 100


@dataclass(frozen=True)
class Surfaces:
    """Thermal surfaces by facet and temperature (K), and the molecule that meets them.

    Attributes
    ----------
    diatomic
        The molecule's potential curve.
    snapshots
        Structures with momenta and constraints.
    independence
        How far the snapshots are independent; None for a surface at rest, which is always the same.
    calls
        Force calls made for all of it.
    keys
        What the surfaces of a facet and temperature, and the molecule, were made from.
    """

    diatomic: Diatomic
    snapshots: dict[Place, list[Atoms]]
    independence: dict[Place, Independence | None]
    calls: int
    keys: dict[Place, str]


@dataclass(frozen=True)
class _SurfaceUnit(Unit):
    """Thermalise one surface: the snapshots of one walk."""

    model: ModelSpec
    config: ScatteringConfig
    facet: str
    temperature: float
    lattice_constant: float
    walk: int
    count: int
    seed: int

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "config": {
                "slab": self.config.slab,
                **{name: getattr(self.config, name) for name in _THERMALISATION},
            },
        }

    def files(self) -> list[Path]:
        return [self.folder / f"{self.name}.xyz"]

    def work(self) -> dict[str, int]:
        return {"calls": _make_surface(self)}


@dataclass(frozen=True)
class _MoleculeUnit(Unit):
    """The molecule's potential curve and the metal's lattice constant at 0 K."""

    model: ModelSpec
    config: ScatteringConfig

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "config": {name: getattr(self.config, name) for name in ("molecule", "masses", "slab")},
        }

    def work(self) -> dict[str, Any]:
        calculator = cached_calculator(self.model)
        diatomic = diatomic_curve(self.config.molecule, calculator, self.config.masses)
        a, lattice_calls = static_lattice_constant(self.config.slab, calculator)
        return {
            **diatomic.to_dict(),
            "lattice_constant_0K_A": a,
            "calls": len(diatomic.distances) + lattice_calls,
        }


def refuse_surfaces(config: ScatteringConfig) -> None:
    """Refuse a molecule or slabs that cannot be made, before a model is asked.

    Raises
    ------
    UserError
        If the molecule is no diatomic, or as `refuse_slab`.
    """
    molecule_at(config.molecule, 1.0)
    for facet in {facet: None for facet, _ in places(config)}:
        refuse_slab(config.slab, facet)


def make_surfaces(config: ScatteringConfig, *, model: ModelSpec, work: WorkFolder) -> Surfaces:
    """Thermalise every surface of a config with a model, or read those that are there.

    Surfaces at a temperature are snapshots of Langevin dynamics, ten of one walk at most. Their
    displacements tell which of them are independent.

    Parameters
    ----------
    config
        Facets, temperatures, molecule and thermalisation.
    model
        What `distill.models.calculators.load_calculator` takes.
    work
        Folder of `molecule.json` and one extended XYZ file for each facet and temperature.

    Raises
    ------
    UserError
        For a state above dissociation, or a slab that cannot be built.
    """
    molecule_unit = _MoleculeUnit(work.path, _MOLECULE, model, config)
    if not molecule_unit.finished:
        molecule_unit.run()
    molecule = molecule_unit.numbers()
    diatomic = Diatomic.from_dict(molecule)
    for v, j in dict.fromkeys((condition.v, condition.j) for condition in conditions(config)):
        bound_level(diatomic, v, j)
    a = molecule["lattice_constant_0K_A"]
    calculator = cached_calculator(model)
    for facet in facets_of(config):
        slab = build_slab(config.slab, facet, a)
        refuse_thin_vacuum(slab, config, calculator)
        if message := thickness_message(slab, calculator, facet):
            say(message)
    lengths = lattice_constants(config, a, model, work)
    units = [
        _SurfaceUnit(
            work.path,
            surface_name(facet, temperature, walk),
            model=model,
            config=config,
            facet=facet,
            temperature=temperature,
            lattice_constant=lengths[temperature],
            walk=walk,
            count=count,
            seed=work.seed,
        )
        for facet, temperature in places(config)
        for walk, count in enumerate(_walks(config, temperature))
    ]
    work.run(units, "thermal surfaces")
    surfaces = read_surfaces(config, work.path)
    for place, found in surfaces.independence.items():
        _say_how_independent(config, place, found)
    return surfaces


def _walks(config: ScatteringConfig, temperature: float) -> list[int]:
    """Snapshots of each walk; the surface at rest is one."""
    if temperature == 0:
        return [1]
    count = snapshots_of(config)
    longest = min(_LONGEST_WALK, math.ceil(count / _WALKS))
    whole, rest = divmod(count, longest)
    return [longest] * whole + [rest] * (rest > 0)


def _say_how_independent(
    config: ScatteringConfig, place: Place, found: Independence | None
) -> None:
    if found is None or len(found.groups) < 2:
        return
    facet, temperature = place
    time, enough = found.correlation_time, config.thermalisation_time
    text = f"surface {facet} at {temperature:g} K: {found.independent} independent snapshots of "
    text += f"{len(found.groups)}, "
    if time is None:
        text += "one for each walk, whose snapshots are too few or too correlated to tell more"
    else:
        text += f"correlated over {time:.3g} fs"
        if time > enough:
            text += f", longer than thermalisation_time ({enough:g} fs): raise it"
    say(text)


def refuse_thin_vacuum(slab: Atoms, config: ScatteringConfig, calculator: Calculator) -> None:
    """Refuse a slab whose periodic image above is within the model's reach of the molecule.

    Where the molecule is farthest from the surface, at its start and when it counts as scattered,
    it has to be farther than the cutoff from the bottom of the image.

    Raises
    ------
    UserError
        With the vacuum that is needed.
    """
    cutoff = cutoff_of(calculator)
    if cutoff is None or not slab.pbc[2]:
        return
    reach = max(config.start_height, config.scattered_height or config.start_height + 0.1)
    thickness = float(slab.info["top"] - slab.positions[:, 2].min())
    height = slab.get_volume() / np.linalg.norm(np.cross(*slab.cell.array[:2]))
    gap = height - thickness
    if gap < reach + cutoff:
        raise UserError(
            f"scattering: {reach:g} Å above the surface the molecule is {gap - reach:.2f} Å below "
            f"the periodic image of the slab, and would feel it: the model's cutoff is {cutoff:g} "
            f"Å. Give {reach + cutoff:.1f} Å of vacuum in place of {gap:.1f} (a slab of your own "
            "can simply have a higher cell), or lower start_height"
        )


def surface_name(facet: str, temperature: float, walk: int = 0) -> str:
    """File name stem of the surfaces of a facet at a temperature (K), by the walk's number."""
    name = f"{facet}_{temperature:g}K"
    return f"{name}_{walk}" if walk else name


def _make_surface(unit: _SurfaceUnit) -> int:
    """Write the snapshots of one surface; return the force calls made."""
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
            stream(unit.seed, "surface", unit.facet, unit.temperature, unit.walk),
            time_step=config.surface_time_step,
            friction=config.friction,
            equilibration=config.thermalisation_time,
            interval=config.snapshot_interval,
            count=unit.count,
        )
    for number, snapshot in enumerate(snapshots):
        snapshot.info.update(
            walk=unit.walk,
            snapshot=number,
            facet=unit.facet,
            surface_temperature=unit.temperature,
            top=slab.info["top"],
        )
    with atomic_path(unit.files()[0]) as temporary:
        # Constraints travel as the move_mask column.
        write(temporary, snapshots, format="extxyz")
    return calls


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
    molecule = record_of(folder, _MOLECULE)
    names = {
        (facet, t): [surface_name(facet, t, walk) for walk in range(len(_walks(config, t)))]
        for facet, t in places(config)
    }
    records = {place: [record_of(folder, name) for name in walks] for place, walks in names.items()}
    numbers = [molecule, *(record for walks in records.values() for record in walks)]
    if config.slab.npt:
        temperatures = dict.fromkeys(t for _, t in names)
        numbers += [record_of(folder, lattice_name(t)) for t in temperatures if t]
    snapshots = {
        place: [_read(folder / f"{name}.xyz") for name in walks] for place, walks in names.items()
    }
    return Surfaces(
        diatomic=Diatomic.from_dict(molecule["numbers"]),
        snapshots={
            place: [s for walk in walks for s in walk] for place, walks in snapshots.items()
        },
        independence={
            place: independence(walks, config.snapshot_interval) if place[1] else None
            for place, walks in snapshots.items()
        },
        calls=sum(
            record["numbers"].get("calls", record["numbers"].get("force_calls", 0))
            for record in numbers
        ),
        keys={
            place: fingerprint([molecule["key"], *(record["key"] for record in walks)])
            for place, walks in records.items()
        },
    )


def facets_of(config: ScatteringConfig) -> list[str]:
    """Names of the surfaces: the facets, or `slab` for one of the user's own."""
    return list(dict.fromkeys(facet for facet, _ in places(config)))
