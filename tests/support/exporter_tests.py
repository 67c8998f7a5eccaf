"""What every export format keeps to: inherit `ExporterContract` to test one of your own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from helpers import SAMPLE_STUDENT

from distill.core.errors import UserError
from distill.deploy.export import base
from distill.deploy.export.base import Exporter, ExportReport, export_student
from distill.models.base import Predictions
from distill.student.student_model import Student


class ExporterContract:
    """Tests of one export format, or of all that are registered.

    A format's own tests override the fixture `name`, `options` by what makes them quick, and
    `inexpressible` by a student, options and a tolerance that the format refuses, if there are
    any. The student of the tests knows Cu and H.
    """

    tolerance = 1e-3

    @pytest.fixture(params=base.EXPORTERS.names())
    def name(self, request) -> str:
        return request.param

    @pytest.fixture
    def options(self, name) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def model(self) -> Student:
        return Student.load(SAMPLE_STUDENT)

    @pytest.fixture
    def inexpressible(self, name, model) -> tuple[Student, dict[str, Any], float] | None:
        return None

    @pytest.fixture
    def student_file(self, model, tmp_path) -> Path:
        model.save(tmp_path / "student.npz")
        return tmp_path / "student.npz"

    @pytest.fixture
    def export(self, name, options, tmp_path) -> Callable[..., ExportReport]:
        def export(student: Path, output: Path | None = None, **changed: Any) -> ExportReport:
            settings = {"to": name, "options": options, "tolerance": self.tolerance, **changed}
            target = output or tmp_path / f"out{base.EXPORTERS.load(name).suffix}"
            return export_student(student, target, **settings)

        return export

    def test_it_says_what_it_is(self, name, options) -> None:
        exporter = base.EXPORTERS.load(name)
        assert issubclass(exporter, Exporter)
        assert exporter.name == name
        assert exporter.suffix.startswith(".")
        assert exporter.Config.model_validate(options)

    def test_a_file_is_written_and_says_the_same_as_the_student(
        self, student_file, model, name, options, export
    ) -> None:
        report = export(student_file)
        exporter = base.EXPORTERS.load(name)
        path = student_file.parent / f"out{exporter.suffix}"
        assert report.format == name
        assert (path.parent / f"{path.name}.json").is_file()
        structures = []
        for seed in range(2):
            atoms = bulk("Cu", cubic=True)
            atoms.symbols[seed] = "H"
            atoms.rattle(0.1, seed=seed)
            structures.append(atoms)
        found = exporter(exporter.Config.model_validate(options)).read_back(path, structures)
        for atoms, energy, forces in zip(structures, found.energies, found.forces, strict=True):
            assert energy == pytest.approx(model.energy(atoms), abs=self.tolerance * len(atoms))
            np.testing.assert_allclose(forces, model.forces(atoms), atol=self.tolerance)

    @pytest.mark.parametrize("what", ["energies", "forces"])
    def test_a_file_that_differs_is_refused_and_not_kept(
        self, student_file, name, export, what, monkeypatch
    ) -> None:
        exporter = base.EXPORTERS.load(name)
        truth, wrong = exporter.read_back, self.tolerance

        def off(self, path, structures):
            found = truth(self, path, structures)
            energies, forces = found.energies.copy(), [each.copy() for each in found.forces]
            if what == "energies":
                energies[0] += 10 * wrong * len(forces[0])
            else:
                forces[-1][0, 0] += 10 * wrong
            return Predictions(energies, forces, found.stresses)

        monkeypatch.setattr(exporter, "read_back", off)
        with pytest.raises(UserError, match="does not meet"):
            export(student_file)
        assert [path.name for path in student_file.parent.iterdir()] == ["student.npz"]

    def test_a_student_that_it_cannot_hold_is_refused(
        self, tmp_path, export, inexpressible
    ) -> None:
        if inexpressible is None:
            pytest.skip("it holds every student")
        student, options, tolerance = inexpressible
        student.save(tmp_path / "student.npz")
        with pytest.raises(UserError):
            export(tmp_path / "student.npz", options=options, tolerance=tolerance)
        assert [path.name for path in tmp_path.iterdir()] == ["student.npz"]

    def test_the_student_itself_is_not_overwritten(self, student_file, export) -> None:
        before = student_file.read_bytes()
        student_file.with_name("link").symlink_to(student_file)
        for output in (student_file, student_file.with_name("link")):
            with pytest.raises(UserError, match="is an input"):
                export(student_file, output)
        assert student_file.read_bytes() == before
