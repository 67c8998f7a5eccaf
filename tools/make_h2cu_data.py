"""Make the bundled H2/Cu reference set with the published H2/Cu MACE as the reference method.

    python tools/make_h2cu_data.py --model MACE_model_swa.model

Writes `h2cu_train.xyz`, `h2cu_validation.xyz` and `h2cu_test.xyz` with energies (eV, relative to
free atoms) and forces (eV/Å). Training and validation part are one random draw, split by
config_type; the test set is a draw of its own with another seed, without what lies close to a
structure of the first. The model is `models/h2cu/pes/MACE_model_swa.model` of
github.com/wgst/ml-gas-surface (MIT licence): Stark et al., J. Phys. Chem. C 127, 24168 (2023).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc100, fcc110, fcc111, fcc211
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from bundling import (
    BUNDLED_FOLDER,
    closest_contact,
    package_versions,
    rounded,
    split,
    stream,
    thin,
    without_near_duplicates,
    write_set,
)

from distill.core.artifacts import sha256
from distill.core.progress import progress, say
from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY, FORCES_KEY

LATTICE_0K = 3.6528  # Å, the lattice of the published 0 K slabs
EXPANSION = 1.69e-5  # 1/K, from the published 0 K and 925 K slabs
TEMPERATURES = (300, 600, 900)  # K
COLLISION_ENERGIES = (0.2, 0.5, 0.8, 1.1)  # eV
VACUUM = 7.5  # Å on each side: 15 Å in all
HYDROGEN_MASS = 1.008  # amu
LARGEST_FORCE = 12.0  # eV/Å
LARGEST_FORCE_H2 = 25.0  # eV/Å, for the free molecule, which is wanted down to 0.5 Å
MOST_OF_A_KIND = 110  # structures of one config_type
SHORTEST_CONTACT = 0.45  # Å
HELD_OUT_FRACTION = 0.2
# Root mean square difference of sorted distances (Å) below which two structures are one.
NEAR = 0.02
NEAR_OTHERS = 0.005
FACETS = ("111", "110", "100", "211")
SITE_HEIGHTS = (0.6, 1.6)  # Å above the top layer, from hollow to top
# Lateral cells and layers: two sizes a facet, 12 to 36 Cu atoms.
SIZES = {
    "111": ((2, 2, 3), (2, 2, 5), (3, 3, 4)),
    "110": ((2, 2, 5), (2, 3, 6), (2, 2, 7)),
    "100": ((2, 2, 4), (2, 2, 5), (3, 3, 4)),
    "211": ((3, 2, 3), (3, 2, 4), (3, 3, 3)),
}
BUILDERS = {"111": fcc111, "110": fcc110, "100": fcc100, "211": fcc211}


def lattice_constant(temperature: float) -> float:
    """Lattice constant of Cu in Å at a temperature in K."""
    return LATTICE_0K * (1 + EXPANSION * temperature)


def clean_slab(facet: str, size: tuple[int, int, int], temperature: float) -> Atoms:
    """An ideal slab, periodic along all three axes, with at least 15 Å between its images."""
    options = {"orthogonal": True} if facet == "211" else {}
    slab = BUILDERS[facet]("Cu", size, a=lattice_constant(temperature), vacuum=VACUUM, **options)
    slab.pbc = True
    return slab


def langevin_frames(
    atoms: Atoms,
    calculator: Calculator,
    temperature: float,
    generator: np.random.Generator,
    *,
    steps: int,
    every: int,
    time_step: float,
) -> list[Atoms]:
    """Frames of a Langevin run, after a first fifth of it for equilibration."""
    atoms = atoms.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=generator)
    Stationary(atoms)
    run = Langevin(
        atoms,
        time_step * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        fixcm=True,
        rng=generator,
    )
    frames: list[Atoms] = []
    for step in range(steps):
        run.run(1)
        if step >= steps // 5 and step % every == 0:
            frames.append(atoms.copy())
    return frames


def top_height(slab: Atoms) -> float:
    """Height in Å of the metal's outermost layer."""
    z = np.sort(slab.positions[slab.symbols == "Cu", 2])
    return float(z[-2:].mean())


def with_hydrogen(slab: Atoms, centre: np.ndarray, axis: np.ndarray, bond: float) -> Atoms:
    """The slab with H2 whose centre (Å) and unit axis are given, at a bond length in Å."""
    half = 0.5 * bond * axis
    return slab + Atoms("H2", positions=[centre - half, centre + half])


