"""Lattice constants and bulk moduli over temperature at the teacher's level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa, kB

from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.results import Interval
from distill.core.work import Unit, WorkFolder
from distill.metrics.isochores import Isochore, crossing, teacher_crossing
from distill.models.base import Predictions
from distill.models.cached_calculators import ModelSpec, cached_model
from distill.observables.base import STUDENT
from distill.observables.bulk.bulk import (
    LatticeUnit,
    checked_crystal,
    curve_unit,
    lattice_units,
)
from distill.observables.bulk.config import BulkConfig
from distill.observables.bulk.result import LatticeConstant
from distill.observables.teacher_level import (
    Array,
    EnergiesUnit,
    TeacherNumber,
    calls_folder,
    comment_on,
)
from distill.simulation.config import DynamicsConfig
from distill.simulation.trajectory import TrajectoryUnit
from distill.systems.supercells import supercell

if TYPE_CHECKING:
    from ase import Atoms

# Half of what the logarithms of both volumes differ by, at least: half a percent of the length.
_HALF_WIDTH = 0.015
# fs; pressures a vibration apart or less say little more.
_SAVE_EVERY = 20.0
# 1/fs: near to what makes a vibration of a crystal forget soonest.
_FRICTION = 0.03


@dataclass(frozen=True)
class PressuresUnit(EnergiesUnit):
    """Energies (eV) and pressures (eV/Å³, without that of the motion), (frames, 2)."""

    def answers(self, model: ModelSpec) -> Callable[[Array], Array]:
        """Energy and pressure of positions, by a model."""
        family, atoms = cached_model(model), self.like.copy()

        def answer(positions: Array) -> Array:
            atoms.positions[:] = positions
            return _energy_and_pressure(family.predict([atoms], stress=True))

        return answer


@dataclass(frozen=True)
class _AtRestUnit(Unit):
    """Pressure of a crystal whose atoms are at rest, eV/Å³."""

    model: ModelSpec
    crystal: Atoms

    def work(self) -> float:
        found = cached_model(self.model).predict([self.crystal], stress=True)
        return float(_energy_and_pressure(found)[1])


@dataclass(frozen=True)
class _At:
    """A temperature: the student's lattice constant (Å), runs at two volumes, and calls on them."""

    lattice: LatticeUnit
    length: float
    runs: list[TrajectoryUnit]
    calls: list[PressuresUnit]


def bulk_teacher_level(
    config: BulkConfig, teacher: ModelSpec, student: ModelSpec, calls: int, work: WorkFolder
) -> list[TeacherNumber]:
    """Lattice constant and isothermal bulk modulus of the teacher at each temperature.

    One call on the cell at rest says about where the teacher's volume is. The student runs at two
    volumes around it, half of the other calls are made on frames of each, and the teacher's mean
    pressures there give its volume at the pressure of the config; see `distill.metrics.isochores`.

    Parameters
    ----------
    config
        Crystal, temperatures and dynamics; without `thermal_expansion` there is no number.
    teacher, student
        What `distill.models.calculators.load_calculator` takes.
    calls
        Of the teacher, at each temperature.
    work
        Folder of the observable's units, seed, and where they run.

    Raises
    ------
    UserError
        If a model gives no stress. A temperature that has no number is said and left out.
    """
    if not config.thermal_expansion:
        return []
    properties, folder = work.sub("properties"), calls_folder(work, teacher)
    curve_of = curve_unit(config, STUDENT, student, checked_crystal(config), properties)
    work.run([curve_of], "energy-volume curves")
    curve = curve_of.curve()
    lattices = lattice_units(config, STUDENT, student, curve_of.relaxed(), properties)
    work.run(lattices, "bulk")
    good = []
    for lattice in lattices:
        lattice_constant = LatticeConstant.model_validate(lattice.numbers())
        if lattice_constant.lattice_constant is None:
            _say_left_out(lattice, lattice_constant.reason)
        else:
            good.append((lattice, lattice_constant.lattice_constant))
    at_rest = [
        [
            _AtRestUnit(
                folder,
                f"{level}_at_rest_{lattice.temperature:g}K",
                model,
                _stretched(lattice.crystal, length),
            )
            for level, model in (("teacher", teacher), ("student", student))
        ]
        for lattice, length in good
    ]
    work.run([unit for both in at_rest for unit in both], "bulk: cells at rest")
    places = []
    for (lattice, length), (by_teacher, by_student) in zip(good, at_rest, strict=True):
        shift = (by_teacher.numbers() - by_student.numbers()) / curve.bulk_modulus
        runs = _runs(lattice, length, shift, folder)
        places.append(_At(lattice, length, runs, _calls(runs, teacher, calls)))
    work.run([run for at in places for run in at.runs], "bulk: runs at two volumes")
    places = [at for at in places if _went_well(at)]
    work.run([unit for at in places for unit in at.calls], "bulk: calls of the teacher")
    found: list[TeacherNumber] = []
    for at in places:
        try:
            found += _numbers(at, curve.bulk_modulus_derivative, config.confidence)
        except UserError as error:
            _say_left_out(at.lattice, str(error))
    return found


