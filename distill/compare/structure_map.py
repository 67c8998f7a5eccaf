"""The map of sampled and tested structures, and the structures that are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distill.compare.chemiscope import write_chemiscope
from distill.compare.map_plots import map_figure
from distill.compare.map_result import (
    HELD_OUT,
    MAP,
    TEST,
    TITLES,
    TRAINING,
    Listed,
    MapPoint,
    StructureMap,
)
from distill.compare.predictions import Labels, finish_here
from distill.core.figures import save_figure
from distill.core.results import write_result
from distill.core.tables import write_table_csv
from distill.core.work import Unit
from distill.data.structures import (
    config_type,
    read_structures,
    reference_forces,
    with_predictions,
    write_structures,
)
from distill.metrics.calibration import rms
from distill.models.cached_calculators import ModelSpec
from distill.models.calculators import load_calculator
from distill.models.labelling import label_structures

if TYPE_CHECKING:
    from ase import Atoms

CHEMISCOPE_FILE = "structures.json.gz"
# Training structures in the map, and listed structures of each reason, at most.
MOST_TRAINING, MOST_LISTED = 1000, 5


class _Structure(NamedTuple):
    """A structure as it is in its set, the student's labels of it, and forces to compare with."""

    source: str
    number: int
    atoms: Atoms
    predicted: Atoms
    reference: np.ndarray | None
    teacher: np.ndarray | None


@dataclass(frozen=True)
class Mapped(Unit):
    """The map of the structures of labels and of the student's training set.

    Attributes
    ----------
    model
        The student.
    labels
        Of the levels.
    training
        Structures that the student was fitted to, with the teacher's labels, or None.
    """

    model: ModelSpec
    labels: Labels
    training: Path | None

    def settings(self) -> dict[str, Any]:
        """Those of a unit, and the layout of what it keeps."""
        return {**super().settings(), "layout": StructureMap.VERSION}

    def files(self) -> list[Path]:
        """The structures that are listed, and the file for chemiscope."""
        return [*sorted(self.folder.glob("*.xyz")), self.folder / CHEMISCOPE_FILE]

    def work(self) -> dict[str, Any]:
        """Place, measure, list and write the structures."""
        from distill.sampling.descriptors import structure_descriptors

        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("*.xyz"):
            old.unlink()
        structures, training = self._structures()
        shown = [one.atoms for one in structures]
        plane = np.pad(structure_descriptors(shown, "ace", ""), ((0, 0), (0, 2)))[:, :2]
        known = self._uncertainties(shown)
        points = [
            _point(one, place, uncertainty)
            for one, place, uncertainty in zip(structures, plane, known, strict=True)
        ]
        write_chemiscope(self.folder / CHEMISCOPE_FILE, shown, points, "sampled and tested")
        found = StructureMap(
            points=points,
            training=training,
            listed=self._list(structures, points),
            chemiscope=CHEMISCOPE_FILE,
        )
        return found.model_dump(mode="json")

    def _structures(self) -> tuple[list[_Structure], int]:
        """All structures of the map, and the number of the student's training structures."""
        labels = self.labels.read()
        found: list[_Structure] = []
        count = 0
        if self.training is not None:
            training = read_structures(self.training, require=())
            count = len(training)
            spaced = np.linspace(0, count - 1, min(count, MOST_TRAINING)).astype(int).tolist()
            kept = [training[k] for k in spaced]
            student = load_calculator(self.model)
            predicted = label_structures(kept, student, stress=False, label="labels: training")
            found += [
                _Structure(TRAINING, k, atoms, by_student, None, reference_forces(atoms))
                for k, atoms, by_student in zip(spaced, kept, predicted, strict=True)
            ]
        # Where nothing was held out, the test set stands in its place.
        if self.labels.held_out_teacher != self.labels.teacher:
            pairs = zip(labels["held_out_teacher"], labels["held_out_student"], strict=True)
            found += [
                _Structure(HELD_OUT, k, atoms, by_student, None, reference_forces(atoms))
                for k, (atoms, by_student) in enumerate(pairs)
            ]
        levels = zip(labels["reference"], labels["teacher"], labels["student"], strict=True)
        found += [
            _Structure(
                TEST, k, atoms, by_student, reference_forces(atoms), reference_forces(by_teacher)
            )
            for k, (atoms, by_teacher, by_student) in enumerate(levels)
        ]
        return found, count

    def _uncertainties(self, structures: Sequence[Atoms]) -> list[tuple[float | None, ...]]:
        """Expected force error and largest grade of each, None where the student says none."""
        from distill.student.uncertainty.uncertainty_model import UncertaintyModel, is_graded

        student = getattr(load_calculator(self.model), "student", None)
        if student is None or not is_graded(student):
            return [(None, None)] * len(structures)
        model = UncertaintyModel(student)
        found = [model.predict(atoms)[1] for atoms in structures]
        return [(rms(one.force_errors), float(one.grade.max())) for one in found]

    def _list(self, structures: Sequence[_Structure], points: Sequence[MapPoint]) -> list[Listed]:
        """The largest of each reason outside the training set, written to files of their own."""
        listed = []
        for reason in TITLES:
            values = {
                number: value
                for number, point in enumerate(points)
                if point.source != TRAINING and (value := getattr(point, reason)) is not None
            }
            largest = sorted(values, key=lambda number: -values[number])[:MOST_LISTED]
            for rank, number in enumerate(largest, start=1):
                file = f"{reason}_{rank}.xyz"
                one = structures[number]
                write_structures(self.folder / file, [with_predictions(one.atoms, one.predicted)])
                listed.append(Listed(reason=reason, point=number, file=file))
        return listed


def compare_structures(
    labels: Labels, student: ModelSpec, training: Path | None, out: Path
) -> StructureMap:
    """The map, made once; `structure_map.json`, `.csv`, a figure and a folder of files go to `out`.

    Parameters
    ----------
    labels
        Of the levels.
    student
        The model.
    training
        Structures that it was fitted to, with the teacher's labels, where they are known.
    out
        The folder.
    """
    unit = Mapped(out / MAP, "map", model=student, labels=labels, training=training)
    finish_here(unit)
    found = StructureMap.model_validate(unit.numbers())
    write_result(out / f"{MAP}.json", found)
    rows = [
        {"reason": one.reason, "file": f"{MAP}/{one.file}", **found.points[one.point].model_dump()}
        for one in found.listed
    ]
    write_table_csv(out / f"{MAP}.csv", rows)
    save_figure(map_figure(found), out, MAP)
    return found


def _point(one: _Structure, place: np.ndarray, uncertainty: tuple[float | None, ...]) -> MapPoint:
    expected, grade = uncertainty
    forces = reference_forces(one.predicted)

    def difference(label: np.ndarray | None) -> float | None:
        return None if label is None or forces is None else rms(forces - label)

    return MapPoint(
        source=one.source,
        index=one.number,
        formula=one.atoms.get_chemical_formula(),
        config_type=config_type(one.atoms),
        atoms=len(one.atoms),
        x=float(place[0]),
        y=float(place[1]),
        error=difference(one.reference),
        disagreement=difference(one.teacher),
        expected=expected,
        grade=grade,
    )
