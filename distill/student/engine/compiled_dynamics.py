"""Molecular dynamics of a student: many steps in one compiled call.

A small system is evaluated in some tenths of a millisecond, of which an integrator in Python takes
a quarter. Here the steps between two searches of neighbours run without the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.engine.evaluate import Potential, species_indices
from distill.student.engine.kernels.kernel_arguments import Scheme, StepRows
from distill.student.engine.neighbours import VerletList

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Steps that are taken ahead of whoever looks at them, and the numbers kept for them at most.
ROWS = 16
_LARGEST_BLOCK = 2_000_000


class StepBlock(NamedTuple):
    """Some successive steps.

    Attributes
    ----------
    positions, velocities, forces
        (steps, N, 3), Å, Å/fs and eV/Å.
    energies
        Potential energy, (steps,), eV.
    """

    positions: Array
    velocities: Array
    forces: Array
    energies: Array


def integrate(
    potential: Potential,
    atoms: Atoms,
    velocities: Array,
    forces: Array,
    scheme: Scheme,
    generator: np.random.Generator | None = None,
    *,
    skin: float = 0.5,
    threads: int = 1,
) -> Iterator[StepBlock]:
    """Steps of molecular dynamics without end, a block at a time.

    The trajectory does not depend on the blocks: going on from the last step of one gives the same
    numbers. Source of velocity Verlet: Swope et al., J. Chem. Phys. 76, 637 (1982); of BAOAB:
    Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34.

    Parameters
    ----------
    potential
        The student's.
    atoms
        Where it starts, step 0; not changed, constraints are not looked at.
    velocities, forces
        At the start, (N, 3), Å/fs and eV/Å.
    scheme
        The integrator.
    generator
        Stream of the thermostat, None without one. It is drawn for a block at once, in the order
        of the steps.
    skin
        What the neighbour list reaches beyond the cutoff, Å.
    threads
        Threads to share the atoms among.

    Raises
    ------
    UserError
        If a position is no longer finite or atoms coincide; the steps before come first.
    """
    moving = atoms.copy()
    moving.set_constraint()
    n_atoms = len(atoms)
    species = species_indices(potential.elements, atoms)
    system = _System(potential, species, np.argsort(species, kind="stable"), threads)
    listed = VerletList(potential.cutoff, skin)
    listed.update(moving)
    rows = block_length(n_atoms)
    last = moving.positions, velocities, forces
    while True:
        shape = (rows + 1, n_atoms, 3)
        table = StepRows(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape[:2]))
        for values, start in zip(table[:3], last, strict=True):
            values[0] = start
        noise = np.empty((rows, 0, 3))
        if generator is not None:
            noise = generator.standard_normal((rows, n_atoms, 3))
        row, problem = 1, None
        take = _take_steps if threads == 1 else _take_steps_on_threads
        try:
            row = take(system, listed, scheme, noise, table, row, False)
            while row <= rows:
                moving.positions[:] = table.positions[row]
                listed.update(moving)
                row = take(system, listed, scheme, noise, table, row, True)
        except UserError as error:
            problem = error
        yield StepBlock(
            positions=table.positions[1:row],
            velocities=table.velocities[1:row],
            forces=table.forces[1:row],
            energies=table.energies[1:row].sum(axis=1),
        )
        if problem is not None:
            raise problem
        last = table.positions[-1], table.velocities[-1], table.forces[-1]


def block_length(n_atoms: int) -> int:
    """Steps in a block: many enough to hide the interpreter, few enough for the memory."""
    return max(1, min(ROWS, _LARGEST_BLOCK // (10 * max(n_atoms, 1))))


class _System(NamedTuple):
    """A potential with the element of each atom, and all atoms sorted by element."""

    potential: Potential
    species: Integers
    order: Integers
    threads: int


def _take_steps(
    system: _System,
    listed: VerletList,
    scheme: Scheme,
    noise: Array,
    table: StepRows,
    row: int,
    drifted: bool,
) -> int:
    """`dynamics_kernels.take_steps`: fill rows as far as the list goes, return the next."""
    from distill.student.engine.kernels.dynamics_kernels import take_steps

    return take_steps(
        system.potential.layout,
        system.potential.weights,
        system.order,
        system.species,
        listed.pairs,
        listed.reference,
        listed.limit,
        scheme,
        noise,
        table,
        row,
        drifted,
    )


def _take_steps_on_threads(
    system: _System,
    listed: VerletList,
    scheme: Scheme,
    noise: Array,
    table: StepRows,
    row: int,
    drifted: bool,
) -> int:
    """The same with the atoms shared among threads, which is worth it from some hundred atoms."""
    from distill.student.engine.kernels.dynamics_kernels import drift, kick
    from distill.student.engine.kernels.evaluation_kernels import pair_vectors

    pairs = listed.pairs
    while row < len(table.positions):
        if not drifted and not drift(scheme, noise, table, row, listed.reference) < listed.limit:
            return row
        drifted = False
        pair_vectors(table.positions[row], *pairs)
        found = system.potential.evaluate_pairs(
            system.species, pairs.first, pairs.neighbours, pairs.vectors, system.threads
        )
        table.energies[row], table.forces[row] = found.energies, found.forces
        kick(scheme, table.velocities[row], table.forces[row])
        row += 1
    return row
