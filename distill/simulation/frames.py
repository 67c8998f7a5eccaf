"""Frames of a run of dynamics as arrays, in which a part keeps them, and as structures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.data.structures import set_labels
from distill.simulation.dynamics import Step
from distill.simulation.trust_bound import DEVIATION_KEY, GRADE_KEY, Trust

Arrays = dict[str, Any]


class Frame(NamedTuple):
    """What is kept of a step.

    Attributes
    ----------
    steps
        Its number.
    positions, forces
        Å and eV/Å, (N, 3).
    cells
        Å, (3, 3).
    energies
        eV.
    stresses
        eV/Å³ in Voigt's order; empty where there is none.
    grades, deviations
        What `Trust` found; not a number where it was not asked.
    """

    steps: int
    positions: np.ndarray
    cells: np.ndarray
    energies: float
    forces: np.ndarray
    stresses: np.ndarray
    grades: float = np.nan
    deviations: float = np.nan


def frame_of(atoms: Atoms, calculator: Calculator, step: Step, number: int) -> Frame:
    """A frame; its stress where the structure and the calculator have one."""
    stress = np.empty(0)
    if atoms.pbc.all() and "stress" in calculator.implemented_properties:
        copy = Atoms(atoms.symbols, positions=step.positions, cell=atoms.cell, pbc=atoms.pbc)
        # Of the step's own call where its results are still there.
        stress = np.array(calculator.get_property("stress", copy), dtype=float)
    cell, forces = atoms.cell.array.copy(), step.forces.copy()
    return Frame(number, step.positions.copy(), cell, step.energy, forces, stress)


def reason_to_stop(frames: list[Frame], like: Atoms, trust: Trust) -> str:
    """Why trust ends at the last of some frames, empty if it does not; the frame is graded."""
    [seen] = structures_of(stacked(frames[-1:]), like)
    reason = trust.reason_to_stop(seen)
    grades = {"grades": seen.info[GRADE_KEY], "deviations": seen.info[DEVIATION_KEY]}
    frames[-1] = frames[-1]._replace(**grades)
    return reason


def stacked(frames: Sequence[Frame]) -> Arrays:
    """Frames one after the other, an array for each of their attributes."""
    columns = zip(*frames, strict=True) if frames else [()] * len(Frame._fields)
    return {name: np.array(column) for name, column in zip(Frame._fields, columns, strict=True)}


def structures_of(arrays: Arrays, like: Atoms) -> Iterator[Atoms]:
    """Structures of stacked frames of the atoms of another, with labels and `step`."""
    for number, positions, cell, energy, forces, stress, grade, deviation in zip(
        *(arrays[name] for name in Frame._fields), strict=True
    ):
        atoms = Atoms(like.symbols, positions=positions, cell=cell, pbc=like.pbc)
        atoms.info["step"] = int(number)
        if not np.isnan(deviation):
            atoms.info |= {GRADE_KEY: float(grade), DEVIATION_KEY: float(deviation)}
        # Forces on fixed atoms are labels too.
        yield set_labels(
            atoms, energy=energy, forces=forces, stress=stress if len(stress) else None
        )
