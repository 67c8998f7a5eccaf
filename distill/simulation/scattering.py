"""Trajectories of a diatomic that meets a surface: initial conditions, dynamics, outcome."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii

from distill.core.errors import UserError
from distill.core.random_streams import stream
from distill.simulation.conditions import Condition
from distill.simulation.config import ScatteringConfig
from distill.simulation.dynamics import ACCELERATION
from distill.simulation.rovibrational import HBAR, bound_level, sample_molecule
from distill.simulation.surfaces import Surfaces, read_surfaces

CONFIG_TYPE = "scattering"
SURFACES_FOLDER = "surfaces"
DISSOCIATED, SCATTERED, UNDECIDED, BLOWN_UP = "dissociated", "scattered", "undecided", "blown_up"
OUTCOMES = (DISSOCIATED, SCATTERED, UNDECIDED, BLOWN_UP)
# Of a trajectory that left the bound of trust; its structures are good.
CUT = "cut"
# Atoms nearer than this share of the sum of their covalent radii overlap.
_OVERLAP = 0.75


@dataclass(frozen=True)
class MolecularMotion:
    """How a diatomic moves.

    Attributes
    ----------
    translation, exit_angle
        Kinetic energy of the centre of mass, eV, and its direction, degrees from the z axis.
    internal_kinetic, rotation
        Kinetic energy about the centre of mass, eV, and the rotational quantum number J of the
        angular momentum, ħ² J(J + 1) = L².
    """

    translation: float
    exit_angle: float
    internal_kinetic: float
    rotation: float


@dataclass(frozen=True)
class Outcome:
    """How a trajectory ended.

    Attributes
    ----------
    trajectory
        Its name: condition and number.
    facet, temperature, v, j, energy, polar_angle, number
        Its condition (K, eV, degrees) and number within it.
    outcome
        dissociated, scattered, undecided (time out), cut (where trust ended) or blown_up.
    reason
        Why it was cut or set aside, empty for the others.
    time
        fs.
    calls
        Force calls.
    distance, height
        Bond length and height of the centre of mass above the top layer at the end, Å.
    lowest_height
        Least height on the way, Å.
    energy_error
        Largest drift of the energy on the way, eV, as `EnergyDrift`.
    translation, exit_angle, internal_kinetic, rotation
        Of the molecule at the end, as in `MolecularMotion`.
    """

    trajectory: str
    facet: str
    temperature: float
    v: int
    j: int
    energy: float
    polar_angle: float
    number: int
    outcome: str
    reason: str
    time: float
    calls: int
    distance: float
    height: float
    lowest_height: float
    energy_error: float
    translation: float
    exit_angle: float
    internal_kinetic: float
    rotation: float


def surface_order(condition: Condition, seed: int, count: int) -> np.ndarray:
    """Numbers of the snapshots that the trajectories of a condition start from, in turn.

    Each of `count` once, in a random order of the condition's own, and then again: as few
    trajectories as can be share a surface.
    """
    return stream(seed, "surfaces", *astuple(condition)).permutation(count)


def surface_number(
    config: ScatteringConfig, condition: Condition, number: int, seed: int, count: int
) -> int:
    """Number of the snapshot, of `count`, that a trajectory of a condition starts from.

    Where there are as many as trajectories each has the one of its own number, so that it stays
    that of the trajectory when there are more.
    """
    if config.snapshots is None:
        return number % count
    return int(surface_order(condition, seed, count)[number % count])


def surface_key(
    config: ScatteringConfig, condition: Condition, number: int, seed: int, surfaces: Surfaces
) -> str:
    """What the surface and the molecule of a trajectory were made from."""
    keys = surfaces.keys[condition.place]
    return keys[surface_number(config, condition, number, seed, len(keys))]


def initial_conditions(
    config: ScatteringConfig, condition: Condition, number: int, seed: int, surfaces: Surfaces
) -> Atoms:
    """Slab and molecule at the start of trajectory `number` of a condition.

    A pure function of its arguments: trajectories of different models start from the same
    positions and velocities when they share `surfaces`.

    Returns
    -------
    Atoms
        Slab atoms, then the molecule's two; momenta set, bottom layers under a constraint.

    Raises
    ------
    UserError
        If the molecule starts on top of slab atoms or in reach of the slab's periodic image.
    """
    generator = stream(
        seed,
        "trajectory",
        condition.facet,
        condition.temperature,
        condition.v,
        condition.j,
        condition.energy,
        number,
    )
    snapshots = surfaces.snapshots[condition.place]
    slab = snapshots[surface_number(config, condition, number, seed, len(snapshots))]
    diatomic = surfaces.diatomic
    level = bound_level(diatomic, condition.v, condition.j)
    relative_positions, relative_velocities = sample_molecule(diatomic, level, generator)
    top = float(slab.info["top"])
    centre = generator.random(2) @ slab.cell.array[:2]
    centre[2] = top + config.start_height
    azimuth = (
        generator.random() * 2 * np.pi
        if config.azimuthal_angle is None
        else np.radians(config.azimuthal_angle)
    )
    polar = np.radians(condition.polar_angle)
    direction = np.array(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), -np.cos(polar)]
    )
    speed = np.sqrt(2 * condition.energy * ACCELERATION / sum(diatomic.masses))
    molecule = Atoms(
        diatomic.symbols, positions=centre + relative_positions, masses=diatomic.masses
    )
    molecule.set_velocities((speed * direction + relative_velocities) / units.fs)
    start = slab.copy()
    start.info = {"top": top}
    start.extend(molecule)
    _check_clearance(start, config)
    return start


def _check_clearance(start: Atoms, config: ScatteringConfig) -> None:
    numbers = start.numbers
    for atom in (len(start) - 2, len(start) - 1):
        slab = range(len(start) - 2)
        distances = start.get_distances(atom, slab, mic=True)
        nearest = int(np.argmin(distances))
        touching = _OVERLAP * (covalent_radii[numbers[atom]] + covalent_radii[numbers[nearest]])
        if distances[nearest] < touching:
            raise UserError(
                f"scattering.start_height is {config.start_height:g} Å with "
                f"{config.slab.vacuum:g} Å of vacuum: the molecule starts {distances[nearest]:.2f} "
                f"Å from slab atom {nearest}, they overlap below {touching:.2f} Å; raise "
                "start_height or slab.vacuum"
            )


def molecular_motion(
    masses: np.ndarray, positions: np.ndarray, velocities: np.ndarray
) -> MolecularMotion:
    """Translation and rotation of a diatomic.

    Parameters
    ----------
    masses
        amu, shape (2,).
    positions, velocities
        Å and Å/fs, shape (2, 3).
    """
    reduced = masses.prod() / masses.sum() / ACCELERATION
    drift = masses @ velocities / masses.sum()
    bond, relative = positions[1] - positions[0], velocities[1] - velocities[0]
    speed = float(np.linalg.norm(drift))
    momentum = reduced * float(np.linalg.norm(np.cross(bond, relative))) / HBAR
    return MolecularMotion(
        translation=0.5 * float(masses.sum()) / ACCELERATION * speed**2,
        exit_angle=float(np.degrees(np.arccos(drift[2] / speed))) if speed else 0.0,
        internal_kinetic=0.5 * float(reduced * (relative @ relative)),
        rotation=float(np.sqrt(0.25 + momentum**2) - 0.5),
    )


def trajectory_name(condition: Condition, number: int) -> str:
    """Name of a trajectory: its condition and number."""
    return f"{condition.name}_{number:05d}"


def cached_surfaces(config: ScatteringConfig, folder: Path) -> Surfaces:
    """`read_surfaces`, read once in each process while the files stay."""
    changed = max((path.stat().st_mtime_ns for path in folder.glob("*.json")), default=0)
    return _cached_surfaces(config.model_dump_json(), folder, changed)


@lru_cache(maxsize=4)
def _cached_surfaces(config: str, folder: Path, changed: int) -> Surfaces:
    return read_surfaces(ScatteringConfig.model_validate_json(config), folder)
