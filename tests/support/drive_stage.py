"""Run a small sampling stage in a process of its own, so that a test can kill it."""

import sys
from pathlib import Path
from typing import Literal

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
