"""Atomic reference energies (E0): which values put a foundation model on the data's energy scale.

A model's energy is a sum of one E0 for each atom and an interaction energy. Fine-tuning data come
from another level of theory, so their total energies sit elsewhere. What is estimated here is the
shift of each E0; it leaves the model's forces as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import listed

# Beyond these, a difference between data and foundation is one of energy scale, not of accuracy.
_OTHER_REFERENCE = 0.1
_MIXED_GAP = 2.0
_MIXED_LEAST = 2
_IRLS_ITERATIONS = 30
# The method for elements of which some have an isolated atom.
PARTLY_ISOLATED = "isolated and lstsq"


@dataclass(frozen=True)
class ReferenceEnergies:
    """Atomic reference energies and where they came from.

    Attributes
    ----------
    method
        isolated, lstsq, `PARTLY_ISOLATED`, foundation or given.
    values
        E0 by chemical symbol, eV.
    shifts
        E0 minus the foundation's own, by chemical symbol, eV.
    rms
        Root mean square of (reference − foundation) energy on the training set, eV/atom, for each
        method that could be tried: what fine-tuning starts from.
    undetermined
        True where the compositions do not fix the E0s one by one (all stoichiometric, say); the
        smallest shifts that fit are taken then.
    offset
        Mean over the training set of what is left of (reference − foundation) energy after the
        shifts, eV/atom: what binds the atoms, where free atoms fixed their energies.
    """

    method: str
    values: dict[str, float]
    shifts: dict[str, float]
    rms: dict[str, float] = field(default_factory=dict)
    undetermined: bool = False
    offset: float = 0.0

    def with_others(self, foundation: Mapping[str, float]) -> ReferenceEnergies:
        """The same, with the foundation's own E0 [eV] for elements that the set does not have."""
        return replace(self, values={**foundation, **self.values})

    def summary(self) -> str:
        """One line for people: method, values and starting error."""
        values = ", ".join(f"{symbol} {value:.4f}" for symbol, value in self.values.items())
        rms = self.rms.get(self.method)
        start = "" if rms is None else f"; energies start {1000 * rms:.0f} meV/atom off"
        note = "; compositions do not fix them one by one" if self.undetermined else ""
        return f"atomic reference energies [eV] ({self.method}): {values}{start}{note}"

    def explanation(self) -> str | None:
        """What to know about another energy reference of the data, or None if there is nothing."""
        before, after = self.rms.get("foundation"), self.rms.get(self.method)
        if before is None or after is None or before < max(_OTHER_REFERENCE, 3 * after):
            return None
        shifts = ", ".join(f"{symbol} {value:+.3f}" for symbol, value in self.shifts.items())
        return (
            f"the energies sit on another reference than the foundation model's ({before:.2f} "
            f"eV/atom apart); the atomic reference energies were moved by {shifts} eV, which "
            f"leaves {after:.3f} eV/atom and does not change forces"
        )


def composition_matrix(structures: Sequence[Sequence[str]], elements: Sequence[str]) -> np.ndarray:
    """Number of atoms of each element in each structure, shape (n_structures, n_elements).

    Parameters
    ----------
    structures
        Chemical symbols of the atoms of each structure.
    elements
        Chemical symbols of the columns.
    """
    return np.array(
        [[list(symbols).count(element) for element in elements] for symbols in structures],
        dtype=float,
    ).reshape(len(structures), len(elements))


def least_squares_shifts(
    counts: np.ndarray,
    differences: np.ndarray,
    *,
    known: np.ndarray | None = None,
    robust: bool = True,
) -> tuple[np.ndarray, int]:
    """E0 shifts that bring a model's energies closest to the reference, by errors per atom.

    Directions that the compositions leave open get no shift: the solution has the smallest norm.

    Parameters
    ----------
    counts
        Atoms by element, shape (n_structures, n_elements).
    differences
        Reference minus model energy, eV, shape (n_structures,); reference energies for E0s.
    known
        Shifts that are given, eV, shape (n_elements,), NaN where they are to be found.
    robust
        Minimise the Huber loss by iteratively reweighted least squares (Huber, Ann. Math. Stat. 35,
        73 (1964), with k = 1.345 robust standard deviations), instead of the plain squares.

    Returns
    -------
    (array of shape (n_elements,), int)
        Shifts, eV, and how many of them are given or fixed by the compositions.
    """
    sizes = counts.sum(axis=1)
    found = np.full(counts.shape[1], np.nan) if known is None else known.copy()
    open_ = np.isnan(found)
    given = int((~open_).sum())
    rows = counts[:, open_] / sizes[:, None]
    target = (differences - counts[:, ~open_] @ found[~open_]) / sizes
    weights = np.ones(len(target))
    shifts = np.zeros(rows.shape[1])
    rank = 0
    for _ in range(_IRLS_ITERATIONS if robust else 1):
        root = np.sqrt(weights)
        previous = shifts
        shifts, _, rank, _ = np.linalg.lstsq(rows * root[:, None], target * root, rcond=1e-8)
        residuals = np.abs(target - rows @ shifts)
        bound = 1.345 * 1.4826 * np.median(residuals)
        weights = np.minimum(1.0, bound / np.maximum(residuals, max(bound, 1e-12)))
        if np.allclose(shifts, previous, rtol=0, atol=1e-10):
            break
    found[open_] = shifts
    return found, given + int(rank)


