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
from distill.core.random_streams import thermal_noise
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
    numbers.

    Parameters
    ----------
    potential, atoms, scheme, skin, threads
        Of `CompiledSteps`.
    velocities, forces
        At the start, (N, 3), Å/fs and eV/Å.
    generator
        Stream of the thermostat, None without one. It is drawn for a block at once, in the order
        of the steps.

    Raises
    ------
    UserError
        If a position is no longer finite or atoms coincide; the steps before come first.
    """
    steps = CompiledSteps(potential, atoms, scheme, skin=skin, threads=threads)
    last = atoms.positions, velocities, forces
    rows = block_length(len(atoms))
    while True:
        block, problem = steps.take(*last, thermal_noise(generator, rows, len(atoms)))
        yield block
        if problem is not None:
            raise problem
        last = block.positions[-1], block.velocities[-1], block.forces[-1]


class CompiledSteps:
    """Steps of molecular dynamics from any state, with the neighbour list of those before.

    Source of velocity Verlet: Swope et al., J. Chem. Phys. 76, 637 (1982); of BAOAB: Leimkuhler &
    Matthews, Appl. Math. Res. Express 2013, 34.

    Parameters
    ----------
    potential
        The student's.
    atoms
        Elements, cell, and where the first steps begin; not changed, constraints are not looked
        at.
    scheme
        The integrator.
    skin
        What the neighbour list reaches beyond the cutoff, Å.
    threads
        Threads to share the atoms among.
    """

    def __init__(
        self,
        potential: Potential,
        atoms: Atoms,
        scheme: Scheme,
        *,
        skin: float = 0.5,
        threads: int = 1,
    ) -> None:
        self._moving = atoms.copy()
        self._moving.set_constraint()
        species = species_indices(potential.elements, atoms)
        order = np.argsort(species, kind="stable")
        self._system = _System(potential, species, order, threads)
        self._scheme = scheme
        self._listed = VerletList(potential.cutoff, skin)
        self._listed.update(self._moving)

    def take(
        self, positions: Array, velocities: Array, forces: Array, noise: Array
    ) -> tuple[StepBlock, UserError | None]:
        """Steps from a state, as many as there are rows of noise (see `thermal_noise`).

        Returns
        -------
        block
            The steps.
        problem
            Why there are fewer, a position that is not finite or atoms that coincide; or None.
        """
        rows, system = len(noise), self._system
        shape = (rows + 1, len(positions), 3)
        table = StepRows(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape[:2]))
        for values, start in zip(table[:3], (positions, velocities, forces), strict=True):
            values[0] = start
        row, problem = 1, None
        take = _take_steps if system.threads == 1 else _take_steps_on_threads
        try:
            row = take(system, self._listed, self._scheme, noise, table, row, False)
            while row <= rows:
                self._moving.positions[:] = table.positions[row]
                self._listed.update(self._moving)
                row = take(system, self._listed, self._scheme, noise, table, row, True)
        except UserError as error:
            problem = error
        block = StepBlock(
            positions=table.positions[1:row],
            velocities=table.velocities[1:row],
            forces=table.forces[1:row],
            energies=table.energies[1:row].sum(axis=1),
        )
        return block, problem


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
