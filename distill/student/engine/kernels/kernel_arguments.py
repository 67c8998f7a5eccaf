"""What the kernels take: named tuples of arrays, and the sizes that are compiled in.

They lie with the kernels because machine code reads their fields by their places.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int32]
Integers = NDArray[np.int64]

# Doubles in a vector register, of the atoms or neighbours that go through the kernels together.
LANES = 8
# Models whose forces are evaluated together.
MODELS = 3


class PairForm(NamedTuple):
    """Pairs of shells coupled to L, and the quadratic form that the energy is in them.

    Values are numbered in one row: one-particle functions, product nodes, then the 2 L + 1
    components of each pair. Blocks are two shells with all that they are coupled to; those whose
    l and L are the same share a pattern.

    Attributes
    ----------
    n_values
        Number of all values.
    block_first, block_second, block_pattern, block_target
        Of each block: first one-particle function of its shells, pattern, first entry in
        `target_value`.
    target_value
        Value of each component of a block's pairs.
    pattern_product, pattern_target
        First product and first component of each pattern, (patterns + 1,).
    product_first, product_second
        Products of a pattern: which function of the first shell, and of the second.
    target_term, term_product, term_number
        Component t of a pattern is the sum over k, from target_term[t] to target_term[t + 1], of
        `term_number[k]` times product `term_product[k]` of the pattern.
    product_term, back_target, back_number
        The same turned: which components each product is part of.
    row_value, row_size, row_first, entry_value
        A shell or pair begins at `row_value`, has `row_size` components, and is multiplied with
        those that begin at `entry_value[k]`, k from row_first[r] to row_first[r + 1]. Each product
        of two is an entry of both; see `Weights.entry`.
    """

    n_values: int
    block_first: Indices
    block_second: Indices
    block_pattern: Indices
    block_target: Indices
    target_value: Indices
    pattern_product: Indices
    pattern_target: Indices
    product_first: Indices
    product_second: Indices
    target_term: Indices
    term_product: Indices
    term_number: Array
    product_term: Indices
    back_target: Indices
    back_number: Array
    row_value: Indices
    row_size: Indices
    row_first: Indices
    entry_value: Indices


class Layout(NamedTuple):
    """Tables of a basis; a pair of elements is numbered centre x n_species + neighbour.

    Radial functions that are equal for a pair are stored once, as rows. A shell is a run of
    one-particle functions with one spherical harmonic and consecutive rows.

    Attributes
    ----------
    n_species, n_one_particle, n_nodes, largest_l, n_rows
        Numbers of elements, one-particle functions, product nodes, largest l, largest number of
        rows of a pair (a multiple of the lanes).
    cutoff
        Of each pair, Å.
    transform, envelope, grid
        Parameters (pairs, 7) and (pairs, 5); spline grid (start, step, nodes).
    splines, spline_first, row_count
        B-spline coefficients, flat; where a pair's start; its rows, a multiple of the lanes.
        A pair's block has shape (nodes + 2, rows).
    shell_first
        First shell of each pair, (pairs + 1,).
    shell_harmonic, shell_row, shell_start
        Of each shell: harmonic l² + l + m, first row, first entry in `one_particle`
        (one more entry closes the last shell).
    one_particle
        One-particle functions of the shells, in order.
    harmonic_norm
        Norms of the spherical harmonics by l² + l + m.
    pair_transform, pair_envelope, pair_grid
        The same for the pair term, (pairs, 7) and (pairs, 3).
    node_parent, node_factor, group_parent, group_first, leaf_factor, node_column, leaf_column
        See `products.ProductPlan`; of the products that are not in `pairs`.
    pairs
        Products of orders two to four by coupled pairs; without rows where all are nodes.
    """

    n_species: int
    n_one_particle: int
    n_nodes: int
    largest_l: int
    n_rows: int
    cutoff: Array
    transform: Array
    envelope: Array
    grid: Array
    splines: Array
    spline_first: NDArray[np.int64]
    row_count: Indices
    shell_first: Indices
    shell_harmonic: Indices
    shell_row: Indices
    shell_start: Indices
    one_particle: Indices
    harmonic_norm: Array
    pair_transform: Array
    pair_envelope: Array
    pair_grid: Array
    node_parent: Indices
    node_factor: Indices
    group_parent: Indices
    group_first: Indices
    leaf_factor: Indices
    node_column: Indices
    leaf_column: Indices
    pairs: PairForm


class Weights(NamedTuple):
    """A coefficient vector folded into the tables.

    Attributes
    ----------
    one_body
        E0 of each element, eV.
    node, leaf
        Coefficients of the product nodes and leaves, (species, nodes) and (species, leaves).
    pair
        B-spline coefficients of the pair potentials, (pairs, nodes + 2).
    core
        Parameters of the ZBL repulsion, (pairs, 3), see `zbl.core_parameters`; zeros without it.
    entry
        Coefficients of the entries of `PairForm`, (species, entries): the energy is half the sum
        of rows times entries.
    """

    one_body: Array
    node: Array
    leaf: Array
    pair: Array
    core: Array
    entry: Array


class DesignTables(NamedTuple):
    """Index tables of the many-body functions' derivatives by the one-particle functions.

    Attributes
    ----------
    n_entries
        Number of nonzero derivatives (function, one-particle function).
    term_first, term_factor, term_entry
        Term t multiplies one-particle functions `term_factor[term_first[t]:term_first[t + 1]]`;
        leaving one out contributes to the entry of the same place.
    term_function, term_value
        Function of each term and its coefficient.
    function_first, entry, local
        For each pair of elements, function f has entries `entry[k]`, k from
        function_first[pair, f] to function_first[pair, f + 1], whose one-particle function is
        number `local[k]` of the pair's shells.
    pair_splines
        B-spline coefficients of the pair functions, (pairs, nodes + 2, n_pair).
    """

    n_entries: int
    term_first: Indices
    term_factor: Indices
    term_entry: Indices
    term_function: Indices
    term_value: Array
    function_first: Indices
    entry: Indices
    local: Indices
    pair_splines: Array


class MemberTables(NamedTuple):
    """Energies of all members as one product of a matrix with features of an atom.

    Features are the many-body functions and, for each element of a neighbour, the B-splines of the
    pair term times its envelope, summed over neighbours.

    Attributes
    ----------
    n_members
        A multiple of the lanes; members beyond the committee's are zero.
    function_first, parent, factor, coefficient
        Many-body function f is the sum over k, from function_first[f] to function_first[f + 1], of
        `coefficient[k]` times product nodes `parent[k]` and `factor[k]`, number n_nodes being 1.
    weights
        Of each element, (species, features x members).
    """

    n_members: int
    function_first: Indices
    parent: Indices
    factor: Indices
    coefficient: Array
    weights: Array


class ForceTables(NamedTuple):
    """Models whose forces are wanted, three by three, in the tables of `Weights`.

    Attributes
    ----------
    one_body, core
        As in `Weights`, of the first model; deviations of members have neither.
    node, leaf
        (triples, species, nodes x 3) and (triples, species, leaves x 3).
    pair
        (triples, 3, pairs, spline rows).
    """

    one_body: Array
    core: Array
    node: Array
    leaf: Array
    pair: Array


class ListedPairs(NamedTuple):
    """What a Verlet list keeps between searches.

    Attributes
    ----------
    first, neighbours
        As in `Neighbours`.
    shifts
        Of the periodic image of each neighbour, (pairs, 3), Å.
    vectors
        Room for the vectors, (pairs, 3), Å.
    """

    first: Integers
    neighbours: Integers
    shifts: Array
    vectors: Array


class Scheme(NamedTuple):
    """An integrator: velocity Verlet, or BAOAB Langevin dynamics where `kept` is below 1.

    Attributes
    ----------
    time_step
        fs.
    half_kick
        Half a step over the mass, (N,), Å/fs per eV/Å; 0 for an atom that is held.
    kept
        What the thermostat leaves of a velocity in one step.
    noise
        Width of what it adds, (N,), Å/fs.
    """

    time_step: float
    half_kick: Array
    kept: float
    noise: Array


class StepRows(NamedTuple):
    """A block that is being filled; row 0 is where it starts.

    Attributes
    ----------
    positions, velocities, forces
        (rows, N, 3), Å, Å/fs and eV/Å.
    energies
        Of each atom, (rows, N), eV.
    """

    positions: Array
    velocities: Array
    forces: Array
    energies: Array


class Workspace(NamedTuple):
    """Scratch arrays of an evaluation, flat, with the eight lanes innermost.

    Attributes
    ----------
    slot_atom, slot_vector, segment
        See `embedding_kernels.gather_neighbours`; indices are unsigned, which spares a check.
    geometry, radial, harmonics
        Of the block's neighbours; see `embedding_kernels.embed_neighbours`.
    value
        Product nodes of the block's atoms, first of them the one-particle functions, and after
        the last of them ones.
    sums, slopes
        One-particle functions of one atom, and derivatives by them.
    tile, powers
        Small scratch.
    own, virial
        Sums of pair gradients over the neighbours of one atom, three models x (x, y, z), and of
        vectors times gradients over all atoms, (xx, xy, xz, yx, ...).
    mask
        Eight ones, then eight zeros.
    """

    slot_atom: NDArray[np.uint64]
    slot_vector: Array
    segment: NDArray[np.int64]
    geometry: Array
    radial: Array
    harmonics: Array
    value: Array
    sums: Array
    slopes: Array
    tile: Array
    powers: Array
    own: Array
    virial: Array
    mask: Array