def random_axis(generator: np.random.Generator) -> np.ndarray:
    """A unit vector, uniform on the sphere."""
    vector = generator.normal(size=3)
    return vector / np.linalg.norm(vector)


def flat_axis(generator: np.random.Generator, tilt: float = 0.2) -> np.ndarray:
    """A unit vector near the surface plane; `tilt` is the spread of its normal part."""
    angle = generator.uniform(0, 2 * np.pi)
    vector = np.array([np.cos(angle), np.sin(angle), generator.normal(0, tilt)])
    return vector / np.linalg.norm(vector)


def site(slab: Atoms, generator: np.random.Generator) -> np.ndarray:
    """Lateral position in Å of a top, bridge or hollow site, or of any point, at random.

    Sites are made from the outermost atoms themselves: one atom, the middle of two neighbours,
    the middle of three.
    """
    kind = generator.integers(4)
    if kind == 3:
        return (generator.random(2) @ slab.cell.array[:2, :])[:2]
    z = slab.positions[:, 2]
    top = np.flatnonzero(z > z.max() - 0.8)
    first = int(generator.choice(top))
    order = top[np.argsort(slab.get_distances(first, top, mic=True))]
    near = order[1 : 1 + kind]
    vectors = slab.get_distances(first, near, mic=True, vector=True) if len(near) else []
    offset = np.sum(vectors, axis=0) / (1 + len(near)) if len(near) else np.zeros(3)
    return (slab.positions[first] + offset)[:2]


def hydrogen_progress(atoms: Atoms) -> float:
    """Minus the height of H2 plus three times its bond length: grows along dissociation."""
    hydrogen = np.flatnonzero(atoms.symbols == "H")
    height = atoms.positions[hydrogen, 2].mean() - top_height(atoms)
    bond = min(atoms.get_distance(hydrogen[0], hydrogen[1], mic=True), 2.5)
    return float(3.0 * bond - height)


def collision_frames(
    slab: Atoms, calculator: Calculator, energy: float, generator: np.random.Generator, count: int
) -> list[Atoms]:
    """Frames of one H2 molecule that hits the slab, spread over approach, barrier and after.

    The molecule starts 3.5 to 5 Å above the surface with a random axis, a vibrational energy of
    0 to 0.5 eV and the given translational energy (eV) towards the surface, and is followed for
    at most 220 steps of 0.5 fs.
    """
    height = generator.uniform(3.5, 5.0)
    lateral = (generator.random(2) @ slab.cell.array[:2, :])[:2]
    centre = np.array([*lateral, top_height(slab) + height])
    axis = flat_axis(generator) if generator.random() < 0.6 else random_axis(generator)
    atoms = with_hydrogen(slab, centre, axis, 0.75)
    velocities = np.zeros((len(atoms), 3))
    velocities[: len(slab)] = slab.get_velocities()
    speed = np.sqrt(2 * energy / (2 * HYDROGEN_MASS))
    stretch = np.sqrt(generator.uniform(0, 0.5) / HYDROGEN_MASS)
    velocities[-2:, 2] = -speed
    velocities[-2] -= stretch * axis
    velocities[-1] += stretch * axis
    atoms.set_velocities(velocities)
    atoms.calc = calculator
    run = VelocityVerlet(atoms, 0.5 * units.fs)
    frames = []
    for _ in range(110):
        run.run(2)
        frames.append(atoms.copy())
        above = atoms.positions[-2:, 2].mean() - top_height(slab)
        if above > height + 0.3:
            break
    return thin(frames, count, hydrogen_progress)


def path_structure(slab: Atoms, generator: np.random.Generator) -> Atoms:
    """H2 over a site, somewhere on an interpolated path from far away to two separate atoms."""
    progress_along = generator.random()
    lateral = site(slab, generator)
    if progress_along < 0.3:
        height, bond = generator.uniform(1.8, 7.0), generator.normal(0.76, 0.06)
        axis = random_axis(generator)
    else:
        along = (progress_along - 0.3) / 0.7
        height = 2.2 - 1.3 * along + generator.normal(0, 0.12)
        bond = 0.75 + 1.9 * along**1.5 + generator.normal(0, 0.06)
        axis = flat_axis(generator, 0.1)
    centre = np.array([*lateral, top_height(slab) + height])
    return with_hydrogen(slab, centre, axis, bond)


