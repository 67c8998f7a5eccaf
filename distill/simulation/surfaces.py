"""What scattering trajectories start from: thermal surfaces and the molecule's potential curve.

Both are made once with one model and kept in files, so that trajectories of any other model can
start from identical conditions.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from distill.models.kept_calls import KeptCalls
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
    width_message,
)

_MOLECULE = "molecule"
# Snapshots of one walk at most; the next begin anew from the crystal.
_LONGEST_WALK = 10
# Walks that get snapshots in turn, until they are full and as many others begin.
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
        What each of the surfaces of a facet and temperature, with the molecule, was made from.
    """

    diatomic: Diatomic
    snapshots: dict[Place, list[Atoms]]
    independence: dict[Place, Independence | None]
    calls: int
    keys: dict[Place, list[str]]


@dataclass(frozen=True)
class _SurfaceUnit(Unit):
    """One snapshot of a walk of a thermal surface, from the one before it or from the crystal."""

    model: ModelSpec
    config: ScatteringConfig
    facet: str
    temperature: float
    lattice_constant: float
    walk: int
    snapshot: int
    seed: int

    def settings(self) -> dict[str, Any]:
        """Its model, slab and dynamics; not how many there are."""
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
        calculator = KeptCalls(self.model, self.parts)
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
    displacements tell which of them are independent. More of them leave those that are there.

    Parameters
    ----------
    config
        Facets, temperatures, molecule and thermalisation.
    model
        What `distill.models.calculators.load_calculator` takes.
    work
        Folder of `molecule.json` and an extended XYZ file for each surface.

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
        for message in (thickness_message, width_message):
            if text := message(slab, calculator, facet):
                say(text)
    lengths = lattice_constants(config, a, model, work)
    chains = [
        [
            _SurfaceUnit(
                work.path,
                surface_name(facet, temperature, walk, snapshot),
                model=model,
                config=config,
                facet=facet,
                temperature=temperature,
                lattice_constant=lengths[temperature],
                walk=walk,
                snapshot=snapshot,
                seed=work.seed,
            )
            for snapshot in range(count)
        ]
        for facet, temperature in places(config)
        for walk, count in enumerate(_walks(config, temperature))
    ]
    work.run_chains(chains, "thermal surfaces")
    surfaces = read_surfaces(config, work.path)
    for place, found in surfaces.independence.items():
        _say_how_independent(config, place, found)
    return surfaces


def _walks(config: ScatteringConfig, temperature: float) -> list[int]:
    """Snapshots of each walk; the surface at rest is one."""
    counts = Counter(walk for walk, _ in _in_turn(config, temperature))
    return [counts[walk] for walk in sorted(counts)]


def _in_turn(config: ScatteringConfig, temperature: float) -> list[tuple[int, int]]:
    """Walk and place in it of every snapshot, by the snapshot's number.

    The first few are of several walks, and those of a number are the same however many there are.
    """
    count = snapshots_of(config) if temperature else 1
    found = []
    for number in range(count):
        block, rest = divmod(number, _WALKS * _LONGEST_WALK)
        found.append((_WALKS * block + rest % _WALKS, rest // _WALKS))
    return found


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


def surface_name(facet: str, temperature: float, walk: int = 0, snapshot: int = 0) -> str:
    """File name stem of a surface of a facet at a temperature (K): its walk, and place in it."""
    name = f"{facet}_{temperature:g}K"
    return f"{name}_{walk:02d}_{snapshot}" if temperature else name


def _make_surface(unit: _SurfaceUnit) -> int:
    """Write a surface; return the force calls made."""
    from ase.io import write

    config = unit.config
    slab = build_slab(config.slab, unit.facet, unit.lattice_constant)
    if unit.temperature == 0:
        surface, calls = _relaxed(slab, KeptCalls(unit.model, unit.parts))
    else:
        start, time = slab, config.thermalisation_time
        if unit.snapshot:
            before = surface_name(unit.facet, unit.temperature, unit.walk, unit.snapshot - 1)
            # As it was written, so that a walk that stops there goes on as one that does not.
            start, time = _read(unit.folder / f"{before}.xyz"), config.snapshot_interval
        name = ("surface", unit.facet, unit.temperature, unit.walk, unit.snapshot)
        surface, calls = thermalise(
            start,
            unit.model,
            unit.temperature,
            lambda part: stream(unit.seed, *name, *([part] if part else [])),
            time_step=config.surface_time_step,
            friction=config.friction,
            time=time,
            parts=unit.parts,
        )
    surface.info.update(
        walk=unit.walk,
        snapshot=unit.snapshot,
        facet=unit.facet,
        surface_temperature=unit.temperature,
        top=slab.info["top"],
    )
    with atomic_path(unit.files()[0]) as temporary:
        # Constraints travel as the move_mask column.
        write(temporary, surface, format="extxyz")
    return calls


def _relaxed(slab: Atoms, calculator: Calculator) -> tuple[Atoms, int]:
    """The surface at 0 K: relaxed and at rest."""
    from ase.optimize import BFGS

    relaxing = slab.copy()
    relaxing.calc = calculator
    optimiser = BFGS(relaxing, logfile=os.devnull)
    optimiser.run(fmax=_RELAX_FMAX, steps=_RELAX_STEPS)
    relaxing.calc = None
    relaxing.set_momenta(np.zeros((len(slab), 3)))
    return relaxing, int(optimiser.nsteps) + 1


def _read(path: Path) -> Atoms:
    from ase.io import iread

    try:
        return next(iread(path, format="extxyz"))
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
    numbers = [molecule["numbers"]]
    if config.slab.npt:
        temperatures = dict.fromkeys(t for _, t in places(config) if t)
        numbers += [record_of(folder, lattice_name(t))["numbers"] for t in temperatures]
    found = Surfaces(Diatomic.from_dict(molecule["numbers"]), {}, {}, 0, {})
    for place in places(config):
        order = _in_turn(config, place[1])
        names = [surface_name(*place, *where) for where in order]
        records = [record_of(folder, name) for name in names]
        numbers += [record["numbers"] for record in records]
        snapshots = [_read(folder / f"{name}.xyz") for name in names]
        found.snapshots[place] = snapshots
        found.keys[place] = [fingerprint([molecule["key"], record["key"]]) for record in records]
        found.independence[place] = _independence(snapshots, order, config) if place[1] else None
    calls = sum(entry.get("calls", entry.get("force_calls", 0)) for entry in numbers)
    return replace(found, calls=calls)


def _independence(
    snapshots: Sequence[Atoms], order: Sequence[tuple[int, int]], config: ScatteringConfig
) -> Independence:
    """Which of the snapshots, in the order of their numbers, are independent."""
    walks: dict[int, list[int]] = {}
    for number, (walk, _) in enumerate(order):
        walks.setdefault(walk, []).append(number)
    found = independence(
        [[snapshots[number] for number in walk] for walk in walks.values()],
        config.snapshot_interval,
    )
    by_walk = [number for walk in walks.values() for number in walk]
    groups = dict(zip(by_walk, found.groups, strict=True))
    return replace(found, groups=tuple(groups[number] for number in range(len(order))))


def facets_of(config: ScatteringConfig) -> list[str]:
    """Names of the surfaces: the facets, or `slab` for one of the user's own."""
    return list(dict.fromkeys(facet for facet, _ in places(config)))
