"""The student file: reading and writing of `.npz` in the schema of `ace-jax`, version 1.

`ace-jax` opens these files as they are (`ace_jax.load`); what it does not know has names that
begin with `distill_`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.student.basis.basis import Basis, BasisSpec
from distill.student.basis.coupling import Coupling
from distill.student.basis.radial import Grid
from distill.student.npz import read_npz

SCHEMA_VERSION = 1
PREFIX = "distill_"
_KINDS = {
    "radial_kind": "spline",
    "pair_radial_kind": "spline",
    "transform_kind": "agnesi_normalized",
    "envelope_kind": "poly2sx",
    "pair_envelope_kind": "ace1_poly1sr",
    "ybasis_kind": "real_sphericalharmonics",
}
# Where the exponents stand among the parameters; the kernels raise to whole powers only.
_EXPONENTS = {
    "rnl_transform": slice(0, 2),
    "pair_transform": slice(0, 2),
    "rnl_envelope": slice(2, 4),
    "pair_envelope": slice(2, 3),
}

Arrays = Mapping[str, NDArray[Any]]


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """All arrays of a student file, and its description (`meta_json`).

    Raises
    ------
    UserError
        If the file is missing, damaged, cut short, of another program or of an unknown version.
    """
    if not Path(path).is_file():
        raise UserError(f"cannot read {path}: there is no such file")
    try:
        arrays = read_npz(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a student file, or is damaged ({error}); expected the .npz that "
            "a fit writes"
        ) from None
    if "meta_json" not in arrays:
        raise UserError(f"{path} is not a student file: it has no entry 'meta_json'")
    try:
        meta = json.loads(bytes(arrays["meta_json"]).decode())
        version = meta["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: its description cannot be read ({error})") from None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version}; this program reads version {SCHEMA_VERSION}. "
            "It may come from a newer program: update this one"
        )
    return arrays, meta


def basis_from_arrays(arrays: Arrays, meta: Mapping[str, Any], origin: str) -> Basis:
    """The basis a student file describes; `origin` names it in messages.

    Raises
    ------
    UserError
        If an entry is missing, of wrong shape, or of a kind that cannot be evaluated.
    """
    for key, expected in _KINDS.items():
        found = meta.get(key, expected)
        if found != expected:
            raise UserError(f"{origin}: expected {key} '{expected}', found '{found}'")
    try:
        return _assemble(arrays, meta)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise UserError(
            f"{origin} is damaged: an entry is missing or of wrong shape ({error})"
        ) from None


def basis_to_arrays(basis: Basis) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Entries and description of a basis; the inverse of `basis_from_arrays`."""
    from ase.data import atomic_numbers

    coupling = basis.coupling
    numbers = [int(atomic_numbers[symbol]) for symbol in basis.elements]
    n_products = sum(len(block) for block in coupling.products)
    arrays: dict[str, NDArray[Any]] = {
        "A2B_rows": coupling.rows,
        "A2B_cols": coupling.columns,
        "A2B_vals": coupling.values,
        "A2B_shape": np.array([basis.n_many_body, n_products], np.int32),
        "aspec_r": coupling.radial_index,
        "aspec_y": coupling.angular_index,
        "elements": np.array(numbers, np.int32),
        "rcuts": basis.rcut,
        "pair_rcuts": basis.pair_envelope[..., 0],
        "rnl_transform": basis.transform,
        "rnl_envelope": basis.envelope,
        "pair_transform": basis.pair_transform,
        "pair_envelope": basis.pair_envelope,
        "rnl_spline_coefs": basis.splines,
        "pair_spline_coefs": basis.pair_splines,
        "rspec": np.array(basis.radial_functions, np.int32),
        "pairspec": np.array(basis.pair_functions, np.int32),
        "gamma": basis.gamma(),
    }
    for order, block in enumerate(coupling.products, 1):
        arrays[f"aa_spec_{order}"] = block
    order = len(coupling.products)
    meta = {
        "schema_version": SCHEMA_VERSION,
        "source": "distill",
        "elements": numbers,
        "order": order,
        **_KINDS,
        "lmax": basis.largest_l,
        "n_ylm": (basis.largest_l + 1) ** 2,
        "n_rnl": len(basis.radial_functions),
        "n_pair": basis.n_pair,
        "n_A": len(coupling.radial_index),
        "n_AA": n_products,
        "n_B": basis.n_many_body,
        "len_basis": basis.n_functions,
        "aa_orders": list(range(1, order + 1)),
        "aa_lens": [len(block) for block in coupling.products],
        "rnl_spline": _grid_to_meta(basis.grid),
        "pair_spline": _grid_to_meta(basis.pair_grid),
        "rcut": basis.cutoff,
        "nnll": [[list(pair) for pair in body] for body in coupling.bodies],
    }
    if basis.spec is not None:
        meta["totaldegree"] = list(basis.spec.totaldegree)
        meta["distill_spec"] = _spec_to_meta(basis.spec)
    return arrays, meta