def adsorbed_atoms(slab: Atoms, generator: np.random.Generator) -> Atoms:
    """One to three H atoms on sites of the slab, sometimes one below the outermost layer."""
    atoms = slab.copy()
    for _ in range(generator.integers(1, 4)):
        height = -1.0 if generator.random() < 0.12 else generator.uniform(*SITE_HEIGHTS)
        atoms += Atoms("H", positions=[[*site(slab, generator), top_height(slab) + height]])
    return atoms


def bulk_structures(
    calculator: Calculator, generator: np.random.Generator
) -> Iterator[tuple[str, Atoms]]:
    """Bulk Cu: compressed and expanded, strained, and thermal at the three temperatures."""
    for factor in np.linspace(0.94, 1.06, 13):
        yield "cu_bulk", bulk("Cu", a=LATTICE_0K * factor, cubic=True).repeat((2, 2, 1))
    for _ in range(14):
        crystal = bulk("Cu", a=LATTICE_0K * generator.uniform(0.97, 1.03), cubic=True)
        crystal = crystal.repeat((2, 2, 1))
        strain = generator.normal(0, 0.02, (3, 3))
        crystal.set_cell(crystal.cell.array @ (np.eye(3) + (strain + strain.T) / 2), True)
        crystal.rattle(0.05, rng=generator)
        yield "cu_bulk", crystal
    for temperature in TEMPERATURES:
        for repeat in ((2, 2, 1), (2, 2, 2)):
            start = bulk("Cu", a=lattice_constant(temperature), cubic=True).repeat(repeat)
            for frame in langevin_frames(
                start, calculator, temperature, generator, steps=200, every=27, time_step=4.0
            ):
                yield "cu_bulk", frame


def facet_structures(facet: str, calculator: Calculator, seed: int) -> Iterator[tuple[str, Atoms]]:
    """Clean and hydrogen-covered slabs of one facet."""
    h2, clean = f"h2_cu{facet}", f"cu_slab_{facet}"
    for size_index, size in enumerate(SIZES[facet]):
        yield clean, clean_slab(facet, size, 0)
        for temperature in TEMPERATURES:
            generator = stream(seed, FACETS.index(facet), size_index, temperature)
            pool = langevin_frames(
                clean_slab(facet, size, temperature),
                calculator,
                temperature,
                generator,
                steps=150,
                every=10,
                time_step=4.0,
            )
            for frame in pool[2::6]:
                yield clean, frame
            energies = COLLISION_ENERGIES[size_index % 2 :: 2]
            for collision, energy in enumerate(energies):
                slab = pool[3 + 4 * collision]
                for frame in collision_frames(slab, calculator, energy, generator, 5):
                    yield h2, frame
            for slab in pool[-4:]:
                yield h2, path_structure(slab, generator)
            ideal = clean_slab(facet, size, temperature)
            ideal.rattle(0.03, rng=generator)
            yield h2, path_structure(ideal, generator)
            # Hydrogen on the surface moves on a rough landscape: short runs from random sites.
            covered = adsorbed_atoms(pool[-1], generator)
            yield h2, covered
            if closest_contact(covered) > 0.7:
                frames = langevin_frames(
                    covered, calculator, temperature, generator, steps=60, every=16, time_step=0.5
                )
                for frame in frames[1:]:
                    yield h2, frame


def free_hydrogen(generator: np.random.Generator, bonds: np.ndarray) -> Iterator[tuple[str, Atoms]]:
    """H2 alone at the given bond lengths (Å), which end at 1.4 Å; and the isolated atoms.

    At 1.4 Å the molecule is more than 2 eV above its minimum, beyond what a collision gives it;
    farther out the published model's curve is not physical: it rises to 0.56 eV above free atoms.
    """
    yield "IsolatedAtom", Atoms("H", positions=[[0, 0, 0]])
    yield "IsolatedAtom", Atoms("Cu", positions=[[0, 0, 0]])
    for bond in bonds:
        axis = random_axis(generator)
        yield "h2", Atoms("H2", positions=[-0.5 * bond * axis, 0.5 * bond * axis])


def even_bonds() -> np.ndarray:
    """Bond lengths of H2 in Å, 0.5 to 1.4, denser about the minimum."""
    return np.concatenate([np.linspace(0.5, 1.1, 29), np.linspace(1.13, 1.4, 11)])


