"""The two ends of a path, checked as one thing before anything is computed."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.geometry import find_mic

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.systems.constraints import mobile_atoms, refuse_other_constraints

# Å: what cells and fixed atoms may differ by in files that carry few digits.
_FILE_DIGITS = 2e-3
# Å: below it the ends are one structure; above it an atom has left its place.
_SAME, _LEFT_PLACE = 1e-3, 0.5
# Atoms whose motion is tried as that of all, and Å: what is said of it.
_TRIED, _SAID = 64, 0.01
# Atoms from which on a motion of all is told from one of some.
_FEWEST = 3
# Share of the squared displacement that another order of like atoms has to save.
_EXCHANGED = 0.5


def matched_ends(first: Atoms, last: Atoms, *, exchange: bool = False) -> tuple[Atoms, Atoms]:
    """Both ends with one cell and one set of fixed atoms, which lie at the same places.

    Where no atom is fixed, the last end is moved as a whole onto the first, and turned if nothing
    is periodic: no energy depends on that, and a path would carry all atoms along.

    Parameters
    ----------
    first, last
        As the user has them; not changed.
    exchange
        Whether like atoms change places on purpose.

    Raises
    ------
    UserError
        If the ends differ in atoms, cell, periodicity or fixed atoms, have none or only fixed
        ones, are one structure, hold like atoms in another order, have constraints other than
        fixed atoms, or are not finite.
    """
    for name, end in (("first", first), ("last", last)):
        refuse_other_constraints(end, f"the {name} end point of the path")
        if not np.isfinite(end.positions).all() or not np.isfinite(end.cell.array).all():
            raise UserError(f"the {name} end point of the path has positions that are not finite")
    _check_cells(first, last)
    first, last = first.copy(), last.copy()
    last.set_cell(first.cell, scale_atoms=True)
    fixed = _fixed_in_both(first, last)
    if not fixed.any():
        _move_onto(last, first)
    moved, lengths = find_mic(last.positions - first.positions, first.cell, first.pbc)
    shifted = [int(i) for i in np.flatnonzero(fixed) if lengths[i] > _FILE_DIGITS]
    if shifted:
        worst = max(shifted, key=lambda i: lengths[i])
        raise UserError(
            f"the end points of the path hold fixed atoms at different places: {listed(shifted)}, "
            f"atom {worst} ({first.symbols[worst]}) by {lengths[worst]:.3f} Å; fix what stays"
        )
    last.positions[fixed] = first.positions[fixed]
    if lengths.max() < _SAME:
        raise UserError(
            "the end points of the path are one structure, but for lattice vectors and a motion "
            "as a whole: give two"
        )
    if not exchange:
        _refuse_other_order(first, last, np.asarray(moved))
    return first, last


def _check_cells(first: Atoms, last: Atoms) -> None:
    if not len(first) or not len(last):
        raise UserError("an end point of the path has no atoms")
    if first.get_chemical_symbols() != last.get_chemical_symbols():
        raise UserError(
            "the end points of the path differ in their atoms: expected the same elements in the "
            f"same order, found {first.get_chemical_formula()} and {last.get_chemical_formula()}"
        )
    if (first.pbc != last.pbc).any():
        raise UserError(
            "the end points of the path differ in their periodicity: pbc "
            f"{first.pbc.tolist()} and {last.pbc.tolist()}"
        )
    apart = float(np.abs(first.cell.array - last.cell.array).max())
    if apart > _FILE_DIGITS:
        raise UserError(
            f"the end points of the path differ in their cells by up to {apart:.3g} Å: a path "
            "has one cell"
        )


def _fixed_in_both(first: Atoms, last: Atoms) -> np.ndarray:
    """Which atoms both ends hold fixed; where only one end says so, the other is given the same."""
    ends = {"first": first, "last": last}
    fixed = {name: ~mobile_atoms(end) for name, end in ends.items()}
    (one, of_one), (other, of_other) = fixed.items()
    if (of_one != of_other).any():
        if of_one.any() and of_other.any():
            differ = np.flatnonzero(of_one != of_other).tolist()
            raise UserError(
                "the end points of the path hold other atoms fixed (constraints differ on atoms "
                f"{listed(differ)}): give both the same"
            )
        having, lacking = (one, other) if of_one.any() else (other, one)
        say(
            f"only the {having} end point of the path carries constraints: the {lacking} is given "
            f"the same {int(fixed[having].sum())} fixed atoms"
        )
        ends[lacking].set_constraint([*ends[lacking].constraints, FixAtoms(mask=fixed[having])])
        fixed[lacking] = fixed[having]
    if fixed[one].all():
        raise UserError("every atom of the path is fixed: nothing can move along it")
    return fixed[one]


def _move_onto(last: Atoms, first: Atoms) -> None:
    """Move the last end as a whole to where most of its atoms lie on those of the first.

    One or two atoms are left: they may be in a field, where it matters where they lie.
    """
    from ase.build.rotate import minimize_rotation_and_translation

    if len(last) < _FEWEST:
        return
    before = last.positions.copy()
    moved, _ = find_mic(before - first.positions, first.cell, first.pbc)
    found = []
    for one in moved[:: max(len(moved) // _TRIED, 1)]:
        apart, lengths = find_mic(moved - one, first.cell, first.pbc)
        found.append((float(np.median(lengths)), one + apart[lengths < _LEFT_PLACE].mean(axis=0)))
    last.positions -= min(found, key=lambda pair: pair[0])[1]
    if not first.pbc.any():
        minimize_rotation_and_translation(first, last)
    largest = float(np.linalg.norm(last.positions - before, axis=1).max())
    if largest > _SAID:
        say(
            "no atom of the path is fixed, and its last end point lies elsewhere as a whole: moved "
            f"onto the first by up to {largest:.3f} Å, which changes no energy"
        )


def _refuse_other_order(first: Atoms, last: Atoms, moved: np.ndarray) -> None:
    """Refuse like atoms listed in another order, between which a path would drag them."""
    from scipy.optimize import linear_sum_assignment

    given = np.einsum("ij,ij->i", moved, moved)
    better = np.arange(len(first))
    for number in set(first.numbers.tolist()):
        members = np.flatnonzero(first.numbers == number)
        if np.sqrt(given[members]).max() < _LEFT_PLACE:
            continue
        gaps = last.positions[None, members] - first.positions[members, None]
        vectors, _ = find_mic(gaps.reshape(-1, 3), first.cell, first.pbc)
        cost = np.einsum("ij,ij->i", vectors, vectors).reshape(len(members), -1)
        rows, columns = linear_sum_assignment(cost)
        if cost[rows, columns].sum() < _EXCHANGED * given[members].sum():
            better[members[rows]] = members[columns]
    exchanged = np.flatnonzero(better != np.arange(len(first))).tolist()
    if exchanged:
        raise UserError(
            "like atoms stand in another order in the two end points of the path: "
            f"{listed(exchanged)} of the first are nearest to {listed(better[exchanged].tolist())} "
            "of the last, in this order, so the path would exchange them; put the atoms of one "
            "file in the order of the other, or set exchange: true if they are to change places"
        )
