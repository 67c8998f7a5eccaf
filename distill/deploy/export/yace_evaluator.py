"""Energies and forces of a `.yace` potential: what the parity gate holds against the student.

Nothing is shared with the code that writes the file. Conventions are those of ML-PACE
(`ace_evaluator.cpp`, `ace_radial.cpp`): the radial functions are summed as polynomials, the
harmonics come from their recurrences, and forces from differentiation by torch. ML-PACE's
interpolation tables have no part in it.

Source: Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.deploy.export.yace_reader import Bond, Terms, YacePotential
from distill.models.base import Predictions

if TYPE_CHECKING:
    import torch
    from ase import Atoms

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Atoms and pairs that are evaluated at once.
_ATOMS, _PAIRS = 32, 4096
# ML-PACE takes the core for zero where its exponent is beyond.
_CORE_EXPONENT = 50.0


class _Pairs(NamedTuple):
    """Neighbour pairs of some atoms: index of the atom, of the neighbour, and the vector, Å."""

    owner: Integers
    other: Integers
    vectors: Array


def evaluate_yace(potential: YacePotential, structures: Sequence[Atoms]) -> Predictions:
    """Energies and forces of structures by a potential; no stresses.

    Raises
    ------
    UserError
        If a structure has an element that the potential lacks.
    """
    from distill.student.engine.evaluate import species_indices
    from distill.student.engine.neighbours import list_neighbours

    starts = np.cumsum([0, *map(len, structures)])
    lists = [list_neighbours(atoms, potential.cutoff) for atoms in structures]
    others = [near.neighbour + start for near, start in zip(lists, starts[:-1], strict=True)]
    species = np.concatenate([species_indices(potential.elements, atoms) for atoms in structures])
    pairs = _Pairs(
        np.repeat(np.arange(starts[-1]), np.concatenate([np.diff(near.first) for near in lists])),
        np.concatenate(others),
        np.concatenate([near.vectors for near in lists]),
    )
    energies, gradient = _evaluate(potential, species, pairs)
    forces = np.zeros((starts[-1], 3))
    np.add.at(forces, pairs.owner, gradient)
    np.add.at(forces, pairs.other, -gradient)
    return Predictions(
        energies=np.add.reduceat(energies, starts[:-1]),
        forces=np.split(forces, starts[1:-1]),
        stresses=[None] * len(structures),
    )


def _evaluate(potential: YacePotential, species: Integers, pairs: _Pairs) -> tuple[Array, Array]:
    """Energies of atoms, and the gradient of their sum by the pair vectors."""
    import torch

    energies, gradient = np.empty(len(species)), np.empty_like(pairs.vectors)
    for atoms, block in _blocks(pairs.owner, len(species)):
        vectors = torch.tensor(pairs.vectors[block], requires_grad=True)
        owner = pairs.owner[block]
        found = _energies(
            potential,
            species[atoms],
            vectors,
            torch.from_numpy(owner - atoms.start),
            species[owner],
            species[pairs.other[block]],
        )
        (slopes,) = torch.autograd.grad(found.sum(), vectors)
        energies[atoms], gradient[block] = found.detach().numpy(), slopes.numpy()
    return energies, gradient


def _energies(
    potential: YacePotential,
    species: Integers,
    vectors: torch.Tensor,
    owner: torch.Tensor,
    centre: Integers,
    neighbour: Integers,
) -> torch.Tensor:
    """Energies of some atoms from the vectors to their neighbours, eV."""
    import torch

    lengths = vectors.norm(dim=1)
    radial = vectors.new_zeros(len(vectors), 1 + potential.radial * (potential.ell + 1))
    core = vectors.new_zeros(len(vectors))
    for (i, j), bond in potential.bonds.items():
        near = lengths.detach().numpy() < bond.cutoff
        mine = torch.from_numpy(np.flatnonzero((centre == i) & (neighbour == j) & near))
        radial = radial.index_put((mine,), _radial_functions(bond, lengths[mine]))
        core = core.index_put((mine,), _core(bond, lengths[mine]))
    # Densities of each neighbour species: R_nl Y_lm, m >= 0, summed over the neighbours.
    table = radial[:, 1:].reshape(-1, potential.radial, potential.ell + 1, 1)
    turned = harmonics(vectors / lengths[:, None], potential.ell)
    each = (table * turned[:, None]).flatten(1)
    kinds = len(potential.elements)
    densities = each.new_zeros(len(species) * kinds, each.shape[1])
    densities = densities.index_add(0, owner * kinds + torch.from_numpy(neighbour), each)
    densities = densities.reshape(len(species), -1)
    none = vectors.new_zeros(len(species))
    paired, repulsion = none.index_add(0, owner, radial[:, 0]), none.index_add(0, owner, core)
    total = none + torch.from_numpy(potential.e0[species])
    for kind, embedding in enumerate(potential.embeddings):
        atoms = torch.from_numpy(np.flatnonzero(species == kind))
        rho = paired[atoms] + _products(densities[atoms], potential.terms[kind])
        kept = _inner_switch(repulsion[atoms], embedding.core_limit, embedding.core_width)
        total = total.index_add(0, atoms, embedding.scale * rho * kept + repulsion[atoms])
    return total


def harmonics(unit: torch.Tensor, largest: int) -> torch.Tensor:
    """Complex spherical harmonics with Y_00 = 1 of unit vectors, (vectors, l, m >= 0).

    With the phase of Condon and Shortley; those of m < 0 follow from Y_l,-m = (-1)^m Y*_lm, and
    entries of m > l are zero. From the recurrences of the associated Legendre functions, their
    factor sin^m joined with exp(i m phi) to (x + i y)^m.
    """
    import torch

    x, y, z = unit.unbind(1)
    legendre: dict[tuple[int, int], torch.Tensor] = {}
    for m in range(largest + 1):
        legendre[m, m] = torch.full_like(z, (-1.0) ** m * math.prod(range(1, 2 * m, 2)))
        for ell in range(m + 1, largest + 1):
            below = legendre[ell - 2, m] if ell > m + 1 else torch.zeros_like(z)
            step = (2 * ell - 1) * z * legendre[ell - 1, m] - (ell + m - 1) * below
            legendre[ell, m] = step / (ell - m)
    turns = [torch.complex(torch.ones_like(z), torch.zeros_like(z))]
    for _ in range(largest):
        turns.append(turns[-1] * torch.complex(x, y))
    rows = []
    for ell in range(largest + 1):
        for m in range(largest + 1):
            if m > ell:
                rows.append(torch.zeros_like(turns[0]))
                continue
            norm = math.sqrt((2 * ell + 1) * math.factorial(ell - m) / math.factorial(ell + m))
            rows.append(norm * legendre[ell, m] * turns[m])
    return torch.stack(rows, dim=1).reshape(len(unit), largest + 1, largest + 1)


def _radial_functions(bond: Bond, r: torch.Tensor) -> torch.Tensor:
    """The pair potential (half of it, the atom's own) and each R_nl at distances r."""
    import torch
    from numpy.polynomial import chebyshev

    decayed, end = torch.exp(-bond.distortion * r / bond.cutoff), math.exp(-bond.distortion)
    x = 1.0 - 2.0 * (decayed - end) / (1.0 - end)
    # The polynomials and their slopes as numbers, so that nothing of their length is kept.
    points = x.detach().numpy()
    basis = chebyshev.chebvander(points, len(bond.polynomials) - 1)
    slopes = chebyshev.chebder(bond.polynomials)
    value = torch.from_numpy(basis @ bond.polynomials)
    slope = torch.from_numpy(basis[:, : len(slopes)] @ slopes)
    functions = value + slope * (x - x.detach())[:, None]
    common = 0.5 + 0.5 * torch.cos(math.pi * r / bond.cutoff)
    if bond.smoothing > 0:
        turn = math.pi * (r - bond.cutoff + bond.smoothing) / bond.smoothing
        common = common * torch.where(turn > 0, 0.5 + 0.5 * torch.cos(turn), torch.ones_like(r))
    switch = 1.0 - _inner_switch(r, bond.inner, bond.inner_width)
    return functions * (common * switch)[:, None]


def _core(bond: Bond, r: torch.Tensor) -> torch.Tensor:
    """The repulsion at distances r that takes over at the inner end, the atom's share, eV."""
    import torch

    prefactor, decay = bond.core
    exponent = decay * r**2
    value = (
        prefactor * torch.exp(-exponent) / r * (0.5 + 0.5 * torch.cos(math.pi * r / bond.cutoff))
    )
    value = value * _inner_switch(r, bond.inner, bond.inner_width)
    return torch.where(exponent < _CORE_EXPONENT, value, torch.zeros_like(r))


def _inner_switch(value: torch.Tensor, end: float, width: float) -> torch.Tensor:
    """One below end - width, zero above end, a quintic polynomial between."""
    import torch

    x = torch.clamp(-1.0 + 2.0 * (end - value) / max(width, 1e-300), -1.0, 1.0)
    return 0.5 + 3.75 * (x / 4 - x**3 / 6 + x**5 / 20)


def _products(densities: torch.Tensor, terms: Sequence[Terms]) -> torch.Tensor:
    """Weighted sum of the real parts of products of densities, (atoms,), eV."""
    import torch

    total = densities.real.new_zeros(len(densities))
    for group in terms:
        places = torch.from_numpy(group.places)
        conjugate = torch.from_numpy(group.conjugate)
        factors = densities[:, places]
        product = torch.where(conjugate, factors.conj(), factors).prod(dim=2)
        total = total + product.real @ torch.from_numpy(group.weights)
    return total


def _blocks(owner: Integers, n_atoms: int) -> Iterator[tuple[slice, slice]]:
    """Runs of atoms that are evaluated together, and their pairs, which are sorted by atom."""
    ends = np.searchsorted(owner, np.arange(n_atoms), side="right")
    start = 0
    while start < n_atoms:
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + _PAIRS, side="right"))
        stop = min(max(stop, start + 1), start + _ATOMS)
        yield slice(start, stop), slice(before, int(ends[stop - 1]))
        start = stop