def write_arrays(path: str | os.PathLike[str], arrays: Arrays, meta: Mapping[str, Any]) -> None:
    """Write a student file, compressed and all at once."""
    description = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **arrays, meta_json=description)  # type: ignore[arg-type]


def _assemble(arrays: Arrays, meta: Mapping[str, Any]) -> Basis:
    from ase.data import chemical_symbols

    elements = tuple(chemical_symbols[int(number)] for number in arrays["elements"])
    n_species = len(elements)
    bodies = tuple(tuple((int(n), int(ell)) for n, ell in body) for body in meta["nnll"])
    products = tuple(
        np.asarray(arrays[f"aa_spec_{order}"], np.int32) for order in meta["aa_orders"]
    )
    coupling = Coupling(
        bodies=bodies,
        radial_index=np.asarray(arrays["aspec_r"], np.int32),
        angular_index=np.asarray(arrays["aspec_y"], np.int32),
        products=products,
        rows=np.asarray(arrays["A2B_rows"], np.int32),
        columns=np.asarray(arrays["A2B_cols"], np.int32),
        values=np.asarray(arrays["A2B_vals"], float),
    )
    splines = np.asarray(arrays["rnl_spline_coefs"], float)
    n_products = sum(len(block) for block in products)
    if coupling.rows.max() >= len(bodies) or coupling.columns.max() >= n_products:
        raise ValueError("coupling refers to functions that are not there")
    if coupling.radial_index.max() >= splines.shape[-1]:
        raise ValueError("one-particle functions refer to radial functions that are not there")
    if max(int(block.max(initial=0)) for block in products) >= len(coupling.radial_index):
        raise ValueError("products refer to one-particle functions that are not there")
    spec = meta.get("distill_spec")
    pair_splines = np.asarray(arrays["pair_spline_coefs"], float)
    return Basis(
        elements=elements,
        rcut=np.asarray(arrays["rcuts"], float).reshape(n_species, n_species),
        transform=_checked(arrays, "rnl_transform", (n_species, n_species, 7)),
        envelope=_checked(arrays, "rnl_envelope", (n_species, n_species, 5)),
        splines=splines,
        grid=_grid_from_meta(meta["rnl_spline"]),
        pair_transform=_checked(arrays, "pair_transform", (n_species, n_species, 7)),
        pair_envelope=_checked(arrays, "pair_envelope", (n_species, n_species, 3)),
        pair_splines=pair_splines,
        pair_grid=_grid_from_meta(meta["pair_spline"]),
        radial_functions=tuple((int(n), int(ell)) for n, ell in arrays["rspec"]),
        pair_functions=tuple(int(n) for n in arrays["pairspec"]),
        coupling=coupling,
        spec=None if spec is None else _spec_from_meta(spec),
    )


def _checked(arrays: Arrays, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(arrays[name], float)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    exponents = array[..., _EXPONENTS[name]]
    if (exponents != np.round(exponents)).any() or (exponents < 0).any():
        raise ValueError(f"{name} has exponents that are not whole numbers")
    if name.endswith("transform") and (exponents[..., 1] < exponents[..., 0]).any():
        raise ValueError(f"{name} has exponents p > q")
    return array


def _grid_to_meta(grid: Grid) -> dict[str, float]:
    return {"x0": grid.start, "h": grid.step, "n": grid.nodes, "ncoef": grid.nodes + 2}


def _grid_from_meta(meta: Mapping[str, Any]) -> Grid:
    return Grid(float(meta["x0"]), float(meta["h"]), int(meta["n"]))


def _spec_to_meta(spec: BasisSpec) -> dict[str, Any]:
    def table(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {"-".join(pair): number for pair, number in value.items()}
        return value

    return {
        "elements": list(spec.elements),
        "order": spec.order,
        "totaldegree": list(spec.totaldegree),
        "wL": spec.wL,
        "rcut": table(spec.rcut),
        "r0": table(spec.r0),
        "pair": spec.pair,
        "pair_degree": spec.pair_degree,
        "zbl": spec.zbl,
    }


def _spec_from_meta(meta: Mapping[str, Any]) -> BasisSpec:
    def table(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {tuple(key.split("-")): number for key, number in value.items()}
        return value

    values = {key: table(value) for key, value in meta.items()}
    values["elements"] = tuple(meta["elements"])
    values["totaldegree"] = tuple(meta["totaldegree"])
    return BasisSpec(**values)
