"""What each array of a student file may hold: kind, shape and bounds, and what they say together.

The kernels trust what they are given: an index outside its table would read foreign memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PREFIX = "distill_"
COMMITTEE = PREFIX + "committee"
# Fields of an `ErrorModel` by their entries.
ERROR_MODEL = {
    name: f"{PREFIX}error_{name}"
    for name in ("directions", "means", "weights", "posterior", "energy", "scales")
}
OWN_JSON = PREFIX + "json"
CHECKSUM = PREFIX + "sha256"
DESCRIPTION = "meta_json"
PRODUCTS = "aa_spec_"

Arrays = Mapping[str, NDArray[Any]]
Size = int | str

WHOLE, REAL, BYTES = "whole numbers", "real numbers", "bytes"
_KINDS = {WHOLE: "iu", REAL: "fiu", BYTES: "u"}
# Beyond them lies no student, but endless loops and overflowing factorials.
LARGEST_ORDER = 6
LARGEST_L = 60
LARGEST_CUTOFF = 20.0
LARGEST_EXPONENT = 32
_LARGEST_NUMBER = 2**15
# Products of more would not be finite.
_LARGEST_REAL = 1e12
_SHORTEST = 1e-6
# Of an error model, before those of its components.
_COMMON_WEIGHTS = 3


class Shaped(Protocol):
    """An array, or the header of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its lengths."""


@dataclass(frozen=True)
class Entry:
    """One array.

    Attributes
    ----------
    name
        In the file.
    kind
        Whole or real numbers, or bytes.
    shape
        Its lengths: numbers, or names that stand for the same number in all entries.
    low, high
        Bounds of whole numbers, the upper one excluded and a number or a length by its name.
    required
        Whether a student needs it.
    """

    name: str
    kind: str
    shape: tuple[Size, ...]
    low: int = 0
    high: Size = _LARGEST_NUMBER
    required: bool = True


_PAIRS = ("elements", "elements")
# The first entry that has a length settles it.
ENTRIES = (
    Entry("elements", WHOLE, ("elements",), 1, 119),
    Entry("E0", REAL, ("elements",)),
    Entry("rcuts", REAL, _PAIRS),
    Entry("pair_rcuts", REAL, _PAIRS, required=False),
    Entry("rnl_transform", REAL, (*_PAIRS, 7)),
    Entry("pair_transform", REAL, (*_PAIRS, 7)),
    Entry("rnl_envelope", REAL, (*_PAIRS, 5)),
    Entry("pair_envelope", REAL, (*_PAIRS, 3)),
    Entry("rspec", WHOLE, ("radial functions", 2)),
    Entry("pairspec", WHOLE, ("pair functions",)),
    Entry("rnl_spline_coefs", REAL, (*_PAIRS, "spline rows", "radial functions")),
    Entry("pair_spline_coefs", REAL, (*_PAIRS, "pair spline rows", "pair functions")),
    Entry("aspec_r", WHOLE, ("one-particle functions",), 0, "radial functions"),
    Entry("aspec_y", WHOLE, ("one-particle functions",), 0, (LARGEST_L + 1) ** 2),
    Entry("A2B_rows", WHOLE, ("nonzeros",), 0, "many-body functions"),
    Entry("A2B_cols", WHOLE, ("nonzeros",), 0, "products"),
    Entry("A2B_vals", REAL, ("nonzeros",)),
    Entry("A2B_shape", WHOLE, (2,), 0, 2**31, required=False),
    Entry("WB", REAL, ("many-body functions", "elements")),
    Entry("Wpair", REAL, ("pair functions", "elements")),
    Entry("gamma", REAL, ("coefficients",), required=False),
    Entry(COMMITTEE, REAL, ("members", "coefficients"), required=False),
    Entry(ERROR_MODEL["directions"], REAL, ("error components", "coefficients"), required=False),
    Entry(ERROR_MODEL["means"], REAL, ("elements", "error components"), required=False),
    Entry(ERROR_MODEL["weights"], REAL, ("elements", "error weights"), required=False),
    Entry(ERROR_MODEL["posterior"], REAL, ("elements",), required=False),
    Entry(ERROR_MODEL["energy"], REAL, (2,), required=False),
    Entry(ERROR_MODEL["scales"], REAL, (2,), required=False),
    Entry(OWN_JSON, BYTES, ("bytes of provenance",), required=False),
    Entry(CHECKSUM, BYTES, (32,), required=False),
    Entry(DESCRIPTION, BYTES, ("bytes of description",)),
)
_OWN = (OWN_JSON, CHECKSUM, DESCRIPTION)


def entries_of(orders: Iterable[int], *, own: bool = True) -> Iterator[Entry]:
    """The table for products of these orders; `own` are the description and what goes with it."""
    yield from (entry for entry in ENTRIES if own or entry.name not in _OWN)
    for order in orders:
        shape = (f"products of order {order}", order)
        yield Entry(f"{PRODUCTS}{order}", WHOLE, shape, 0, "one-particle functions")


def check_shapes(
    found: Mapping[str, Shaped], entries: Sequence[Entry], lengths: Mapping[str, int]
) -> dict[str, int]:
    """Compare kinds and shapes with the table.

    Parameters
    ----------
    found
        Arrays or headers by name.
    entries
        The table.
    lengths
        Lengths that are known by name.

    Returns
    -------
    dict
        All lengths by name.

    Raises
    ------
    ValueError
        If an entry is missing, or is of another kind or shape.
    """
    known = dict(lengths)
    for entry in entries:
        if entry.name not in found:
            if entry.required:
                raise ValueError(f"it has no entry '{entry.name}'")
            continue
        array = found[entry.name]
        if array.dtype.kind not in _KINDS[entry.kind]:
            raise ValueError(f"{entry.name} holds {array.dtype}, expected {entry.kind}")
        if len(array.shape) == len(entry.shape):
            for name, length in zip(entry.shape, array.shape, strict=True):
                if name == "coefficients":
                    functions = known["many-body functions"] + known["pair functions"]
                    known[name] = known["elements"] * functions
                elif isinstance(name, str):
                    known.setdefault(name, length)
        expected = tuple(known.get(n, 0) if isinstance(n, str) else n for n in entry.shape)
        if array.shape != expected:
            names = ", ".join(str(size) for size in entry.shape)
            raise ValueError(f"{entry.name} has shape {array.shape}, expected {expected} ({names})")
    orders = (entry.shape[0] for entry in entries if entry.name.startswith(PRODUCTS))
    known["products"] = sum(known[str(name)] for name in orders)
    return known


def check_values(arrays: Arrays, entries: Sequence[Entry], lengths: Mapping[str, int]) -> None:
    """Compare the numbers with the table.

    Raises
    ------
    ValueError
        If a number is not finite or far too large, or an index refers to what is not there.
    """
    for entry in entries:
        if entry.name not in arrays or entry.kind == BYTES:
            continue
        values = arrays[entry.name]
        if entry.kind == REAL:
            # NaN is within no bound.
            if not (np.abs(values) <= _LARGEST_REAL).all():
                raise ValueError(
                    f"{entry.name} has numbers that are not finite, or beyond {_LARGEST_REAL:g}"
                )
            continue
        high = lengths[entry.high] if isinstance(entry.high, str) else entry.high
        if values.size and (values.min() < entry.low or values.max() >= high):
            what = f" ({entry.high})" if isinstance(entry.high, str) else ""
            raise ValueError(
                f"{entry.name} has numbers from {values.min()} to {values.max()}, expected "
                f"{entry.low} to {high - 1}{what}"
            )


def check_meaning(arrays: Arrays, lengths: Mapping[str, int]) -> None:
    """What entries that are each as they should be have to say together.

    Raises
    ------
    ValueError
        If they do not describe a potential that the kernels can evaluate.
    """
    elements = arrays["elements"].tolist()
    if not elements or len(set(elements)) < len(elements):
        raise ValueError("expected elements that differ, at least one")
    if not lengths["one-particle functions"] or not lengths["nonzeros"]:
        raise ValueError("expected at least one many-body function")
    shape = arrays.get("A2B_shape")
    held = [lengths["many-body functions"], lengths["products"]]
    if shape is not None and shape.tolist() != held:
        raise ValueError(f"A2B_shape is {shape.tolist()}, but the file holds {held}")
    ells = np.sqrt(arrays["aspec_y"]).astype(int)
    if (ells != arrays["rspec"][arrays["aspec_r"], 1]).any():
        raise ValueError("the l of aspec_y are not those of the radial functions")
    for name, block in arrays.items():
        if not name.startswith(PRODUCTS):
            continue
        if len(np.unique(np.sort(block, axis=1), axis=0)) < len(block):
            raise ValueError(f"{name} lists a product twice")
    _check_radial(arrays)
    _check_errors(arrays)


def _check_errors(arrays: Arrays) -> None:
    """The error model, whole or not at all."""
    found = [name for name in ERROR_MODEL.values() if name in arrays]
    if not found:
        return
    if COMMITTEE not in arrays or len(found) < len(ERROR_MODEL):
        raise ValueError(f"its error model lacks entries: found {', '.join(found)}")
    components, weights = len(arrays[found[0]]), arrays[ERROR_MODEL["weights"]].shape[1]
    if weights != components + _COMMON_WEIGHTS:
        raise ValueError(f"its error model has {weights} weights for {components} components")
    for name in ("posterior", "energy", "scales"):
        _expect(ERROR_MODEL[name], arrays[ERROR_MODEL[name]] >= 0, "numbers that are not negative")


def _check_radial(arrays: Arrays) -> None:
    """The parameters of cutoffs, transforms and envelopes."""
    cutoff = arrays["rcuts"]
    _expect("rcuts", (cutoff > 0) & (cutoff <= LARGEST_CUTOFF), f"0 to {LARGEST_CUTOFF:g} Å")
    for name in ("rnl_transform", "pair_transform"):
        p, q, a, inner, r0, y_inner, y_cutoff = np.moveaxis(arrays[name], -1, 0)
        _expect(name, _is_exponent(p) & _is_exponent(q), "exponents that are whole numbers")
        _expect(name, p <= q, "exponents p <= q, found p > q")
        positive = (a > _SHORTEST) & (inner >= 0) & (r0 - inner > _SHORTEST)
        _expect(name, positive & (y_inner != y_cutoff), "lengths in order")
    low, high, p, q, _ = np.moveaxis(arrays["rnl_envelope"], -1, 0)
    _expect("rnl_envelope", _is_exponent(p) & _is_exponent(q), "exponents that are whole numbers")
    _expect("rnl_envelope", low < high, "ends in order")
    end, r0, p = np.moveaxis(arrays["pair_envelope"], -1, 0)
    _expect("pair_envelope", _is_exponent(p), "exponents that are whole numbers")
    _expect(
        "pair_envelope",
        (end > _SHORTEST) & (end <= cutoff) & (r0 > _SHORTEST),
        "a cutoff within rcuts",
    )


def _is_exponent(values: NDArray[Any]) -> NDArray[np.bool_]:
    """The kernels raise to whole powers, by multiplying."""
    return (values == np.round(values)) & (values >= 0) & (values <= LARGEST_EXPONENT)


def _expect(name: str, holds: NDArray[np.bool_], what: str) -> None:
    if not holds.all():
        raise ValueError(f"{name}: expected {what}")
