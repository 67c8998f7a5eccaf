"""Rovibrational states of a diatomic by Einstein-Brillouin-Keller (EBK) quantisation.

The radial motion at energy E and rotational quantum number J obeys
p_r²/2μ + ħ² J(J+1)/2μr² + V(r) = E, and EBK asks that the action over one period be
∮ p_r dr = 2πħ (v + 1/2) (Einstein 1917, Brillouin 1926, Keller 1958; as quasi-classical trajectory
work uses it, Gutzwiller, "Chaos in Classical and Quantum Mechanics", 1990).

J(J+1) is kept as it is. Langer's J(J+1) → (J + 1/2)² belongs to motion that reaches r = 0; for a
bound diatomic it would shift every level by B/4 (1.9 meV for H2) away from the Schrödinger
equation, and would make the classical molecule rotate at J = 0. As it is, levels of a Morse H2 lie
within 0.001 meV of the Schrödinger equation at J = 0 and 0.2 meV at J = 10 (semiclassical error).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.data import atomic_masses, atomic_numbers, covalent_radii
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from distill.core.errors import UserError

# ħ in eV fs, and the acceleration (Å/fs²) of 1 amu under 1 eV/Å.
HBAR = units._hbar / units._e * 1e15
ACCELERATION = units.fs**2
# Isotopes with symbols of their own: element and mass, amu (AME 2020).
_ISOTOPES = {"D": ("H", 2.014101777844), "T": ("H", 3.016049281320)}
_CURVE_POINTS = 120
_CURVE_RANGE = (0.45, 6.0)
_ACTION_POINTS = 200
_PHASE_POINTS = 2048
_GRID_POINTS = 4001
# Shortest bond looked for, in units of the sum of covalent radii; that of N2 is 0.77.
_SHORTEST_BOND = 0.65


@dataclass(frozen=True)
class Diatomic:
    """A diatomic's potential curve.

    Attributes
    ----------
    symbols
        The two elements.
    masses
        amu, shape (2,).
    distances
        Bond lengths, Å, ascending.
    energies
        Energies at those bond lengths, eV.
    """

    symbols: tuple[str, str]
    masses: tuple[float, float]
    distances: np.ndarray
    energies: np.ndarray

    @property
    def name(self) -> str:
        """The two elements, joined by a dash."""
        return "-".join(self.symbols)

    @property
    def reduced_mass(self) -> float:
        """Reduced mass, amu."""
        first, second = self.masses
        return first * second / (first + second)

    @cached_property
    def potential(self) -> CubicSpline:
        """Cubic spline of the energy (eV) over the bond length (Å)."""
        return CubicSpline(self.distances, self.energies)

    def effective_potential(self, r: np.ndarray | float, j: float) -> np.ndarray:
        """V(r) + ħ² J(J+1) / 2μr², eV, at bond lengths r in Å."""
        centrifugal = HBAR**2 * ACCELERATION * j * (j + 1) / (2 * self.reduced_mass)
        return self.potential(r) + centrifugal / np.square(r)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file; `from_dict` reads them."""
        return {
            "symbols": list(self.symbols),
            "masses_amu": list(self.masses),
            "distances_A": self.distances.tolist(),
            "energies_eV": self.energies.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Diatomic:
        """The curve that `to_dict` wrote."""
        return cls(
            symbols=tuple(data["symbols"]),
            masses=tuple(data["masses_amu"]),
            distances=np.array(data["distances_A"]),
            energies=np.array(data["energies_eV"]),
        )


@dataclass(frozen=True)
class Level:
    """A bound state (v, J).

    Attributes
    ----------
    v, j
        Quantum numbers.
    energy
        Energy on the curve's own scale, eV.
    inner, outer
        Turning points, Å.
    """

    v: int
    j: int
    energy: float
    inner: float
    outer: float


def diatomic_curve(
    molecule: str, calculator: Calculator, masses: Sequence[float] | None = None
) -> Diatomic:
    """The calculator's potential curve of a diatomic, from hard contact to dissociation.

    Parameters
    ----------
    molecule
        Formula of two atoms, such as H2, D2 or HD.
    calculator
        Any ASE calculator; it is called 120 times on two atoms.
    masses
        Of the two atoms, amu; those of the elements, D and T if not given.

    Raises
    ------
    UserError
        If the formula is not of two atoms, or the curve is not finite or has no minimum.
    """
    from distill.student.uncertainty.grading import unwatched

    symbols, natural = _two_atoms(molecule)
    masses = natural if masses is None else masses
    distances = _contact(symbols) * np.geomspace(*_CURVE_RANGE, _CURVE_POINTS)
    energies = np.empty(len(distances))
    with unwatched(calculator):
        for index, distance in enumerate(distances):
            pair = _pair(symbols, distance)
            pair.calc = calculator
            energies[index] = pair.get_potential_energy()
    if not np.all(np.isfinite(energies)):
        raise UserError(f"the model gives no finite energy along the bond of {molecule}")
    first, second = masses
    return Diatomic((symbols[0], symbols[1]), (first, second), distances, energies)


def molecule_at(molecule: str, reach: float) -> Atoms:
    """A diatomic alone, its bond `reach` times the sum of its covalent radii.

    Raises
    ------
    UserError
        If the formula is not of two atoms.
    """
    symbols, _ = _two_atoms(molecule)
    return _pair(symbols, reach * _contact(symbols))


def _contact(symbols: Sequence[str]) -> float:
    return float(sum(covalent_radii[atomic_numbers[symbol]] for symbol in symbols))


def _pair(symbols: Sequence[str], distance: float) -> Atoms:
    # Models that need a cell get one, large enough to hold no neighbouring images.
    positions = [[20 - distance / 2, 20, 20], [20 + distance / 2, 20, 20]]
    return Atoms(symbols, positions=positions, cell=[40.0, 40.0, 40.0], pbc=True)


def _two_atoms(molecule: str) -> tuple[list[str], list[float]]:
    """Elements and masses (amu) of a diatomic; D and T are hydrogen with their own masses."""
    atoms = [
        symbol
        for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", molecule)
        for _ in range(min(int(count[:3] or 1), 3))
    ]
    elements = [_ISOTOPES[symbol][0] if symbol in _ISOTOPES else symbol for symbol in atoms]
    whole = re.fullmatch(r"(?:[A-Z][a-z]?\d*)+", molecule) is not None
    if not whole or len(atoms) != 2 or any(symbol not in atomic_numbers for symbol in elements):
        raise UserError(
            f"scattering.molecule is '{molecule}': expected a diatomic, such as H2, D2, HD or CO"
        )
    masses = [
        _ISOTOPES[symbol][1]
        if symbol in _ISOTOPES
        else float(atomic_masses[atomic_numbers[symbol]])
        for symbol in atoms
    ]
    return elements, masses


def action(diatomic: Diatomic, j: float, energy: float) -> float:
    """∮ p_r dr over one vibration at an energy (eV), in eV fs.

    Gauss-Chebyshev quadrature of the second kind takes the square roots at both turning points.
    """
    inner, outer = turning_points(diatomic, j, energy)
    k = np.arange(1, _ACTION_POINTS + 1)
    angle = k * np.pi / (_ACTION_POINTS + 1)
    x, weights = np.cos(angle), np.pi / (_ACTION_POINTS + 1) * np.sin(angle) ** 2
    half = (outer - inner) / 2
    r = (outer + inner) / 2 + half * x
    kinetic = np.maximum(energy - diatomic.effective_potential(r, j), 0.0)
    momentum = np.sqrt(2 * diatomic.reduced_mass / ACCELERATION * kinetic)
    return float(2 * half * np.sum(weights * momentum / np.sin(angle)))


def vibrational_number(diatomic: Diatomic, j: float, energy: float) -> float | None:
    """The v, not a whole number, whose action a classical molecule of an energy (eV) has.

    None above the rim of the well, where nothing vibrates.
    """
    _, values, bottom = _well(diatomic, j)
    rim = min(values[:bottom].max(initial=-np.inf), values[bottom:].max(), values[-1])
    if energy >= rim:
        return None
    if energy <= values[bottom]:
        return -0.5
    return action(diatomic, j, energy) / (2 * np.pi * HBAR) - 0.5


def turning_points(diatomic: Diatomic, j: float, energy: float) -> tuple[float, float]:
    """Inner and outer turning point (Å) of the vibration at an energy (eV) in the well."""
    grid, values, bottom = _well(diatomic, j)
    inside = values <= energy
    left = bottom
    while left > 0 and inside[left - 1]:
        left -= 1
    right = bottom
    while right < len(grid) - 1 and inside[right + 1]:
        right += 1

    def excess(r: float) -> float:
        return float(diatomic.effective_potential(r, j)) - energy

    inner = brentq(excess, grid[left - 1], grid[left], xtol=1e-13)
    outer = brentq(excess, grid[right], grid[right + 1], xtol=1e-13)
    return inner, outer


def bound_level(diatomic: Diatomic, v: int, j: int) -> Level:
    """The level (v, J) of a diatomic.

    Raises
    ------
    UserError
        If the curve has no well, or (v, J) lies above its dissociation limit.
    """
    _, values, bottom = _well(diatomic, j)
    if bottom in (0, len(values) - 1):
        raise UserError(
            f"the model's curve of {diatomic.name} has no minimum at J = {j}: "
            "it does not bind the molecule"
        )
    floor = values[bottom]
    # A bound state lies below the lower rim of the well: the wall inside, dissociation outside.
    rim = min(values[:bottom].max(), values[bottom:].max(), values[-1])
    wanted = 2 * np.pi * HBAR * (v + 0.5)
    low, high = floor + 1e-6 * (rim - floor), rim - 1e-6 * (rim - floor)
    if rim <= floor or action(diatomic, j, high) < wanted:
        highest = action(diatomic, j, high) / (2 * np.pi * HBAR) - 0.5 if rim > floor else -1.0
        found = f"the highest bound v is {int(np.floor(highest))}" if highest >= 0 else "none is"
        raise UserError(
            f"state (v, J) = ({v}, {j}) of {diatomic.name} is above the model's "
            f"dissociation limit of {rim - floor:.3f} eV: {found} at J = {j}"
        )
    energy = brentq(
        lambda e: action(diatomic, j, e) - wanted, low, high, xtol=1e-12 * abs(rim - floor)
    )
    inner, outer = turning_points(diatomic, j, energy)
    return Level(v, j, float(energy), inner, outer)


def _well(diatomic: Diatomic, j: float) -> tuple[np.ndarray, np.ndarray, int]:
    """A fine grid, the effective potential on it, and the index of the bonding minimum."""
    grid = np.linspace(diatomic.distances[0], diatomic.distances[-1], _GRID_POINTS)
    values = diatomic.effective_potential(grid, j)
    # Learned potentials may have a hole at hard contact, deeper than the bond: look beyond it.
    first = int(np.searchsorted(grid, _SHORTEST_BOND * _contact(diatomic.symbols)))
    return grid, values, first + int(np.argmin(values[first:]))


def sample_molecule(
    diatomic: Diatomic, level: Level, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A molecule in a rovibrational state at a random time, with random orientation.

    The bond length is drawn uniformly in time along the vibration, the axis uniformly on the
    sphere, and the angular momentum uniformly in the plane perpendicular to the axis.

    Returns
    -------
    positions
        Relative to the centre of mass, Å, shape (2, 3).
    velocities
        Relative to the centre of mass, Å/fs, shape (2, 3).
    """
    r, radial_velocity = _random_phase(diatomic, level, generator)
    axis, perpendicular = _random_frame(generator)
    angular_momentum = HBAR * np.sqrt(level.j * (level.j + 1))
    mass = diatomic.reduced_mass / ACCELERATION
    relative = radial_velocity * axis + angular_momentum / (mass * r) * perpendicular
    first, second = diatomic.masses
    total = first + second
    shares = np.array([[-second / total], [first / total]])
    return shares * (r * axis), shares * relative


def _random_phase(
    diatomic: Diatomic, level: Level, generator: np.random.Generator
) -> tuple[float, float]:
    """Bond length (Å) and its velocity (Å/fs) at a time drawn uniformly over the period."""
    # With r = centre + half·cos θ, dt/dθ = half·sin θ / ṙ is smooth up to the turning points.
    edges = np.linspace(0, np.pi, _PHASE_POINTS + 1)
    angle = (edges[1:] + edges[:-1]) / 2
    centre, half = (level.outer + level.inner) / 2, (level.outer - level.inner) / 2
    speed = _speed(diatomic, level, centre + half * np.cos(angle))
    time = np.concatenate([[0.0], np.cumsum(half * np.sin(angle) / speed)])
    r = centre + half * np.cos(np.interp(generator.random() * time[-1], time, edges))
    sign = 1.0 if generator.random() < 0.5 else -1.0
    return float(r), sign * float(_speed(diatomic, level, r))


def _speed(diatomic: Diatomic, level: Level, r: np.ndarray | float) -> np.ndarray:
    kinetic = np.maximum(level.energy - diatomic.effective_potential(r, level.j), 0.0)
    return np.sqrt(2 * kinetic * ACCELERATION / diatomic.reduced_mass)


def _random_frame(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A uniform random axis and a uniform random unit vector perpendicular to it."""
    axis = generator.standard_normal(3)
    axis /= np.linalg.norm(axis)
    other = generator.standard_normal(3)
    other -= (other @ axis) * axis
    return axis, other / np.linalg.norm(other)
