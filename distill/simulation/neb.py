"""Minimum energy paths: climbing-image nudged elastic bands from relaxed end points.

Henkelman and Jónsson, J. Chem. Phys. 113, 9901 and 9978 (2000), as in `ase.mep`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import BFGS, LBFGS

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY
from distill.core.work import Unit
from distill.data.structures import read_structures, set_labels, write_structures
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.config import NebConfig
from distill.simulation.neb_endpoints import end_points
from distill.simulation.neb_initial_path import fitted_to_cell, interpolated
from distill.systems.slabs import LATTICE_CONSTANT_CALLS, USER_SLAB, facet_label

CONFIG_TYPE = "neb"
# The optimiser starts afresh after this many steps, where the band is saved; so a band taken up
# after a kill goes the same way as one that was never stopped.
_SEGMENT = 30
_MAX_STEP = 0.1  # Å
# Softer springs let images slide off the barrier when it climbs, and the band wander.
_SPRING = 2.0  # eV/Å²
# End points are relaxed at least this far, eV/Å: on the flat repulsion of a molecule over a surface
# a force of 0.05 eV/Å is worth 0.07 eV, and every barrier rests on it.
_ENDS_FMAX = 0.005
# The highest image climbs once the plain band is this near its path, eV/Å.
_CLIMB_BELOW = 0.3


class _Memory(Calculator):
    """One image's results, from a model that all images share; repeated questions cost nothing."""

    def __init__(self, model: Calculator) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "forces"]
        self.model = model
        self.calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Ask the model for energy (eV) and raw forces (eV/Å) together."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        bare = self.atoms.copy()
        bare.set_constraint()
        self.model.calculate(bare, ["energy", "forces"], all_changes)
        self.calls += 1
        results = self.model.results
        self.results = {"energy": float(results["energy"]), "forces": results["forces"].copy()}


@dataclass(frozen=True)
class MinimumEnergyPath:
    """A band after optimisation.

    Attributes
    ----------
    images
        End points included, labelled with energy (eV) and raw forces (eV/Å), without calculator.
    converged
        Whether the climbing band reached the force tolerance.
    fmax
        Largest force on the band at the end, eV/Å.
    ends_fmax
        Largest force on each relaxed end point, eV/Å.
    steps
        Optimiser steps on the band.
    calls
        Model calls, end points and lattice constant included.
    """

    images: list[Atoms]
    converged: bool
    fmax: float
    ends_fmax: tuple[float, float]
    steps: int
    calls: int

    @property
    def energies(self) -> np.ndarray:
        """Energies along the path relative to its first image, eV, shape (images,)."""
        energies = np.array([image.info[ENERGY_KEY] for image in self.images])
        return energies - energies[0]

    @property
    def coordinates(self) -> np.ndarray:
        """Length of the path up to each image, Å, shape (images,)."""
        return path_lengths(self.images)

    @property
    def barrier(self) -> float:
        """Energy of the highest image above the first, eV."""
        return float(self.energies.max())

    def summary(self) -> dict[str, Any]:
        """Numbers of the path, for JSON."""
        return {
            "barrier_eV": self.barrier,
            "reaction_energy_eV": float(self.energies[-1]),
            "energies_eV": self.energies,
            "coordinates_A": self.coordinates,
            "converged": self.converged,
            "fmax_eV_per_A": self.fmax,
            "end_points_fmax_eV_per_A": self.ends_fmax,
            "steps": self.steps,
            "calls": self.calls,
        }


def path_lengths(images: Sequence[Atoms]) -> np.ndarray:
    """Cumulative distance along images in configuration space, Å, shape (images,)."""
    steps = [0.0]
    for one, other in pairwise(images):
        difference, _ = find_mic(other.positions - one.positions, one.cell, one.pbc)
        steps.append(float(np.linalg.norm(difference)))
    return np.cumsum(steps)


