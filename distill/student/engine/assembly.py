"""Design rows of the linear fit: what each basis function gives for a structure's labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.student.engine.evaluate import species_indices
from distill.student.engine.kernels.kernel_arguments import DesignTables
from distill.student.engine.neighbours import list_neighbours
from distill.student.engine.tables import layout_of, once_per_basis

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import Basis

Array = NDArray[np.float64]
Indices = NDArray[np.int32]


def design_rows(
    basis: Basis,
    atoms: Atoms,
    *,
    energy: bool = True,
    forces: bool = True,
    virial: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Rows of the design matrix for one structure; the one-body part is not in them.

    Runs without the interpreter's lock, so that threads can assemble structures side by side, and
    keeps memory for one structure only.

    Parameters
    ----------
    basis
        The basis; columns are its functions in ACEpotentials' order.
    atoms
        The structure.
    energy, forces, virial
        Which rows are wanted.

    Returns
    -------
    tuple
        Energy row (n_functions,), force rows (3 N, n_functions), atom by atom x y z, and virial
        rows (6, n_functions) in the order xx yy zz yz xz xy; None for those not wanted. Force
        rows are a transposed view (Fortran order).

    Raises
    ------
    UserError
        If an element is not in the basis, positions are not finite or atoms coincide.
    """
    gradient = forces or virial
    energies, force_rows, virial_rows = _assemble(basis, atoms, gradient=gradient, by_site=False)
    return (
        energies[0] if energy else None,
        force_rows.T if forces else None,
        virial_rows if virial else None,
    )


def site_descriptors(basis: Basis, atoms: Atoms) -> Array:
    """Value of each basis function at each atom, (N, n_functions).

    Functions of other centre elements than the atom's are zero.

    Raises
    ------
    UserError
        As `design_rows`.
    """
    return _assemble(basis, atoms, gradient=False, by_site=True)[0]


@once_per_basis
def design_tables_of(basis: Basis) -> DesignTables:
    """Index tables for `design_rows`."""
    layout, coupling = layout_of(basis), basis.coupling
    products = [row for block in coupling.products for row in block.tolist()]
    order = np.argsort(coupling.rows, kind="stable")
    entry_of: dict[tuple[int, int], int] = {}
    first, factors, entries = [0], [], []
    for nonzero in order.tolist():
        function = int(coupling.rows[nonzero])
        for factor in products[coupling.columns[nonzero]]:
            factors.append(factor)
            entries.append(entry_of.setdefault((function, factor), len(entry_of)))
        first.append(len(factors))
    by_function: list[list[tuple[int, int]]] = [[] for _ in range(basis.n_many_body)]
    for (function, factor), entry in entry_of.items():
        by_function[function].append((factor, entry))
    n_pairs = basis.n_species**2
    function_first = np.zeros((n_pairs, basis.n_many_body + 1), np.int32)
    kept: list[int] = []
    local: list[int] = []
    for pair in range(n_pairs):
        start = layout.shell_start[layout.shell_first[pair]]
        stop = layout.shell_start[layout.shell_first[pair + 1]]
        place = {int(f): k for k, f in enumerate(layout.one_particle[start:stop])}
        for function, listed in enumerate(by_function):
            function_first[pair, function] = len(kept)
            for factor, entry in listed:
                if factor in place:
                    kept.append(entry)
                    local.append(place[factor])
        function_first[pair, -1] = len(kept)
    return DesignTables(
        n_entries=len(entry_of),
        term_first=np.array(first, np.int32),
        term_factor=np.array(factors, np.int32),
        term_entry=np.array(entries, np.int32),
        term_function=coupling.rows[order].astype(np.int32),
        term_value=coupling.values[order].astype(float),
        function_first=function_first,
        entry=np.array(kept, np.int32),
        local=np.array(local, np.int32),
        pair_splines=basis.pair_splines.reshape(n_pairs, *basis.pair_splines.shape[2:]).copy(),
    )


def _assemble(
    basis: Basis, atoms: Atoms, *, gradient: bool, by_site: bool
) -> tuple[Array, Array, Array]:
    from distill.student.engine.kernels.assembly_kernels import assemble

    species = species_indices(basis.elements, atoms)
    first, neighbours, vectors = list_neighbours(atoms, basis.cutoff)
    n_functions = basis.n_functions
    energies = np.zeros((len(atoms) if by_site else 1, n_functions))
    forces = np.zeros((n_functions, 3 * len(atoms)) if gradient else (1, 1))
    virial = np.zeros((6, n_functions) if gradient else (1, 1))
    assemble(
        layout_of(basis), design_tables_of(basis), species, first, neighbours, vectors, by_site,
        gradient, energies, forces, virial,
    )  # fmt: skip
    return energies, forces, virial
