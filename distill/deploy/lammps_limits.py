"""What a `fix external` cannot serve: commands of LAMMPS that look at the pair style alone.

The compiled pair style serves them. Without a word they would see no energy, no force or no virial.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.core.errors import UserError
from distill.core.progress import say

# Fixes that replace, scale, project or keep forces: those before ours would not see the student's.
_USE_FORCES = re.compile(
    r"^(setforce|aveforce|lineforce|planeforce|enforce2d|freeze|rigid|shake|rattle|recenter|oneway"
    r"|ti/spring|store/force|pafi|plumed|filter/corotate|drude/transform)"
)
# They ask the pair style for energies or forces of trial moves, of pairs or of groups.
_ASK_PAIRS = {
    "fix": r"gcmc|widom|sgcmc|charge/regulation|numdiff|numdiff/virial|hyper/local|adapt/fep",
    "compute": r"group/group|pair|fep|fep/ta|ti|born/matrix|\S+/tally",
}
# Computes that count the pair style's part alone if they are asked to.
_PAIR_PARTS = r"^\s*compute\s+(?:\S+\s+){2}(pe|pe/atom|pressure)\s+(?:[^#\n]*\s)?pair\b"
_PARTITIONED = r"^\s*(neb|neb/spin|prd|tad|temper|temper/grem|temper/npt)\s"
# Shares of a mass by which users' masses differ from the usual ones: isotopes, and rounding.
_SAME_MASS, _ROUNDED = 0.03, 0.001
_ATOM_STRESSES = "stress/atom|stress/mop|stress/cartesian|heat/flux"
_ATOM_STRESS = rf"^\s*compute\s+(\S+)\s+\S+\s+(?:centroid/)?(?:{_ATOM_STRESSES})"
_PAIR_COLUMNS = r"^\s*thermo_style\s+[^#\n]*\b(epair|evdwl|multi|one)\b"
_ADVICE = "run the input with --mpi 1, where the student is a pair style"


def refuse_unserved(text: str, path: Path) -> None:
    """Refuse an input that asks the pair style for what it does not have.

    Parameters
    ----------
    text
        The commands.
    path
        Their file, for the message.

    Raises
    ------
    UserError
        If there is such a command.
    """
    text = re.sub(r"&\s*\n", " ", text)
    for kind, styles in _ASK_PAIRS.items():
        if found := re.search(rf"^\s*{kind}\s+\S+\s+\S+\s+({styles})(?=\s)", text, re.MULTILINE):
            raise UserError(_unserved(path, f"{kind} {found[1]} asks", "the answer would be zero"))
    if found := re.search(_PAIR_PARTS, text, re.MULTILINE):
        part = f"compute {found[1]} ... pair asks"
        raise UserError(_unserved(path, part, "it would be zero; leave out the word pair"))
    if re.search(r"^\s*run_style\s+respa", text, re.MULTILINE):
        raise UserError(_unserved(path, "run_style respa asks", "it knows no fix external"))
    if found := re.search(_PARTITIONED, text, re.MULTILINE):
        raise UserError(
            f"{path}: {found[1]} needs several partitions of LAMMPS, and the student runs in one; "
            "distill has bands of its own (sampling.neb, compare.barriers), and LAMMPS with the "
            "pair style compiled in (docs/lammps.md) takes -partition"
        )


def refuse_what_was_unserved(lammps: Any, path: Path, fix: str) -> None:
    """Refuse the numbers of a run whose included files or variables made what is refused above.

    Raises
    ------
    UserError
        If there is such a fix or compute, or the student's own fix is gone.
    """
    if not lammps.extract_setting("box_exist"):
        return  # after `clear`
    if not lammps.has_id("fix", fix):
        raise UserError(
            f"{path}: the fix '{fix}', by which the student's forces come, was removed: what ran "
            "after that had none; leave it there"
        )
    for kind, styles in _ASK_PAIRS.items():
        if found := with_style(lammps, f"{kind}{'es' if kind == 'fix' else 's'}", f"^({styles})$"):
            raise UserError(
                _unserved(path, f"{kind} {', '.join(found)} asked", "its numbers are wrong")
            )


def refuse_earlier_fixes(lammps: Any) -> None:
    """Refuse fixes that use forces and would be applied before the student's are there.

    Raises
    ------
    UserError
        If there is one.
    """
    if early := with_style(lammps, "fixes", _USE_FORCES):
        raise UserError(
            f"fix {', '.join(early)} uses or changes forces and is defined before the pair lines: "
            "LAMMPS would apply it before the student's forces are there; put 'pair_style "
            "distill' and 'pair_coeff' before it"
        )


def say_of_columns(text: str) -> None:
    """Say that the thermodynamic output has columns without the student's part."""
    if "thermo_style" not in text or re.search(_PAIR_COLUMNS, text, re.MULTILINE):
        say(
            "distill: LAMMPS' energy of pairs (E_pair, E_vdwl) does not hold the student's, which "
            "is in PotEng and TotEng (thermo_style custom step temp pe etotal press)"
        )


def say_of_atom_stresses(computes: Sequence[str]) -> None:
    """Say that stresses of atoms lack the student's part."""
    if computes:
        say(
            f"distill: the compute {', '.join(computes)} (stress/atom and what rests on it) does "
            "not hold the student's part: pressures are right, per-atom stresses and heat fluxes "
            "are not"
        )


def masses_of_others(symbols: Sequence[str], masses: Sequence[float]) -> list[str]:
    """Atom types whose mass (amu) is another listed element's rather than their own, in words.

    The pair style in C++ holds the same rule.
    """
    from ase.data import atomic_masses, atomic_numbers

    usual = {symbol: float(atomic_masses[atomic_numbers[symbol]]) for symbol in symbols}
    found = []
    for kind, (symbol, mass) in enumerate(zip(symbols, masses, strict=True), 1):
        away = {other: abs(mass / expected - 1) for other, expected in usual.items()}
        nearest = min(away, key=lambda other: away[other])
        if away[nearest] < _SAME_MASS and away[symbol] > 3 * away[nearest] + _ROUNDED:
            found.append(
                f"atom type {kind} is {symbol} in pair_coeff and has the mass of {nearest}, "
                f"{mass:.4g}"
            )
    return found


def atom_stresses(text: str) -> list[str]:
    """Names of computes of a text that are stresses of atoms."""
    return re.findall(_ATOM_STRESS, text, re.MULTILINE)


def defined_atom_stresses(lammps: Any) -> list[str]:
    """Computes of LAMMPS that are stresses of atoms, those of included files too."""
    return with_style(lammps, "computes", _ATOM_STRESSES)


def with_style(lammps: Any, kind: str, style: str | re.Pattern[str]) -> list[str]:
    """`ID (style)` of the fixes or computes whose style is of a kind, as `info` lists them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "info"
        lammps.command(f"info {kind} out overwrite {file}")
        text = file.read_text(errors="replace")
    listed = re.findall(r"\[\s*\d+\]:\s*(\S+),\s*style\s*=\s*(\S+?),", text)
    return [f"{name} ({found})" for name, found in listed if re.search(style, found)]


def _unserved(path: Path, what: str, why: str) -> str:
    return (
        f"{path}: {what} the pair style, and the student, a fix external, is none: {why}. "
        f"Otherwise {_ADVICE}"
    )