def minimum_energy_path(
    config: NebConfig,
    model: Calculator,
    checkpoint: Path | None = None,
    guess: Sequence[Atoms] | None = None,
) -> MinimumEnergyPath:
    """Relax the end points and the band between them.

    Parameters
    ----------
    config
        End points, images, tolerance and steps.
    model
        Any ASE calculator; one object serves all images.
    checkpoint
        File that keeps the band between optimiser segments; taken up if it exists.
    guess
        Images of another model's path to begin with; interpolated if not given.

    Raises
    ------
    UserError
        If the end points relax to the same minimum, or the path does not converge although
        `require_convergence` asks for it.
    """
    memories: list[_Memory] = []
    ends = end_points(config, model)
    state = _load(checkpoint)
    if state is None:
        state = _first_state(config, model, ends, guess)
        _save(checkpoint, state)
    images = [ends[0].copy() for _ in range(config.images)]
    for image, positions in zip(images, state["positions"], strict=True):
        image.positions[:] = positions
        memories.append(_Memory(model))
        image.calc = memories[-1]
    neb = NEB(images, k=_SPRING, climb=bool(state["climb"]), method="improvedtangent")
    steps, converged = int(state["steps"]), bool(state["converged"])
    earlier_calls = int(state["calls"])
    while not converged and steps < config.max_steps:
        # Nothing is remembered from the last segment, as nothing is after a kill: the calls of a
        # band are the same either way.
        for memory in memories:
            memory.reset()
        goal = config.fmax if neb.climb else max(_CLIMB_BELOW, config.fmax)
        optimiser = LBFGS(cast(Any, neb), maxstep=_MAX_STEP, logfile=os.devnull)
        reached = optimiser.run(fmax=goal, steps=min(_SEGMENT, config.max_steps - steps))
        steps += int(optimiser.nsteps)
        converged = bool(reached and neb.climb)
        neb.climb = bool(neb.climb or reached)
        state.update(
            positions=np.array([image.positions for image in images]),
            climb=neb.climb,
            steps=steps,
            converged=converged,
            calls=earlier_calls + sum(memory.calls for memory in memories),
        )
        _save(checkpoint, state)
    neb.climb = True
    fmax = float(np.linalg.norm(neb.get_forces(), axis=1).max())
    ends_fmax = _largest_force(images[0]), _largest_force(images[-1])
    path = MinimumEnergyPath(
        images=[_labelled(image, config, number) for number, image in enumerate(images)],
        converged=converged,
        fmax=fmax,
        ends_fmax=ends_fmax,
        steps=steps,
        calls=int(state["calls"]),
    )
    if config.require_convergence and not converged:
        raise UserError(
            f"the minimum energy path on {config.facet} did not converge: largest force "
            f"{fmax:.3f} eV/Å after {steps} steps, expected {config.fmax:g}; raise neb.max_steps "
            "or neb.fmax, or set neb.require_convergence to false to keep it marked"
        )
    return path


def _largest_force(image: Atoms) -> float:
    return float(np.linalg.norm(image.get_forces(), axis=1).max())


def _first_state(
    config: NebConfig,
    model: Calculator,
    ends: tuple[Atoms, Atoms],
    guess: Sequence[Atoms] | None,
) -> dict[str, Any]:
    slab = config.slab
    measured = config.initial is None and slab.file is None and slab.lattice_constant is None
    calls = LATTICE_CONSTANT_CALLS if measured else 0
    first, last = ends
    above = first.copy()
    fitted = None if guess is None else fitted_to_cell(guess, first)
    if config.relax_ends:
        if fitted:
            first, last = fitted[0], fitted[-1]
        for end in (first, last):
            end.calc = _Memory(model)
            relaxation = BFGS(end, maxstep=_MAX_STEP, logfile=os.devnull)
            relaxation.run(fmax=min(config.fmax, _ENDS_FMAX), steps=config.max_steps)
            calls += end.calc.calls
            end.calc = None
    images = [first, *fitted[1:-1], last] if fitted else interpolated(config, first, last, above)
    return {
        "positions": np.array([image.positions for image in images]),
        "climb": False,
        "steps": 0,
        "converged": False,
        "calls": calls,
    }


def _load(checkpoint: Path | None) -> dict[str, Any] | None:
    if checkpoint is None or not checkpoint.exists():
        return None
    try:
        with np.load(checkpoint) as data:
            return dict(data)
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint} is damaged ({error}): remove it, then run again") from None


def _save(checkpoint: Path | None, state: dict[str, Any]) -> None:
    if checkpoint is not None:
        with atomic_path(checkpoint) as temporary:
            np.savez(temporary, **state)


def _labelled(image: Atoms, config: NebConfig, number: int) -> Atoms:
    atoms = _bare(image, image.positions, config)
    atoms.info["image"] = number
    return set_labels(
        atoms,
        energy=image.get_potential_energy(),
        forces=image.get_forces(apply_constraint=False),
    )


