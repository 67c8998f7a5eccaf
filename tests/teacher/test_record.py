"""What is said and recorded of a teacher: whether training gave anything."""

from __future__ import annotations

import pytest

from distill.config import TeacherConfig
from distill.models.mace.training import Training
from distill.teacher.teacher_record import say_gain, worse_than_foundation


def training(before, after, best_epoch=3):
    errors = [
        {"loss": 1.0, "energy_rmse": energy, "forces_rmse": forces}
        for energy, forces in (before, after)
    ]
    return Training([], best_epoch, False, *errors)


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ((0.010, 0.2), (0.004, 0.05), False),
        ((0.010, 0.2), (0.029, 0.05), True),
        ((0.010, 0.2), (0.005, 0.25), True),
        ((0.010, 0.2), (0.0105, 0.1), False),
        ((0.0, 0.0), (0.0, 0.0), False),
        ((0.0, 0.0), (0.05, 0.05), True),
    ],
)
def test_energies_or_forces_that_became_worse_are_noticed(before, after, worse, capsys):
    done = training(before, after)
    assert worse_than_foundation(TeacherConfig(), done) is worse
    say_gain(TeacherConfig(), done)
    said = capsys.readouterr().out
    assert said.startswith("WARNING: the teacher is worse") is worse
    assert f"energies {1000 * before[0]:.1f} -> {1000 * after[0]:.1f} meV/atom" in said


def test_training_without_a_gain_is_said(capsys):
    say_gain(TeacherConfig(), training((0.01, 0.2), (0.01, 0.2), best_epoch=0))
    assert capsys.readouterr().out.startswith("WARNING: no epoch of training improved")


def test_new_weights_are_no_foundation(capsys):
    scratch = TeacherConfig(strategy="scratch")
    assert worse_than_foundation(scratch, training((1.0, 1.0), (2.0, 2.0))) is None
    assert worse_than_foundation(TeacherConfig(strategy="none"), None) is False
    say_gain(scratch, training((1.0, 1.0), (2.0, 2.0)))
    assert capsys.readouterr().out == ""
