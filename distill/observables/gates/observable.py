"""Gates as an observable: tables and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from distill.core.quantities import MEV
from distill.core.results import Interval
from distill.core.work import WorkFolder
from distill.observables.base import TEACHER, Card, Check, Observable, Row, within
from distill.observables.gates.config import GatesConfig, GateTolerances
from distill.observables.gates.gates import run_gates, starting_structures
from distill.observables.gates.result import GatesResult

if TYPE_CHECKING:
    from distill.models.cached_calculators import ModelSpec

# Residual of a teacher whose forces are no gradient, eV/Å, and its share of antisymmetry.
_RESIDUAL, _CURL = 5e-3, 0.02


class Gates(Observable[GatesResult]):
    """Whether the student is sound to run."""

    name: ClassVar = "gates"
    title: ClassVar = "Gates"
    Config: ClassVar = GatesConfig
    Tolerances: ClassVar = GateTolerances
    Result: ClassVar = GatesResult
    held_out_option: ClassVar = "structures"

    def refuse(self, config: GatesConfig, tolerances: GateTolerances) -> None:
        """Refuse a file that cannot be read."""
        if config.structures is not None:
            starting_structures(config)

    def run(
        self, config: GatesConfig, models: Mapping[str, ModelSpec], work: WorkFolder
    ) -> GatesResult:
        """See `run_gates`."""
        return run_gates(config, models, work)

    def rows(self, result: GatesResult) -> dict[str, list[Row]]:
        """One row for each gate, and one for the forces of each model."""
        gates: list[Row] = [
            {
                "model": result.model,
                "gate": title,
                "value": value,
                "interval": interval,
                "unit": unit,
                "note": note,
            }
            for title, value, interval, unit, note in _measured(result).values()
        ]
        if result.looks:
            gates.append(
                {
                    "model": result.model,
                    "gate": "share of the runs' graded structures outside the training data",
                    "value": result.outside / result.looks,
                    "interval": None,
                    "unit": "",
                    "note": f"{result.outside} of {result.looks}",
                }
            )
        forces: list[Row] = [
            {
                "model": model,
                "gradient_residual": found.gradient_residual,
                "curl": found.curl,
                "forces_are": "no gradient" if _no_gradient(result, model) else "a gradient",
            }
            for model, found in result.forces.items()
        ]
        return {self.name: gates, "gates_forces": forces}

    def checks(self, result: GatesResult, tolerances: GateTolerances) -> list[Check]:
        """One for each bar; what gave no number fails."""
        checks = []
        for key, (title, value, interval, unit, note) in _measured(result).items():
            bound = getattr(tolerances, key)
            if bound is None:
                continue
            checks.append(
                within(key, title, value, interval, bound, unit, comment=note, question="sound")
            )
        return checks

    def cards(self, result: GatesResult) -> list[Card]:
        """The floor below which no student comes, where the teacher's forces are no gradient."""
        if not _no_gradient(result, TEACHER):
            return []
        residual = result.forces[TEACHER].gradient_residual
        return [
            Card(
                label="of the teacher’s forces are no gradient of its energy",
                value=MEV * residual,
                unit="meV/Å",
                note="no student can be nearer to them on average",
            )
        ]


_Gate = tuple[str, float | None, Interval | None, str, str]


def _measured(result: GatesResult) -> dict[str, _Gate]:
    """Title, value, interval, unit and note of each gate, by the key of its bar."""
    problems = [problem for runs in result.hot for problem in runs.problems]
    temperatures = " and ".join(f"{runs.temperature:g} K" for runs in result.hot)
    drift = result.energy_drift
    ended = "" if drift else "an nve run ended early"
    return {
        "lost_time": (
            f"share of {result.time:g} fs that a run at {temperatures} fell short of",
            1 - result.shortest,
            None,
            "",
            problems[0] if problems else "",
        ),
        "energy_drift": (
            "drift of the total energy in nve runs",
            drift.value if drift else None,
            drift.interval if drift else None,
            "eV/atom/ns",
            ended,
        ),
        "momentum_drift": (
            "drift of the total momentum in nve runs",
            result.momentum_drift,
            None,
            "amu Å/fs per atom and ns",
            ended,
        ),
        "extensivity": (
            "energy of two copies over twice that of one",
            result.extensivity,
            None,
            "eV/atom",
            "",
        ),
        "smoothness": (
            "largest jump of a force along a path through the cutoffs",
            result.smoothness,
            None,
            "eV/Å",
            "",
        ),
        "gradient": (
            "forces against the gradient of the energy",
            result.forces[result.model].gradient_residual,
            None,
            "eV/Å",
            "",
        ),
    }


def _no_gradient(result: GatesResult, model: str) -> bool:
    found = result.forces.get(model)
    return found is not None and found.gradient_residual > _RESIDUAL and found.curl > _CURL