def _bare(image: Atoms, positions: np.ndarray, config: NebConfig) -> Atoms:
    atoms = Atoms(image.symbols, positions=positions, cell=image.cell, pbc=image.pbc)
    atoms.info[CONFIG_TYPE_KEY] = CONFIG_TYPE
    if config.initial is None:
        atoms.info["facet"] = facet_label(USER_SLAB if config.slab.file else config.facet)
        atoms.info["site"] = config.site
    return atoms


def path_structures(
    path: MinimumEnergyPath, config: NebConfig, model: Calculator
) -> tuple[list[Atoms], int]:
    """`config.keep` labelled structures along a path, in order, and the force calls they cost.

    The images themselves come first; further ones lie between them on a cubic spline through the
    images, evenly over its length.
    """
    from scipy.interpolate import CubicSpline

    images, coordinates = path.images, path.coordinates
    if config.keep <= len(images):
        chosen = np.unique(np.linspace(0, len(images) - 1, config.keep).round().astype(int))
        return [images[index] for index in chosen], 0
    positions = [images[0].positions]
    for image in images[1:]:
        step, _ = find_mic(image.positions - positions[-1], image.cell, image.pbc)
        positions.append(positions[-1] + step)
    spline = CubicSpline(coordinates, positions)
    extra = config.keep - len(images)
    between = np.linspace(0, coordinates[-1], extra + 2)[1:-1]
    structures = list(zip(coordinates, images, strict=True))
    memory = _Memory(model)
    for coordinate in between:
        atoms = _bare(images[0], spline(coordinate), config)
        atoms.calc = memory
        set_labels(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        atoms.calc = None
        structures.append((coordinate, atoms))
    ordered = sorted(structures, key=lambda item: item[0])
    return [atoms for _, atoms in ordered], memory.calls


@dataclass(frozen=True)
class PathUnit(Unit):
    """Find one path with a model.

    In its folder it leaves `NAME.xyz` (the images), `NAME_kept.xyz` (structures for labelling) and
    `NAME.json` (the numbers). `guess` is the file of another model's images to begin with.
    """

    model: ModelSpec
    config: NebConfig
    guess: Path | None = None

    def summary(self) -> dict[str, Any]:
        """The numbers of the finished path; says so if it did not converge."""
        summary: dict[str, Any] = self.numbers()
        if not summary["converged"]:
            say(
                f"path {self.name} did not converge: largest force "
                f"{summary['fmax_eV_per_A']:.3f} eV/Å after {summary['steps']} steps; it is kept "
                "and marked"
            )
        return summary

    def kept(self) -> list[Atoms]:
        """The labelled structures kept along the finished path."""
        return read_structures(self._kept_path) if self.config.keep else []

    def files(self) -> list[Path]:
        """Images, and structures for labelling where any are kept."""
        return [self.images_path, *([self._kept_path] if self._kept_path.exists() else [])]

    def work(self) -> dict[str, Any]:
        """Find the path and write its files."""
        model = cached_calculator(self.model, dtype="float64")
        # A checkpoint of other settings is none of this path's.
        checkpoint = self.folder / f"{self.name}_{self.key[:12]}.band.npz"
        guess = None if self.guess is None else read_structures(self.guess)
        path = minimum_energy_path(self.config, model, checkpoint, guess)
        kept, calls = path_structures(path, self.config, model)
        for atoms in kept:
            atoms.info["trajectory"] = self.name
            atoms.info["path_converged"] = path.converged
        write_structures(self.images_path, path.images)
        self._kept_path.unlink(missing_ok=True)
        if kept:
            write_structures(self._kept_path, kept)
        summary = {"name": self.name, **path.summary()}
        summary["calls"] += calls
        checkpoint.unlink(missing_ok=True)
        return summary

    @property
    def images_path(self) -> Path:
        """File of the images."""
        return self.folder / f"{self.name}.xyz"

    @property
    def _kept_path(self) -> Path:
        return self.folder / f"{self.name}_kept.xyz"


def path_units(configs: Sequence[NebConfig], *, model: ModelSpec, out: Path) -> list[PathUnit]:
    """Every path of a list, named by its place in the list, facet and site.

    Parameters
    ----------
    configs
        One path each.
    model
        What `distill.models.calculators.load_calculator` takes.
    out
        Where the paths' files go.
    """
    units = []
    for number, config in enumerate(configs):
        facet = USER_SLAB if config.slab.file else config.facet
        what = f"{facet}_{config.site}" if config.initial is None else "path"
        units.append(PathUnit(out, f"{number:02d}_{what}", model, config))
    return units
