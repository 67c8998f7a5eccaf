"""A basis as the arrays and the description of a student file, in the schema of `ace-jax`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.core.errors import UserError
from distill.student.basis.basis import Basis, BasisSpec
from distill.student.basis.coupling import Coupling
from distill.student.basis.radial import Grid
from distill.student.file_entries import (
    LARGEST_L,
    LARGEST_ORDER,
    PRODUCTS,
    Arrays,
    check_meaning,
    check_shapes,
    check_values,
    entries_of,
)

SCHEMA_VERSION = 1
_KINDS = {
    "radial_kind": "spline",
    "pair_radial_kind": "spline",
    "transform_kind": "agnesi_normalized",
    "envelope_kind": "poly2sx",
    "pair_envelope_kind": "ace1_poly1sr",
    "ybasis_kind": "real_sphericalharmonics",
}

_Factor = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0, le=LARGEST_L)]]
_Order = Annotated[int, Field(ge=1, le=LARGEST_ORDER)]


class _GridDescription(BaseModel):
    """Uniform nodes of splines."""

    x0: Annotated[float, Field(ge=-10, le=10)]
    h: Annotated[float, Field(ge=1e-6, le=10)]
    n: Annotated[int, Field(ge=2, le=2**20)]


class Description(BaseModel):
    """What `meta_json` has to say beside the arrays; the rest of it is for people."""

    model_config = ConfigDict(allow_inf_nan=False)

    nnll: list[Annotated[list[_Factor], Field(min_length=1, max_length=LARGEST_ORDER)]]
    aa_orders: list[_Order]
    rnl_spline: _GridDescription
    pair_spline: _GridDescription
    source: str = "unknown"
    distill_spec: dict[str, Any] | None = None


class SpecDescription(BaseModel):
    """A `BasisSpec` as JSON: tables over pairs have keys such as "Cu-H"."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    elements: list[str]
    order: int
    totaldegree: list[float]
    wL: float
    rcut: float | dict[str, float]
    r0: float | dict[str, float] | str
    pair: bool
    pair_degree: int | None
    zbl: bool

    @classmethod
    def of(cls, spec: BasisSpec) -> SpecDescription:
        """The description of a spec."""
        tables = {"rcut": _joined(spec.rcut), "r0": _joined(spec.r0)}
        return cls.model_validate({**asdict(spec), **tables})

    def spec(self) -> BasisSpec:
        """The spec.

        Raises
        ------
        ValueError
            If there is no such basis.
        """
        tuples = {"elements": tuple(self.elements), "totaldegree": tuple(self.totaldegree)}
        tables = {"rcut": _parted(self.rcut), "r0": _parted(self.r0)}
        try:
            return BasisSpec(**{**self.model_dump(), **tuples, **tables})
        except UserError as error:
            raise ValueError(str(error)) from None


def basis_from_arrays(arrays: Arrays, meta: Mapping[str, Any], origin: str) -> Basis:
    """The basis that arrays and their description say; `origin` names them in messages.

    Raises
    ------
    UserError
        If an entry is missing, of wrong shape, out of bounds, or of a kind that cannot be
        evaluated.
    """
    try:
        check_kinds(meta)
        description = Description.model_validate(meta)
        entries = list(entries_of(description.aa_orders, own=False))
        lengths = check_shapes(arrays, entries, lengths_of(description))
        return checked_basis(arrays, description, lengths)
    except ValueError as error:
        raise UserError(f"{origin} is damaged: {in_one_line(error)}") from None


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
        arrays[f"{PRODUCTS}{order}"] = block
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
        meta["distill_spec"] = SpecDescription.of(basis.spec).model_dump(mode="json")
    return arrays, meta


def check_kinds(meta: Mapping[str, Any]) -> None:
    for key, expected in _KINDS.items():
        found = meta.get(key, expected)
        if found != expected:
            raise ValueError(f"expected {key} '{expected}', found '{found}'")


def lengths_of(description: Description) -> dict[str, int]:
    """The lengths that the description says."""
    return {
        "many-body functions": len(description.nnll),
        "spline rows": description.rnl_spline.n + 2,
        "pair spline rows": description.pair_spline.n + 2,
    }


def checked_basis(arrays: Arrays, description: Description, lengths: Mapping[str, int]) -> Basis:
    from ase.data import chemical_symbols

    entries = list(entries_of(description.aa_orders, own=False))
    check_values(arrays, entries, lengths)
    check_meaning(arrays, lengths)

    def whole(name: str) -> NDArray[np.int32]:
        return np.asarray(arrays[name], np.int32)

    def real(name: str) -> NDArray[np.float64]:
        return np.asarray(arrays[name], float)

    elements = tuple(chemical_symbols[number] for number in arrays["elements"].tolist())
    spec = None
    if description.distill_spec is not None:
        spec = SpecDescription.model_validate(description.distill_spec).spec()
        if spec.elements != elements:
            raise ValueError(f"its elements are {elements}, those of its settings {spec.elements}")
    coupling = Coupling(
        bodies=tuple(tuple(body) for body in description.nnll),
        radial_index=whole("aspec_r"),
        angular_index=whole("aspec_y"),
        products=tuple(whole(f"{PRODUCTS}{order}") for order in description.aa_orders),
        rows=whole("A2B_rows"),
        columns=whole("A2B_cols"),
        values=real("A2B_vals"),
    )
    return Basis(
        elements=elements,
        rcut=real("rcuts"),
        transform=real("rnl_transform"),
        envelope=real("rnl_envelope"),
        splines=real("rnl_spline_coefs"),
        grid=_grid_from_meta(description.rnl_spline),
        pair_transform=real("pair_transform"),
        pair_envelope=real("pair_envelope"),
        pair_splines=real("pair_spline_coefs"),
        pair_grid=_grid_from_meta(description.pair_spline),
        radial_functions=tuple((n, ell) for n, ell in arrays["rspec"].tolist()),
        pair_functions=tuple(arrays["pairspec"].tolist()),
        coupling=coupling,
        spec=spec,
    )


def _joined(table: Any) -> Any:
    if isinstance(table, Mapping):
        return {"-".join(pair): number for pair, number in table.items()}
    return table


def _parted(table: Any) -> Any:
    if isinstance(table, Mapping):
        return {tuple(key.split("-")): number for key, number in table.items()}
    return table


def _grid_to_meta(grid: Grid) -> dict[str, float]:
    return {"x0": grid.start, "h": grid.step, "n": grid.nodes, "ncoef": grid.nodes + 2}


def _grid_from_meta(meta: _GridDescription) -> Grid:
    return Grid(meta.x0, meta.h, meta.n)


def in_one_line(error: Exception) -> str:
    """The reason of an error, that of the first field that pydantic refuses."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(error).split())
