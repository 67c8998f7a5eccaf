"""The student's radial functions as series in ML-PACE's radial basis.

ML-PACE's functions are g_1 = e(r), g_k = e(r) (1 - T_{k-1}(x(r))) / 2 with Chebyshev polynomials T,
x(r) = 1 - 2 (exp(-s r / rcut) - exp(-s)) / (1 - exp(-s)) and e(r) = (1 + cos(pi r / rcut)) / 2
(`ChebExpCos`: Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021); ML-PACE, `ace_radial.cpp`).
The student's are cubic splines, whose third derivative jumps at the knots: the slope of a series
converges only with the square of its length, so that hundreds of functions are needed.

ML-PACE tabulates its functions on a uniform grid of r and interpolates by cubic Hermite
polynomials, so the spacing of that grid is a second source of differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.student.basis.radial import spline_values
from distill.student.engine.kernels.zbl import SCREENING

if TYPE_CHECKING:
    from distill.student.basis.radial import Grid
    from distill.student.student_model import Student

Array = NDArray[np.float64]

# s above is this times rcut / r0: resolution goes to where atoms are bonded and knots dense.
_DISTORTION = 1.2
# Width below the inner end over which ML-PACE switches the series off, Å.
INNER_WIDTH = 0.1
# Spacings of ML-PACE's tables to choose from, Å.
SPACINGS = (0.02, 0.01, 0.005, 0.0025, 0.001)

_OVERSAMPLING = 1.6
_RIDGE = 1e-13
# Slopes above it, eV/Å, need hold only relatively.
_STEEP = 5.0


class RadialTargets:
    """The functions of one ordered pair of elements that the series stand for.

    Function 0 is the pair potential as one atom's share, eV, with the many-body functions of one
    neighbour and the ZBL core in it; the others are radial functions.

    Parameters
    ----------
    student
        The model.
    centre, neighbour
        Element indices.
    order_one
        Coefficients of all radial functions in the pair potential, eV.
    columns
        Radial functions wanted.
    inner
        Distance from which the series must hold, Å.
    """

    def __init__(
        self,
        student: Student,
        centre: int,
        neighbour: int,
        *,
        order_one: Array,
        columns: Sequence[int],
        inner: float,
    ) -> None:
        basis = student.basis
        self.cutoff = float(basis.rcut[centre, neighbour])
        self.inner = inner
        self.distortion = _DISTORTION * self.cutoff / float(basis.transform[centre, neighbour, 4])
        pair = centre, neighbour
        kind = centre * basis.n_species + neighbour
        self._transform, self._envelope = basis.transform[pair], basis.envelope[pair]
        splines = basis.splines[pair]
        self._splines = np.column_stack([splines @ order_one, splines[:, columns]])
        self._grid = basis.grid
        self._pair_transform = basis.pair_transform[pair]
        self._pair_envelope, self._pair_grid = basis.pair_envelope[pair], basis.pair_grid
        self._pair_spline = student.potential.weights.pair[kind][:, None]
        self._core = student.potential.weights.core[kind]

    def __call__(self, r: Array) -> tuple[Array, Array]:
        """Values and slopes by r at distances r, (points, 1 + columns)."""
        values, slopes = _enveloped(
            r, self._transform, self._splines, self._grid, _polynomial_envelope, self._envelope
        )
        pair, pair_slope = _enveloped(
            r,
            self._pair_transform,
            self._pair_spline,
            self._pair_grid,
            _inverse_square_envelope,
            self._pair_envelope,
        )
        core, core_slope = _half_core(r, self._core)
        values[:, 0] += pair[:, 0] + core
        slopes[:, 0] += pair_slope[:, 0] + core_slope
        return values, slopes


def fit_series(targets: RadialTargets, functions: int) -> tuple[Array, float]:
    """Coefficients of the series, and the largest difference of the pair potential's slope.

    Parameters
    ----------
    targets
        What to fit.
    functions
        Length of the series.

    Returns
    -------
    coefficients
        (functions, 1 + columns).
    difference
        eV/Å; relative where the slope is above 5 eV/Å.
    """
    from scipy.linalg import qr, solve_triangular

    cutoff, start = targets.cutoff, targets.inner - INNER_WIDTH
    distortion = targets.distortion
    r = _points(start, cutoff, distortion, int(_OVERSAMPLING * functions))
    values, slopes = targets(r)
    series, series_slopes = chebyshev(r, cutoff, distortion, functions)
    weight = 1.0 / np.maximum(1.0, np.abs(slopes[:, :1]) / _STEEP)
    weight *= np.clip((r - start) / INNER_WIDTH, 0.05, 1.0)[:, None]
    rows = np.vstack([series_slopes * weight, series * weight])
    scale = np.linalg.norm(rows, axis=0)
    wanted = np.vstack([slopes * weight, values * weight])
    # On part of their range the functions nearly depend on each other; the ridge keeps the
    # coefficients small.
    matrix = np.zeros((len(rows) + functions, functions + wanted.shape[1]))
    matrix[: len(rows), :functions] = rows / scale
    matrix[: len(rows), functions:] = wanted
    matrix[len(rows) :, :functions] = _RIDGE * np.eye(functions)
    (upper,) = qr(matrix, mode="r", overwrite_a=True, check_finite=False)
    found = solve_triangular(upper[:functions, :functions], upper[:functions, functions:])
    coefficients = found / scale[:, None]
    r = _points(targets.inner, cutoff, distortion, 5 * functions)
    found = chebyshev(r, cutoff, distortion, functions)[1] @ coefficients[:, 0]
    return coefficients, _worst(found, targets(r)[1][:, 0])


def tabulation_error(targets: RadialTargets, spacing: float) -> float:
    """What tabulation at this spacing (Å) adds to the slope of the pair potential, as above.

    The shortest tenth of an Å, which is steepest and never visited, is left out.
    """
    bins = int(targets.cutoff / spacing)
    width = targets.cutoff / bins
    first = int((targets.inner + INNER_WIDTH) / width)
    nodes = np.asarray(width * np.arange(first, bins + 1), float)
    value, slope = (array[:, 0] for array in targets(nodes))
    rise, left, right = np.diff(value) / width, slope[:-1], slope[1:]
    worst = 0.0
    for t in (0.1, 0.3, 0.5, 0.7, 0.9):
        # Derivative of the cubic with these values and slopes at its ends.
        between = 6 * t * (1 - t) * rise + (1 - t) * (1 - 3 * t) * left + t * (3 * t - 2) * right
        worst = max(worst, _worst(between, targets(nodes[:-1] + t * width)[1][:, 0]))
    return worst


def chebyshev(r: Array, cutoff: float, distortion: float, functions: int) -> tuple[Array, Array]:
    """Values and slopes of ML-PACE's `ChebExpCos` functions, (points, functions).

    Parameters
    ----------
    r
        Distances between 0 and the cutoff, (points,), Å.
    cutoff
        Å.
    distortion
        s of the distance transform.
    functions
        How many.
    """
    decayed, end = np.exp(-distortion * r / cutoff), np.exp(-distortion)
    # T_k(cos t) = cos(k t); the half angle keeps digits at both ends.
    angle = 2.0 * np.arcsin(np.sqrt(np.clip((decayed - end) / (1.0 - end), 0.0, 1.0)))
    angle_slope = -2.0 * distortion / cutoff * decayed / (1.0 - end)
    angle_slope /= np.maximum(np.sin(angle), 1e-300)
    order = np.arange(functions)
    phase = angle[:, None] * order
    values = 0.5 - 0.5 * np.cos(phase)
    values[:, 0] = 1.0
    envelope = 0.5 + 0.5 * np.cos(np.pi * r / cutoff)
    envelope_slope = -0.5 * np.pi / cutoff * np.sin(np.pi * r / cutoff)
    slopes = 0.5 * order * np.sin(phase) * (angle_slope * envelope)[:, None]
    slopes += values * envelope_slope[:, None]
    values *= envelope[:, None]
    return values, slopes


def _points(start: float, cutoff: float, distortion: float, count: int) -> Array:
    """Points between start and cutoff, as dense as the Chebyshev functions turn."""
    end = np.exp(-distortion)
    first = (np.exp(-distortion * start / cutoff) - end) / (1.0 - end)
    angle = np.linspace(2.0 * np.arcsin(np.sqrt(first)), 0.0, count + 1)[:-1]
    return -cutoff / distortion * np.log(end + (1.0 - end) * np.sin(angle / 2.0) ** 2)


def _worst(found: Array, exact: Array) -> float:
    return float((np.abs(found - exact) / np.maximum(1.0, np.abs(exact) / _STEEP)).max())


def _enveloped(
    r: Array, transform: Array, splines: Array, grid: Grid, envelope: object, parameters: Array
) -> tuple[Array, Array]:
    """Splines of x(r) times an envelope: values and slopes, (points, functions)."""
    x, x_slope = _agnesi(r, transform)
    step = grid.step
    value = spline_values(x, splines, grid)
    # The derivative of a cubic B-spline is a quadratic one in the differences of its coefficients.
    position = (x - grid.start) / step
    index = np.clip(np.floor(position).astype(int), 0, grid.nodes - 2)
    t = (position - index)[:, None]
    rise = np.diff(splines, axis=0)
    slope = (
        0.5 * (1 - t) ** 2 * rise[index]
        + (0.5 + t - t**2) * rise[index + 1]
        + 0.5 * t**2 * rise[index + 2]
    ) * (x_slope / step)[:, None]
    factor, factor_slope = envelope(r, x, x_slope, parameters)  # type: ignore[operator]
    return (
        value * factor[:, None],
        slope * factor[:, None] + value * factor_slope[:, None],
    )


def _agnesi(r: Array, parameters: Array) -> tuple[Array, Array]:
    """x(r) of `radial.agnesi_parameters` and its slope."""
    p, q, a, inner, r0, y_in, y_cut = parameters
    s = (r - inner) / (r0 - inner)
    bottom = 1.0 + s ** (q - p)
    y = 1.0 / (1.0 + a * s**q / bottom)
    rise = a * (q * s ** (q - 1) * bottom - (q - p) * s**q * s ** (q - p - 1)) / bottom**2
    scale = 2.0 / (y_cut - y_in)
    return -1.0 + scale * (y - y_in), -scale * y**2 * rise / (r0 - inner)


def _polynomial_envelope(
    r: Array, x: Array, x_slope: Array, parameters: Array
) -> tuple[Array, Array]:
    """s (x - x1)^p1 (x2 - x)^p2 between x1 and x2, zero outside, and its slope by r."""
    low, high, p1, p2, scale = parameters
    up, down = np.clip(x - low, 0.0, None), np.clip(high - x, 0.0, None)
    slope = p1 * up ** (p1 - 1) * down**p2 - p2 * up**p1 * down ** (p2 - 1)
    return scale * up**p1 * down**p2, scale * slope * x_slope


def _inverse_square_envelope(
    r: Array, x: Array, x_slope: Array, parameters: Array
) -> tuple[Array, Array]:
    """s^-p - sc^-p + p sc^(-p-1) (s - sc), s = r / r0, zero beyond the cutoff, and its slope."""
    cutoff, r0, p = parameters
    s, end = r / r0, cutoff / r0
    value = s**-p - end**-p + p * end ** (-p - 1) * (s - end)
    slope = (-p * s ** (-p - 1) + p * end ** (-p - 1)) / r0
    inside = r < cutoff
    return np.where(inside, value, 0.0), np.where(inside, slope, 0.0)


def _half_core(r: Array, parameters: Array) -> tuple[Array, Array]:
    """Half the repulsion of `zbl.core_parameters` and its slope; zeros without it."""
    prefactor, length, end = parameters
    if prefactor == 0.0:
        return np.zeros(len(r)), np.zeros(len(r))
    parts = [amplitude * np.exp(-decay * r / length) for amplitude, decay in SCREENING]
    screening = sum(parts)
    slope = sum(-part * decay / length for part, (_, decay) in zip(parts, SCREENING, strict=True))
    x = np.minimum(r / end, 1.0)
    switch = 1.0 - 28.0 * x**6 + 48.0 * x**7 - 21.0 * x**8
    switch_slope = -168.0 * x**5 * (1.0 - x) ** 2 / end
    value = 0.5 * prefactor / r * screening * switch
    return value, 0.5 * prefactor / r * (slope * switch + screening * switch_slope) - value / r
