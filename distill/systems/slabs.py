"""Metal slabs: the four fcc facets, their lattice constant, and what sits on them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc110, fcc111, fcc211
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.data import atomic_numbers, reference_states

from distill.core.errors import UserError
from distill.core.sections import section_from
from distill.data.structure_files import read_structure
from distill.systems.config import SlabConfig
from distill.systems.constraints import mobile_atoms, refuse_other_constraints
from distill.systems.equation_of_state import fit_birch_murnaghan

_BUILDERS = {"111": fcc111, "100": fcc100, "110": fcc110, "211": fcc211}
# The bottom atoms sit this far above the cell's floor; the vacuum is all above the slab.
_FLOOR = 0.5
USER_SLAB = "slab"
# Of a user's slab: how far cell vectors may lean, the least gap along z, and the least distance
# between layers, Å.
_FLAT, _SMALLEST_GAP, _LAYER_GAP = 1e-3, 3.0, 0.6
_TIMING_LATTICE_CONSTANT = 3.6528
_VOLUMES = 9
_WIDTHS = (0.03, 0.015)
# Energy calls that `lattice_constant` makes.
LATTICE_CONSTANT_CALLS = _VOLUMES * len(_WIDTHS)


def lattice_constant(element: str, calculator: Calculator) -> float:
    """Lattice constant (Å) at the minimum of the calculator's energy-volume curve of the fcc metal.

    Nine volumes within 9 % of ASE's tabulated lattice, then nine around the minimum of those, are
    fitted by the Birch-Murnaghan equation of state.

    Raises
    ------
    UserError
        If the element is no fcc metal, or the curve has no minimum near its tabulated lattice.
    """
    centre = _tabulated_lattice_constant(element)
    for width in _WIDTHS:
        lattice_constants = centre * np.linspace(1 - width, 1 + width, _VOLUMES)
        energies = [_bulk_energy(element, a, calculator) for a in lattice_constants]
        centre = _minimum(lattice_constants, np.array(energies), element)
    return centre


def _tabulated_lattice_constant(element: str) -> float:
    state = reference_states[atomic_numbers.get(element, 0)]
    if state is None or state["symmetry"] != "fcc":
        raise UserError(f"slab.element is '{element}': expected an fcc metal, such as Cu")
    return float(np.asarray(state["a"]))


def _bulk_energy(element: str, a: float, calculator: Calculator) -> float:
    primitive = bulk(element, "fcc", a=a)
    primitive.calc = calculator
    return float(primitive.get_potential_energy())


def _minimum(lattice_constants: np.ndarray, energies: np.ndarray, element: str) -> float:
    try:
        volume = fit_birch_murnaghan(lattice_constants**3 / 4, energies).volume
        a = float((4 * volume) ** (1 / 3))
    except ValueError:
        a = float("nan")
    spread = np.ptp(lattice_constants)
    low, high = lattice_constants[0] - spread, lattice_constants[-1] + spread
    if not low < a < high:
        raise UserError(
            f"the energy-volume curve of fcc {element} has no minimum between {low:.3f} and "
            f"{high:.3f} Å: give slab.lattice_constant, or check the model"
        )
    return a


def static_lattice_constant(config: SlabConfig, calculator: Calculator) -> tuple[float, int]:
    """Lattice constant at 0 K (Å), given or computed, and the energy calls that it took.

    A slab of a file needs none: 0 is returned for it.
    """
    if config.file:
        return 0.0, 0
    if config.lattice_constant is not None:
        return config.lattice_constant, 0
    return lattice_constant(config.element, calculator), LATTICE_CONSTANT_CALLS


def expanded(config: SlabConfig, a: float, temperature: float) -> float:
    """Lattice constant (Å) at a temperature (K) from that at 0 K: a (1 + αT)."""
    return a * (1 + config.thermal_expansion * temperature)


def facet_label(facet: str) -> str:
    """What structures on a surface are marked with."""
    return facet if facet == USER_SLAB else f"fcc{facet}"


def refuse_slab(config: SlabConfig, facet: str) -> None:
    """Refuse a slab that cannot be built, without a model to ask for its lattice constant.

    Raises
    ------
    UserError
        As `build_slab`, or if the lattice constant is not given and the element is no fcc metal.
    """
    a = 0.0 if config.file else config.lattice_constant
    build_slab(config, facet, _tabulated_lattice_constant(config.element) if a is None else a)


def build_slab(config: SlabConfig, facet: str, a: float) -> Atoms:
    """A slab with its bottom layers fixed by a constraint, periodic along all axes.

    Parameters
    ----------
    config
        Element, size, layers, fixed layers and vacuum.
    facet
        111, 100, 110 or 211. For 211 the first size must be a multiple of three and a layer is
        one atom of each terrace row, as in `ase.build.fcc211`. Not used for a slab of a file.
    a
        Lattice constant, Å. Not used for a slab of a file.

    Returns
    -------
    Atoms
        Atoms sorted from the bottom layer up, `info["top"]` the height of the top atoms in Å.

    Raises
    ------
    UserError
        If there is no such element, the size does not suit the facet, more layers are fixed than
        there are, or a file holds no slab with a gap along z or constraints other than fixed atoms.
    """
    if config.file:
        return _users_slab(config)
    if config.element not in atomic_numbers:
        raise UserError(f"slab.element is '{config.element}': expected a chemical symbol, as Cu")
    if config.fixed_layers > config.layers:
        raise UserError(
            f"slab.fixed_layers is {config.fixed_layers}, more than the {config.layers} layers"
        )
    if facet == "211" and config.size[0] % 3:
        raise UserError(
            f"slab.size is {list(config.size)}: its first number must be a multiple of 3 for the "
            "211 facet (a terrace is three rows wide)"
        )
    # A 111 cell stays hexagonal so that any number of rows is allowed.
    options = {"orthogonal": True} if facet == "211" else {}
    slab = _BUILDERS[facet](
        config.element, (*config.size, config.layers), a=a, vacuum=config.vacuum / 2, **options
    )
    # ase.build puts no periodicity along z, models of the field expect a full cell.
    slab.pbc = True
    order = np.argsort(slab.positions[:, 2].round(6), kind="stable")
    fixed = len(slab) * config.fixed_layers // config.layers
    return _on_the_floor(slab[order], np.arange(fixed))


def _on_the_floor(slab: Atoms, fixed: np.ndarray) -> Atoms:
    """The slab at the bottom of its cell, with some of its atoms fixed and nothing else on it."""
    clean = Atoms(slab.symbols, positions=slab.positions, cell=slab.cell, pbc=True)
    if slab.has("masses"):
        clean.set_masses(slab.get_masses())
    clean.positions[:, 2] += _FLOOR - clean.positions[:, 2].min()
    clean.info["top"] = float(clean.positions[:, 2].max())
    clean.set_constraint(FixAtoms(indices=fixed))
    return clean


def _users_slab(config: SlabConfig) -> Atoms:
    """The slab of a file; its bottom layers are fixed unless it has constraints of its own."""
    assert config.file is not None
    slab = read_structure(config.file)
    refuse_other_constraints(slab, f"slab.file {config.file}")
    cell = slab.cell.array
    height = cell[2, 2]
    if height <= 0 or np.abs([*cell[:2, 2], *cell[2, :2]]).max() > _FLAT * height:
        raise UserError(
            f"slab.file {config.file}: expected a cell with two vectors in the plane and the third "
            f"along z, found {np.round(cell, 3).tolist()}"
        )
    # A slab that crosses the cell's border is put together above its widest gap.
    z = slab.positions[:, 2] % height
    order = np.argsort(z.round(6), kind="stable")
    gaps = np.diff(z[order], append=z[order[0]] + height)
    widest = int(np.argmax(gaps))
    if gaps[widest] < _SMALLEST_GAP:
        raise UserError(
            f"slab.file {config.file}: expected a slab with a gap of {_SMALLEST_GAP:g} Å along z "
            f"at least, found {gaps[widest]:.2f} Å"
        )
    order = np.roll(order, -widest - 1)
    bottom = z[order[0]]
    held = ~mobile_atoms(slab)
    slab.positions[:, 2] = (z - bottom).round(12) % height
    slab.set_constraint()
    slab = slab[order]
    held = held[order]
    heights = slab.positions[:, 2]
    if held.any() and not held.all() and heights[held].mean() > heights[~held].mean():
        raise UserError(
            f"slab.file {config.file}: the fixed atoms lie above the others, on the side that the "
            "molecule comes from; turn the slab over, or fix its bottom layers"
        )
    fixed = np.flatnonzero(held)
    return _on_the_floor(slab, fixed if len(fixed) else _bottom_layers(slab, config))


def _bottom_layers(slab: Atoms, config: SlabConfig) -> np.ndarray:
    """Indices of the atoms in the bottom layers of a slab sorted by height."""
    steps = np.diff(slab.positions[:, 2], prepend=slab.positions[0, 2])
    layer = np.cumsum(steps > _LAYER_GAP)
    if config.fixed_layers > layer[-1] + 1:
        raise UserError(
            f"slab.fixed_layers is {config.fixed_layers}, more than the {layer[-1] + 1} layers of "
            f"{config.file}"
        )
    return np.flatnonzero(layer < config.fixed_layers)


def timing_slab(facet: str = "111") -> Atoms:
    """The 56-atom timing structure: 54 Cu in six layers (a = 3.6528 Å) and H2 2 Å above them.

    The counts are those of the published H2/Cu timing slabs (Stark et al., ml-gas-surface).
    """
    config = SlabConfig(size=(3, 3), layers=6, fixed_layers=2)
    slab = build_slab(config, facet, _TIMING_LATTICE_CONSTANT)
    centre = slab.positions[-1] + [0.6, 0.4, 2.0]
    bond = np.array([0.37, 0.06, 0.0])
    slab.set_constraint()
    return slab + Atoms("H2", positions=[centre - bond, centre + bond])


def cutoff_of(calculator: Calculator) -> float | None:
    """Interaction range (Å) of a calculator's model, or None where it does not say."""
    for holder in (calculator, getattr(calculator, "student", None)):
        for name in ("r_max", "rcut", "cutoff"):
            value = getattr(holder, name, None)
            if value is not None and np.ndim(value) == 0 and not callable(value):
                return float(value)
    return None