def reference_energies(
    method: str | Mapping[str, float],
    *,
    elements: Sequence[str],
    foundation: Mapping[str, float],
    counts: np.ndarray,
    differences: np.ndarray,
    isolated: Mapping[str, float],
) -> ReferenceEnergies:
    """Atomic reference energies by a method of choice, with the error each method starts from.

    Parameters
    ----------
    method
        `lstsq`: the foundation's E0s, shifted by least squares over compositions. `isolated`: such
        that isolated atoms get their reference energies. `foundation`: unchanged. A mapping:
        these values. `auto`: as `isolated` for the elements that have an isolated atom, and by
        least squares for the others. What a user measured of a free atom is right by definition,
        and with it energies of dissociation come out.
    elements
        Chemical symbols of the columns of `counts`.
    foundation
        The foundation's E0 by symbol, eV.
    counts
        Atoms by element of each structure, shape (n_structures, n_elements).
    differences
        Reference minus foundation energy of each structure, eV, shape (n_structures,).
    isolated
        Reference minus foundation energy of an isolated atom by symbol, eV; may be empty.

    Raises
    ------
    UserError
        If a value that the method needs is missing.
    """
    if isinstance(method, Mapping):
        _require_all(elements, method, "teacher.e0 gives no value for")
        given = np.array([method[e] - foundation[e] for e in elements])
    solved, fixed = least_squares_shifts(counts, differences)
    partly_fixed = 0
    candidates = {"foundation": np.zeros(len(elements)), "lstsq": solved}
    if set(elements) <= set(isolated):
        candidates["isolated"] = np.array([isolated[e] for e in elements])
    elif set(elements) & set(isolated):
        known = np.array([isolated.get(e, np.nan) for e in elements])
        candidates[PARTLY_ISOLATED], partly_fixed = least_squares_shifts(
            counts, differences, known=known
        )
    if isinstance(method, Mapping):
        candidates["given"] = given
    rms = {name: _rms_per_atom(counts, differences, s) for name, s in candidates.items()}
    if isinstance(method, Mapping):
        chosen = "given"
    elif method == "auto":
        chosen = next(c for c in ("isolated", PARTLY_ISOLATED, "lstsq") if c in candidates)
    else:
        chosen = method
    if chosen == "isolated":
        _require_all(
            elements,
            isolated,
            "teacher.e0: isolated, but the training set has no single atom (one atom, no periodic "
            "boundaries or config_type IsolatedAtom) of",
        )
    shifts = candidates[chosen]
    determined = {"lstsq": fixed, PARTLY_ISOLATED: partly_fixed}.get(chosen, len(elements))
    return ReferenceEnergies(
        method=chosen,
        values={e: float(foundation[e] + s) for e, s in zip(elements, shifts, strict=True)},
        shifts={e: float(s) for e, s in zip(elements, shifts, strict=True)},
        rms=rms,
        undetermined=determined < len(elements),
        offset=float(np.mean((differences - counts @ shifts) / counts.sum(axis=1))),
    )


def refuse_mixed_references(counts: np.ndarray, differences: np.ndarray) -> None:
    """Refuse a set that falls in two groups several eV/atom apart: no potential is so wrong.

    Parameters
    ----------
    counts
        Atoms by element, shape (n_structures, n_elements).
    differences
        Reference minus foundation energy, eV, shape (n_structures,).

    Raises
    ------
    UserError
        With the indices of the smaller group.
    """
    shifts, _ = least_squares_shifts(counts, differences)
    per_atom = (differences - counts @ shifts) / counts.sum(axis=1)
    order = np.argsort(per_atom)
    if len(order) < 2 * _MIXED_LEAST:
        return
    # Gaps with at least a few structures on either side; single outliers are the data checks' part.
    gaps = np.diff(per_atom[order])[_MIXED_LEAST - 1 : len(order) - _MIXED_LEAST]
    position = int(np.argmax(gaps))
    if gaps[position] < _MIXED_GAP:
        return
    split = position + _MIXED_LEAST
    minority = min(order[:split], order[split:], key=len)
    shown = listed([f"{i} ({per_atom[i]:+.2f})" for i in sorted(minority)])
    raise UserError(
        "the training set mixes energies on different references: after the best atomic reference "
        f"energies it falls in two groups {gaps[position]:.1f} eV/atom apart against the "
        f"foundation model; the smaller one has {len(minority)} of {len(per_atom)} structures, by "
        f"index in the set used and with their difference in eV/atom: {shown}. Expected one "
        "level of theory and one reference (all total energies, or all atomisation energies, in eV)"
    )


def _require_all(elements: Sequence[str], values: Mapping[str, float], message: str) -> None:
    missing = [e for e in elements if e not in values]
    if missing:
        raise UserError(f"{message} {', '.join(missing)}; add it, or use 'e0: lstsq'")


def _rms_per_atom(counts: np.ndarray, differences: np.ndarray, shifts: np.ndarray) -> float:
    per_atom = (differences - counts @ shifts) / counts.sum(axis=1)
    return float(np.sqrt(np.mean(per_atom**2)))
