"""What is said and recorded of a teacher: whether training gave anything, and older files."""

from __future__ import annotations

import pytest
from helpers import TEST_DATA
from tiny_mace import rattled_structures, tiny_model

from distill import Teacher
from distill.config import TeacherConfig
from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.core.results import read_result, write_result
from distill.models.calculators import load_model
from distill.models.mace.family import Mace
from distill.models.mace.training import Training
from distill.models.teacher_model import TeacherRecord
from distill.teacher.teacher_record import say_gain, worse_than_foundation
from distill.teacher.teacher_results import CommitteeRecord, TeacherErrors

RECORDS = TEST_DATA / "records"


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


class TestFilesOfEarlierVersions:
    """Written before the layouts had numbers."""

    def test_a_record_is_read_with_all_that_it_says(self):
        record = read_result(RECORDS / "teacher_v0.json", TeacherRecord)
        assert record.version == TeacherRecord.VERSION
        assert record.elements == ["H", "Cu"]
        assert record.e0["H"] == pytest.approx(0.8108743059)
        assert record.foundation.name == "tiny.model"
        assert (record.lora.rank, record.replay.structures) == (2, 4)
        assert record.training.used == len(record.training.indices) == 9
        assert record.validation_before is record.worse_than_foundation is None

    def test_a_committee_is_read(self):
        record = read_result(RECORDS / "committee_teacher_v0.json", TeacherRecord)
        assert record.committee.members == len(record.training.indices_by_member) == 2
        committee = read_result(RECORDS / "committee_v0.json", CommitteeRecord)
        assert [member.folder for member in committee.members] == ["members/00", "members/01"]
        assert committee.calibration.forces.count == 66

    def test_errors_are_read(self):
        errors = read_result(RECORDS / "errors_v0.json", TeacherErrors)
        assert list(errors.tables()) == ["foundation", "teacher"]
        assert errors.teacher.forces.rmse == pytest.approx(2.6905, abs=1e-4)
        assert set(errors.foundation.by_config_type) == {"slab", "bulk", "h2"}

    @pytest.mark.parametrize(
        ("kind", "name"), [(TeacherRecord, "teacher_v0"), (TeacherErrors, "errors_v0")]
    )
    def test_what_is_written_is_read_again_and_a_newer_layout_is_refused(
        self, tmp_path, kind, name
    ):
        record = read_result(RECORDS / f"{name}.json", kind)
        path = tmp_path / "again.json"
        write_result(path, record)
        assert read_result(path, kind) == record
        write_json(path, {**read_json(path), "version": kind.VERSION + 1})
        with pytest.raises(UserError, match="of a newer distill"):
            read_result(path, kind)
        write_json(path, {**read_json(path), "version": kind.VERSION, "colour": "red"})
        with pytest.raises(UserError, match=f"damaged or no {kind.__name__}.*colour"):
            read_result(path, kind)


def test_a_teacher_brings_its_record_and_is_taken_as_a_path(tmp_path):
    path = tmp_path / "teacher.model"
    Mace(tiny_model((1, 29))).save(path)
    assert Teacher.load(path).record is None
    assert Teacher.load(path).elements == ("Cu", "H")
    write_json(tmp_path / "teacher.json", read_json(RECORDS / "teacher_v0.json"))
    teacher = Teacher.load(tmp_path)
    assert teacher.record.e0_method == "lstsq"
    slab = rattled_structures(1)
    by_path, by_teacher = (load_model(name).predict(slab).energies for name in (path, teacher))
    assert by_teacher == pytest.approx(by_path)
