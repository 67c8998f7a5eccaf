"""Many bases in one: the columns of each are some of those of their union."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from distill.student.basis.basis import LARGEST_BASIS, Basis, BasisSpec, tabulated
from distill.student.basis.coupling import Body, list_bodies, one_particle_functions


def union_basis(specs: Sequence[BasisSpec]) -> Basis:
    """The basis that has every function of every spec.

    Parameters
    ----------
    specs
        Equal but for order, degrees and wL.

    Returns
    -------
    Basis
        Its spec is that of the highest degree, which the pair term goes by.
    """
    n_species = len(specs[0].elements)
    functions = {
        pair
        for spec in specs
        for pair in one_particle_functions(n_species, max(spec.totaldegree), spec.wL)
    }
    bodies = {tuple(sorted(body)): body for spec in specs for body in _bodies(spec)}
    return tabulated(
        max(specs, key=lambda spec: max(spec.totaldegree)),
        sorted(functions, key=lambda pair: (pair[1], pair[0])),
        sorted(bodies.values(), key=lambda body: (len(body), body)),
    )


def columns_in(basis: Basis, spec: BasisSpec) -> NDArray[np.int64]:
    """Columns of a union that the basis of one of its specs has, ascending."""
    wanted = {tuple(sorted(body)) for body in _bodies(spec)}
    many = [tuple(sorted(body)) in wanted for body in basis.coupling.bodies]
    pair = np.array(basis.pair_functions) <= _pair_degree(spec) * len(spec.elements)
    kept = np.concatenate([np.tile(many, basis.n_species), np.tile(pair, basis.n_species)])
    return np.flatnonzero(kept)


def size_of(spec: BasisSpec) -> int:
    """Functions of a basis, of which those with several couplings count once."""
    pair = _pair_degree(spec) * len(spec.elements) if spec.pair else 0
    return len(spec.elements) * (len(_bodies(spec)) + pair)


def _pair_degree(spec: BasisSpec) -> int:
    return spec.pair_degree or int(np.ceil(max(spec.totaldegree)))


@lru_cache(maxsize=256)
def _listed(n_species: int, degrees: tuple[float, ...], wl: float) -> tuple[Body, ...]:
    return tuple(list_bodies(n_species, degrees, wl, LARGEST_BASIS))


def _bodies(spec: BasisSpec) -> tuple[Body, ...]:
    return _listed(len(spec.elements), spec.totaldegree, spec.wL)
