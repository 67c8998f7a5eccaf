"""The end points of a band, relaxed, and what they are: minima or not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.optimize import BFGS

from distill.simulation.config import PathConfig
from distill.simulation.hessian import Curvature, curvature
from distill.simulation.neb_band import MAX_STEP, Memory, largest_force, load_state, save_state
from distill.systems.constraints import mobile_atoms

# End points are relaxed at least this far, eV/Å: on the flat repulsion of a molecule over a surface
# a force of 0.05 eV/Å is worth 0.07 eV, and every barrier rests on it.
_FMAX = 0.005
# An end point on a saddle is put this far down from it, Å, this many times at most.
_PUSH, _PUSHES = 0.1, 2
# What moves further than this between the end points takes part in the reaction, Å.
_REACTS = 0.5


@dataclass(frozen=True)
class EndPoint:
    """An end point of a band.

    Attributes
    ----------
    image
        With its constraints, without calculator.
    fmax
        Largest force, eV/Å.
    relaxed
        Whether it was relaxed to its tolerance.
    curvature
        Of its energy; None where it was not asked for.
    calls
        Model calls that it took.
    """

    image: Atoms
    fmax: float
    relaxed: bool
    curvature: Curvature | None
    calls: int

    @property
    def is_minimum(self) -> bool | None:
        """Whether the energy rises in every direction; None where it is not known."""
        return None if self.curvature is None else self.curvature.negative == 0


def reacting_atoms(first: Atoms, last: Atoms) -> list[int]:
    """Atoms that a reaction moves by half an ångström; where there is none, that moved most."""
    _, lengths = find_mic(last.positions - first.positions, first.cell, first.pbc)
    lengths = np.where(mobile_atoms(first), lengths, 0.0)
    return [int(index) for index in np.flatnonzero(lengths >= min(_REACTS, lengths.max()))]


def atom_groups(config: PathConfig, first: Atoms, last: Atoms) -> list[list[int]]:
    """Whose Hessian is taken: the reacting atoms, then all that may move; none if not asked for."""
    groups = [reacting_atoms(first, last), np.flatnonzero(mobile_atoms(first)).tolist()]
    return groups[: {"none": 0, "reacting": 1, "mobile": 2}[config.hessian]]


def end_point(
    config: PathConfig,
    model: Calculator,
    start: Atoms,
    groups: Sequence[Sequence[int]],
    checkpoint: Path | None = None,
) -> EndPoint:
    """Relax one end point, off a saddle if it lies on one, and take its Hessian.

    Parameters
    ----------
    config
        Tolerance and steps, and whether it is relaxed at all.
    model
        Any ASE calculator.
    start
        The structure, with its constraints.
    groups
        Whose Hessian is taken, of `atom_groups`.
    checkpoint
        File that keeps it once it is done.
    """
    goal = min(config.fmax, _FMAX)
    image = start.copy()
    atoms = sorted({index for group in groups for index in group})
    state = load_state(checkpoint)
    if state is None:
        state = _relaxed(config, model, image, atoms, goal)
        save_state(checkpoint, state)
    image.positions[:] = state["positions"]
    return EndPoint(
        image,
        float(state["fmax"]),
        bool(state["fmax"] <= goal),
        Curvature(np.array(atoms), state["hessian"], image.get_masses()[atoms]) if atoms else None,
        int(state["calls"]),
    )


def _relaxed(
    config: PathConfig, model: Calculator, image: Atoms, atoms: Sequence[int], goal: float
) -> dict[str, Any]:
    image = image.copy()
    image.calc = memory = Memory(model)
    hessian, calls = np.zeros((0, 0)), 0
    for push in range(_PUSHES + 1):
        if config.relax_ends:
            BFGS(image, maxstep=MAX_STEP, logfile=os.devnull).run(fmax=goal, steps=config.max_steps)
        fmax = largest_force(image)
        if not atoms:
            break
        found = curvature(image, model, atoms)
        hessian, calls = found.matrix, calls + found.calls
        if not found.negative or not config.relax_ends or fmax > goal or push == _PUSHES:
            break
        image.positions[found.atoms] += _PUSH * found.modes[0]
    return {
        "positions": image.positions,
        "fmax": fmax,
        "hessian": hessian,
        "calls": calls + memory.calls,
    }
