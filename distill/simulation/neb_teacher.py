"""A barrier of the teacher's from its student's path and a few calls.

The teacher is called where a surface of the student and what was learned of the difference
(`discrepancy`) is least known: at the end points and the climbing image of its own band. After each
call the end points and the band are relaxed on the surface anew, until all that the barrier rests
on is known to a tolerance and the teacher's own forces say so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS

from distill.core.errors import UserError
from distill.core.fingerprint import model_identity
from distill.core.work import Unit
from distill.data.structures import read_structures
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.config import NebConfig, PathConfig
from distill.simulation.discrepancy import Called, Corrected, Discrepancy
from distill.simulation.dynamics import Forces
from distill.simulation.neb_band import MAX_STEP, load_state, relaxed_band, save_state
from distill.simulation.neb_endpoints import end_points
from distill.simulation.neb_initial_path import fitted_to_cell
from distill.systems.constraints import mobile_atoms

# eV: of the surface's energy at a point that is known, and of what a call there may change.
_KNOWN = 5e-4
# Largest force of the teacher on an end point, eV/Å, in units of the band's tolerance: on a flat
# repulsion little force is much energy.
_END_FORCE = 0.2


@dataclass(frozen=True)
class TeacherPath:
    """What a few calls make of a student's path.

    Attributes
    ----------
    barrier, reaction_energy
        The teacher's, eV.
    student_barrier
        Of the path that it began with, eV.
    deviation
        Standard deviation of the surface at the saddle and the first end point together, eV.
    calls
        Of the teacher.
    converged
        Whether the barrier is known to the tolerance, by forces of the teacher too.
    problem
        Why the teacher was not called further; empty otherwise.
    """

    barrier: float
    reaction_energy: float
    student_barrier: float
    deviation: float
    calls: int
    converged: bool
    problem: str


def converged_by_teacher(
    config: PathConfig,
    teacher: Calculator,
    student: Calculator,
    images: Sequence[Atoms],
    *,
    calls: int = 15,
    checkpoint: Path | None = None,
) -> TeacherPath:
    """The teacher's barrier, from a student's path and at most so many calls of the teacher.

    Parameters
    ----------
    config
        Force tolerance, and whether end points are relaxed.
    teacher, student
        ASE calculators.
    images
        The student's converged path in the teacher's cell, with constraints.
    calls
        At most; three at least.
    checkpoint
        File that keeps what the teacher said; taken up if it exists.

    Raises
    ------
    UserError
        If there are fewer than three calls, or the teacher fails on one of the first three.
    """
    if calls < 3:
        raise UserError(
            f"a barrier takes three calls of the teacher at least, two end points and a saddle; "
            f"found {calls}"
        )
    asked = _Asked(images[0], teacher, student, checkpoint)
    energies = np.array([asked.by_student(image.positions)[0] for image in images])
    saddle, began_with = int(np.argmax(energies)), float(energies.max() - energies[0])
    mobile = np.flatnonzero(mobile_atoms(images[0]))
    band = [image.copy() for image in images]
    for place in (0, saddle, len(band) - 1):
        asked.at(band[place].positions)
    problem = ""
    while True:
        surface = Discrepancy(asked.calls, mobile)
        band, energies = _relaxed(config, Corrected(student, surface), band)
        saddle = int(np.argmax(energies))
        places = {0: 1.0, saddle: 1.0, len(band) - 1: 0.5}
        # What is not known of each: by the process, or by the teacher's own force nearby.
        unknown = {
            place: weight * asked.unknown(config, surface, band[place].positions, place == saddle)
            for place, weight in places.items()
        }
        worst = max(unknown, key=lambda place: unknown[place])
        if unknown[worst] <= _KNOWN or len(asked.calls) >= calls:
            break
        try:
            asked.at(band[worst].positions)
        except UserError as error:
            problem = str(error)
            break
    first, top = (surface.deviation(band[place].positions) for place in (0, saddle))
    return TeacherPath(
        barrier=float(energies[saddle] - energies[0]),
        reaction_energy=float(energies[-1] - energies[0]),
        student_barrier=began_with,
        deviation=float(np.hypot(first, top)),
        calls=len(asked.calls),
        converged=bool(unknown[worst] <= _KNOWN),
        problem=problem,
    )


class _Asked:
    """Calls of teacher and student so far, kept in a file."""

    def __init__(
        self, like: Atoms, teacher: Calculator, student: Calculator, checkpoint: Path | None
    ) -> None:
        self.by_teacher, self.by_student = Forces(like, teacher), Forces(like, student)
        self._mobile = mobile_atoms(like)
        self._checkpoint = checkpoint
        self.calls: list[Called] = []
        # The teacher's own energies and forces, by call.
        self._said: list[tuple[float, np.ndarray]] = []
        state = load_state(checkpoint) or {"positions": [], "energies": [], "forces": []}
        self._kept = list(zip(*state.values(), strict=True))

    def at(self, positions: np.ndarray) -> None:
        """Call both; a call that is kept already costs nothing."""
        known = len(self.calls)
        if known < len(self._kept) and np.array_equal(self._kept[known][0], positions):
            energy, forces = float(self._kept[known][1]), self._kept[known][2]
        else:
            energy, forces = self.by_teacher(positions)
            kept = (positions.copy(), energy, forces)
            self._kept = [*self._kept[:known], kept]
            columns = (np.array(column) for column in zip(*self._kept, strict=True))
            state = dict(zip(("positions", "energies", "forces"), columns, strict=True))
            save_state(self._checkpoint, state)
        lower, pulled = self.by_student(positions)
        self.calls.append(Called(positions.copy(), energy - lower, forces - pulled))
        self._said.append((energy, forces))

    def unknown(
        self, config: PathConfig, surface: Discrepancy, positions: np.ndarray, at_saddle: bool
    ) -> float:
        """What is not known of the energy at positions, eV; more than that if it is not at rest.

        Where the teacher was called within a hundredth of an ångström, its forces have to be small
        enough there.
        """
        deviation = surface.deviation(positions)
        moved = [float(np.linalg.norm(call.positions - positions)) for call in self.calls]
        nearest = int(np.argmin(moved))
        forces = np.where(self._mobile[:, None], self._said[nearest][1], 0.0)
        largest = float(np.linalg.norm(forces, axis=1).max())
        bound = config.fmax if at_saddle or not config.relax_ends else _END_FORCE * config.fmax
        if not config.relax_ends and not at_saddle:
            return deviation
        # A force over the way that is left to go.
        return max(deviation, largest * moved[nearest] if largest > bound else 0.0)


def _relaxed(
    config: PathConfig, surface: Calculator, band: Sequence[Atoms]
) -> tuple[list[Atoms], np.ndarray]:
    """End points and band on a surface, and energies along it, eV."""
    images = [image.copy() for image in band]
    if config.relax_ends:
        for end in (images[0], images[-1]):
            end.calc = surface
            BFGS(end, maxstep=MAX_STEP, logfile=os.devnull).run(
                fmax=0.1 * config.fmax, steps=config.max_steps
            )
            end.calc = None
    found = relaxed_band(config, surface, images)
    energies = found.energies
    for image in found.images:
        image.calc = None
    return found.images, energies


@dataclass(frozen=True)
class TeacherPathUnit(Unit):
    """The teacher's barrier from a student's path; its numbers are those of `TeacherPath`.

    Attributes
    ----------
    model, student
        Teacher and student.
    config
        The path.
    images
        File of the student's images.
    calls
        Of the teacher, at most.
    """

    model: ModelSpec
    student: ModelSpec
    config: NebConfig
    images: Path
    calls: int

    def settings(self) -> dict[str, Any]:
        """Both models by their contents, the images by theirs."""
        return {**super().settings(), "student": model_identity(self.student)}

    def work(self) -> dict[str, Any]:
        """Call the teacher as long as it takes."""
        teacher = cached_calculator(self.model, dtype="float64")
        start, _ = end_points(self.config, teacher)
        images = fitted_to_cell(read_structures(self.images, require=()), start)
        path = converged_by_teacher(
            self.config,
            teacher,
            cached_calculator(self.student),
            images,
            calls=self.calls,
            checkpoint=self.parts / "calls.npz",
        )
        return vars(path)
