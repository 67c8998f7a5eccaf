"""Whether a model's energies and forces fit together: extensive, smooth, forces a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.simulation.dynamics import Forces

# Å in configuration space; small against a bond, large against single precision.
_STEP = 0.04
# Å; a path crosses the cutoffs of many neighbours, in steps along which a force hardly bends.
_PATH, _PATH_STEPS = 1.0, 400
# The fourth differences of a step of height one are 1, -3, 3 and -1.
_DIFFERENCE, _OF_A_STEP = 4, 3
# Å, more than any cutoff, between the copies of what is not periodic.
_APART = 50.0


def extensivity(calculator: Calculator, atoms: Atoms) -> float:
    """Energy of two copies of a structure minus twice that of one, eV for each atom of the two.

    Along its first periodic axis the structure is repeated; without one the copies are far apart.
    """
    double = atoms.copy()
    double.set_constraint()
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic):
        double = double.repeat([2 if axis == periodic[0] else 1 for axis in range(3)])
    else:
        other = double.copy()
        other.positions[:, 0] += np.ptp(other.positions[:, 0]) + _APART
        double += other
    one, two = (Forces(each, calculator)(each.positions)[0] for each in (atoms, double))
    return (two - 2 * one) / len(double)


def largest_jump(calculator: Calculator, atoms: Atoms, generator: np.random.Generator) -> float:
    """Largest jump of a force component while one atom moves by 1 Å, eV/Å.

    It is a third of the fourth difference of the forces over steps of 0.0025 Å: for a potential
    that ends sharply at its cutoff the jump itself, for a smooth one nearly nothing, with a steep
    core on the way too.
    """
    forces_of = Forces(atoms, calculator)
    atom = int(generator.integers(len(atoms)))
    direction = generator.normal(size=3)
    direction /= np.linalg.norm(direction)
    along = []
    for distance in np.linspace(-_PATH / 2, _PATH / 2, _PATH_STEPS + 1):
        positions = atoms.positions.copy()
        positions[atom] += distance * direction
        along.append(forces_of(positions)[1])
    return float(np.abs(np.diff(np.array(along), n=_DIFFERENCE, axis=0)).max() / _OF_A_STEP)


def gradient_residual(
    calculator: Calculator,
    structures: Sequence[Atoms],
    directions: int,
    generator: np.random.Generator,
) -> float:
    """Root mean square of a model's force components minus the gradient of its energy, eV/Å.

    The slope of the energy along random directions of configuration space, from five points, is
    held against the forces. In a direction drawn evenly the mean square of the difference is that
    of a component. Zero for a potential; for a model that predicts forces directly, what no
    potential fitted to its energies and forces can follow.
    """
    squares = []
    for atoms in structures:
        forces_of = Forces(atoms, calculator)
        forces = forces_of(atoms.positions)[1]
        for _ in range(directions):
            direction = generator.normal(size=forces.shape)
            direction /= np.linalg.norm(direction)
            energies = [
                forces_of(atoms.positions + place * _STEP * direction)[0]
                for place in (-2, -1, 1, 2)
            ]
            slope = np.dot((1, -8, 8, -1), energies) / (12 * _STEP)
            squares.append((float(np.sum(forces * direction)) + slope) ** 2)
    return float(np.sqrt(np.mean(squares)))


def curl(
    calculator: Calculator,
    structures: Sequence[Atoms],
    directions: int,
    generator: np.random.Generator,
) -> float:
    """Antisymmetric part of the derivative of the forces, relative to the whole.

    For random directions u and v of configuration space, u·J·v and v·J·u with J the derivative of
    the forces are equal where the forces are the gradient of anything. Returned is the root mean
    square of half their difference over that of both: 0 for a gradient, about 0.7 for forces
    without any symmetry.
    """
    pairs = []
    for atoms in structures:
        forces_of = Forces(atoms, calculator)

        def along(direction: np.ndarray, forces_of: Forces = forces_of) -> np.ndarray:
            ends = [
                forces_of(atoms.positions + sign * _STEP * direction)[1]  # noqa: B023
                for sign in (1, -1)
            ]
            return (ends[0] - ends[1]) / (2 * _STEP)

        for _ in range(directions):
            u, v = (w / np.linalg.norm(w) for w in generator.normal(size=(2, len(atoms), 3)))
            pairs.append((np.sum(u * along(v)), np.sum(v * along(u))))
    one, other = np.array(pairs).T
    whole = np.sqrt(np.mean(np.concatenate([one, other]) ** 2))
    return float(np.sqrt(np.mean((one - other) ** 2)) / 2 / whole) if whole > 0 else 0.0
