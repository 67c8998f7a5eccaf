"""Small structures and runs of the command line that several tests use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from distill.config import ParallelConfig
from distill.data.structures import set_labels

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]
TEST_DATA = ROOT / "tests" / "data"
GOLDEN_DATA = TEST_DATA / "golden"
SAMPLE_STUDENT = TEST_DATA / "students" / "student_v1.npz"
SERIAL = ParallelConfig(backend="serial")


def rattled_copper(count: int, seed: int = 0, amplitude: float = 0.1) -> list[Atoms]:
    """Four-atom copper cells with random displacements, labelled by EMT."""
    generator = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += generator.normal(scale=amplitude, size=(len(atoms), 3))
        structures.append(label_by_emt(atoms))
    return structures


def label_by_emt(atoms: Atoms) -> Atoms:
    """Put EMT's energy, forces and stress on a structure under the REF_ keys."""
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    stress = atoms.get_stress() if atoms.pbc.all() else None
    atoms.calc = None
    return set_labels(atoms, energy=energy, forces=forces, stress=stress)


def run_distill(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run the command line as a user does and return what it printed and its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "distill", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=600,
        check=False,
    )


def call_distill(*arguments: str | Path) -> int:
    """The exit code of a command line that runs in this process."""
    from distill.cli.app import exit_code

    return exit_code([*map(str, arguments)])


class CountedEMT(EMT):
    """EMT that counts its evaluations in this process, and is interrupted after `limit` of them."""

    count, limit = 0, None

    def calculate(self, *arguments, **options):
        if CountedEMT.count == CountedEMT.limit:
            raise KeyboardInterrupt
        CountedEMT.count += 1
        super().calculate(*arguments, **options)


class SinglePrecision(Calculator):
    """Springs from the atoms to their centre: stiffness in float32, all else in torch's default.

    Models such as CHGNet are built like that; under another default they end in an error of torch.
    """

    implemented_properties = ("energy", "forces")

    def __init__(self) -> None:
        super().__init__()
        import torch

        self.stiffness = 0.01 * torch.eye(3).float() @ torch.eye(3)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        import torch

        super().calculate(atoms, properties, system_changes)
        positions = torch.tensor(
            (self.atoms.positions - self.atoms.positions.mean(axis=0)).tolist()
        )
        forces = -(positions @ self.stiffness)
        self.results = {
            "energy": np.float32(-0.5 * (positions * forces).sum()),
            "forces": forces.numpy(),
        }
