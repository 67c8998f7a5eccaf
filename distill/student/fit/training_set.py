"""What the student is fitted to: labels, duplicates, outliers, one-body energies and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.quantities import virial_from_stress
from distill.data.duplicates import label_disagreement, same_structures
from distill.data.isolated_atoms import is_isolated_atom, isolated_energies
from distill.data.reference_energies import composition_matrix, least_squares_shifts
from distill.data.structures import (
    config_type,
    reference_energy,
    reference_forces,
    reference_stress,
)
from distill.student.training_record import LabelCounts

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.config import LabelWeights

DUPLICATE_TOLERANCE = 1e-3
FORCE_TOLERANCE = 1e-3
OUTLIER_DEVIATIONS = 20.0
LABEL_KINDS = ("forces", "energy", "virial")
# A normal distribution's standard deviation in units of its median absolute deviation.
_MAD_TO_STD = 1.4826


@dataclass(frozen=True)
class Rows:
    """Weighted labels of one structure; a kind without label or with weight 0 is None.

    Attributes
    ----------
    index
        Index of the structure in the training set, for messages.
    energy, energy_weight
        Energy without its one-body part, eV, and its row weight w_E / √N.
    forces, forces_weight
        Forces, shape (3 N,), eV/Å, and their row weight w_F.
    virial, virial_weight
        Virial xx yy zz yz xz xy, shape (6,), eV, and its row weight w_V / √N.
    """

    index: int
    energy: float | None
    energy_weight: float
    forces: np.ndarray | None
    forces_weight: float
    virial: np.ndarray | None
    virial_weight: float

    @property
    def count(self) -> int:
        """Number of rows."""
        forces = 0 if self.forces is None else len(self.forces)
        return (self.energy is not None) + forces + (0 if self.virial is None else 6)

    def only(self, kind: str) -> Rows:
        """Without the labels of other kinds than `energy`, `forces` or `virial`."""
        return replace(
            self,
            forces=self.forces if kind == "forces" else None,
            energy=self.energy if kind == "energy" else None,
            virial=self.virial if kind == "virial" else None,
        )

    def reweighted(self, factors: Mapping[str, float]) -> Rows:
        """With factors on the weights, by kind of label."""
        return replace(
            self,
            forces_weight=self.forces_weight * factors.get("forces", 1.0),
            energy_weight=self.energy_weight * factors.get("energy", 1.0),
            virial_weight=self.virial_weight * factors.get("virial", 1.0),
        )


def by_kind(rows: Sequence[Rows]) -> dict[str, list[Rows]]:
    """The rows of each kind of label that there is; forces come first."""
    parts = {kind: [row.only(kind) for row in rows] for kind in LABEL_KINDS}
    return {kind: part for kind, part in parts.items() if any(row.count for row in part)}


def rows_of(
    atoms: Atoms,
    baseline: tuple[float, np.ndarray, np.ndarray],
    weights: Mapping[str, LabelWeights],
    index: int = 0,
) -> Rows:
    """Targets and row weights of one structure, as ACEpotentials weights them.

    Parameters
    ----------
    atoms
        Structure with any of the REF_ labels.
    baseline
        Energy (eV), forces (N, 3) (eV/Å) and virial (6,) (eV) of what is not fitted: one-body
        energies and, where it is on, the ZBL core.
    weights
        By config_type, with an entry `default`.
    index
        Index of the structure in the training set.
    """
    weight = weights.get(config_type(atoms), weights["default"])
    size = np.sqrt(len(atoms))
    energy, forces = reference_energy(atoms), reference_forces(atoms)
    stress = reference_stress(atoms)
    if energy is not None:
        energy = energy - baseline[0] if weight.energy > 0 else None
    if forces is not None:
        forces = (forces - baseline[1]).ravel() if weight.forces > 0 else None
    virial = None
    if stress is not None and weight.virial > 0:
        virial = virial_from_stress(stress, atoms.get_volume()) - baseline[2]
    return Rows(
        index=index,
        energy=energy,
        energy_weight=weight.energy / size,
        forces=forces,
        forces_weight=weight.forces,
        virial=virial,
        virial_weight=weight.virial / size,
    )


def one_body_baseline(
    atoms: Atoms, e0: Mapping[str, float]
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (N, 3) and virial (6,) of the one-body energies alone."""
    energy = sum(e0[symbol] for symbol in atoms.get_chemical_symbols())
    return energy, np.zeros((len(atoms), 3)), np.zeros(6)


