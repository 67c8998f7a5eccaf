"""The outer step of multiple time steps: measured for each pair of models, or given and tested.

The total energy by the teacher is followed at constant energy. What a step is too long for shows in
its scatter, which grows with the square of the step, and in a drift, which says that the correction
resonates with a vibration. Both are measured on the hottest structure that the runs will see,
thermalised by the student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.fingerprint import model_identity
from distill.core.parts import UNDER_WAY, Part, in_parts
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.metrics.autocorrelation import statistical_inefficiency
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.config import MultipleTimeStepsConfig
from distill.simulation.dynamics import thermalise, velocity_verlet
from distill.simulation.multiple_time_steps import MultipleTimeSteps, TwoModels

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

_FS_PER_NS = 1e6
# The student brings the structure to its temperature.
_FRICTION, _THERMALISATION = 0.02, 1000.0
# Corrections in a test at least, for a line and what scatters about it.
_FEWEST = 8
_MEASURED = ("outer_step", "error", "drift", "drift_error")


@dataclass(frozen=True)
class EnergyTest:
    """Conservation of the teacher's total energy with one outer step.

    Attributes
    ----------
    outer_step
        fs.
    error
        Root mean square about the line of its drift, eV/atom.
    drift, drift_error
        Slope of the line and its standard error, eV/atom/ns.
    calls
        Of the teacher.
    problem
        Why the run ended early; empty for a whole one.
    """

    outer_step: float
    error: float
    drift: float
    drift_error: float
    calls: int
    problem: str = ""

    def fault(self, config: MultipleTimeStepsConfig) -> str:
        """What is wrong with the step, in words; empty for one that will do.

        A drift has to exceed its bound by two standard errors to be one.
        """
        if self.problem:
            return f"the run ended early: {self.problem}"
        if not self.error <= config.max_energy_error:
            return (
                f"the total energy scatters by {self.error:.2g} eV/atom, above max_energy_error "
                f"{config.max_energy_error:g}"
            )
        if not abs(self.drift) - 2 * self.drift_error <= config.max_drift:
            return (
                f"the total energy drifts by {self.drift:.2g} eV/atom/ns, above max_drift "
                f"{config.max_drift:g}: the step resonates with a vibration"
            )
        return ""


def energy_test(
    atoms: Atoms,
    teacher: Calculator,
    student: Calculator,
    *,
    time_step: float,
    inner_steps: int,
    time: float,
) -> EnergyTest:
    """Follow the teacher's total energy over some time at constant energy.

    Parameters
    ----------
    atoms
        A thermal structure with momenta; not changed.
    teacher, student
        ASE calculators.
    time_step, inner_steps
        Of the student, fs, and how many there are to an outer step.
    time
        fs; eight outer steps at least.
    """
    outer_step = inner_steps * time_step
    steps = max(round(time / outer_step), _FEWEST)
    # The grade is another matter: a step that the teacher takes says nothing of the splitting.
    both = MultipleTimeSteps(teacher, student, inner_steps, max_grade=np.inf)
    energies, problem = [], ""
    try:
        for step in velocity_verlet(atoms, both, time_step):
            energies.append(step.energy + step.kinetic)
            if not np.isfinite(energies[-1]):
                problem = "the total energy is not finite"
            if problem or len(energies) > steps:
                break
    except UserError as error:
        problem = str(error)
    if problem:
        return EnergyTest(outer_step, np.inf, np.inf, 0.0, len(energies), problem)
    totals = np.array(energies) / len(atoms)
    times = np.arange(len(totals)) * outer_step / _FS_PER_NS
    slope, offset = np.polyfit(times, totals, 1)
    left = totals - offset - slope * times
    independent = len(left) / float(statistical_inefficiency(left[None]))
    scatter = float(np.sqrt(np.mean(left**2)))
    spread = scatter / float(np.std(times)) / np.sqrt(max(independent - 2, 1))
    return EnergyTest(outer_step, scatter, float(slope), float(spread), len(energies))


@dataclass(frozen=True)
class OuterStepUnit(Unit):
    """The longest outer step of a pair of models that a test allows.

    The numbers are `inner_steps`, the `tests` and the teacher's `calls`.

    Attributes
    ----------
    model, student
        Teacher and student.
    start
        The structure, with its constraints.
    temperature
        The highest of the runs, K.
    time_step
        Of the student, fs.
    candidates
        Inner steps of each outer step to be tested, rising; the test ends with the first that is
        too long.
    config
        Bounds and time of the test.
    """

    model: ModelSpec
    student: ModelSpec
    start: Atoms
    temperature: float
    time_step: float
    candidates: tuple[int, ...]
    config: MultipleTimeStepsConfig
    seed: int

    def settings(self) -> dict[str, Any]:
        """Its models, start and bounds; the grade is none of them."""
        bounds = self.config.model_dump(exclude={"max_grade", "outer_step"})
        return {**super().settings(), "student": model_identity(self.student), "config": bounds}

    def work(self) -> dict[str, Any]:
        """Test one step after the other."""
        generator = stream(self.seed, "outer step", self.temperature)
        try:
            atoms, _ = thermalise(
                self.start,
                self.student,
                self.temperature,
                lambda _: generator,
                time_step=self.time_step,
                friction=_FRICTION,
                time=_THERMALISATION,
            )
        except UserError as error:
            raise UserError(
                f"the student cannot bring the structure to {self.temperature:g} K, from where "
                f"outer steps are tested: {error}; a student that knows this temperature is needed"
            ) from None

        def tested(_: Part | None, number: int) -> Part:
            test = energy_test(
                atoms,
                cached_calculator(self.model),
                cached_calculator(self.student),
                time_step=self.time_step,
                inner_steps=self.candidates[number],
                time=self.config.test_time,
            )
            last = number + 1 == len(self.candidates) or test.fault(self.config)
            return {UNDER_WAY: not last, **vars(test)}

        parts = in_parts(self.parts, tested) if self.candidates else []
        tests = [
            EnergyTest(
                **{name: float(part[name]) for name in _MEASURED},
                calls=int(part["calls"]),
                problem=str(part["problem"]),
            )
            for part in parts
        ]
        passed = [
            steps
            for steps, test in zip(self.candidates, tests, strict=False)
            if not test.fault(self.config)
        ]
        return {
            "inner_steps": passed[-1] if passed else 1,
            "fault": tests[-1].fault(self.config) if tests else "",
            "tests": [vars(test) for test in tests],
            "calls": sum(test.calls for test in tests),
        }


def with_steps_of(
    student: str,
    models: Mapping[str, ModelSpec],
    work: WorkFolder,
    *,
    start: Atoms | Mapping[str, Atoms],
    temperatures: Sequence[float],
    time_step: float,
    steps: tuple[int, ...],
    config: MultipleTimeStepsConfig,
    where: str,
) -> dict[str, ModelSpec]:
    """Models by name; the dynamics of all but the student take its steps in between.

    Parameters
    ----------
    student
        Name of the student among the models.
    models
        What `distill.models.calculators.load_calculator` takes, by name.
    work
        Folder of the tests, which are units of work, seed, and where they run.
    start
        The structure of the runs, or that of each model.
    temperatures
        Of the runs, K.
    time_step
        fs.
    steps
        Inner steps of the outer steps that fit the runs, rising.
    config
        Outer step and bounds.
    where
        Section of the config, for messages.

    Raises
    ------
    UserError
        If there is no such student, or a given outer step does not pass the test.
    """
    if student not in models:
        raise UserError(
            f"{where}.engine: multiple_time_steps needs a model called {student}, found "
            f"{', '.join(models)}"
        )
    units = {
        name: OuterStepUnit(
            work.path,
            f"outer_step_{name}",
            model=teacher,
            student=models[student],
            start=start[name] if isinstance(start, Mapping) else start,
            temperature=max(temperatures),
            time_step=time_step,
            candidates=steps,
            config=config,
            seed=work.seed,
        )
        for name, teacher in models.items()
        if name != student
    }
    work.run(list(units.values()), f"{where}: outer steps")
    pairs = dict(models)
    for name, unit in units.items():
        numbers = unit.numbers()
        inner_steps, fault = int(numbers["inner_steps"]), str(numbers["fault"])
        if config.outer_step is not None and fault:
            raise UserError(
                f"{where}.multiple_time_steps: an outer step of {config.outer_step:g} fs does not "
                f"do for the {name}: {fault}; give a shorter one, or none to have it measured"
            )
        say(
            f"{where}: the {name} corrects the student's steps every {inner_steps * time_step:g} fs"
            + (f"; at {numbers['tests'][-1]['outer_step']:g} fs {fault}" if fault else "")
        )
        pairs[name] = TwoModels(models[name], models[student], inner_steps, config.max_grade)
    return pairs
