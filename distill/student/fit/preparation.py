"""What comes before either fit: labels checked, repetitions left out, one-body energies settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.student.basis.basis import BasisSpec
from distill.student.fit import training_set

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.config import StudentConfig


@dataclass(frozen=True)
class Prepared:
    """A training set as it is fitted.

    Attributes
    ----------
    spec
        The basis that is asked for.
    structures
        What to fit: the set without duplicates and isolated atoms.
    indices
        Their places in the set.
    left_out
        Number of the others.
    e0
        One-body energies, eV.
    e0_source
        Where they come from.
    """

    spec: BasisSpec
    structures: list[Atoms]
    indices: list[int]
    left_out: int
    e0: dict[str, float]
    e0_source: str


def prepare(
    structures: Sequence[Atoms],
    config: StudentConfig,
    teacher_e0: Mapping[str, float] | None = None,
) -> Prepared:
    """Check the labels, leave out duplicates, settle the one-body energies, and say all that.

    Raises
    ------
    UserError
        If no structure carries a label, an element is not in the model, or a one-body energy is
        missing.
    """
    training_set.label_counts(structures)
    elements = elements_of(structures, config)
    spec = BasisSpec.from_config(config, elements)
    cutoff = max(spec.cutoff(a, b) for a in elements for b in elements)
    kept = _without_duplicates(structures)
    e0, source = training_set.one_body_energies(
        [structures[index] for index in kept],
        elements,
        config.e0,
        cutoff=cutoff,
        teacher=teacher_e0,
    )
    shown = ", ".join(f"{symbol} {value:.6g} eV" for symbol, value in e0.items())
    say(f"student fit: one-body energies {source}: {shown}")
    _report_outliers(structures, e0)
    indices = [k for k in kept if not training_set.is_isolated_atom(structures[k], cutoff)]
    if not indices:
        raise UserError(
            "the training set holds isolated atoms only: expected structures whose atoms have "
            f"neighbours within the cutoff of {cutoff:g} Å"
        )
    return Prepared(
        spec=spec,
        structures=[structures[index] for index in indices],
        indices=indices,
        left_out=len(structures) - len(indices),
        e0=e0,
        e0_source=source,
    )


def elements_of(structures: Sequence[Atoms], config: StudentConfig) -> list[str]:
    """Elements of the model: those of the config, else those of the structures, sorted.

    Raises
    ------
    UserError
        If structures have an element that the config does not list.
    """
    found = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    if config.elements is None:
        return sorted(found)
    foreign = sorted(found - set(config.elements))
    if foreign:
        where = [k for k, a in enumerate(structures) if {*foreign} & {*a.get_chemical_symbols()}]
        raise UserError(
            f"training structures {listed(where)} have {', '.join(foreign)}, but student.elements "
            f"is {', '.join(config.elements)}: add it, or leave the structures out"
        )
    return list(config.elements)


def _without_duplicates(structures: Sequence[Atoms]) -> list[int]:
    kept, conflicts = training_set.without_duplicates(structures)
    dropped = sorted(set(range(len(structures))) - set(kept))
    if dropped:
        say(
            f"student fit: {len(dropped)} structures repeat an earlier one within "
            f"{training_set.DUPLICATE_TOLERANCE:g} Å and are left out: "
            f"{listed(dropped)}"
        )
    if conflicts:
        say(
            f"student fit: {len(conflicts)} pairs of structures are the same but their labels "
            f"differ; both are used: {listed(conflicts)}"
        )
    return kept


def _report_outliers(structures: Sequence[Atoms], e0: Mapping[str, float]) -> None:
    found = training_set.outliers(structures, e0)
    if found:
        shown = [
            f"structure {o['index']}: {o['quantity']} {o['value']:.4g} "
            f"({o['deviations']:.0f} robust deviations)"
            for o in found
        ]
        say(
            "student fit: labels far from the rest are used as they are; look at them: "
            f"{listed(shown)}"
        )
