"""Lattice constants against temperature at the teacher's level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.fingerprint import model_identity
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.metrics.teacher_level import teacher_mean
from distill.models.cached_calculators import ModelSpec
from distill.models.calculators import load_calculator
from distill.observables.base import STUDENT
from distill.observables.bulk.bulk import curve_unit
from distill.observables.bulk.config import BulkConfig
from distill.observables.teacher_level import TeacherNumber, calls_folder, numbers_of, thinned
from distill.simulation.dynamics import Forces
from distill.systems.config import NptConfig
from distill.systems.crystals import lattice_constant_at

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class LatticeCallsUnit(Unit):
    """A student's run at constant pressure, and calls of the teacher on the way.

    Leaves `NAME.npz`; the numbers are the teacher's `calls`, how many `failed`, and the `reason`
    why the run gives nothing, if any.

    Attributes
    ----------
    model, student
        Teacher and student.
    crystal
        Relaxed by the student.
    temperature
        K.
    config
        Of the run.
    calls
        Of the teacher, evenly apart.
    """

    model: ModelSpec
    student: ModelSpec
    crystal: Atoms
    temperature: float
    config: NptConfig
    calls: int
    seed: int

    def settings(self) -> dict[str, Any]:
        """Both models by their contents."""
        return {**super().settings(), "student": model_identity(self.student)}

    def files(self) -> list[Path]:
        """Lattice constants (Å) and differences (eV) of every step."""
        return [self.folder / f"{self.name}.npz"]

    def series(self) -> tuple[np.ndarray, np.ndarray]:
        """Lattice constants, Å, and energies of the teacher minus the student's, eV, (1, steps)."""
        with np.load(self.files()[0], allow_pickle=False) as data:
            return data["lengths"][None], data["differences"][None]

    def work(self) -> dict[str, Any]:
        """Do the run."""
        teacher = load_calculator(self.model)
        steps = round(self.config.time / self.config.time_step) + 1
        places = set(thinned(steps, self.calls))
        lengths: list[float] = []
        differences: list[float] = []
        failed: list[str] = []

        def look(atoms: Atoms, length: float) -> None:
            difference = np.nan
            if len(lengths) in places:
                try:
                    exact = Forces(atoms, teacher)(atoms.positions)[0]
                    difference = exact - float(atoms.get_potential_energy())
                except UserError as error:
                    failed.append(f"step {len(lengths)}: {error}")
            lengths.append(length)
            differences.append(difference)

        found = lattice_constant_at(
            self.crystal,
            load_calculator(self.student),
            self.temperature,
            config=self.config,
            generator=stream(self.seed, "lattice constant", STUDENT, self.temperature),
            look=look,
        )
        if failed:
            say(f"{self.name}: {len(failed)} calls of the teacher failed, the first at {failed[0]}")
        with atomic_path(self.files()[0]) as temporary:
            np.savez(temporary, lengths=np.array(lengths), differences=np.array(differences))
        return {
            "calls": int(np.isfinite(differences).sum()) + len(failed),
            "failed": len(failed),
            "reason": found.get("reason", ""),
        }


def bulk_teacher_level(
    config: BulkConfig, teacher: ModelSpec, student: ModelSpec, calls: int, work: WorkFolder
) -> list[TeacherNumber]:
    """The teacher's lattice constants, from the student's runs at constant pressure.

    Their weights are those of the isothermal-isobaric ensemble at one pressure, in which the work
    against it is the same for both models.

    Parameters
    ----------
    config
        Crystal and thermal expansion; without the latter there are none.
    teacher, student
        What `distill.models.calculators.load_calculator` takes.
    calls
        Of the teacher, at each temperature.
    work
        Folder of the observable.

    Raises
    ------
    UserError
        As `run_bulk`, or if the calls are too few for an interval.
    """
    if config.thermal_expansion is None:
        return []
    properties = work.sub("properties")
    curve = curve_unit(config, STUDENT, student, properties)
    properties.run([curve], "energy-volume curves")
    units = [
        LatticeCallsUnit(
            calls_folder(work, teacher),
            f"lattice_constant_{temperature:g}K",
            model=teacher,
            student=student,
            crystal=curve.relaxed(),
            temperature=temperature,
            config=config.thermal_expansion.dynamics(),
            calls=calls,
            seed=work.seed,
        )
        for temperature in config.thermal_expansion.temperatures
    ]
    work.run(units, "lattice constants: calls of the teacher")
    found: list[TeacherNumber] = []
    for unit in units:
        if reason := unit.numbers()["reason"]:
            say(f"{unit.name}: no number at the teacher's level: {reason}")
            continue
        lengths, differences = unit.series()
        mean = teacher_mean(
            lengths[..., None],
            differences,
            unit.temperature,
            block=lengths.shape[1] // unit.config.blocks,
            confidence=config.confidence,
        )
        place: dict[str, str | float] = {"temperature": unit.temperature}
        found += numbers_of(mean, "lattice constant", "Å", [place])
    return found
