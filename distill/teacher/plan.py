"""What the teacher stage will take, and how long its model needs for a call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from distill.models.calculators import load_calculator
from distill.models.mace.foundation_store import present_foundation
from distill.teacher.config import TeacherConfig
from distill.teacher.starting_model import foundation_start

if TYPE_CHECKING:
    from ase import Atoms

_CALLS, _DISPLACEMENT = 3, 0.01


def teacher_plan(config: TeacherConfig, structures: int) -> list[str]:
    """Trainings, epochs and structures.

    Parameters
    ----------
    config
        The section.
    structures
        In the training set.
    """
    if config.strategy == "none":
        return ["no training: the model as it is"]
    members = 1 if config.committee is None else config.committee.members
    used = max(1, round(config.fraction * structures))
    return [
        f"{members} training{'s' * (members > 1)} ({config.strategy}) of at most {config.epochs} "
        f"epochs over about {used:,} structures"
    ]


def call_seconds(config: TeacherConfig, atoms: Atoms) -> float | None:
    """Processor time of a force call and atom of the model that the teacher starts from, s.

    None where it cannot be measured: the teacher is trained from scratch, is a program that would
    have to be started, or its model is not on this machine yet.

    Raises
    ------
    UserError
        If the model cannot be loaded, or fails on the structure.
    """
    source = config.delta.base if config.strategy == "delta" else config.calculator
    if source is not None:
        if source.command is not None or source.python is not None:
            return None
        calculator = load_calculator(source)
    elif config.strategy == "scratch" or not present_foundation(config.foundation):
        return None
    else:
        calculator = foundation_start(config, "cpu").model.calculator()
    system = atoms.copy()
    system.calc = calculator
    moves = _DISPLACEMENT * np.random.default_rng(0).standard_normal((_CALLS, len(atoms), 3))
    system.get_forces()
    times = []
    for move in moves:
        system.positions = atoms.positions + move
        start = time.process_time()
        system.get_forces()
        times.append(time.process_time() - start)
    return float(np.median(times)) / len(atoms)