def thickness_message(slab: Atoms, calculator: Calculator, facet: str) -> str | None:
    """A sentence for a slab thinner than the model's cutoff, or None."""
    cutoff = cutoff_of(calculator)
    thickness = float(np.ptp(slab.positions[:, 2]))
    if cutoff is None or thickness >= cutoff:
        return None
    return (
        f"the {facet} slab is {thickness:.2f} Å thick, thinner than the model's cutoff of "
        f"{cutoff:g} Å: surface atoms feel its bottom side; raise slab.layers"
    )


def width_message(slab: Atoms, calculator: Calculator, facet: str) -> str | None:
    """A sentence for a slab so narrow that a molecule on it feels its own images, or None."""
    cutoff = cutoff_of(calculator)
    a, b = slab.cell.array[:2]
    width = float(min(np.linalg.norm(vector) for vector in (a, b, a + b, a - b)))
    if cutoff is None or width >= cutoff:
        return None
    area = float(np.linalg.norm(np.cross(a, b)))
    return (
        f"the {facet} slab repeats after {width:.2f} Å, within the model's cutoff of {cutoff:g} Å: "
        f"a molecule feels its own images, as at a coverage of one for each {area:.1f} Å²; raise "
        "slab.size if you want it alone"
    )


def height_above(slab: Atoms, lateral: np.ndarray, distance: float) -> float:
    """Height z (Å) at which a probe over `lateral` (x, y) is `distance` (Å) from the slab.

    Raises
    ------
    UserError
        If no atom lies within `distance` of that line.
    """
    from ase.geometry import find_mic

    vectors = np.zeros((len(slab), 3))
    vectors[:, :2] = slab.positions[:, :2] - lateral
    _, lengths = find_mic(vectors, slab.cell, pbc=(True, True, False))
    reach = lengths < distance
    if not np.any(reach):
        raise UserError(f"no slab atom within {distance} Å of ({lateral[0]:.2f}, {lateral[1]:.2f})")
    rise = np.sqrt(distance**2 - lengths[reach] ** 2)
    return float((slab.positions[reach, 2] + rise).max())


def slab_called(name: str, options: dict[str, Any]) -> tuple[SlabConfig, str]:
    """Options of a slab called such as `Cu(111)`, and its facet."""
    match = re.fullmatch(r"\s*([A-Z][a-z]?)\s*\(?(\d{3})\)?\s*", name)
    if match is None:
        raise UserError(f"slab '{name}': expected a metal and its facet such as Cu(111), or a file")
    return section_from(SlabConfig, element=match[1], **options), match[2]
