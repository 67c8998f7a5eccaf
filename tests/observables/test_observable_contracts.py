"""Every observable of the package keeps the contract of observables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.build import bulk
from ase.io import write
from lattice_toys import write_crystal
from observable_tests import ENDLESS, Done, ObservableContract, copied
from surface_conditions import SCATTERING, SLAB
from surface_potentials import DOUBLE_WELL, RIDGE, STICKY, WALL

from distill.config import CalculatorConfig
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

COSINE = "lattice_toys:CosineLattice"


def end_point(folder: Path, x: float) -> str:
    """A file of a structure near a minimum."""
    # The second atom tells the interpolation how far apart things are.
    write(folder / f"{x}.xyz", Atoms("H2", [[x, 0.2, 0.1], [0, 4, 0]]))
    return str(folder / f"{x}.xyz")


class TestBarriers(ObservableContract):
    observable = Barriers
    models: ClassVar = dict.fromkeys(("reference", "teacher", "student"), DOUBLE_WELL)
    other = RIDGE
    harmless: ClassVar = {"reference": None, "require_convergence": True}
    inputs: ClassVar = {
        "facet": "100",
        "slab": SLAB,
        "site": "top",
        "initial": lambda folder: end_point(folder, -0.8),
        "final": lambda folder: end_point(folder, 1.1),
        "exchange": True,
        "relax_ends": False,
        "images": 7,
        "fmax": 0.1,
        "max_steps": 50,
        "hessian": "none",
    }

    @classmethod
    def config(cls, folder: Path) -> list[BarrierConfig]:
        initial, final = (end_point(folder, x) for x in (-0.9, 0.9))
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
    models: ClassVar = {"reference": STICKY, "teacher": STICKY, "student": WALL}
    other = STICKY
    harmless: ClassVar = {
        "teacher_trajectories": 4,
        "student_trajectories": 20,
        "reference_trajectories": 2,
        # One that four pairs can give.
        "two_level_precision": 0.49,
        "precision": 0.49,
        "student_batch": 5,
        "teacher_batch": 1,
        "published": None,
        "confidence": 0.9,
    }
    inputs: ClassVar = {
        "scattering": SCATTERING.model_copy(update={"time_step": 0.4}),
        "initial_conditions": "student",
    }

    @classmethod
    def config(cls, folder: Path) -> StickingConfig:
        (folder / "points.csv").write_text("energy,probability,low,high\n1.0,0.4,0.3,0.5\n")
        return StickingConfig(
            scattering=SCATTERING,
            reference_trajectories=1,
            teacher_trajectories=2,
            student_trajectories=12,
            published=str(folder / "points.csv"),
        )

    def test_further_conditions_repeat_nothing(
        self, done: Done, tmp_path: Path, made: list[Path]
    ) -> None:
        folder = copied(done, tmp_path)
        there = set(folder.rglob("*.json"))
        wider = {"collision_energies": [0.8, 1.0], "states": [(0, 1), (1, 1)], "facets": ["111"]}
        config = done.config.model_copy(update={"scattering": SCATTERING.model_copy(update=wider)})
        self.observable().run(config, self.models, WorkFolder(folder, seed=3))
        assert made
        assert not there & set(made)


def wider_crystal(folder: Path) -> str:
    """A file of the crystal with another lattice constant."""
    write(folder / "wider.xyz", bulk("FLi", "cesiumchloride", a=4.1))
    return str(folder / "wider.xyz")


class TestDiffusion(ObservableContract):
    observable = Diffusion
    models: ClassVar = {"teacher": COSINE, "student": COSINE}
    other = CalculatorConfig(path=COSINE, args={"barrier": 0.12})
    harmless: ClassVar = {
        "index": -1,
        "defects": 1,
        "temperatures": [600.0, 900.0, 750.0],
        "runs": 3,
        "times": {"teacher": 4000.0},
        "fit_start": 300.0,
        "fit_end": 500.0,
        "counting": "collective",
        "jump_length": 3.0,
        "confidence": 0.9,
        "melting_displacement": 0.4,
        "element": "F",
        "published": {"value": 0.1},
        "multiple_time_steps": {"max_drift": 1.0},
    }
    inputs: ClassVar = {
        "engine": "multiple_time_steps",
        "structure": wider_crystal,
        "supercell": (3, 2, 2),
        "defect": "vacancy",
        "relax_volume": True,
        "thermal_expansion": 1e-5,
        "time": 6000.0,
        "equilibration_time": 300.0,
        "equilibration_friction": 0.02,
        "ensemble": "nve",
        "friction": 0.02,
        "time_step": 5.0,
        "save_every": 200.0,
        "checkpoint_every": 1000.0,
        "max_temperature_ratio": 4.0,
        "max_energy_change": 0.6,
    }

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
            published={"value": 0.08, "low": 0.07, "high": 0.1},
        )

    @classmethod
    def comparable(cls, result: Result) -> dict[str, Any]:
        return result.model_dump(exclude={"models": {"__all__": {"nanoseconds_per_day"}}})


def silver(folder: Path) -> str:
    """A file of a crystal."""
    write(folder / "silver.xyz", bulk("Ag", a=4.1, cubic=True))
    return str(folder / "silver.xyz")


EXPANSION: dict[str, Any] = {
    "temperatures": [300.0],
    "supercell": (1, 1, 1),
    "time": 200.0,
    "equilibration_time": 20.0,
    "time_step": 5.0,
    "blocks": 4,
}


class TestBulk(ObservableContract):
    observable = Bulk
    models: ClassVar = {"teacher": "ase.calculators.emt:EMT", "student": "ase.calculators.emt:EMT"}
    other = "lattice_toys:other_emt"
    harmless: ClassVar = {
        "index": 1,
        "crystal": "fcc",
        "elastic": False,
        "thermal_expansion": EXPANSION | {"temperatures": [300.0, 400.0]},
        "reference": {"C11": 170.0},
        "confidence": 0.9,
    }
    inputs: ClassVar = {
        "structure": silver,
        "formula": "Ag",
        "lattice_constant": 3.65,
        "volume_strain": 0.02,
        "volume_points": 11,
        "elastic_strain": 0.003,
        "phonons": {"supercell": (1, 1, 1), "mesh": 6},
    }

    @classmethod
    def config(cls, folder: Path) -> BulkConfig:
        return BulkConfig(
            thermal_expansion=EXPANSION,
            phonons={"supercell": (1, 1, 1), "mesh": 4},
            reference={"lattice_constant": 3.6, "bulk_modulus_GPa": 134.0},
        )