def label_counts(structures: Sequence[Atoms]) -> LabelCounts:
    """Number of structures that carry an energy, forces, a stress.

    Raises
    ------
    UserError
        If there is no structure, or none carries a label.
    """
    if not structures:
        raise UserError("the student's training set is empty: expected labelled structures")
    counts = LabelCounts(
        energy=sum(reference_energy(a) is not None for a in structures),
        forces=sum(reference_forces(a) is not None for a in structures),
        stress=sum(reference_stress(a) is not None for a in structures),
    )
    if not (counts.energy or counts.forces or counts.stress):
        raise UserError(
            f"none of the {len(structures)} training structures carries a label: expected "
            "REF_energy, REF_forces or REF_stress (other keys are named in the data section)"
        )
    return counts


def one_body_energies(
    structures: Sequence[Atoms],
    elements: Sequence[str],
    mode: str | Mapping[str, float],
    *,
    cutoff: float,
    teacher: Mapping[str, float] | None = None,
) -> tuple[dict[str, float], str]:
    """Energies E0 of the elements, eV, and one sentence saying where they come from.

    Parameters
    ----------
    structures
        Labelled structures.
    elements
        Elements of the model.
    mode
        `isolated` (isolated-atom structures of the set), `teacher`, `lstsq` (least squares on the
        energies per atom), a table, or `auto`: element by element the first of isolated, teacher,
        lstsq that there is.
    cutoff
        Largest cutoff, Å: a single atom whose images are further away is isolated.
    teacher
        The teacher's table, where there is one.

    Raises
    ------
    UserError
        If the chosen source lacks an element.
    """
    if isinstance(mode, Mapping):
        return _complete(mode, elements, "the given table student.e0"), "as given in the config"
    if mode == "teacher":
        if teacher is None:
            raise UserError(
                "student.e0 is 'teacher' but the teacher states no one-body energies; use 'auto', "
                "'lstsq', or a table {symbol: eV}"
            )
        return _complete(teacher, elements, "the teacher's table"), "from the teacher"
    isolated = isolated_energies([a for a in structures if is_isolated_atom(a, cutoff)])
    if mode == "isolated":
        where = "the isolated-atom structures of the training set"
        return _complete(isolated, elements, where), "from isolated atoms in the training set"
    known = {**(teacher or {}), **isolated} if mode == "auto" else {}
    known = {element: float(known[element]) for element in elements if element in known}
    sources = {
        "from isolated atoms in the training set": [e for e in known if e in isolated],
        "from the teacher": [e for e in known if e not in isolated],
    }
    parts = [f"{how} ({', '.join(which)})" for how, which in sources.items() if which]
    others = [element for element in elements if element not in known]
    if others:
        known, how = _least_squares(structures, elements, known, cutoff)
        parts.append(f"{how} ({', '.join(others)})" if parts else how)
    return {element: known[element] for element in elements}, " and ".join(parts)


def without_duplicates(structures: Sequence[Atoms]) -> tuple[list[int], list[tuple[int, int]]]:
    """Indices to keep, and pairs of the same structure whose labels disagree.

    Two structures are the same when species, periodicity, cell and positions agree within 1e-3 Å;
    the later one is dropped when its labels agree too (1e-3 eV/atom and eV/Å), else both stay.
    """
    dropped: set[int] = set()
    conflicts: list[tuple[int, int]] = []
    for first, second in same_structures(structures, DUPLICATE_TOLERANCE):
        if first in dropped or second in dropped:
            continue
        if _labels_agree(structures[first], structures[second]):
            dropped.add(second)
        else:
            conflicts.append((first, second))
    return [i for i in range(len(structures)) if i not in dropped], conflicts


