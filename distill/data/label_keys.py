"""Labels of frames: under the keys that a user names, under ASE's own, and those left unused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.core.quantities import (
    ENERGY_KEY,
    FORCES_KEY,
    STRESS_KEY,
    has_volume,
    six_components,
    stress_from_virial,
)
from distill.data.extxyz_frames import Frame
from distill.data.structure_formats import EXTXYZ

# ASE's names of results. The free energy is the one that the forces are the gradient of.
_STANDARD = {
    "energy": ("free_energy", "energy"),
    "forces": ("forces",),
    "stress": ("stress",),
    "virial": (),
}
_DEFAULTS = {"energy": ENERGY_KEY, "forces": FORCES_KEY, "stress": STRESS_KEY, "virial": None}
_LABEL_LIKE = {
    "energy": re.compile(r"energ|toten|^e(_?(tot|total|pot|dft))?$", re.IGNORECASE),
    "forces": re.compile(r"force|^f(_?(tot|total|dft))?$", re.IGNORECASE),
    "stress": re.compile(r"stress", re.IGNORECASE),
    "virial": re.compile(r"virial", re.IGNORECASE),
}
# eV.
_SAME_ENERGY = 1e-6
_PER_ATOM = re.compile(r"per_?atom", re.IGNORECASE)
# What is about labels, and none itself.
_ABOUT_LABELS = re.compile(
    r"predicted|weight|std|sigma|deviation|spread|error|uncertain|kinetic|collision|barrier"
    rf"|fermi|hull|zero_?point|{_PER_ATOM.pattern}",
    re.IGNORECASE,
)
# Share of the largest component, and eV/Å³ or eV, by which a matrix may lack symmetry by rounding.
_LACK = 0.1
_LACK_AT_LEAST = {"stress": 1e-3, "virial": 0.1}


@dataclass(frozen=True)
class LabelKeys:
    """Where the labels of a file are, compared without case.

    Attributes
    ----------
    energy, forces, stress
        Keys of the energy [eV], the forces [eV/Å] and the stress [eV/Å³, ASE's sign].
    virial
        Key of the virial [eV, −stress × volume], used where there is no stress, or None.
    """

    energy: str = ENERGY_KEY
    forces: str = FORCES_KEY
    stress: str = STRESS_KEY
    virial: str | None = None

    def __post_init__(self) -> None:
        if _PER_ATOM.search(self.energy):
            raise UserError(
                f"energy_key names '{self.energy}', an energy per atom; expected the total energy: "
                "multiply it by the number of atoms, under another name"
            )
        if "virial" in self.stress.lower():
            raise UserError(
                f"stress_key names '{self.stress}', a virial in eV; name it by virial_key instead "
                "(the stress in eV/Å³ is −virial / volume)"
            )
        if self.virial and "stress" in self.virial.lower():
            raise UserError(
                f"virial_key names '{self.virial}', a stress in eV/Å³; name it by stress_key"
            )


def take_labels(
    frames: Sequence[Frame],
    keys: LabelKeys,
    *,
    require: Sequence[str],
    file: Path,
    format_name: str,
) -> None:
    """Put the labels of frames under the REF_ keys, and say which others stay unused.

    Where no structure has a key that is left at its REF_ default, ASE's own results are taken
    (`free_energy` or `energy`, `forces`, `stress`), as its writers leave them: all of them, or
    none where the energy or the forces are under other keys, because they may be of another
    method. Outputs of other programs have their labels there. A single atom needs no force label:
    by translation it has none.

    Parameters
    ----------
    frames
        Of one file; changed in place.
    keys
        Where the labels are.
    require
        Labels that each structure must carry: among energy, forces, stress.
    file, format_name
        For messages, and for what can be in the file.

    Raises
    ------
    UserError
        If a label is missing, no number, of the wrong shape, under two keys that differ in case
        only, or a stress of a structure without a volume; the message names the structure.
    """
    places = [_Place(frame) for frame in frames]
    names = _names(places, keys, native=format_name != EXTXYZ)
    without_volume, asymmetric = 0, list[int]()
    for index, (place, (atoms, _)) in enumerate(zip(places, frames, strict=True)):
        where = f"{file}: structure {index}"
        try:
            found = {label: place.take(options) for label, options in names.items()}
            _check_required(found, place, keys, require, format_name)
            without_volume += _store(atoms, found)
            asymmetric += [index] if _lacks_symmetry(found) else []
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: a label is not numeric: {error}") from None
    if without_volume:
        say(
            f"{file}: left out the stress of {without_volume} structures that have no volume; "
            "it is zero there"
        )
    if asymmetric:
        say(
            f"WARNING: {file}: the nine numbers of the stress or virial are no symmetric matrix in "
            f"structures {listed(asymmetric)}, and its symmetric part is taken: are they xx xy xz "
            "yx yy yz zx zy zz, or six numbers and something else?"
        )
    _say_free_energies(places, names["energy"], file)
    if format_name == EXTXYZ:
        _say_unused(places, names, file)


def label_names(frames: Sequence[Frame]) -> dict[str, dict[str, int]]:
    """Names of the values in frames that could be labels, by kind, and how many frames have each.

    Kinds are energy, forces, stress and virial; values that are about labels, such as
    uncertainties and predictions, are none.
    """
    found: dict[str, dict[str, int]] = {label: {} for label in _DEFAULTS}
    for frame in frames:
        for name, kind in _Place(frame).label_like().items():
            found[kind][name] = found[kind].get(name, 0) + 1
    return found


class _Place:
    """All values that a frame carries by name, and what was taken from them."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.size = len(frame.atoms)
        own = {k: v for k, v in frame.atoms.arrays.items() if k not in ("numbers", "positions")}
        self.values: dict[str, Any] = {**frame.results, **frame.atoms.info, **own}
        self._lower: dict[str, list[str]] = {}
        for name in self.values:
            self._lower.setdefault(str(name).lower(), []).append(name)

    def has(self, name: str) -> bool:
        return name.lower() in self._lower

    def take(self, options: Sequence[str]) -> Any:
        """Value of the first name that is there, which leaves the structure's own entries."""
        for option in options:
            names = self._lower.get(option.lower(), [])
            name = option if option in names else names[0] if names else None
            if name is None:
                continue
            others = [self.values[other] for other in names if other != name]
            same = all(np.array_equal(self.values[name], other) for other in others)
            if others and not (same and name == option):
                raise UserError(f"{' and '.join(sorted(names))} differ in case only; remove one")
            self._frame.atoms.info.pop(name, None)
            self._frame.atoms.arrays.pop(name, None)
            return self.values[name]
        return None

    def label_like(self) -> dict[str, str]:
        """Names of the values that could be labels, and of which kind."""
        found = {}
        for name, value in self.values.items():
            if _ABOUT_LABELS.search(str(name)):
                continue
            shape = np.shape(value)
            kind = next((k for k, words in _LABEL_LIKE.items() if words.search(str(name))), None)
            fits = {
                "energy": shape == (),
                "forces": shape == (self.size, 3),
                "stress": np.size(value) in (6, 9),
                "virial": np.size(value) in (6, 9),
            }
            if kind and fits[kind] and np.asarray(value).dtype.kind in "fi":
                found[str(name)] = kind
        return found


def _names(places: Sequence[_Place], keys: LabelKeys, *, native: bool) -> dict[str, list[str]]:
    """Names under which each label is looked for, the first that is there counting."""
    asked = {label: getattr(keys, label) for label in _DEFAULTS}
    there = {
        label: name is not None and any(place.has(name) for place in places)
        for label, name in asked.items()
    }
    from_others = any(
        there[label] and asked[label].lower() not in _STANDARD[label]
        for label in ("energy", "forces")
    )
    names: dict[str, list[str]] = {}
    for label, name in asked.items():
        chosen = [] if name is None else [name]
        default = name == _DEFAULTS[label]
        if default and (native or (not there[label] and not from_others)):
            chosen += _STANDARD[label]
        names[label] = chosen
    return names


def _say_free_energies(places: Sequence[_Place], names: Sequence[str], file: Path) -> None:
    """Say that free energies were taken where energies beside them differ."""
    apart = []
    for place in places:
        first = next((name for name in names if place.has(name)), None)
        free, other = (place.values.get(name) for name in ("free_energy", "energy"))
        if first == "free_energy" and free is not None and other is not None:
            with suppress(UserError, TypeError, ValueError):  # It is no label, and may be anything.
                difference = abs(_energy(free) - _energy(other))
                apart += [difference] if difference > _SAME_ENERGY else []
    if apart:
        say(
            f"{file}: the energies are those named free_energy, which the forces are the gradient "
            f"of; those named energy differ from them in {len(apart)} structures, by up to "
            f"{max(apart):.3g} eV"
        )


def _check_required(
    found: dict[str, Any],
    place: _Place,
    keys: LabelKeys,
    require: Sequence[str],
    format_name: str,
) -> None:
    alone = place.size == 1
    for label in require:
        other = label == "stress" and found["virial"] is not None
        if found[label] is not None or other or (label == "forces" and alone):
            continue
        names = [*place.label_like(), *(str(k) for k in place.values)]
        there = ", ".join(dict.fromkeys(names)) or "no labels"
        hint = "" if place.label_like() else f" (files of the format {format_name} may hold none)"
        raise UserError(
            f"no {label}: expected the key '{getattr(keys, label)}' (or the one named in the "
            f"config's data section), found {there}{'' if format_name == EXTXYZ else hint}"
        )


def _store(atoms: Any, found: dict[str, Any]) -> bool:
    """Put a frame's labels under the REF_ keys; whether a zero stress was left out."""
    if found["energy"] is not None:
        atoms.info[ENERGY_KEY] = _energy(found["energy"])
    forces = found["forces"]
    if forces is None and found["energy"] is not None and len(atoms) == 1:
        forces = np.zeros((1, 3))
    if forces is not None:
        forces = _numbers(forces)
        if forces.size != 3 * len(atoms):
            raise UserError(f"forces have the shape {forces.shape}, expected ({len(atoms)}, 3)")
        atoms.arrays[FORCES_KEY] = forces.reshape(len(atoms), 3)
    name = "stress" if found["stress"] is not None else "virial"
    if found[name] is None:
        return False
    value = _numbers(found[name])
    if value.size not in (6, 9):
        raise UserError(f"expected 6 or 9 numbers as {name}, found {value.size}")
    six = six_components(value)
    if np.any(atoms.pbc & ~atoms.cell[:].any(axis=1)):
        return False  # A structure that cannot be; the checks of structures say so.
    if not has_volume(atoms.cell[:]):
        if six.any():
            raise UserError(
                f"has a {name} but no volume: expected three cell vectors; give the cell "
                "(Lattice), or remove the label"
            )
        return True
    atoms.info[STRESS_KEY] = (
        six if name == "stress" else stress_from_virial(six, atoms.get_volume())
    )
    return False


def _lacks_symmetry(found: dict[str, Any]) -> bool:
    """Whether the label of nine numbers that is taken is no symmetric matrix, even to rounding."""
    name = "stress" if found["stress"] is not None else "virial"
    if np.size(found[name]) != 9:
        return False
    matrix = np.asarray(found[name], dtype=float).reshape(3, 3)
    lack = float(np.abs(matrix - matrix.T).max())
    return lack > max(_LACK * float(np.abs(matrix).max()), _LACK_AT_LEAST[name])


def _energy(value: Any) -> float:
    number = _numbers(value)
    if number.size != 1:
        raise UserError(f"the energy is {number.size} numbers, expected one")
    return float(number.reshape(()))


def _numbers(value: Any) -> np.ndarray:
    if np.asarray(value).dtype.kind == "b":
        raise UserError("a label is not numeric: it is true or false, or has no value")
    return np.asarray(value, dtype=float)


def _say_unused(places: Sequence[_Place], names: dict[str, list[str]], file: Path) -> None:
    taken = {name.lower() for options in names.values() for name in options}
    # Where one of the two energies is used, the other is its companion.
    if taken & set(_STANDARD["energy"]):
        taken |= set(_STANDARD["energy"])
    counts: Counter[tuple[str, str]] = Counter()
    for place in places:
        counts.update((n, k) for n, k in place.label_like().items() if n.lower() not in taken)
    if counts:
        shown = ", ".join(
            f"{name} (in {count} of {len(places)}; {kind}_key)"
            for (name, kind), count in sorted(counts.items())
        )
        say(f"{file}: labels left unused: {shown}; name those to be used in the data section")
    per_atom = {
        str(name)
        for place in places
        for name in place.values
        if _PER_ATOM.search(str(name)) and _LABEL_LIKE["energy"].search(str(name))
    }
    # Beside a total energy it is a figure for people.
    if per_atom and not any(place.has(name) for place in places for name in names["energy"]):
        say(
            f"{file}: {', '.join(sorted(per_atom))} are energies per atom, which are no labels; "
            "expected total energies: multiply them by the number of atoms"
        )