def _energy_and_pressure(found: Predictions) -> Array:
    """Of the one structure that was asked for, eV and eV/Å³."""
    [energy], [stress] = found.energies, found.stresses
    if stress is None:
        raise UserError(
            "lattice constants at the teacher's level need stresses, which a model does not give: "
            "leave out compare.bulk.thermal_expansion or teacher_calls and reference_calls"
        )
    return np.array([energy, -stress[:3].mean()])


def _stretched(crystal: Atoms, length: float) -> Atoms:
    """A cubic crystal with another lattice constant, Å."""
    atoms: Atoms = crystal.copy()
    atoms.set_cell(crystal.cell * length / crystal.cell.lengths()[0], scale_atoms=True)
    return atoms


def _runs(lattice: LatticeUnit, length: float, shift: float, folder: Path) -> list[TrajectoryUnit]:
    """Runs at two volumes, rising, around the volume at a length (Å) times the exponent of a shift.

    The student's own volume lies between them.
    """
    npt = lattice.config
    config = DynamicsConfig(
        time=npt.time,
        equilibration_time=npt.equilibration_time,
        time_step=npt.time_step,
        friction=_FRICTION,
        save_every=min(max(_SAVE_EVERY, npt.time_step), npt.time),
    )
    half = max(_HALF_WIDTH, abs(shift))
    return [
        TrajectoryUnit(
            folder,
            f"isochore_{lattice.temperature:g}K_{number}",
            model=lattice.model,
            start=supercell(_stretched(lattice.crystal, length * np.exp(side / 3)), npt.supercell),
            config=config,
            ensemble="nvt",
            quantity="positions",
            temperature=lattice.temperature,
            number=number,
            seed=lattice.seed,
        )
        for number, side in enumerate((shift - half, shift + half))
    ]


def _calls(runs: Sequence[TrajectoryUnit], teacher: ModelSpec, calls: int) -> list[PressuresUnit]:
    # The call on the cell at rest is one of them.
    each = (calls - 1) // len(runs)
    return [
        PressuresUnit.of_run(run, f"calls_on_{run.name}", teacher, each, run.folder) for run in runs
    ]


def _went_well(at: _At) -> bool:
    problems = [run.problem for run in at.runs if run.problem]
    if problems:
        _say_left_out(at.lattice, problems[0])
    return not problems


def _say_left_out(lattice: LatticeUnit, reason: str) -> None:
    at = f"{lattice.temperature:g} K"
    say(f"bulk: at {at} there is no lattice constant at the teacher's level: {reason}")


def _isochore(run: TrajectoryUnit, unit: PressuresUnit) -> Isochore:
    """The student's pressures have the motion's part of a crystal that rests as a whole."""
    volume = float(run.start.get_volume())
    by_student, by_teacher = unit.answered()
    differences = by_teacher - by_student
    motion = (len(run.start) - 1) * kB * run.temperature / volume
    return Isochore(
        volume=volume,
        energies=by_student[None, :, 0],
        pressures=by_student[None, :, 1] + motion,
        differences=differences[None, :, 0],
        corrections=differences[None, :, 1],
    )


def _numbers(at: _At, derivative: float, confidence: float) -> list[TeacherNumber]:
    """Lattice constant and bulk modulus at a temperature."""
    temperature, npt = at.lattice.temperature, at.lattice.config
    isochores = [_isochore(*both) for both in zip(at.runs, at.calls, strict=True)]
    of_teacher, means = teacher_crossing(
        isochores,
        temperature,
        pressure=npt.pressure,
        derivative=derivative,
        confidence=confidence,
    )
    of_student = crossing(
        [isochore.volume for isochore in isochores],
        [float(mean.student) for mean in means],
        [0.0, 0.0],
        temperature,
        pressure=npt.pressure,
        derivative=derivative,
    )
    cells = float(np.prod(npt.supercell)) ** (1 / 3)
    calls = 1 + sum(mean.calls for mean in means)
    form = " and ".join(dict.fromkeys(mean.form for mean in means))
    comment = next((text for text in map(comment_on, means) if text), "")
    if not 0 <= of_teacher.place <= 1:
        comment = "it lies outside the two volumes that the student ran at: more alike models"

    def number(
        quantity: str, value: float, interval: Interval, student: float, unit: str
    ) -> TeacherNumber:
        return TeacherNumber(
            quantity=quantity,
            place={"temperature": temperature},
            value=value,
            interval=interval,
            student=student,
            unit=unit,
            form=form,
            calls=calls,
            comment=comment,
        )

    low, high = of_teacher.edge_interval
    least, most = of_teacher.bulk_modulus_interval
    return [
        number(
            "lattice constant",
            of_teacher.edge / cells,
            (low / cells, high / cells),
            of_student.edge / cells,
            "Å",
        ),
        number(
            "isothermal bulk modulus",
            of_teacher.bulk_modulus / GPa,
            (least / GPa, most / GPa),
            of_student.bulk_modulus / GPa,
            "GPa",
        ),
    ]