def draw(
    calculator: Calculator, seed: int, bonds: np.ndarray, others: Sequence[Atoms] = ()
) -> list[Atoms]:
    """Labelled structures of every kind, none close to another or to one of `others`."""
    drawn: list[tuple[str, Atoms]] = []
    for facet in progress(FACETS, f"facets, seed {seed}"):
        drawn.extend(facet_structures(facet, calculator, seed))
    drawn.extend(bulk_structures(calculator, stream(seed, len(FACETS))))
    drawn.extend(free_hydrogen(stream(seed, len(FACETS) + 1), bonds))

    structures = [rounded(atoms, config_type) for config_type, atoms in drawn]
    structures = [atoms for atoms in structures if closest_contact(atoms) > SHORTEST_CONTACT]
    tolerance = NEAR_OTHERS if others else NEAR
    distinct = without_near_duplicates([*others, *structures], tolerance)[len(others) :]
    labelled = []
    for atoms in progress(distinct, "labels"):
        atoms.calc = calculator
        forces = atoms.get_forces()
        limit = LARGEST_FORCE_H2 if atoms.info[CONFIG_TYPE_KEY] == "h2" else LARGEST_FORCE
        if np.linalg.norm(forces, axis=1).max() <= limit:
            atoms.info[ENERGY_KEY] = round(float(atoms.get_potential_energy()), 8)
            atoms.arrays[FORCES_KEY] = forces
            labelled.append(atoms)
        atoms.calc = None
    kept = at_most(labelled, MOST_OF_A_KIND, seed)
    say(f"{len(drawn)} drawn, {len(kept)} kept")
    return kept


def at_most(structures: list[Atoms], most: int, seed: int) -> list[Atoms]:
    """The structures, with no more than `most` of each config_type, drawn at random."""
    kinds = [atoms.info[CONFIG_TYPE_KEY] for atoms in structures]
    kept: set[int] = set()
    for number, kind in enumerate(sorted(set(kinds))):
        indices = [index for index, other in enumerate(kinds) if other == kind]
        generator = stream(seed, len(FACETS) + 3, number)
        size = min(most, len(indices))
        kept.update(generator.choice(indices, size=size, replace=False).tolist())
    return [structures[index] for index in sorted(kept)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="the published H2/Cu MACE")
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER, help="folder of the set")
    parser.add_argument("--seed", type=int, default=2026, help="of training and validation part")
    parser.add_argument("--test-seed", type=int, default=2027, help="of the test set's own draw")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    from mace.calculators import MACECalculator

    calculator = MACECalculator(
        model_paths=str(arguments.model), device="cpu", default_dtype="float64"
    )
    seed, test_seed = arguments.seed, arguments.test_seed
    first = draw(calculator, seed, even_bonds())
    train, validation = split(first, HELD_OUT_FRACTION, stream(seed, len(FACETS) + 2))
    bonds = np.sort(stream(test_seed, len(FACETS) + 4).uniform(0.5, 1.4, 40))
    second = draw(calculator, test_seed, bonds, others=first)
    _, test = split(second, HELD_OUT_FRACTION, stream(test_seed, len(FACETS) + 2))
    provenance = {
        "made_by": "tools/make_h2cu_data.py",
        "options": {
            "seed": seed,
            "test_seed": test_seed,
            "held_out_fraction": HELD_OUT_FRACTION,
            "most_of_a_kind": MOST_OF_A_KIND,
        },
        "reference_method": {
            "name": "published H2/Cu MACE, models/h2cu/pes/MACE_model_swa.model",
            "origin": "https://github.com/wgst/ml-gas-surface, commit 3d50b156",
            "licence": "MIT",
            "sha256": sha256(arguments.model),
            "level_of_theory": "trained on FHI-aims calculations with an SRP functional",
        },
        "licence": "MIT, as this project",
        "energy_zero": "free atoms: the energy of one H and of one Cu atom is 0",
        "units": {"energy": "eV", "forces": "eV/Å", "positions": "Å"},
        "largest_force_allowed_eV_per_A": {"h2": LARGEST_FORCE_H2, "others": LARGEST_FORCE},
        "versions": package_versions("ase", "mace-torch", "numpy", "torch"),
    }
    parts = {"train": train, "validation": validation, "test": test}
    write_set(arguments.output, "h2cu", parts, provenance)
    counts = ", ".join(f"{len(structures)} {part}" for part, structures in parts.items())
    say(f"{counts} structures in {arguments.output}")


if __name__ == "__main__":
    main()
