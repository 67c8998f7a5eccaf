"""Radial functions of the basis: distance transform, envelope and splined polynomials.

R(r) = spline(x(r)) envelope(x(r)), with the polynomials tabulated as ACEpotentials.jl 0.10 does
(`ace1_model`, `splinify`): a cubic B-spline through 100 uniform nodes of x in [-1, 1] with zero
second derivative at both ends. `embedding_kernels` and `pair_kernels` evaluate them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES = 100
GRID_START = -1.0
GRID_STEP = 2.0 / (NODES - 1)
MANY_BODY_EXPONENTS = (2, 4)
PAIR_EXPONENTS = (1, 3)


class Grid(NamedTuple):
    """Uniform nodes of the splines in x: the first, their spacing, how many."""

    start: float = GRID_START
    step: float = GRID_STEP
    nodes: int = NODES


def agnesi_parameters(p: int, q: int, inner: float, r0: float, cutoff: float) -> Array:
    """Parameters (p, q, a, r_in, r0, y_in, y_cut) of the normalised Agnesi transform.

    y = 1 / (1 + a s^q / (1 + s^(q - p))), s = (r - r_in) / (r0 - r_in), mapped linearly so that
    r_in goes to -1 and the cutoff to +1; a makes |dy/dr| largest at r0. Source: ACEpotentials.jl,
    `agnesi_transform`; Witt et al., J. Chem. Phys. 159, 164101 (2023).
    """
    a = (-2 * q + p * (-2 + 4 * q)) / (p + p * p + q + q * q)
    s = (cutoff - inner) / (r0 - inner)
    return np.array([p, q, a, inner, r0, 1.0, 1.0 / (1.0 + a * s**q / (1.0 + s ** (q - p)))])


def jacobi_polynomials(x: Array, count: int, exponent: float) -> Array:
    """Polynomials orthonormal under (1 - x^2)^exponent on [-1, 1], shape (len(x), count).

    Source of the norm: Abramowitz & Stegun 22.2.1.
    """
    from scipy.special import eval_jacobi, gammaln

    n = np.arange(count)
    a = exponent
    log_norm = (
        (2 * a + 1) * np.log(2.0)
        - np.log(2 * n + 2 * a + 1)
        + 2 * gammaln(n + a + 1)
        - gammaln(n + 1)
        - gammaln(n + 2 * a + 1)
    )
    return np.asarray(eval_jacobi(n[None, :], a, a, x[:, None]) * np.exp(-0.5 * log_norm))


def spline_coefficients(values: Array) -> Array:
    """Uniform cubic B-spline coefficients through nodal values, natural ends.

    Parameters
    ----------
    values
        Values at the nodes, shape (nodes, functions).

    Returns
    -------
    Array
        Shape (nodes + 2, functions): the value at node i is (c[i] + 4 c[i+1] + c[i+2]) / 6.
    """
    from scipy.interpolate import CubicSpline

    nodes = np.arange(len(values), dtype=float)
    curvature = CubicSpline(nodes, values, bc_type="natural")(nodes, 2)
    inner = values - curvature / 6.0
    first, last = 2 * inner[0] - inner[1], 2 * inner[-1] - inner[-2]
    return np.concatenate([first[None], inner, last[None]])


def spline_values(x: Array, coefficients: Array, grid: Grid) -> Array:
    """Values of B-splines at x, shape (len(x), functions)."""
    position = (x - grid.start) / grid.step
    index = np.clip(np.floor(position).astype(int), 0, grid.nodes - 2)
    t = position - index
    weights = np.stack(
        [(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * (1 - t) ** 2 + 3 * (1 - t) ** 3, t**3]
    )
    return np.einsum("kj,kjf->jf", weights / 6.0, coefficients[index + np.arange(4)[:, None]])


def one_hot_coefficients(
    radial_numbers: NDArray[np.int64], n_species: int, exponent: float
) -> Array:
    """B-spline coefficients of the radial functions, with the neighbour's species folded into n.

    Function n belongs to neighbours of species mod(n - 1, n_species) and is the polynomial of
    degree div(n - 1, n_species); for other neighbours it is zero. All centres share it.

    Parameters
    ----------
    radial_numbers
        n of each function, from 1.
    n_species
        Number of elements.
    exponent
        Of the Jacobi weight (1 - x^2)^exponent; 0 gives Legendre polynomials.

    Returns
    -------
    Array
        Shape (n_species, n_species, nodes + 2, functions): centre, neighbour, node, function.
    """
    degree = (radial_numbers - 1) // n_species
    species = (radial_numbers - 1) % n_species
    x = np.linspace(-1.0, 1.0, NODES)
    splines = spline_coefficients(jacobi_polynomials(x, int(degree.max()) + 1, exponent))
    out = np.zeros((n_species, n_species, NODES + 2, len(radial_numbers)))
    for neighbour in range(n_species):
        mine = species == neighbour
        out[:, neighbour][:, :, mine] = splines[:, degree[mine]]
    return out
