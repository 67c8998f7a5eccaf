"""Inputs of LAMMPS with the student of copper and hydrogen that the tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111
from ase.io import read, write
from helpers import SAMPLE_STUDENT

from distill.deploy.lammps import run_lammps

HEAD = """
units metal
atom_style atomic
atom_modify map yes sort 5 0.0
boundary {boundary}
read_data {data}
pair_style distill
pair_coeff * * Cu H   # one element for each type
neighbor 0.3 bin
timestep 0.0005
"""


def with_hydrogen(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.08, seed=seed)
    atoms.symbols[-1] = "H"
    return atoms


def structures() -> dict[str, Atoms]:
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0, periodic=True)
    primitive = bulk("Cu")
    cell = primitive.repeat((1, 1, 2))
    cell.set_cell(cell.cell.array @ np.array([[1, 0.05, 0], [0, 1.02, 0.1], [0, 0, 1]]), True)
    return {
        "slab": with_hydrogen(slab),
        "tiny": with_hydrogen(bulk("Cu", cubic=True)),
        "triclinic": with_hydrogen(cell),
    }


def write_data(path: Path, atoms: Atoms, velocities: bool = False) -> Atoms:
    """Write LAMMPS data; return the atoms as LAMMPS has them, turned and wrapped."""
    write(
        path, atoms, format="lammps-data", specorder=["Cu", "H"], masses=True,
        velocities=velocities, atom_style="atomic",
    )  # fmt: skip
    turned = read(path, format="lammps-data", atom_style="atomic", sort_by_id=True)
    turned.symbols[:] = atoms.symbols
    turned.pbc = atoms.pbc
    return turned


def run_input(folder: Path, text: str | bytes, student: Path = SAMPLE_STUDENT, **options):
    script = folder / "in.lammps"
    script.write_bytes(text if isinstance(text, bytes) else text.encode())
    arguments = ["-log", "none", "-screen", "none"]
    return run_lammps(script, student, arguments=arguments, **options)


def opening(folder: Path, atoms: Atoms) -> str:
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    return HEAD.format(boundary=boundary, data=folder / "atoms.data")
