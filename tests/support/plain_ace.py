"""A slow, obvious evaluation of a linear ACE basis, to compare the kernels with."""

import itertools
import math

import numpy as np
from scipy.special import lpmv

from distill.student.basis import radial


def spherical_harmonic(ell, m, unit):
    """Orthonormal real spherical harmonic without Condon-Shortley phase."""
    x, y, z = unit
    phi = math.atan2(y, x)
    k = abs(m)
    norm = math.sqrt(
        (2 * ell + 1) / (4 * math.pi) * math.factorial(ell - k) / math.factorial(ell + k)
    )
    legendre = (-1) ** k * lpmv(k, ell, z) * norm
    if m == 0:
        return legendre
    return math.sqrt(2) * legendre * (math.cos(k * phi) if m > 0 else math.sin(k * phi))


def neighbours_of(atoms, i, cutoff):
    """Vectors to all neighbours of atom i, images included, and their symbols."""
    reach = [0, 0, 0]
    if atoms.pbc.any():
        heights = 1 / np.linalg.norm(np.linalg.pinv(atoms.cell.array), axis=0)
        extent = np.ptp(atoms.positions, axis=0).max() + cutoff
        for k in range(3):
            if atoms.pbc[k]:
                reach[k] = math.ceil(extent / heights[k]) + 1
    found = []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        for j in range(len(atoms)):
            vector = atoms.positions[j] + np.array(shift) @ atoms.cell.array - atoms.positions[i]
            if 0 < np.linalg.norm(vector) < cutoff:
                found.append((vector, atoms.symbols[j]))
    return found


def agnesi(r, parameters):
    """x(r) of `radial.agnesi_parameters`, clipped to [-1, 1]."""
    p, q, a, inner, r0, y_in, y_cut = parameters
    s = np.maximum((r - inner) / (r0 - inner), 0.0)
    y = 1.0 / (1.0 + a * s**q / (1.0 + s ** (q - p)))
    return np.clip(-1.0 + 2.0 * (y - y_in) / (y_cut - y_in), -1.0, 1.0)


def many_body_envelope(x, parameters):
    """s (x - x1)^p1 (x2 - x)^p2 between x1 and x2, zero outside; parameters (x1, x2, p1, p2, s)."""
    x1, x2, p1, p2, scale = parameters
    inside = (x > x1) & (x < x2)
    return np.where(inside, scale * np.abs(x - x1) ** p1 * np.abs(x2 - x) ** p2, 0.0)


def pair_envelope(r, parameters):
    """s^-p - sc^-p + p sc^(-p-1) (s - sc), s = r / r0, zero beyond rcut; parameters (rcut, r0, p).

    Value and slope vanish at the cutoff; it diverges at r = 0 (ACEpotentials.jl,
    `ACE1_PolyEnvelope1sR`).
    """
    cutoff, r0, p = parameters
    s, sc = r / r0, cutoff / r0
    value = s**-p - sc**-p + p * sc ** (-p - 1) * (s - sc)
    return np.where(r < cutoff, value, 0.0)


def radial_values(basis, centre, neighbour, r, *, pair):
    """All radial functions of a pair of elements at one distance."""
    i, j = basis.elements.index(centre), basis.elements.index(neighbour)
    distance = np.array([r])
    if pair:
        x = agnesi(distance, basis.pair_transform[i, j])
        envelope = pair_envelope(distance, basis.pair_envelope[i, j])
        return (radial.spline_values(x, basis.pair_splines[i, j], basis.pair_grid) * envelope)[0]
    x = agnesi(distance, basis.transform[i, j])
    envelope = many_body_envelope(x, basis.envelope[i, j])
    return (radial.spline_values(x, basis.splines[i, j], basis.grid) * envelope[:, None])[0]


def site_basis(basis, atoms):
    """Value of each function at each atom, (N, n_functions), by the definition."""
    coupling = basis.coupling
    products = [row for block in coupling.products for row in block]
    out = np.zeros((len(atoms), basis.n_functions))
    for i, centre in enumerate(atoms.symbols):
        z = basis.elements.index(centre)
        one_particle = np.zeros(len(coupling.radial_index))
        pair = np.zeros(basis.n_pair)
        for vector, symbol in neighbours_of(atoms, i, basis.cutoff):
            r = np.linalg.norm(vector)
            if r >= basis.rcut[z, basis.elements.index(symbol)]:
                continue
            values = radial_values(basis, centre, symbol, r, pair=False)
            harmonics = [
                spherical_harmonic(ell, m, vector / r)
                for ell in range(basis.largest_l + 1)
                for m in range(-ell, ell + 1)
            ]
            for k, (n, y) in enumerate(
                zip(coupling.radial_index, coupling.angular_index, strict=True)
            ):
                one_particle[k] += values[n] * harmonics[y]
            pair += radial_values(basis, centre, symbol, r, pair=True)
        product_values = np.array([np.prod(one_particle[row]) for row in products])
        many = np.zeros(basis.n_many_body)
        np.add.at(many, coupling.rows, coupling.values * product_values[coupling.columns])
        out[i, basis.columns_of(z)] = np.concatenate([many, pair])
    return out
