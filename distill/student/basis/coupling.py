"""Which many-body functions a basis has, and their coupling to rotation invariants.

The coupling coefficients come from `ace-jax-coupling`, which is EquivariantTensors.jl compiled;
results are kept on disk by the shape they belong to.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.user_cache import user_cache_folder
from distill.student.npz import read_npz

Body = tuple[tuple[int, int], ...]


class Coupling(NamedTuple):
    """Invariants as sparse combinations of products of one-particle functions.

    Attributes
    ----------
    bodies
        The (n, l) of each invariant's factors.
    radial_index, angular_index
        Radial function and spherical harmonic of each one-particle function.
    products
        One array per order, (products, order): one-particle functions multiplied.
    rows, columns, values
        Nonzeros of the matrix invariants x products (products in the order of `products`).
    """

    bodies: tuple[Body, ...]
    radial_index: NDArray[np.int32]
    angular_index: NDArray[np.int32]
    products: tuple[NDArray[np.int32], ...]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: NDArray[np.float64]


def one_particle_functions(n_species: int, degree: float, wl: float) -> list[tuple[int, int]]:
    """All (n, l) with level n / n_species + wL l up to `degree`, sorted by l, then n.

    Source: ACEpotentials.jl, `oneparticle_spec` with `TotalDegree(n_species, 1 / wL)`.
    """
    largest_n = math.ceil(degree * n_species)
    largest_l = math.ceil(degree * (1 / wl))
    return [
        (n, ell)
        for ell in range(largest_l + 1)
        for n in range(1, largest_n + 1)
        if _level(n, ell, n_species, wl) <= degree
    ]


def list_bodies(n_species: int, degrees: Sequence[float], wl: float, limit: int) -> list[Body]:
    """Products of one-particle functions that have an invariant, order by order.

    A product of order v is kept if its summed level is at most degrees[v - 1], its l add up to an
    even number and can couple to zero. Source: ACEpotentials.jl, `sparse_AA_spec`; same order.

    Parameters
    ----------
    n_species, degrees, wl
        As in `BasisSpec`.
    limit
        Largest number of products that is listed.

    Raises
    ------
    UserError
        If there are more than `limit`.
    """
    functions = one_particle_functions(n_species, max(degrees), wl)
    functions.sort(key=lambda b: _level(b[0], b[1], n_species, wl))
    levels = [_level(b[0], b[1], n_species, wl) for b in functions]
    bodies: list[Body] = []

    def extend(chosen: list[int], level: float, order: int, degree: float) -> None:
        if len(chosen) == order:
            ls = [functions[i][1] for i in chosen]
            if sum(ls) % 2 == 0 and 2 * max(ls) <= sum(ls):
                bodies.append(tuple(functions[i] for i in chosen))
                if len(bodies) > limit:
                    raise UserError(
                        f"the basis has more than {limit} many-body functions for each element; "
                        "lower student.order or student.totaldegree"
                    )
            return
        for i in range(chosen[-1] if chosen else 0, len(functions)):
            if level + levels[i] * (order - len(chosen)) > degree + 1e-9:
                break
            if len(chosen) + 1 < order or level + levels[i] <= degree:
                extend([*chosen, i], level + levels[i], order, degree)

    for order, degree in enumerate(degrees, 1):
        extend([], 0.0, order, degree)
    return bodies


def couple(bodies: Sequence[Body], functions: Sequence[tuple[int, int]]) -> Coupling:
    """Couple products to invariants; kept in the user's cache folder.

    Each invariant is scaled as ACEpotentials.jl 0.10 has it: with c its coefficients of distinct
    products and m the number of orderings each product stands for, its norm |c| is
    sum(c^2) / sum(c^2 / m).

    Parameters
    ----------
    bodies
        Products as (n, l) factors, grouped by order.
    functions
        (n, l) of the radial functions.

    Raises
    ------
    UserError
        If no body couples to an invariant.
    """
    path = user_cache_folder() / "coupling" / f"{_key(bodies, functions)}.npz"
    arrays = _read_cache(path)
    if arrays is None:
        arrays = _compute(bodies, functions)
        _write_cache(path, arrays)
    flat = [tuple(pair) for pair in arrays["bodies"].tolist()]
    ends = arrays["body_ends"].tolist()
    listed = tuple(tuple(flat[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True))
    orders = sorted(int(name[8:]) for name in arrays if name.startswith("products"))
    return Coupling(
        bodies=listed,
        radial_index=arrays["radial_index"],
        angular_index=arrays["angular_index"],
        products=tuple(arrays[f"products{order}"] for order in orders),
        rows=arrays["rows"],
        columns=arrays["columns"],
        values=arrays["values"],
    )


def _level(n: int, ell: int, n_species: int, wl: float) -> float:
    return n / float(n_species) + ell / (1 / wl)


def _compute(bodies: Sequence[Body], functions: Sequence[tuple[int, int]]) -> dict[str, NDArray]:
    from ace_jax_coupling import couple_raw

    largest_l = max(ell for body in bodies for _, ell in body)
    harmonics = [(ell, m) for ell in range(largest_l + 1) for m in range(-ell, ell + 1)]
    try:
        raw = couple_raw(bodies, list(functions), harmonics)
    except ValueError as error:
        raise UserError(f"the basis cannot be coupled to invariants: {error}") from None
    products = np.split(raw.aa_idx, raw.aa_off[1:-1])
    order = max(len(product) for product in products)
    grouped = {
        f"products{v}": np.array([p for p in products if len(p) == v], np.int32).reshape(-1, v)
        for v in range(1, order + 1)
    }
    values = _rescale(raw.A2B_rows, raw.A2B_cols, raw.A2B_vals, products, raw.aspec)
    return {
        "bodies": raw.nnll.astype(np.int32),
        "body_ends": raw.nnll_off[1:].astype(np.int32),
        "radial_index": raw.aspec[:, 0].astype(np.int32),
        "angular_index": raw.aspec[:, 1].astype(np.int32),
        "rows": raw.A2B_rows.astype(np.int32),
        "columns": raw.A2B_cols.astype(np.int32),
        "values": values,
        **grouped,
    }


def _rescale(
    rows: NDArray, columns: NDArray, values: NDArray, products: list[NDArray], one_particle: NDArray
) -> NDArray[np.float64]:
    orderings = np.array([_orderings(product, one_particle) for product in products], float)
    n_rows = int(rows.max()) + 1
    squared = np.bincount(rows, values**2, n_rows)
    norm = squared / np.bincount(rows, values**2 / orderings[columns], n_rows)
    return values * (norm / np.sqrt(squared))[rows]


def _orderings(product: NDArray, one_particle: NDArray) -> int:
    """In how many ways the m of a product can be dealt to its factors of equal radial function."""
    by_radial: dict[int, list[int]] = {}
    for index in product:
        radial, angular = one_particle[index]
        by_radial.setdefault(int(radial), []).append(int(angular))
    ways = 1
    for angular_indices in by_radial.values():
        ways *= math.factorial(len(angular_indices))
        for value in set(angular_indices):
            ways //= math.factorial(angular_indices.count(value))
    return ways


def _key(bodies: Sequence[Body], functions: Sequence[tuple[int, int]]) -> str:
    """What tells a coupling from others: what is coupled, and by which program."""
    program = [Path(__file__).read_text(encoding="utf-8"), metadata.version("ace-jax-coupling")]
    return hashlib.sha256(json.dumps([program, bodies, functions]).encode()).hexdigest()[:32]


def _read_cache(path: Path) -> dict[str, NDArray] | None:
    try:
        return read_npz(path)
    except (OSError, ValueError):
        return None


def _write_cache(path: Path, arrays: dict[str, NDArray]) -> None:
    """Keep a coupling; a folder that cannot be written only costs the time to couple again."""
    try:
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    except UserError:
        return