def outliers(structures: Sequence[Atoms], e0: Mapping[str, float]) -> list[dict[str, Any]]:
    """Structures whose energy or largest force is far from the rest of its config_type.

    The energy per atom (without E0, and without the best linear function of the composition) and
    the logarithm of the largest force are compared with their median in robust standard
    deviations (1.4826 × the median absolute deviation); 20 of them are far.

    Returns
    -------
    list of dict
        `index`, `quantity`, `value` and `deviations`, the worst first.
    """
    found: list[dict[str, Any]] = []
    kinds = np.array([config_type(a) for a in structures])
    energies = _composition_residuals(structures, e0)
    largest = np.array([_largest_force(a) for a in structures])
    with np.errstate(divide="ignore"):
        forces = np.where(largest > 0, np.log10(largest), np.nan)
    for kind in sorted(set(kinds)):
        members = np.flatnonzero(kinds == kind)
        for name, values, shown, one_sided in (
            ("energy [eV/atom]", energies, energies, False),
            ("largest force [eV/Å]", forces, largest, True),
        ):
            score = _robust_score(values[members])
            far = score > OUTLIER_DEVIATIONS if one_sided else np.abs(score) > OUTLIER_DEVIATIONS
            found += [
                {
                    "index": int(members[k]),
                    "quantity": name,
                    "value": float(shown[members[k]]),
                    "deviations": float(abs(score[k])),
                }
                for k in np.flatnonzero(far)
            ]
    return sorted(found, key=lambda item: -item["deviations"])


def _complete(table: Mapping[str, float], elements: Sequence[str], where: str) -> dict[str, float]:
    missing = [element for element in elements if element not in table]
    if missing:
        raise UserError(
            f"{where} has no one-body energy for {', '.join(missing)}; found "
            f"{', '.join(sorted(table)) or 'none'}. Add it, or choose another student.e0"
        )
    return {element: float(table[element]) for element in elements}


def _least_squares(
    structures: Sequence[Atoms], elements: Sequence[str], known: Mapping[str, float], cutoff: float
) -> tuple[dict[str, float], str]:
    """Known energies and, beside them, those of other elements that fit the energies best."""
    labelled = [
        a for a in structures if reference_energy(a) is not None and not is_isolated_atom(a, cutoff)
    ]
    if not labelled:
        none = "set to zero, because the training set has no energies"
        return {**dict.fromkeys(elements, 0.0), **known}, none
    counts = composition_matrix([a.get_chemical_symbols() for a in labelled], elements)
    energies = np.array([reference_energy(a) for a in labelled], dtype=float)
    given = np.array([known.get(element, np.nan) for element in elements])
    solution, fixed = least_squares_shifts(counts, energies, known=given, robust=False)
    how = f"from least squares on {len(labelled)} energies"
    if fixed < len(elements):
        how += (
            f" (the compositions fix only {fixed - len(known)} of {len(elements) - len(known)} "
            "values; the smallest ones that fit are taken)"
        )
    return {e: float(v) for e, v in zip(elements, solution, strict=True)}, how


def _labels_agree(first: Atoms, second: Atoms) -> bool:
    labels = (reference_energy, reference_forces, reference_stress)
    if any((label(first) is None) != (label(second) is None) for label in labels):
        return False
    return label_disagreement(first, second, same_force=FORCE_TOLERANCE) is None


def _composition_residuals(structures: Sequence[Atoms], e0: Mapping[str, float]) -> np.ndarray:
    """Energy per atom without its E0 part and, in a mixed set, without its trend in composition."""
    values = np.full(len(structures), np.nan)
    for index, atoms in enumerate(structures):
        energy = reference_energy(atoms)
        if energy is not None and not is_isolated_atom(atoms):
            one_body = sum(e0[s] for s in atoms.get_chemical_symbols())
            values[index] = (energy - one_body) / len(atoms)
    elements = sorted(e0)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) > 2 * len(elements):
        # The trend is fitted to the inner part of the energies, so that an outlier cannot bend it.
        low, high = np.percentile(values[known], [5, 95])
        inner = known[(values[known] >= low) & (values[known] <= high)]
        counts = composition_matrix([a.get_chemical_symbols() for a in structures], elements)
        fractions = counts / counts.sum(axis=1)[:, None]
        trend = np.linalg.lstsq(fractions[inner], values[inner], rcond=1e-8)[0]
        values = values - fractions @ trend
    return values


def _largest_force(atoms: Atoms) -> float:
    forces = reference_forces(atoms)
    return np.nan if forces is None else float(np.linalg.norm(forces, axis=1).max())


def _robust_score(values: np.ndarray) -> np.ndarray:
    """Deviation from the median in robust standard deviations; 0 where that says nothing."""
    known = values[~np.isnan(values)]
    if len(known) < 8:
        return np.zeros(len(values))
    middle = np.median(known)
    spread = _MAD_TO_STD * np.median(np.abs(known - middle))
    if spread == 0:
        return np.zeros(len(values))
    return np.nan_to_num((values - middle) / spread)
