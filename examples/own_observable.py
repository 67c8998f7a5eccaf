"""An observable of one's own: energies of clean surfaces, by students of two cutoffs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.build import bulk

import distill
from distill.core.config import Section
from distill.core.results import Result
from distill.core.work import Unit, WorkFolder
from distill.models.cached_calculators import cached_calculator
from distill.observables.base import Observable
from distill.systems.config import SlabConfig
from distill.systems.slabs import build_slab, lattice_constant


@dataclass(frozen=True)
class SurfaceUnit(Unit):
    model: Path
    facet: str

    def work(self) -> float:
        calculator = cached_calculator(self.model)
        a = lattice_constant("Cu", calculator)
        crystal = bulk("Cu", a=a)
        slab = build_slab(SlabConfig(layers=6, fixed_layers=0), self.facet, a)
        crystal.calc = slab.calc = calculator
        excess = slab.get_potential_energy() - len(slab) * crystal.get_potential_energy()
        return excess / (2 * np.linalg.norm(np.cross(*slab.cell.array[:2])))


class SurfaceEnergy(Observable):
    class Config(Section):
        facets: tuple[str, ...] = ("111", "100", "110")

    class Result(Result):
        energies: dict[str, dict[str, float]]  # eV/Å², by facet and model

    def run(self, config, models, work):
        units = {
            facet: {m: SurfaceUnit(work.path, f"{m}_{facet}", models[m], facet) for m in models}
            for facet in config.facets
        }
        work.run([unit for row in units.values() for unit in row.values()], "surface energies")
        energies = {f: {m: unit.numbers() for m, unit in row.items()} for f, row in units.items()}
        return self.Result(energies=energies)

    def rows(self, result):
        return {"surfaces": [{"facet": f, **row} for f, row in result.energies.items()]}


models = {f"cutoff_{rcut}": Path(f"student_{rcut}.npz").resolve() for rcut in (4, 5)}
for rcut, file in zip((4, 5), models.values(), strict=True):
    distill.fit_student("bundled:h2cu_train", order=2, totaldegree=[10, 8], rcut=rcut).save(file)
result = SurfaceEnergy().run(SurfaceEnergy.Config(), models, WorkFolder(Path("surfaces")))
for row in SurfaceEnergy().rows(result)["surfaces"]:
    print("Cu({facet}): {cutoff_4:.4f} and {cutoff_5:.4f} eV/Å²".format(**row))
