"""Minimum energy paths: climbing bands between minima, over saddles of first order.

A band converges wherever its forces vanish, on a saddle of second order too, whose energy is no
barrier. So the Hessian is taken at the highest image, and where the energy falls in a second
direction the band is pushed that way, to both sides, and relaxed again; the lower saddle is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.core.errors import UserError
from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY
from distill.data.structures import set_labels
from distill.models.kept_calls import KeptCalls
from distill.simulation.config import NebConfig
from distill.simulation.hessian import Curvature
from distill.simulation.neb_band import path_lengths
from distill.simulation.neb_endpoints import end_points
from distill.simulation.neb_initial_path import bent, fitted_to_cell, interpolated
from distill.simulation.neb_minima import EndPoint, atom_groups, end_point, reacting_atoms
from distill.simulation.neb_saddle import Saddle, lowest_saddle
from distill.systems.slabs import LATTICE_CONSTANT_CALLS, USER_SLAB, facet_label

CONFIG_TYPE = "neb"
# Array of the saddle's image: the imaginary vibration.
MODE_KEY = "imaginary_mode"


@dataclass(frozen=True)
class MinimumEnergyPath:
    """A band after optimisation.

    Attributes
    ----------
    images
        End points included, labelled with energy (eV) and raw forces (eV/Å), without calculator;
        the saddle's has its imaginary vibration as `imaginary_mode`, of unit length.
    converged
        Whether the climbing band reached the force tolerance.
    fmax
        Largest force on the band at the end, eV/Å.
    steps
        Optimiser steps on this band.
    calls
        Model calls: end points, Hessians, bands that were left, and lattice constant included.
    ends
        The end points: how far they are relaxed, and whether they are minima.
    saddle
        Hessian at the highest image; None where it was not asked for, or an end is highest.
    left
        Barriers of saddles of higher order that were left for this one, eV.
    """

    images: list[Atoms]
    converged: bool
    fmax: float
    steps: int
    calls: int
    ends: tuple[EndPoint, EndPoint]
    saddle: Curvature | None
    left: list[float]

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

    @property
    def zero_point_barrier(self) -> float | None:
        """The barrier with the zero-point energies of saddle and first minimum, eV.

        Harmonic, of the atoms whose Hessian was taken; None unless these are a saddle of first
        order and a minimum, with the same atoms.
        """
        saddle, first = self.saddle, self.ends[0].curvature
        if saddle is None or first is None or (saddle.negative, first.negative) != (1, 0):
            return None
        return self.barrier + saddle.zero_point_energy - first.zero_point_energy

    def summary(self) -> dict[str, Any]:
        """Numbers of the path, for JSON."""
        first, last = self.ends
        saddle = self.saddle
        return {
            "barrier_eV": self.barrier,
            "zero_point_barrier_eV": self.zero_point_barrier,
            "crossover_temperature_K": saddle and saddle.crossover_temperature,
            "reaction_energy_eV": float(self.energies[-1]),
            "energies_eV": self.energies,
            "coordinates_A": self.coordinates,
            "converged": self.converged,
            "fmax_eV_per_A": self.fmax,
            "end_points_fmax_eV_per_A": [first.fmax, last.fmax],
            "end_points_relaxed": [first.relaxed, last.relaxed],
            "initial": first.curvature and first.curvature.summary(),
            "saddle": saddle and {**saddle.summary(), "imaginary_mode": saddle.way_down},
            "final": last.curvature and last.curvature.summary(),
            "left_eV": self.left,
            "steps": self.steps,
            "calls": self.calls,
        }


def minimum_energy_path(
    config: NebConfig,
    model: Calculator,
    checkpoint: Path | None = None,
    guess: Sequence[Atoms] | None = None,
) -> MinimumEnergyPath:
    """Relax the end points and the band between them, until its saddle is one of first order.

    Parameters
    ----------
    config
        End points, images, tolerance and steps.
    model
        Any ASE calculator; one object serves all images.
    checkpoint
        Folder that keeps end points and bands on the way; taken up if it exists.
    guess
        Images of another model's path to begin with; interpolated if not given.

    Raises
    ------
    UserError
        If the end points relax to the same minimum, or the path does not converge although
        `require_convergence` asks for it.
    """
    start = end_points(config, model)
    groups = atom_groups(config, *start)
    reacting = reacting_atoms(*start)
    fitted = None if guess is None else fitted_to_cell(guess, start[0])
    given = (fitted[0], fitted[-1]) if fitted and config.relax_ends else start
    first, last = (
        end_point(
            config,
            KeptCalls(model, checkpoint and checkpoint / f"{name}_calls"),
            end,
            groups,
            checkpoint and checkpoint / f"{name}.npz",
        )
        for name, end in zip(("initial", "final"), given, strict=True)
    )
    if fitted:
        images = [first.image, *fitted[1:-1], last.image]
    else:
        images = bent(interpolated(config, first.image, last.image, start[0]), reacting)
    found = lowest_saddle(config, model, images, groups, checkpoint)
    band = found.band
    slab = config.slab
    measured = config.initial is None and slab.file is None and slab.lattice_constant is None
    path = MinimumEnergyPath(
        images=_labelled(band.images, config, found),
        converged=band.converged,
        fmax=band.fmax,
        steps=band.steps,
        calls=first.calls + last.calls + found.calls + measured * LATTICE_CONSTANT_CALLS,
        ends=(first, last),
        saddle=found.curvature,
        left=found.left,
    )
    if config.require_convergence and not path.converged:
        raise UserError(
            f"the minimum energy path on {config.facet} did not converge: largest force "
            f"{path.fmax:.3f} eV/Å after {path.steps} steps, expected {config.fmax:g}; raise "
            "neb.max_steps or neb.fmax, or set neb.require_convergence to false to keep it marked"
        )
    return path


def _labelled(images: Sequence[Atoms], config: NebConfig, found: Saddle) -> list[Atoms]:
    labelled = []
    for number, image in enumerate(images):
        atoms = bare(image, image.positions, config)
        atoms.info["image"] = number
        energy, forces = image.get_potential_energy(), image.get_forces(apply_constraint=False)
        labelled.append(set_labels(atoms, energy=energy, forces=forces))
    if found.curvature is not None:
        mode = np.zeros((len(images[0]), 3))
        mode[found.curvature.atoms] = found.curvature.way_down
        labelled[found.place].arrays[MODE_KEY] = mode
    return labelled


def bare(image: Atoms, positions: np.ndarray, config: NebConfig) -> Atoms:
    """A structure of a path at other positions, Å, marked but not labelled."""
    atoms = Atoms(image.symbols, positions=positions, cell=image.cell, pbc=image.pbc)
    atoms.info[CONFIG_TYPE_KEY] = CONFIG_TYPE
    if config.initial is None:
        atoms.info["facet"] = facet_label(USER_SLAB if config.slab.file else config.facet)
        atoms.info["site"] = config.site
    return atoms
