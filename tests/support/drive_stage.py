"""Run a small sampling stage in a process of its own, so that a test can kill it."""

import sys
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.io import write

from distill.config import (
    DrivenConfig,
    NebConfig,
    ParallelConfig,
    SamplingConfig,
    ScatteringConfig,
    SelectionConfig,
    SlabConfig,
    SolverConfig,
    StudentConfig,
)
from distill.sampling.sampling_stage import run
from distill.systems.slabs import build_slab

HERE = Path(__file__).parent
SLAB = SlabConfig(size=(3, 3), layers=2, fixed_layers=1, vacuum=13.0, lattice_constant=3.6)
CONFIG = SamplingConfig(
    scattering=ScatteringConfig(
        slab=SLAB,
        facets=["111"],
        surface_temperatures=[300.0],
        states=[(0, 1)],
        collision_energies=[0.3, 1.0],
        trajectories=3,
        start_height=3.0,
        time_step=0.4,
        max_time=60.0,
        save_every=2.0,
        thermalisation_time=40.0,
        snapshots=2,
        snapshot_interval=20.0,
        surface_time_step=4.0,
        max_energy_error=0.5,
    ),
    neb=[NebConfig(slab=SLAB, images=5, fmax=0.2, max_steps=40, keep=5)],
    include_training=True,
    selection=SelectionConfig(count=12, held_out=6),
)
DRIVEN = CONFIG.model_copy(
    update={
        "neb": [],
        "selection": SelectionConfig(held_out=6),
        "driven": DrivenConfig(
            rounds=2,
            labels=6,
            target=0.1,
            seed_structures=10,
            curve_points=12,
            student=StudentConfig(
                backend="native",
                order=2,
                totaldegree=[8, 6],
                rcut=4.0,
                solver=SolverConfig(kind="ridge"),
            ),
        ),
    }
)
TEACHER = "surface_potentials:MorseSurface"


def structures_above_the_surface(count: int, seed: int = 0) -> list[Atoms]:
    """H2 at several heights over a shivering slab."""
    generator = np.random.default_rng(seed)
    structures = []
    for number in range(count):
        slab = build_slab(DRIVEN.scattering.slab, "111", 3.6)
        height = slab.info.pop("top") + 1.2 + 0.2 * number
        slab.set_constraint()
        x, y, _ = generator.random(2) @ slab.cell.array[:2]
        slab += Atoms("H2", [[x, y, height], [x + 0.7 + 0.05 * (number % 4), y, height]])
        slab.positions += generator.normal(0, 0.08, slab.positions.shape)
        structures.append(slab)
    return structures


def write_driven_train(path: Path) -> Path:
    """Isolated atoms and a dozen structures near the surface, without labels."""
    alone = [
        Atoms(symbol, [[6, 6, 6]], cell=[12] * 3, pbc=True, info={"config_type": "IsolatedAtom"})
        for symbol in ("H", "Cu")
    ]
    write(path, [*alone, *structures_above_the_surface(12)], format="extxyz")
    return path


def sample(
    out: Path,
    train: Path,
    workers: int,
    config: SamplingConfig = CONFIG,
    teacher: str = TEACHER,
    backend: Literal["local", "dask"] = "local",
) -> None:
    """Run the stage with the sticky surface as teacher."""
    run(
        config,
        teacher=Path(teacher),
        train=train,
        out=out,
        seed=5,
        parallel=ParallelConfig(backend=backend, workers=workers),
    )


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    which = {"teacher": CONFIG, "driven": DRIVEN}[sys.argv[4]]
    sample(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), which, backend=sys.argv[5])
