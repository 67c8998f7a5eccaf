"""What `distill show` prints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from helpers import SAMPLE_STUDENT, rattled_copper

from distill.student.student_model import Student
from distill.student.summary import summary
from distill.student.training_record import LabelCounts, LabelErrors, TrainingRecord
from distill.student.uncertainty.uncertainty_model import with_training_deviations

STUDENT_FILE = SAMPLE_STUDENT


def test_it_says_what_matters_on_one_screen() -> None:
    student = replace(
        Student.load(STUDENT_FILE),
        training=TrainingRecord(
            train_rmse=LabelErrors(energy_per_atom=0.0012, forces=0.034),
            test_rmse=LabelErrors(forces=0.05),
            structures=12,
            labels=LabelCounts(energy=12, forces=8, stress=0),
        ),
        provenance={
            "train_sha256": "ab" * 32,
            "teacher_sha256": "cd" * 32,
            "config": {"order": 3, "solver": {"kind": "blr", "strength": None}},
            "seed": 0,
        },
    )
    lines = summary(student).splitlines()
    text = "\n".join(lines)
    assert len(lines) < 40
    assert max(map(len, lines)) <= 120
    for expected in (
        "linear ACE for Cu, H; cutoff",
        "µs an atom",
        "errors in training: RMSE energy 1.2 meV/atom, forces 34 meV/Å",
        "errors held out: RMSE forces 50 meV/Å",
        "fit: structures 12",
        "labels: energy 12, forces 8, stress 0",
        f"train_sha256: {'ab' * 32}",
        f"teacher_sha256: {'cd' * 32}",
        "config: order 3, solver (kind blr)",
        "seed: 0",
    ):
        assert expected in text


def test_errors_that_were_not_recorded_are_said_to_be() -> None:
    student = replace(Student.load(STUDENT_FILE), training=TrainingRecord(), provenance={})
    assert "errors held out: not recorded" in summary(student)


def test_it_says_whether_structures_can_be_graded() -> None:
    student = replace(Student.load(STUDENT_FILE), training=TrainingRecord(), provenance={})
    committee = np.stack([student.coefficients, 1.1 * student.coefficients])
    student = replace(student, committee=committee)
    assert "committee of 2 draws, without extrapolation grades" in summary(student)
    graded = summary(with_training_deviations(student, rattled_copper(1)))
    assert "committee of 2 draws, with extrapolation grades" in graded
    assert "deviation" not in graded
