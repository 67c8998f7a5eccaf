"""Structures that the bundled foundation model learns: families, and how many of each.

Bulk phases, defects, slabs, adsorbates, molecules and loose packings of Cu, H, Li and F, and of C,
O, Si, Al and Ti where more elements are asked for; strained, rattled and hot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc110, fcc111, fcc211
from ase.data import covalent_radii
from ase.geometry import wrap_positions
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal

SMALLEST_VOLUME = 4.5  # Å³ for an atom
SYMBOLS = ("Cu", "H", "Li", "F")
MORE_SYMBOLS = ("C", "O", "Si", "Al", "Ti")
Family = Callable[[np.random.Generator, int], Iterator[Atoms]]


def deformed(atoms: Atoms, generator: np.random.Generator, largest_rattle: float = 0.25) -> Atoms:
    """A copy with a random volume change (-12 to +15 %), shear strain and rattled positions."""
    copy = atoms.copy()
    strain = generator.normal(0, generator.choice([0.005, 0.025]), (3, 3))
    scale = np.cbrt(generator.uniform(0.88, 1.15)) if generator.random() < 0.6 else 1.0
    copy.set_cell(copy.cell.array @ (scale * np.eye(3) + (strain + strain.T) / 2), True)
    amplitude = largest_rattle * generator.random() ** 1.5
    copy.positions += generator.normal(0, amplitude, (len(copy), 3))
    return copy


def repeated(atoms: Atoms, generator: np.random.Generator, most: int) -> Atoms:
    """The crystal in a supercell of at most `most` atoms, with random repeats along its axes."""
    repeats = [1, 1, 1]
    for _ in range(4):
        axis = generator.integers(3)
        if len(atoms) * np.prod(repeats) * (repeats[axis] + 1) / repeats[axis] <= most:
            repeats[axis] += 1
    return atoms.repeat(repeats)


def crystals(prototypes: list[Atoms], most: int) -> Family:
    """A family of deformed supercells of the prototypes."""

    def family(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
        for index in range(count):
            prototype = prototypes[index % len(prototypes)]
            yield deformed(repeated(prototype, generator, most), generator)

    return family


def defective(prototypes: list[Atoms], most: int, kind: str) -> Family:
    """Supercells with one atom missing (`vacancy`) or one of `kind` between the sites."""

    def family(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
        for index in range(count):
            atoms = repeated(prototypes[index % len(prototypes)], generator, most)
            if kind == "vacancy":
                del atoms[int(generator.integers(len(atoms)))]
            else:
                atoms += Atoms(kind, positions=[_widest_gap(atoms, generator)])
            yield deformed(atoms, generator, 0.15)

    return family


def _widest_gap(atoms: Atoms, generator: np.random.Generator) -> np.ndarray:
    """Of 60 random points, the one farthest from every atom (so interstitials find room)."""
    points = generator.random((60, 3)) @ atoms.cell.array
    distances = []
    for point in points:
        trial = atoms + Atoms("H", positions=[point])
        distances.append(trial.get_distances(-1, range(len(atoms)), mic=True).min())
    return points[int(np.argmax(distances))]


def slab(generator: np.random.Generator) -> Atoms:
    """A small Cu slab of one of four facets, mildly rattled, with its vacuum."""
    build, size = (
        (fcc111, (2, 2, int(generator.integers(2, 5)))),
        (fcc100, (2, 2, int(generator.integers(2, 5)))),
        (fcc110, (1, 2, int(generator.integers(4, 8)))),
        (fcc211, (3, 1, int(generator.integers(3, 5)))),
    )[int(generator.integers(4))]
    options = {"orthogonal": True} if build is fcc211 else {}
    lattice = generator.uniform(3.55, 3.75)
    atoms = build("Cu", size, a=lattice, vacuum=generator.uniform(5.5, 7.5), **options)
    if build in (fcc110, fcc211):
        atoms = atoms.repeat((2, 1, 1) if build is fcc110 else (1, 2, 1))
    atoms.pbc = True
    atoms.positions += generator.normal(0, 0.2 * generator.random() ** 1.5, (len(atoms), 3))
    return atoms


def clean_slabs(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
    for _ in range(count):
        yield slab(generator)


def hydrogen_on_slabs(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
    """H2 at all heights and bond lengths, separate H atoms on, in and above Cu slabs."""
    for index in range(count):
        atoms = slab(generator)
        top = atoms.positions[:, 2].max()
        lateral = (generator.random(2) @ atoms.cell.array[:2, :])[:2]
        axis = generator.normal(size=3)
        kind = index % 4
        if kind == 0:  # a molecule, far to near
            height, bond = generator.uniform(1.2, 5.0), generator.normal(0.76, 0.07)
        elif kind == 1:  # near the barrier
            height, bond = generator.uniform(0.6, 1.8), generator.uniform(0.75, 1.7)
            axis[2] *= 0.2
        elif kind == 2:  # dissociated, on the surface
            height, bond = generator.uniform(0.3, 1.3), generator.uniform(1.5, 2.8)
            axis[2] *= 0.1
        else:  # one to three atoms, some below the surface
            for _ in range(generator.integers(1, 4)):
                place = (generator.random(2) @ atoms.cell.array[:2, :])[:2]
                height = generator.uniform(-3, 0) if generator.random() < 0.2 else None
                height = generator.uniform(0.4, 1.9) if height is None else height
                atoms += Atoms("H", positions=[[*place, top + height]])
            yield atoms
            continue
        axis /= np.linalg.norm(axis)
        centre = np.array([*lateral, top + height])
        ends = [centre - 0.5 * bond * axis, centre + 0.5 * bond * axis]
        yield atoms + Atoms("H2", positions=ends)


def other_adsorbates(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
    """Li, F and HF on Cu slabs."""
    for index in range(count):
        atoms = slab(generator)
        top = atoms.positions[:, 2].max()
        place = generator.random(2) @ atoms.cell.array[:2, :]
        symbol = ("Li", "F", "HF")[index % 3]
        adsorbate = Atoms("HF", positions=[[0, 0, 0], [0, 0, generator.uniform(0.85, 1.3)]])
        adsorbate = adsorbate if symbol == "HF" else Atoms(symbol, positions=[[0, 0, 0]])
        adsorbate.rotate(generator.uniform(0, 360), generator.normal(size=3))
        adsorbate.positions += [place[0], place[1], top + generator.uniform(0.9, 3.0)]
        yield atoms + adsorbate


def fluoride_slabs(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
    """Thin LiF(100) slabs with vacuum."""
    for _ in range(count):
        layers = int(generator.integers(1, 3))
        atoms = bulk("LiF", "rocksalt", a=generator.uniform(3.95, 4.2), cubic=True)
        atoms = atoms.repeat((1, int(generator.integers(1, 3)), layers))
        atoms.center(vacuum=generator.uniform(4, 6), axis=2)
        atoms.positions += generator.normal(0, 0.18 * generator.random(), (len(atoms), 3))
        yield atoms


def molecules(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
    """Pairs from short to long bonds, a few three- and four-atom clusters, and pairs of H2."""
    bonds = {
        "H2": (0.5, 2.4), "F2": (1.2, 2.6), "HF": (0.75, 2.0), "LiF": (1.3, 3.2), "LiH": (1.3, 3.2),
        "CuH": (1.2, 3.0), "CuF": (1.5, 3.2), "Li2": (2.2, 4.0), "Cu2": (1.9, 4.0), "CuLi": (2, 4),
    }  # fmt: skip
    names = list(bonds)
    for index in range(count):
        cell = [generator.uniform(8.5, 11)] * 3
        if index % 4 == 3:
            symbols = generator.choice(SYMBOLS, size=generator.integers(3, 6))
            positions = generator.normal(0, 1.4, (len(symbols), 3))
            yield Atoms(list(symbols), positions=positions, cell=cell, pbc=True)
            continue
        # Half of the pairs are H2, half of those near the minimum: the molecule that matters most.
        name = "H2" if index % 2 else names[int(generator.integers(len(names)))]
        bond = generator.uniform(*bonds[name])
        bond = generator.normal(0.76, 0.06) if name == "H2" and index % 4 == 1 else bond
        pair = Atoms(name, positions=[[0, 0, 0], [0, 0, bond]], cell=cell, pbc=True)
        if name == "H2" and generator.random() < 0.3:
            other = Atoms("H2", positions=[[0, 0, 0], [0, 0, generator.normal(0.75, 0.05)]])
            other.rotate(generator.uniform(0, 180), generator.normal(size=3))
            other.positions[:, 0] += generator.uniform(1.8, 4.0)
            pair += other
        yield pair


def packings(choices: tuple[str, ...]) -> Family:
    """Random packings of one to four elements at a wide range of densities."""

    def family(generator: np.random.Generator, count: int) -> Iterator[Atoms]:
        for _ in range(count):
            number = int(generator.integers(3, 15))
            palette = generator.choice(choices, size=generator.integers(1, 5), replace=False)
            symbols = list(generator.choice(palette, size=number))
            radii = covalent_radii[Atoms(symbols).numbers]
            volume = generator.uniform(1.1, 4.0) * np.sum(4 / 3 * np.pi * (1.05 * radii) ** 3)
            volume = max(volume, SMALLEST_VOLUME * number)
            lengths = np.cbrt(volume) * generator.uniform(0.8, 1.25, 3)
            atoms = Atoms(symbols, cell=np.diag(lengths), pbc=True)
            atoms.positions = generator.random((number, 3)) * lengths
            yield _pushed_apart(atoms)

    return family


def _pushed_apart(atoms: Atoms) -> Atoms:
    """Atoms moved until no pair is closer than 0.9 of the sum of covalent radii (or 25 sweeps)."""
    radii = covalent_radii[atoms.numbers]
    for _ in range(25):
        first, second, distance, vector = neighbor_list("ijdD", atoms, 3.0)
        overlap = 0.9 * (radii[first] + radii[second]) - distance
        close = overlap > 0
        if not close.any():
            break
        push = -0.3 * overlap[close, None] * vector[close] / (distance[close, None] + 1e-9)
        np.add.at(atoms.positions, first[close], push)
    atoms.positions = wrap_positions(atoms.positions, atoms.cell, pbc=True)
    return atoms


def shortest_relative_contact(atoms: Atoms) -> float:
    """Shortest distance between two atoms over the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    first, second, distance = neighbor_list("ijd", atoms, 3.0)
    if not len(distance):
        return float("inf")
    return float((distance / (radii[first] + radii[second])).min())


