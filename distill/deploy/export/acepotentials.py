"""The student as a model that ACEpotentials.jl reads (`load_model`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.deploy.export.base import Draft, Exporter
from distill.deploy.export.parity import PairDistances
from distill.models.base import Predictions

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student


class AcePotentialsModel(Exporter):
    """JSON of ACEpotentials' `save_model`, written and read back by Julia.

    The model is the same, so there is nothing to approximate. ACEpotentials' own `load_model` takes
    whole degrees and one cutoff; `DistillACE.load` takes all.
    """

    name: ClassVar[str] = "acepotentials"
    suffix: ClassVar[str] = ".json"

    def write(
        self, student: Student, path: Path, *, tolerance: float, inner: PairDistances
    ) -> Iterator[Draft]:
        """Write the one file there is."""
        from distill.student.julia.transfer import export_model

        compared = export_model(student, path)
        yield Draft(
            "model of ACEpotentials",
            {"largest_differences": compared.largest_differences.model_dump(mode="json")},
            ["in Julia: model, _ = ACEpotentials.load_model(FILE), or DistillACE.load(FILE)"],
        )

    def read_back(self, path: Path, structures: Sequence[Atoms]) -> Predictions:
        """What Julia says of structures."""
        from distill.student.julia.family import AcePotentials

        return AcePotentials(path).predict(structures)
