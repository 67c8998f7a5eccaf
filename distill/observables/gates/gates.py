"""Runs and probes of the gates, a unit of work each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from distill.core.errors import UserError
from distill.core.parts import STEPS_IN_PART, UNDER_WAY, Part, in_parts, lengths_of_parts
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.data.structures import read_structures
from distill.models.cached_calculators import ModelSpec
from distill.models.calculators import load_calculator
from distill.observables.base import REFERENCE, STUDENT
from distill.observables.gates.config import GatesConfig
from distill.observables.gates.force_checks import (
    curl,
    extensivity,
    gradient_residual,
    largest_jump,
)
from distill.observables.gates.result import Drift, ForceChecks, GatesResult, HotRuns
from distill.simulation.dynamics import (
    Step,
    begin_at,
    end_of,
    langevin,
    up_to,
    velocity_verlet,
)
from distill.student.uncertainty.grading import unwatched
from distill.systems.constraints import mobile_atoms

_HYDROGEN = 1
# Times its temperature, above which a run has blown up.
_TOO_HOT = 10.0
_FS_PER_NS = 1e6
_CONFIDENCE = 0.95
# Steps between the energies that a drift is fitted to.
_EVERY = 5


@dataclass(frozen=True)
class RunUnit(Unit):
    """One run from one structure, all of whose atoms are free, with random velocities.

    Attributes
    ----------
    ensemble
        By Newton's equations, or by Langevin's.
    temperature
        K; of the velocities and, in Langevin's, of the thermostat.
    time, time_step, friction
        fs, fs, 1/fs.
    number, seed
        Name its random stream.
    """

    model: ModelSpec
    start: Atoms
    ensemble: Literal["nve", "hot"]
    temperature: float
    time: float
    time_step: float
    friction: float
    number: int
    seed: int

    def work(self) -> dict[str, Any]:
        """How long it lasted, why it ended, and how energy and momentum drifted."""
        parts = in_parts(self.parts, self._part)
        lasted = min(int(parts[-1]["reached"]) * self.time_step, self.time)
        problem = str(parts[-1]["problem"])
        times, energies = (
            np.concatenate([part[name] for part in parts]) for name in ("times", "energies")
        )
        per_ns = _FS_PER_NS / len(self.start)
        whole = not problem and len(times) > 2
        slope = float(np.polyfit(times, energies, 1)[0]) if whole else None
        change = float(np.linalg.norm(parts[-1]["last_momentum"] - parts[0]["first_momentum"]))
        return {
            "time": lasted,
            "problem": problem,
            "energy_drift": None if slope is None else slope * per_ns,
            "momentum_drift": change * per_ns / lasted if whole else None,
            "looks": sum(int(part["looks"]) for part in parts),
            "outside": sum(int(part["outside"]) for part in parts),
        }

    def _part(self, before: Part | None, number: int) -> Part:
        """Steps of a part of the run, from where the one before it ended."""
        from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

        atoms = self.start.copy()
        # Held atoms take up momentum.
        atoms.set_constraint()
        name = ("gates", self.ensemble, self.temperature, self.number)
        generator = stream(self.seed, *name, *([number] if number else []))
        if before is None:
            MaxwellBoltzmannDistribution(atoms, temperature_K=self.temperature, rng=generator)
            Stationary(atoms, preserve_temperature=False)
        else:
            begin_at(atoms, before)
        calculator = load_calculator(self.model)
        if self.ensemble == "nve":
            steps = velocity_verlet(atoms, calculator, self.time_step)
        else:
            steps = langevin(
                atoms,
                calculator,
                time_step=self.time_step,
                temperature=self.temperature,
                friction=self.friction,
                generator=generator,
            )
        part = self._followed(atoms, steps, number)
        # Loaded for this part alone, so that the watch counts nothing else.
        watch = getattr(getattr(calculator, "student", None), "watch", None)
        return part | {name: getattr(watch, name, 0) for name in ("looks", "outside")}

    def _followed(self, atoms: Atoms, steps: Iterator[Step], number: int) -> Part:
        lengths = lengths_of_parts(math.ceil(self.time / self.time_step), STEPS_IN_PART)
        begun = number * STEPS_IN_PART
        per_kelvin = 1.5 * max(int(mobile_atoms(atoms).sum()), 1) * units.kB
        masses = atoms.get_masses()[:, None]
        times, energies = [], []
        momentum = np.zeros((2, 3))
        reached, problem, ends = begun, "", Part()
        try:
            for step in up_to(lengths[number], steps):
                temperature = step.kinetic / per_kelvin
                # Written so that NaN, which compares false, counts as too hot.
                if not temperature <= _TOO_HOT * self.temperature:
                    problem = f"temperature of {temperature:.3g} K"
                    break
                reached, ends = begun + step.index, end_of(step)
                momentum[min(step.index, 1)] = (masses * step.velocities).sum(axis=0)
                # The first step of a part is the last of the part before it.
                if reached % _EVERY == 0 and (step.index or not number):
                    times.append(reached * self.time_step)
                    energies.append(step.energy + step.kinetic)
        except UserError as error:
            problem = str(error)
        return {
            UNDER_WAY: not problem and number + 1 < len(lengths),
            "times": np.array(times),
            "energies": np.array(energies),
            "first_momentum": momentum[0],
            "last_momentum": momentum[1],
            "reached": reached,
            "problem": problem,
            **ends,
        }


@dataclass(frozen=True)
class ProbeUnit(Unit):
    """What needs no dynamics: of the forces of any model, and more of the student."""

    model: ModelSpec
    structures: tuple[Atoms, ...]
    probes: int
    whole: bool
    seed: int

    def work(self) -> dict[str, float]:
        """Compute it."""
        calculator = load_calculator(self.model)
        # Probes go outside the training data on purpose.
        with unwatched(calculator):
            return self._probed(calculator)

    def _probed(self, calculator: Calculator) -> dict[str, float]:
        found = {
            "gradient_residual": gradient_residual(
                calculator, self.structures, self.probes, stream(self.seed, "gates", "gradient")
            ),
            "curl": curl(calculator, self.structures, 1, stream(self.seed, "gates", "curl")),
        }
        if self.whole:
            generator = stream(self.seed, "gates", "path")
            jumps = [largest_jump(calculator, atoms, generator) for atoms in self.structures]
            doubled = [extensivity(calculator, atoms) for atoms in self.structures]
            found["smoothness"] = max(jumps)
            found["extensivity"] = max(map(abs, doubled))
        return found


def run_gates(
    config: GatesConfig, models: Mapping[str, ModelSpec], work: WorkFolder
) -> GatesResult:
    """Run the student, and probe its forces and those of every model but the reference.

    Without a model called student the last one is run.

    Raises
    ------
    UserError
        If no structures are given, or a model cannot be evaluated on them.
    """
    name = STUDENT if STUDENT in models else list(models)[-1]
    starts = starting_structures(config)
    step = config.time_step or (0.5 if any(_HYDROGEN in a.numbers for a in starts) else 1.0)
    kinds: list[tuple[Literal["nve", "hot"], float]] = [
        ("nve", config.temperature),
        ("hot", config.temperature),
        ("hot", 2 * config.temperature),
    ]
    runs = {
        (ensemble, temperature): [
            RunUnit(
                work.path,
                f"{ensemble}_{temperature:g}K_{number:02d}",
                model=models[name],
                start=starts[number % len(starts)],
                ensemble=ensemble,
                temperature=temperature,
                time=config.time,
                time_step=step,
                friction=config.friction,
                number=number,
                seed=work.seed,
            )
            for number in range(config.runs)
        ]
        for ensemble, temperature in kinds
    }
    probed = [model for model in models if model == name or model != REFERENCE]
    probes = {
        model: ProbeUnit(
            work.path,
            f"forces_{model}",
            model=models[model],
            structures=tuple(starts),
            probes=config.probes,
            whole=model == name,
            seed=work.seed,
        )
        for model in probed
    }
    work.run([*(u for group in runs.values() for u in group), *probes.values()], "gates")
    free = [unit.numbers() for unit in runs["nve", config.temperature]]
    drifts = [numbers["energy_drift"] for numbers in free]
    momenta = [numbers["momentum_drift"] for numbers in free]
    own = probes[name].numbers()
    return GatesResult(
        model=name,
        time=config.time,
        time_step=step,
        hot=[
            HotRuns(
                temperature=temperature,
                times=[unit.numbers()["time"] for unit in group],
                problems=[u.numbers()["problem"] for u in group if u.numbers()["problem"]],
            )
            for (ensemble, temperature), group in runs.items()
            if ensemble == "hot"
        ],
        energy_drift=None if None in drifts else _mean(drifts),
        momentum_drift=None if None in momenta else max(momenta),
        extensivity=own["extensivity"],
        smoothness=own["smoothness"],
        looks=sum(unit.numbers()["looks"] for group in runs.values() for unit in group),
        outside=sum(unit.numbers()["outside"] for group in runs.values() for unit in group),
        forces={
            model: ForceChecks(**{key: unit.numbers()[key] for key in ForceChecks.model_fields})
            for model, unit in probes.items()
        },
    )


def starting_structures(config: GatesConfig) -> list[Atoms]:
    """As many structures as there are runs, spread over the file; more leave the first as they are.

    Their places are those of the van der Corput sequence: the first, the middle, the quarters.

    Raises
    ------
    UserError
        If there is no file, or it cannot be read.
    """
    from scipy.stats.qmc import Halton

    if config.structures is None:
        raise UserError(
            "compare.gates.structures: expected a file of structures to start from; outside a "
            "workflow there are no held-out ones"
        )
    structures = read_structures(config.structures, require=())
    shares = Halton(1, scramble=False).random(config.runs).ravel()
    places = dict.fromkeys((shares * len(structures)).astype(int).tolist())
    return [structures[place] for place in places]


def _mean(values: Sequence[float]) -> Drift:
    from scipy.stats import t

    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    half = float(t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1)) * error
    return Drift(value=mean, interval=(mean - half, mean + half))
