"""The teacher on simple systems: energy-volume curves of the data's crystals, and free pairs.

Each model's curves are a unit of work, so that they are computed once, whatever is killed or asked
for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint
from distill.core.progress import say
from distill.core.results import Record, Result, read_result, write_result
from distill.core.work import Unit, WorkFolder
from distill.data.structures import read_structures
from distill.models.cached_calculators import cached_calculator
from distill.models.calculators import ModelSpec
from distill.models.config import CalculatorConfig
from distill.models.kept_calls import KeptCalls
from distill.models.mace.family import Mace
from distill.models.teacher_model import MODEL_NAME, RECORD_NAME, TeacherRecord
from distill.systems.probes import (
    CrystalCurve,
    DimerCurve,
    crystals_of,
    dimer,
    dimer_pairs,
    dimers_of_data,
    energy_volume,
    energy_volume_of_data,
)
from distill.teacher.config import TeacherConfig
from distill.teacher.made_labels import LABELS_FOLDER
from distill.teacher.starting_model import foundation_start
from distill.teacher.teacher_results import ERRORS_NAME, TeacherErrors

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

CURVES_NAME = "curves.json"
_FOLDER = "curves"
# How far dimers are followed where a teacher does not say its cutoff, Å.
_REACH = 6.0

Curve = TypeVar("Curve", CrystalCurve, DimerCurve)


class ModelCurves(Record):
    """Curves of one model.

    Attributes
    ----------
    crystals, dimers
        By reduced formula, and by `A-B`.
    problems
        What went wrong with other systems, by the same names.
    """

    crystals: dict[str, CrystalCurve]
    dimers: dict[str, DimerCurve]
    problems: dict[str, str] = Field(default_factory=dict)


class TeacherCurves(Result):
    """Curves of the teacher, of the model that it was made from, and of the reference.

    Attributes
    ----------
    models
        By name: teacher, and those of foundation and reference that there are.
    data
        From the labels themselves, where the data hold such systems.
    reference
        Fingerprint of the reference calculator; None without one.
    made_for
        Fingerprint of teacher, data and reference; None where the reference could not be made.
    """

    models: dict[str, ModelCurves]
    data: ModelCurves
    reference: str | None = None
    made_for: str | None = None


@dataclass(frozen=True)
class CurvesUnit(Unit):
    """Curves of one model, in double precision."""

    model: ModelSpec
    structures: tuple[Atoms, ...]
    elements: tuple[str, ...]
    cutoff: float

    def work(self) -> dict[str, Any]:
        """Compute them."""
        calculator = KeptCalls(self.model, self.parts, dtype="float64")
        found = curves_of(calculator, self.structures, self.elements, self.cutoff)
        return found.model_dump(mode="json")


def write_curves(
    config: TeacherConfig,
    *,
    train: Path,
    test: Path,
    out: Path,
    reference: CalculatorConfig | None = None,
) -> TeacherCurves:
    """Curves of a finished teacher, computed unless they are there, in `curves.json`.

    Parameters
    ----------
    config
        The `teacher` section.
    train, test
        Structures that the teacher was trained and measured on; labels that a model made for them
        count instead of theirs.
    out
        Folder of the teacher.
    reference
        A calculator to show beside it. One that cannot be made is said and left out.

    Raises
    ------
    UserError
        If the teacher is not finished, or a file is damaged.
    """
    made = {file: out / LABELS_FOLDER / f"{file.stem}.xyz" for file in (train, test)}
    files = [labelled if labelled.is_file() else file for file, labelled in made.items()]
    teacher = out / MODEL_NAME
    made_for: str | None = None
    with suppress(UserError):  # A file of the reference that is missing is said below.
        made_for = fingerprint([teacher, *files, reference])
    if made_for is not None and (out / CURVES_NAME).is_file():
        found = read_result(out / CURVES_NAME, TeacherCurves)
        if found.made_for == made_for:
            return found
    about = read_result(out / RECORD_NAME, TeacherRecord)
    structures = tuple(atoms for file in files for atoms in read_structures(file))
    models: dict[str, ModelSpec] = {"teacher": teacher}
    if read_result(out / ERRORS_NAME, TeacherErrors).foundation is not None:
        models["foundation"] = _beginning(config)
    if reference is not None:
        try:
            cached_calculator(reference, dtype="float64")
            models["reference"] = reference
        except UserError as error:
            say(f"no curves of the reference: {error}")
            made_for = None
    reach = about.r_max or _REACH
    units = [
        CurvesUnit(out / _FOLDER, name, model, structures, tuple(about.elements), reach)
        for name, model in models.items()
    ]
    WorkFolder(out / _FOLDER).run(units, "curves of simple systems")
    curves = TeacherCurves(
        models={unit.name: ModelCurves.model_validate(unit.numbers()) for unit in units},
        data=curves_of_data(structures),
        reference=fingerprint(reference) if "reference" in models else None,
        made_for=made_for,
    )
    write_result(out / CURVES_NAME, curves)
    return curves


def curves_of(
    calculator: Calculator, structures: Sequence[Atoms], elements: Sequence[str], cutoff: float
) -> ModelCurves:
    """Energy-volume curves of the data's crystals and curves of all dimers with one model.

    Parameters
    ----------
    calculator
        The model.
    structures
        Labelled structures, among which crystals are looked for.
    elements
        Chemical symbols of the dimers.
    cutoff
        Å; dimers are followed a little beyond it.
    """
    problems: dict[str, str] = {}

    def attempt(name: str, curve: Callable[..., Curve], *arguments: Any) -> dict[str, Curve]:
        try:
            return {name: curve(*arguments)}
        except UserError as error:
            problems[name] = str(error)
        except Exception as error:
            # Any code may be the reference; one that fails on a dimer must not cost the others.
            problems[name] = f"{type(error).__name__}: {error}"
        return {}

    crystals: dict[str, CrystalCurve] = {}
    for crystal in crystals_of(structures):
        crystals |= attempt(crystal.name, energy_volume, crystal, calculator)
    dimers: dict[str, DimerCurve] = {}
    for pair in dimer_pairs(elements):
        dimers |= attempt("-".join(pair), dimer, pair, calculator, cutoff)
    return ModelCurves(crystals=crystals, dimers=dimers, problems=problems)


def curves_of_data(structures: Sequence[Atoms]) -> ModelCurves:
    """The same from the labels themselves."""
    crystals = {c.name: energy_volume_of_data(c) for c in crystals_of(structures)}
    return ModelCurves(
        crystals={name: found for name, found in crystals.items() if found},
        dimers={"-".join(pair): found for pair, found in dimers_of_data(structures).items()},
    )


def _beginning(config: TeacherConfig) -> ModelSpec:
    """The model that the teacher started from: the foundation, or the base of a delta model."""
    if config.strategy == "delta" and config.delta.base is not None:
        return config.delta.base
    return Mace.of_module(foundation_start(config, "cpu").module, dtype="float64")
