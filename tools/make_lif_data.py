"""Make the bundled LiF reference set with CHGNet as the reference method.

    python tools/make_lif_data.py

Writes `lif_train.xyz` and `lif_test.xyz` with energies (eV, PBE level), forces (eV/Å) and stresses
(eV/Å³, ASE's sign): bulk, strained and thermal LiF, an interstitial Li, and a vacancy. CHGNet: Deng
et al., Nature Machine Intelligence 5, 1031 (2023), BSD licence.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.optimize import FIRE
from ase.stress import full_3x3_to_voigt_6_stress
from bundling import (
    BUNDLED_FOLDER,
    closest_contact,
    package_versions,
    rounded,
    split,
    stream,
    without_near_duplicates,
    write_set,
)

from distill.core.progress import progress, say
from distill.core.quantities import ENERGY_KEY, FORCES_KEY, STRESS_KEY

LATTICE_0K = 4.093  # Å, CHGNet's own minimum
EXPANSION = 3.4e-5  # 1/K, the measured linear expansion of LiF at room temperature
TEMPERATURES = (300, 600, 900, 1200)  # K
LARGEST_FORCE = 15.0  # eV/Å
SHORTEST_CONTACT = 1.1  # Å
TEST_FRACTION = 0.2


def crystal(repeat: tuple[int, int, int], temperature: float) -> Atoms:
    """Rocksalt LiF at the lattice constant of a temperature (K), 8 atoms a conventional cell."""
    lattice = LATTICE_0K * (1 + EXPANSION * temperature)
    return bulk("LiF", "rocksalt", a=lattice, cubic=True).repeat(repeat)


def with_interstitial(atoms: Atoms, generator: np.random.Generator) -> Atoms:
    """One more Li near the middle of one of the small cubes of ions."""
    edge = LATTICE_0K / 2
    cube = generator.integers(0, 2, 3)
    centre = (cube + 0.5) * edge + generator.normal(0, 0.15, 3)
    return atoms + Atoms("Li", positions=[centre])


def with_vacancy(atoms: Atoms, symbol: str, generator: np.random.Generator) -> Atoms:
    """The crystal without one ion of the given element."""
    atoms = atoms.copy()
    del atoms[int(generator.choice(np.flatnonzero(atoms.symbols == symbol)))]
    return atoms


def strained(atoms: Atoms, generator: np.random.Generator, size: float) -> Atoms:
    """A copy under a random symmetric strain of the given standard deviation."""
    atoms = atoms.copy()
    strain = generator.normal(0, size, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), True)
    return atoms


def rattled(atoms: Atoms, temperature: float, generator: np.random.Generator) -> Atoms:
    """A copy displaced as independent ions are at a temperature (K).

    The mean square displacement along an axis is 0.010 Å² at 300 K and grows in proportion, close
    to the Debye–Waller factors measured for LiF; unlike in a real crystal the displacements of
    neighbours are not correlated, which makes the forces larger than in molecular dynamics.
    """
    atoms = atoms.copy()
    spread = np.sqrt(0.010 * temperature / 300)
    atoms.positions += generator.normal(0, spread, (len(atoms), 3))
    return atoms


def thermal_frames(
    atoms: Atoms,
    calculator: Calculator,
    temperature: float,
    generator: np.random.Generator,
    *,
    frames: int,
    relax_steps: int = 0,
) -> list[Atoms]:
    """Frames of a short Langevin run (2 fs steps, one frame in 6), after a few relaxation steps."""
    atoms = atoms.copy()
    atoms.calc = calculator
    if relax_steps:
        FIRE(atoms, logfile=None).run(fmax=0.3, steps=relax_steps)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=generator)
    Stationary(atoms)
    run = Langevin(
        atoms,
        2 * units.fs,
        temperature_K=temperature,
        friction=0.01 / units.fs,
        fixcm=True,
        rng=generator,
    )
    found = []
    for _ in range(frames):
        run.run(6)
        found.append(atoms.copy())
    return found


def draw(calculator: Calculator, seed: int) -> Iterator[tuple[str, Atoms]]:
    """Structures with their config_type."""
    generator = stream(seed, 0)
    for factor in np.linspace(0.93, 1.08, 16):
        yield "lif_bulk", bulk("LiF", "rocksalt", a=LATTICE_0K * factor, cubic=True)
    for index in range(70):
        atoms = crystal(((1, 1, 1), (2, 1, 1))[index % 2], generator.uniform(0, 1200))
        yield "lif_strained", rattled(strained(atoms, generator, 0.025), 60, generator)
    for index, temperature in enumerate(TEMPERATURES):
        generator = stream(seed, 1, index)
        start = crystal((2, 2, 1), temperature)
        for _ in range(8):
            atoms = strained(crystal((2, 1, 1), temperature), generator, 0.01)
            yield "lif_thermal", rattled(atoms, 0.6 * temperature, generator)
        for frame in thermal_frames(start, calculator, temperature, generator, frames=9)[1:]:
            yield "lif_thermal", frame

        generator = stream(seed, 2, index)
        for _ in range(2):
            start = with_interstitial(crystal((2, 2, 2), temperature), generator)
            for frame in thermal_frames(
                start, calculator, temperature, generator, frames=7, relax_steps=10
            ):
                yield "lif_interstitial", frame
        small = with_interstitial(crystal((2, 2, 1), temperature), generator)
        for frame in thermal_frames(
            small, calculator, temperature, generator, frames=6, relax_steps=10
        ):
            yield "lif_interstitial", frame

        generator = stream(seed, 3, index)
        for symbol in ("Li", "F"):
            start = with_vacancy(crystal((2, 2, 1), temperature), symbol, generator)
            for frame in thermal_frames(start, calculator, temperature, generator, frames=5):
                yield "lif_vacancy", frame
            large = with_vacancy(crystal((2, 2, 2), temperature), symbol, generator)
            for _ in range(2):
                yield "lif_vacancy", rattled(large, 0.5 * temperature, generator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER, help="folder of the set")
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    calculator = CHGNetCalculator(CHGNet.load(verbose=False, use_device="cpu"), use_device="cpu")
    structures = [
        rounded(atoms, config_type)
        for config_type, atoms in progress(draw(calculator, arguments.seed), "structures")
    ]
    structures = [atoms for atoms in structures if closest_contact(atoms) > SHORTEST_CONTACT]
    labelled = []
    for atoms in progress(without_near_duplicates(structures), "labels"):
        calculator.calculate(atoms)
        results = calculator.results
        if np.linalg.norm(results["forces"], axis=1).max() <= LARGEST_FORCE:
            atoms.info[ENERGY_KEY] = round(float(results["energy"]), 6)
            stress = full_3x3_to_voigt_6_stress(results["stress"].astype(float))
            atoms.info[STRESS_KEY] = stress.round(8)
            atoms.arrays[FORCES_KEY] = np.asarray(results["forces"], dtype=float)
            labelled.append(atoms)
    say(f"{len(structures)} drawn, {len(labelled)} kept")
    train, test = split(labelled, TEST_FRACTION, stream(arguments.seed, 100))
    provenance = {
        "made_by": "tools/make_lif_data.py",
        "options": {"seed": arguments.seed, "test_fraction": TEST_FRACTION},
        "reference_method": {
            "name": "CHGNet 0.3.0",
            "origin": "https://github.com/CederGroupHub/chgnet, weights shipped with chgnet",
            "licence": "BSD-3-Clause-LBNL",
            "level_of_theory": "trained on MPtrj, PBE and PBE+U",
        },
        "licence": "MIT, as this project",
        "energy_zero": "total energies on CHGNet's scale",
        "units": {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³, ASE's sign"},
        "largest_force_allowed_eV_per_A": LARGEST_FORCE,
        "versions": package_versions("ase", "chgnet", "numpy", "torch"),
    }
    write_set(arguments.output, "lif", {"train": train, "test": test}, provenance)
    say(f"{len(train)} training and {len(test)} test structures in {arguments.output}")


if __name__ == "__main__":
    main()
