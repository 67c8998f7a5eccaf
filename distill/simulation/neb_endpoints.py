"""End points of dissociation paths: the molecule above a site, its atoms in hollows beside it."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.core.errors import UserError
from distill.data.own_images import say_own_images
from distill.data.structure_files import read_structure
from distill.simulation.config import NebConfig, PathConfig
from distill.simulation.path_ends import matched_ends
from distill.systems.slabs import build_slab, height_above, refuse_slab, static_lattice_constant

# Å from the nearest metal atom, where little of the repulsion is left; relaxed further outwards.
_MOLECULE_DISTANCE = 4.5
_NEAR_DISTANCE = 2.1  # Å, where the bond begins to stretch
_ATOM_DISTANCE = 1.75  # Å, H-Cu bond in a hollow
_BOND = 0.75  # Å


def end_points(config: NebConfig, calculator: Calculator) -> tuple[Atoms, Atoms]:
    """First and last image of a band, unrelaxed: the preset's, or the user's files.

    In the preset H2 lies flat above a bridge, hollow or top site of the facet, and its atoms end
    on both sides of it along the same line: for the bridge in the two adjacent hollows.

    Raises
    ------
    UserError
        As `matched_ends`, for end points of the user's.
    """
    if (ends := given_ends(config)) is not None:
        return ends
    slab = build_slab(
        config.slab, config.facet, static_lattice_constant(config.slab, calculator)[0]
    )
    centre, axis, spread = _site(slab, config.site)
    heights = [height_above(slab, centre + d * axis, _ATOM_DISTANCE) for d in (-spread, spread)]
    apart = _with_atoms(slab, centre, axis, spread, heights)
    return _molecule(slab, centre, axis, _MOLECULE_DISTANCE), apart


def refuse_path(config: PathConfig) -> None:
    """Refuse end points between which there is no path, before a model is asked.

    Says where end points of the user's are near their own periodic images.

    Raises
    ------
    UserError
        As `given_ends`, or for a slab that cannot be built.
    """
    ends = given_ends(config)
    if ends is None:
        refuse_slab(config.slab, config.facet)
    else:
        say_own_images(ends, "the end points of the path")


def given_ends(config: PathConfig) -> tuple[Atoms, Atoms] | None:
    """The user's end points; None where the preset's are to be taken.

    Raises
    ------
    UserError
        As `matched_ends`, or if a file cannot be read.
    """
    if config.initial is None or config.final is None:
        return None
    ends = read_structure(config.initial), read_structure(config.final)
    return matched_ends(*ends, exchange=config.exchange)


def molecule_near(above: Atoms, slab: Atoms) -> Atoms:
    """The preset's molecule, still whole, near the site where its atoms part.

    Parameters
    ----------
    above
        The preset's first end point, unrelaxed: the molecule over its site.
    slab
        The atoms to put it on, relaxed or not, with two H last, which it replaces.
    """
    line = above.positions[-1] - above.positions[-2]
    centre = above.positions[-2:, :2].mean(axis=0)
    axis = line[:2] / np.linalg.norm(line[:2])
    return _molecule(slab[:-2], centre, axis, _NEAR_DISTANCE)


def _site(slab: Atoms, site: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Lateral centre of a site near the cell's middle, the molecule's axis, and the H spread."""
    distances = slab.get_all_distances(mic=True)
    nearest = float(distances[~np.eye(len(slab), dtype=bool)].min())
    top = np.flatnonzero(slab.positions[:, 2] > slab.positions[:, 2].max() - 0.1)
    middle = slab.cell.array[:2, :2].sum(axis=0) / 2
    order = np.argsort(np.linalg.norm(slab.positions[top, :2] - middle, axis=1), kind="stable")
    atom = slab.positions[top[order[0]], :2]
    neighbour = _in_plane_neighbour(slab, top, top[order[0]], nearest)
    row = neighbour / np.linalg.norm(neighbour)
    across = np.array([-row[1], row[0]])
    bridge = atom + neighbour / 2
    hollow = _hollow_offset(slab, bridge, across)
    if site == "bridge":
        return bridge, across, hollow
    if site == "top":
        return atom, across, hollow
    return bridge + hollow * across, row, nearest / 2


def _in_plane_neighbour(slab: Atoms, top: np.ndarray, atom: int, nearest: float) -> np.ndarray:
    """Vector (x, y) from a top atom to a nearest neighbour in the top layer."""
    for shift in ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1), (-1, 1), (1, -1)):
        for other in top:
            vector = (
                slab.positions[other] - slab.positions[atom] + np.array([*shift, 0]) @ slab.cell
            )
            if abs(np.linalg.norm(vector) - nearest) < 0.1 * nearest:
                return vector[:2]
    raise UserError("the top layer has no two neighbouring atoms: enlarge slab.size")


def _hollow_offset(slab: Atoms, bridge: np.ndarray, across: np.ndarray) -> float:
    """Distance from a bridge along `across` at which a probe atom sinks deepest, Å."""
    offsets = np.arange(0.5, 2.05, 0.05)
    heights = [height_above(slab, bridge + o * across, _ATOM_DISTANCE) for o in offsets]
    return float(offsets[int(np.argmin(heights))])


def _molecule(slab: Atoms, centre: np.ndarray, axis: np.ndarray, distance: float) -> Atoms:
    """The slab with H2 lying flat along `axis` over `centre`, `distance` from the metal."""
    height = height_above(slab, centre, distance)
    return _with_atoms(slab, centre, axis, _BOND / 2, [height, height])


def _with_atoms(
    slab: Atoms, centre: np.ndarray, axis: np.ndarray, spread: float, heights: list[float]
) -> Atoms:
    """The slab with H at centre ± spread · axis."""
    positions = [
        [*(centre + sign * spread * axis), height]
        for sign, height in zip((-1, 1), heights, strict=True)
    ]
    atoms = slab.copy()
    atoms.extend(Atoms("H2", positions=positions))
    return atoms
