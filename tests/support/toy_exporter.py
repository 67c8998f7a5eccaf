"""An export format for tests: a JSON of coefficients on the basis of the sample student."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from helpers import SAMPLE_STUDENT

from distill.core.config import Section
from distill.core.errors import UserError
from distill.deploy.export.base import Draft, Exporter
from distill.models.base import Predictions
from distill.student.student_model import Student


class ToyConfig(Section):
    """What the energies of each file that is tried are off by, eV/atom."""

    wrong: tuple[float, ...] = (1.0, 0.0)


class Toy(Exporter):
    """Exact in its last file; it knows no other elements than Cu and H."""

    name, suffix, Config = "toy", ".toy", ToyConfig

    def write(self, student, path, *, tolerance, inner):
        if student.elements != ("Cu", "H"):
            raise UserError("a toy holds Cu and H alone")
        for wrong in self.config.wrong:
            content = {"coefficients": student.coefficients.tolist(), "wrong": wrong}
            path.write_text(json.dumps(content))
            yield Draft(f"off by {wrong:g}", {"wrong": wrong}, ["it is a toy"])

    def read_back(self, path, structures):
        content = json.loads(path.read_text())
        coefficients = np.array(content["coefficients"])
        student = replace(Student.load(SAMPLE_STUDENT), coefficients=coefficients)
        return Predictions(
            np.array([student.energy(a) + content["wrong"] * len(a) for a in structures]),
            [student.forces(atoms) for atoms in structures],
            [None] * len(structures),
        )
