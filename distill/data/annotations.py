"""What structures note about their own labels: level of theory, weights, charge and spin.

Files for MACE carry `head` and `config_*_weight`, others the charge or the spin of a structure.
The models here are trained to one level, weigh labels by options of their own, and know no charge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.core.quantities import STRESS_KEY
from distill.data.isolated_atoms import is_isolated_atom
from distill.data.splits import entry
from distill.data.structures import reference_energy, reference_forces, reference_stress

if TYPE_CHECKING:
    from ase import Atoms

_WEIGHTS = {
    "config_weight": ("energy", "forces", "stress"),
    "config_energy_weight": ("energy",),
    "config_forces_weight": ("forces",),
    "config_stress_weight": ("stress",),
    "config_virials_weight": ("stress",),
}
_LABELS = {"energy": reference_energy, "forces": reference_forces, "stress": reference_stress}
_NOT_IN_MODELS = {
    "charge": ("charge", "total_charge", "system_charge"),
    "spin": ("spin", "total_spin", "multiplicity", "spin_multiplicity"),
}
# What a structure has that notes nothing, where a set notes it of others.
_UNNOTED = {"charge": "0", "spin": None}
# A head that is not named, in MACE.
_UNNAMED = "Default"


def respect_annotations(structures: Sequence[Atoms], name: str) -> None:
    """Refuse or mention what a set notes about its labels that a model would not see.

    A stress of weight zero is taken off its structure. Weights other than zero and one, and
    charges or spins that differ, are said; so are labels that are zero where none can be.

    Parameters
    ----------
    structures
        The set; changed in place.
    name
        Its file, for messages.

    Raises
    ------
    UserError
        If the set holds several heads, an energy or forces of weight zero, or an isolated ion
        among structures of another charge.
    """
    _refuse_several_heads(structures, name)
    _respect_weights(structures, name)
    for what in _NOT_IN_MODELS:
        noted = [_noted(atoms, what) for atoms in structures]
        counts = Counter(value for value in noted if value is not None)
        if len(counts) > 1:
            if what == "charge":
                _refuse_ions(structures, noted, name)
            say(
                f"{name}: the structures differ in {what} ({_shown(counts)}), which no model here "
                "knows: it would learn a mean over them; keep one, unless the structures tell it"
            )
    _say_empty(structures, name)


def _refuse_several_heads(structures: Sequence[Atoms], name: str) -> None:
    heads = Counter(entry(atoms, ("head",)) or _UNNAMED for atoms in structures)
    if len(heads) > 1:
        raise UserError(
            f"{name}: the structures belong to several heads ({_shown(heads)}), which are levels "
            "of theory; expected one: give the structures of one head"
        )


def _noted(atoms: Atoms, what: str) -> str | None:
    """A structure's charge or spin as it notes it, numbers in one spelling; None where unknown."""
    text = entry(atoms, _NOT_IN_MODELS[what])
    try:
        return _UNNOTED[what] if text is None else f"{float(text):g}"
    except ValueError:
        return text


def _refuse_ions(structures: Sequence[Atoms], charges: Sequence[str | None], name: str) -> None:
    """Refuse a free ion in a set that is not all of its charge: atoms are no such ions there."""
    for index, (atoms, charge) in enumerate(zip(structures, charges, strict=True)):
        if charge != "0" and is_isolated_atom(atoms):
            raise UserError(
                f"{name}: structure {index} is an isolated {atoms.symbols[0]} of charge {charge}, "
                "among structures of other charges: its energy would be taken for that of the "
                "free atom; leave it out, or give the neutral atom"
            )


def _respect_weights(structures: Sequence[Atoms], name: str) -> None:
    stresses, others = [], []
    for index, atoms in enumerate(structures):
        for key, labels in _WEIGHTS.items():
            text = entry(atoms, (key,))
            try:
                weight = 1.0 if text is None else float(text)
            except ValueError:
                raise UserError(
                    f"{name}: structure {index}: {key} is {text!r}; expected a number"
                ) from None
            carried = [label for label in labels if _LABELS[label](atoms) is not None]
            if weight == 0 and carried and carried != ["stress"]:
                raise UserError(
                    f"{name}: structure {index} has {key} 0, so its {carried[0]} is not to be "
                    "learnt from; every energy and force of a set is learnt from and measured "
                    "against here: leave the structure out"
                )
            if weight == 0 and carried:
                del atoms.info[STRESS_KEY]
                stresses.append(index)
            elif carried and weight != 1:
                others.append(index)
    if stresses:
        say(f"{name}: left out the stress of weight 0 of structures {listed(stresses)}")
    if others:
        say(
            f"{name}: weights of {len(set(others))} structures (config_weight and the like) are "
            "not used: every structure counts alike, by the loss of the teacher and the student's "
            "own weights"
        )


def _say_empty(structures: Sequence[Atoms], name: str) -> None:
    """Say which labels are exactly zero, as programs write what they did not compute."""
    found: dict[str, list[int]] = {"energy": [], "stress": []}
    for index, atoms in enumerate(structures):
        forces, stress = reference_forces(atoms), reference_stress(atoms)
        moving = forces is not None and bool(np.any(forces))
        if reference_energy(atoms) == 0 and moving:
            found["energy"].append(index)
        if stress is not None and not np.any(stress) and moving:
            found["stress"].append(index)
    for label, where in found.items():
        if where:
            say(
                f"{name}: the {label} of {len(where)} structures is exactly zero although forces "
                f"act in them: {listed(where)}; a label that was not computed? Take it out"
            )


def _shown(counts: Counter[str]) -> str:
    return listed([f"{value}: {count}" for value, count in counts.most_common()])
