"""One climbing-image nudged elastic band, relaxed between end points that stay.

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
from ase.optimize import LBFGS

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.models.cached_calculators import forget
from distill.simulation.config import PathConfig

# The optimiser starts afresh after this many steps, where the band is saved; so a band taken up
# after a kill goes the same way as one that was never stopped.
_SEGMENT = 30
MAX_STEP = 0.1  # Å
# Softer springs let images slide off the barrier when it climbs, and the band wander.
_SPRING = 2.0  # eV/Å²
# The highest image climbs once the plain band is this near its path, eV/Å.
_CLIMB_BELOW = 0.3


class Memory(Calculator):
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
class Band:
    """A band after optimisation.

    Attributes
    ----------
    images
        End points included; their calculators hold energies and forces.
    converged
        Whether the climbing band reached the force tolerance.
    fmax
        Largest force on the band at the end, eV/Å.
    steps, calls
        Optimiser steps and model calls.
    """

    images: list[Atoms]
    converged: bool
    fmax: float
    steps: int
    calls: int

    @property
    def energies(self) -> np.ndarray:
        """Relative to the first image, eV, shape (images,)."""
        energies = np.array([image.get_potential_energy() for image in self.images])
        return energies - energies[0]

    @property
    def barrier(self) -> float:
        """Energy of the highest image above the first, eV."""
        return float(self.energies.max())


def relaxed_band(
    config: PathConfig, model: Calculator, images: Sequence[Atoms], checkpoint: Path | None = None
) -> Band:
    """Relax a band; its first and last image stay as they are.

    Parameters
    ----------
    config
        Tolerance and steps.
    model
        Any ASE calculator; one object serves all images.
    images
        The band to begin with, constraints included.
    checkpoint
        File that keeps the band between optimiser segments; taken up if it exists.
    """
    state = load_state(checkpoint) or {
        "positions": np.array([image.positions for image in images]),
        "climb": False,
        "steps": 0,
        "converged": False,
        "calls": 0,
    }
    images = [image.copy() for image in images]
    memories: list[Memory] = []
    earlier_calls = int(state["calls"])

    def begin_afresh() -> None:
        """Remember nothing of the last segment, as nothing is after a kill: the way is the same."""
        forget(model)
        for memory in memories:
            memory.reset()

    def calls() -> int:
        return earlier_calls + sum(memory.calls for memory in memories)

    for image, positions in zip(images, state["positions"], strict=True):
        image.positions[:] = positions
        memories.append(Memory(model))
        image.calc = memories[-1]
    neb = NEB(images, k=_SPRING, climb=bool(state["climb"]), method="improvedtangent")
    steps, converged = int(state["steps"]), bool(state["converged"])
    while not converged and steps < config.max_steps:
        begin_afresh()
        goal = config.fmax if neb.climb else max(_CLIMB_BELOW, config.fmax)
        optimiser = LBFGS(cast(Any, neb), maxstep=MAX_STEP, logfile=os.devnull)
        reached = optimiser.run(fmax=goal, steps=min(_SEGMENT, config.max_steps - steps))
        steps += int(optimiser.nsteps)
        converged = bool(reached and neb.climb)
        neb.climb = bool(neb.climb or reached)
        state = {
            "positions": np.array([image.positions for image in images]),
            "climb": neb.climb,
            "steps": steps,
            "converged": converged,
            "calls": calls(),
        }
        save_state(checkpoint, state)
    neb.climb = True
    begin_afresh()
    fmax = float(np.linalg.norm(neb.get_forces(), axis=1).max())
    return Band(images, converged, fmax, steps, calls())


def largest_force(image: Atoms) -> float:
    """Largest force on an atom that may move, eV/Å."""
    return float(np.linalg.norm(image.get_forces(), axis=1).max())


def image_step(one: Atoms, other: Atoms) -> np.ndarray:
    """Displacements from one image to another, Å, shape (atoms, 3)."""
    difference, _ = find_mic(other.positions - one.positions, one.cell, one.pbc)
    return np.asarray(difference)


def path_lengths(images: Sequence[Atoms]) -> np.ndarray:
    """Cumulative distance along images in configuration space, Å, shape (images,)."""
    steps = [0.0, *(float(np.linalg.norm(image_step(*pair))) for pair in pairwise(images))]
    return np.cumsum(steps)


def load_state(checkpoint: Path | None) -> dict[str, Any] | None:
    """What `save_state` kept; None if there is nothing.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    if checkpoint is None or not checkpoint.exists():
        return None
    try:
        with np.load(checkpoint) as data:
            return dict(data)
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint} is damaged ({error}): remove it, then run again") from None


def save_state(checkpoint: Path | None, state: dict[str, Any]) -> None:
    """Keep arrays and numbers in a file, atomically."""
    if checkpoint is not None:
        with atomic_path(checkpoint) as temporary:
            np.savez(temporary, **state)
