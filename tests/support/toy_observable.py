"""An observable as another package would add it: the energy of a crystal, without a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ase.build import bulk
from pydantic import Field

from distill.core.config import Positive, Section
from distill.core.results import Result
from distill.core.work import Unit
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.observables.base import STUDENT, TEACHER, Card, Observable, baseline, within


class ToyConfig(Section):
    """Energy of a crystal."""

    element: str = "Cu"
    lattice_constant: Positive = 3.6


class ToyTolerances(Section):
    """Bounds of the toy."""

    toy_energy: Positive | None = Field(None, description="eV")


class ToyResult(Result):
    """Energies (eV) by model."""

    energies: dict[str, float]

    def difference(self) -> float:
        return self.energies[STUDENT] - self.energies[TEACHER]


@dataclass(frozen=True)
class EnergyUnit(Unit):
    """The energy by one model."""

    model: ModelSpec
    config: ToyConfig

    def work(self) -> float:
        atoms = bulk(self.config.element, a=self.config.lattice_constant, cubic=True)
        atoms.calc = cached_calculator(self.model)
        return float(atoms.get_potential_energy())


class Toy(Observable[ToyResult]):
    """Energies of a crystal."""

    name: ClassVar = "toy"
    title: ClassVar = "Toy energies"
    Config: ClassVar = ToyConfig
    Tolerances: ClassVar = ToyTolerances
    Result: ClassVar = ToyResult

    def run(self, config: ToyConfig, models, work) -> ToyResult:
        units = [EnergyUnit(work.path, name, model, config) for name, model in models.items()]
        work.run(units, "toy energies")
        return ToyResult(energies={unit.name: unit.numbers() for unit in units})

    def rows(self, result: ToyResult) -> dict[str, list[dict[str, Any]]]:
        first = result.energies[baseline(result.energies)]
        energies = [
            {"model": name, "energy_eV": value, "of_the_teacher": name == TEACHER}
            for name, value in result.energies.items()
        ]
        differences = [
            {"model": name, "interval": (value - first - 0.5, value - first + 0.5)}
            for name, value in result.energies.items()
        ]
        return {"toy": energies, "toy_differences": differences}

    def draw(self, result: ToyResult) -> dict[str, Any]:
        from distill.core.figures import figure_style

        figures = {}
        for stem in ("toy", "toy_differences"):
            with figure_style() as plt:
                figures[stem], axis = plt.subplots(figsize=(4.0, 2.0))
                axis.bar(list(result.energies), list(result.energies.values()))
                axis.set(xlabel="model", ylabel="energy [eV]")
        return figures

    def checks(self, result: ToyResult, tolerances: Any) -> list[Any]:
        if tolerances.toy_energy is None:
            return []
        value, bound = result.difference(), tolerances.toy_energy
        return [within("toy_energy", "toy energy", value, None, bound, "eV")]

    def cards(self, result: ToyResult) -> list[Card]:
        return [Card(label="toy energy, student minus teacher", value=result.difference())]