def families() -> dict[str, tuple[Family, int]]:
    """Each family of structures with the number drawn from it."""
    copper = [bulk("Cu", "fcc", a=3.62), bulk("Cu", "bcc", a=2.88), bulk("Cu", "hcp", a=2.56)]
    copper += [bulk("Cu", "fcc", a=3.62, cubic=True), bulk("Cu", "sc", a=2.40)]
    lithium = [bulk("Li", "bcc", a=3.44), bulk("Li", "fcc", a=4.33), bulk("Li", "hcp", a=3.06)]
    fluoride = [bulk("LiF", "rocksalt", a=4.07), bulk("LiF", "rocksalt", a=4.07, cubic=True)]
    dense = [bulk("LiF", "cesiumchloride", a=2.50), bulk("LiF", "zincblende", a=4.36)]
    hydrides = [bulk("LiH", "rocksalt", a=4.02), bulk("CuH", "zincblende", a=4.05)]
    hydrides += [bulk("CuH", "rocksalt", a=3.95), bulk("HF", "rocksalt", a=3.6)]
    copper_salts = [bulk("CuF", "zincblende", a=4.25), bulk("CuF", "rocksalt", a=4.3)]
    rutile = crystal(["Cu", "F"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136,
                     cellpar=[4.6, 4.6, 3.2, 90, 90, 90])  # fmt: skip
    alloys = [bulk("CuLi", "cesiumchloride", a=2.95)]
    for few, many, lattice in (("Li", "Cu", 3.7), ("Cu", "Li", 4.1)):
        alloy = bulk(many, "fcc", a=lattice, cubic=True)
        alloy.symbols[0] = few
        alloys.append(alloy)
    return {
        "cu_crystals": (crystals(copper, 16), 200),
        "cu_defects": (defective([copper[3]], 32, "vacancy"), 30),
        "h_in_cu": (defective([copper[3]], 16, "H"), 60),
        "cu_slabs": (clean_slabs, 130),
        "h_on_cu": (hydrogen_on_slabs, 640),
        "others_on_cu": (other_adsorbates, 60),
        "li_crystals": (crystals(lithium, 12), 70),
        "lif_crystals": (crystals(fluoride, 16), 190),
        "lif_other_crystals": (crystals(dense, 12), 40),
        "lif_vacancy": (defective([fluoride[1]], 32, "vacancy"), 70),
        "lif_interstitial": (defective([fluoride[1]], 32, "Li"), 90),
        "lif_slabs": (fluoride_slabs, 40),
        "hydrides": (crystals(hydrides, 12), 90),
        "cu_fluorides": (crystals([*copper_salts, rutile], 12), 60),
        "cu_li_alloys": (crystals(alloys, 12), 60),
        "molecules": (molecules, 220),
        "packings": (packings(SYMBOLS), 260),
    }


def families_of_more_elements() -> dict[str, tuple[Family, int]]:
    """The same for C, O, Si, Al and Ti, alone and with the others."""
    pure = [bulk("Al", "fcc", a=4.05), bulk("Si", "diamond", a=5.43), bulk("C", "diamond", a=3.57)]
    pure += [bulk("Ti", "hcp", a=2.95), bulk("Ti", "bcc", a=3.25), bulk("Al", "hcp", a=2.86)]
    carbides = [bulk("SiC", "zincblende", a=4.36), bulk("TiC", "rocksalt", a=4.33)]
    rutile = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136,
                     cellpar=[4.6, 4.6, 2.96, 90, 90, 90])  # fmt: skip
    cristobalite = crystal(["Si", "O"], [(0, 0, 0), (0.125, 0.125, 0.125)], spacegroup=227,
                           cellpar=[7.2, 7.2, 7.2, 90, 90, 90], primitive_cell=True)  # fmt: skip
    lithia = crystal(["Li", "O"], [(0.25, 0.25, 0.25), (0, 0, 0)], spacegroup=225,
                     cellpar=[4.63] * 3 + [90] * 3, primitive_cell=True)  # fmt: skip
    oxides = [rutile, cristobalite, lithia, bulk("CuO", "rocksalt", a=4.25)]
    alloys = [bulk("AlTi", "cesiumchloride", a=3.19), bulk("LiAl", "cesiumchloride", a=3.2)]
    alloys += [bulk("CuAl", "cesiumchloride", a=2.97), bulk("CuTi", "cesiumchloride", a=3.1)]
    return {
        "more_crystals": (crystals(pure, 16), 160),
        "carbides": (crystals(carbides, 16), 60),
        "oxides": (crystals(oxides, 18), 120),
        "more_alloys": (crystals(alloys, 12), 80),
        "more_defects": (defective([bulk("Al", cubic=True, a=4.05)], 32, "vacancy"), 30),
        "more_packings": (packings((*SYMBOLS, *MORE_SYMBOLS)), 200),
    }
