"""The workflow that fits a set of structures: sampling, teacher, basis, bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.input_files import resolve_file
from distill.data.survey import BULK, LIQUID, MOLECULE, SURFACE, Survey
from distill.models.mace.foundation_store import BUNDLED, foundation_urls

if TYPE_CHECKING:
    from ase import Atoms

BUNDLED_ELEMENTS = frozenset({"H", "Li", "F", "Cu"})
# Elements of the Materials Project's models: H to Bi, Ac to Pu.
_MATERIALS = {*range(1, 84), *range(89, 95)}
_ORGANIC = frozenset({"H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"})
_MATERIALS_MODEL, _ORGANIC_MODEL = "medium-mpa-0", "off-medium"
# A cell in dynamics has so many atoms or more, so that atoms do not meet their own images' motion.
_ATOMS, _MOST_ATOMS = 60, 200
# Time between structures of dynamics, fs, as by default.
_SAVE_EVERY = 20
# Fewer structures than this cannot be parted in a training and a test set.
_FEWEST = 20
_TEMPERATURES = {
    BULK: [300, 600, 1000],
    LIQUID: [300, 600, 1000],
    SURFACE: [300, 600],
    MOLECULE: [300, 600],
}
# Of dynamics: so many short trajectories at least, of which some of each temperature are held out,
# and the times of each, fs.
_TRAJECTORIES, _TIME, _EQUILIBRATION = 16, 250, 100


def proposed(
    found: Survey, structures: Sequence[Atoms], foundation: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """A workflow for a set, as sections, and why it is so, in sentences.

    Parameters
    ----------
    found, structures
        As `distill.data.survey.survey` gives them.
    foundation
        The foundation model to take; one that knows the elements if None.

    Raises
    ------
    UserError
        If the foundation model is none that is known, or the bundled one lacks an element.
    """
    reasons: list[str] = []
    teacher = _teacher(found, foundation, reasons)
    rcut = _cutoff(found)
    reasons.append(
        f"student: the basis is chosen from the training set, with a cutoff near {rcut:g} Å"
        + (f"; neighbours are {found.neighbour:.2f} Å apart" if found.neighbour else "")
    )
    data: dict[str, Any] = {"train": found.path, "test_fraction": 0.2}
    data |= {f"{label}_key": key for label, key in found.keys.items()}
    if not found.is_labelled:
        data["unlabelled"] = True
        teacher |= {"labels": {"test": True}}
        reasons.append("no labels: the teacher makes them, and is compared with itself alone")
    config = {
        "name": found.kind,
        "seed": 1,
        "data": data,
        "teacher": teacher,
        "sampling": _sampling(found, structures, reasons),
        "student": {
            "basis": "auto",
            "search": {"cutoffs": [rcut - 0.5, rcut, rcut + 0.5]},
        },
        "compare": {"tolerances": {"student_force_rmse": 0.1}},
    }
    return config, reasons


def seed_structures(structures: Sequence[Atoms], seed: int = 1) -> list[Atoms] | None:
    """Rattled and strained copies of too few structures to learn and test on; None for enough."""
    from distill.core.random_streams import stream
    from distill.systems.rattled import rattled

    if len(structures) >= _FEWEST:
        return None
    copies = math.ceil(_FEWEST / len(structures))
    made = []
    for index, atoms in enumerate(structures):
        for copy in range(copies):
            generator = stream(seed, "seed structures", index, copy)
            strain = 0.03 if atoms.pbc.any() else 0.0
            made.append(rattled(atoms, generator, amplitude=0.1, strain=strain))
    return made


def _teacher(found: Survey, foundation: str | None, reasons: list[str]) -> dict[str, Any]:
    from ase.data import atomic_numbers

    if foundation is None:
        if set(found.elements) <= BUNDLED_ELEMENTS:
            foundation = BUNDLED
            reasons.append("foundation: the bundled model knows the elements and is small")
        elif found.kind == MOLECULE and set(found.elements) <= _ORGANIC:
            foundation = _ORGANIC_MODEL
            reasons.append(f"foundation: {foundation}, of organic molecules, knows the elements")
        elif {atomic_numbers[e] for e in found.elements} <= _MATERIALS:
            foundation = _MATERIALS_MODEL
            reasons.append(f"foundation: {foundation}, of materials, knows the elements")
    else:
        _check_foundation(foundation, found)
    if foundation is None:
        if not found.is_labelled:
            raise UserError(
                f"no foundation model knows {', '.join(found.elements)}, and {found.path} has no "
                "labels to train on: give a labelled file, or a calculator as teacher.calculator"
            )
        reasons.append(
            f"no foundation model knows all of {', '.join(found.elements)}: the teacher is "
            "trained from scratch"
        )
        return {"strategy": "scratch", "epochs": 200}
    if not found.is_labelled:
        return {"foundation": foundation, "strategy": "none"}
    return {"foundation": foundation, "freeze": "f4", "epochs": 100}


def _check_foundation(name: str, found: Survey) -> None:
    if name == BUNDLED:
        lacking = [e for e in found.elements if e not in BUNDLED_ELEMENTS]
        if lacking:
            raise UserError(
                f"the bundled foundation model does not know {', '.join(lacking)}; name another "
                f"with --foundation, such as {_MATERIALS_MODEL}, or a model file"
            )
    elif "/" in name or name.endswith(".model"):
        resolve_file(name)
    elif name not in foundation_urls():
        raise UserError(
            f"--foundation {name}: expected bundled, a model file, or one of "
            f"{', '.join(foundation_urls())}"
        )


def _cutoff(found: Survey) -> float:
    """Two to three shells of neighbours, Å, to a half."""
    if found.neighbour is None:
        return 5.5
    reach = 4.0 if found.kind == MOLECULE else 2.4
    return float(np.clip(round(2 * reach * found.neighbour) / 2, 5.0, 6.5))


def _sampling(found: Survey, structures: Sequence[Atoms], reasons: list[str]) -> dict[str, Any]:
    atoms = structures[found.example]
    repeats = _repeats(atoms, found.kind)
    temperatures = _TEMPERATURES[found.kind]
    runs = math.ceil(_TRAJECTORIES / len(temperatures))
    dynamics: dict[str, Any] = {
        "structure": found.path,
        "index": found.example,
        "temperatures": temperatures,
        "runs": runs,
        "time": _TIME,
        "equilibration_time": _EQUILIBRATION,
        # A hydrogen atom vibrates with a period of some 9 fs.
        "time_step": 0.5 if "H" in found.elements else 1.0,
    }
    if repeats != [1, 1, 1]:
        dynamics["supercell"] = repeats
    reasons.append(
        f"sampling: a set of {found.kind} systems: dynamics of structure {found.example} "
        f"({atoms.get_chemical_formula()}"
        + (f", repeated {' x '.join(map(str, repeats))}" if repeats != [1, 1, 1] else "")
        + f"), {runs} times at each of {', '.join(map(str, temperatures))} K, and rattled copies of"
        " all"
    )
    strain = 0.0 if found.kind == MOLECULE else 0.03
    copies = max(1, min(10, math.ceil(200 / found.structures)))
    frames = len(temperatures) * runs * (_TIME // _SAVE_EVERY)
    pool = frames + copies * found.structures
    return {
        "md": [dynamics],
        "rattle": [{"structures": found.path, "copies": copies, "strain": strain}],
        # Held-out structures are of whole trajectories, of which there may be few.
        "selection": {"count": min(500, int(0.4 * pool)), "held_out": min(50, pool // 5)},
    }


def _repeats(atoms: Atoms, kind: str) -> list[int]:
    """Repeats of a periodic cell until it has enough atoms, the shortest direction first."""
    repeats = [1, 1, 1]
    lengths = atoms.cell.lengths()
    along = [axis for axis in range(3) if atoms.pbc[axis]]
    if kind == SURFACE:
        along.remove(max(along, key=lambda axis: lengths[axis])) if len(along) == 3 else None
    while kind != MOLECULE and along and len(atoms) * math.prod(repeats) < _ATOMS:
        shortest = min(along, key=lambda axis: repeats[axis] * lengths[axis])
        repeats[shortest] += 1
        if len(atoms) * math.prod(repeats) > _MOST_ATOMS:
            repeats[shortest] -= 1
            break
    return repeats
