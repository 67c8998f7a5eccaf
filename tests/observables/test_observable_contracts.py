"""Every observable of the package keeps the contract of observables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.io import write
from lattice_toys import write_crystal
from observable_tests import ENDLESS, ObservableContract
from surface_potentials import DOUBLE_WELL, RIDGE, STICKY, WALL

from distill.config import CalculatorConfig, ScatteringConfig, SlabConfig
from distill.core.results import Result
from distill.core.work import WorkFolder
from distill.observables.barriers.config import BarrierConfig
from distill.observables.barriers.observable import Barriers
from distill.observables.bulk.config import BulkConfig
from distill.observables.bulk.observable import Bulk
from distill.observables.diffusion.config import DiffusionConfig
from distill.observables.diffusion.observable import Diffusion
from distill.observables.sticking.config import StickingConfig
from distill.observables.sticking.observable import Sticking

SLAB = SlabConfig(size=(3, 3), layers=2, fixed_layers=1, vacuum=13.0, lattice_constant=3.6)
COSINE = "lattice_toys:CosineLattice"


class TestBarriers(ObservableContract):
    observable = Barriers
    models: ClassVar = dict.fromkeys(("reference", "teacher", "student"), DOUBLE_WELL)
    other = RIDGE

    @classmethod
    def config(cls, folder: Path) -> list[BarrierConfig]:
        ends = []
        for name, x in (("initial", -0.9), ("final", 0.9)):
            ends.append(folder / f"{name}.xyz")
            # The second atom tells the interpolation how far apart things are.
            write(ends[-1], Atoms("H2", [[x, 0.2, 0.1], [0, 4, 0]]))
        initial, final = map(str, ends)
        return [BarrierConfig(initial=initial, final=final, images=5, fmax=0.05, max_steps=100)]

    def test_a_band_that_did_not_converge_passes_no_bound(self, tmp_path: Path) -> None:
        [config] = self.config(tmp_path)
        hasty = [config.model_copy(update={"max_steps": 1})]
        result = Barriers().run(hasty, self.models, WorkFolder(tmp_path))
        [check] = Barriers().checks(result, Barriers.Tolerances(barrier=ENDLESS))
        assert not check.passed
        assert "did not converge" in check.comment


class TestSticking(ObservableContract):
    observable = Sticking
    models: ClassVar = {"teacher": STICKY, "student": WALL}
    other = STICKY

    @classmethod
    def config(cls, folder: Path) -> StickingConfig:
        scattering = ScatteringConfig(
            slab=SLAB,
            facets=["111"],
            surface_temperatures=[0.0],
            states=[(0, 1)],
            collision_energies=[1.0],
            start_height=3.0,
            time_step=0.5,
            max_time=80.0,
            max_energy_error=0.5,
        )
        return StickingConfig(
            scattering=scattering, teacher_trajectories=2, student_trajectories=12
        )


class TestDiffusion(ObservableContract):
    observable = Diffusion
    models: ClassVar = {"teacher": COSINE, "student": COSINE}
    other = CalculatorConfig(path=COSINE, args={"barrier": 0.12})

    @classmethod
    def config(cls, folder: Path) -> DiffusionConfig:
        return DiffusionConfig(
            structure=write_crystal(folder / "filled.xyz", filled=True),
            defect="none",
            relax_volume=False,
            temperatures=[600.0, 900.0],
            runs=2,
            time=4000.0,
            equilibration_time=200.0,
            friction=0.01,
            time_step=10.0,
            save_every=100.0,
            checkpoint_every=2000.0,
            fit_start=200.0,
            fit_end=600.0,
        )

    @classmethod
    def comparable(cls, result: Result) -> dict[str, Any]:
        return result.model_dump(exclude={"models": {"__all__": {"nanoseconds_per_day"}}})


class TestBulk(ObservableContract):
    observable = Bulk
    models: ClassVar = {"teacher": "ase.calculators.emt:EMT", "student": "ase.calculators.emt:EMT"}
    other = "lattice_toys:other_emt"

    @classmethod
    def config(cls, folder: Path) -> BulkConfig:
        return BulkConfig(
            thermal_expansion={
                "temperatures": [300.0],
                "supercell": (1, 1, 1),
                "time": 200.0,
                "equilibration_time": 20.0,
                "time_step": 5.0,
                "blocks": 4,
            },
            phonons={"supercell": (1, 1, 1), "mesh": 4},
        )
