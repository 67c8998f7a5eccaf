"""Whether a stage's result is made from the files that are there now."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from distill.core.artifacts import (
    MANIFEST_NAME,
    read_json,
    read_manifest,
    write_json,
    write_manifest,
    write_text,
)
from distill.core.errors import UserError
from distill.core.stage_folder import (
    STARTED_NAME,
    WANTED_NAME,
    outdated_stages,
    read_started,
    unwanted_stages,
    write_started,
    write_wanted,
)

STAGES = ("data", "teacher", "student", "compare")


def finish(run: Path, stage: str, *inputs: Path, text: str = "", outputs: Any = ()) -> Path:
    """A finished stage with one file, made from others."""
    file = run / stage / "made.txt"
    write_text(file, text or stage)
    write_manifest(
        run / stage,
        stage=stage,
        config={},
        inputs={f"input{number}": path for number, path in enumerate(inputs)},
        outputs=list(outputs) or [file.name],
        seed=1,
        wall_time=1.0,
    )
    return file


def begin(run: Path, stage: str, **inputs: Path) -> dict[str, object]:
    """A stage that is not finished."""
    from distill.core.artifacts import sha256

    digests = {role: sha256(path) for role, path in inputs.items()}
    fingerprint = {"settings": {"a": 1}, "seed": 1, "inputs": digests}
    write_started(run / stage, fingerprint, inputs)
    return fingerprint


@pytest.fixture
def source(tmp_path):
    write_text(tmp_path / "train.xyz", "structures")
    return tmp_path / "train.xyz"


@pytest.fixture
def run(tmp_path, source):
    """data, teacher of the data, student of the teacher, compare of teacher and student."""
    folder = tmp_path / "runs" / "example"
    data = finish(folder, "data", source)
    teacher = finish(folder, "teacher", data)
    student = finish(folder, "student", teacher)
    finish(folder, "compare", teacher, student)
    return folder


def test_stages_of_the_present_files_are_up_to_date(run):
    assert outdated_stages(run, STAGES) == {}
    assert outdated_stages(run / "nothing here", STAGES) == {}


def test_another_student_outdates_what_was_made_from_it_and_nothing_else(run):
    finish(run, "student", run / "teacher" / "made.txt", text="another")
    reason = "student/made.txt has changed since it was made"
    assert outdated_stages(run, STAGES) == {"compare": reason}


@pytest.mark.parametrize("gone", [True, False])
def test_a_stage_whose_own_file_was_changed_is_outdated_and_what_follows(run, gone):
    file = run / "student" / "made.txt"
    file.unlink() if gone else write_text(file, "tampered")
    assert outdated_stages(run, STAGES) == {
        "student": "student/made.txt has changed after the stage",
        "compare": "student/made.txt has changed since it was made",
    }


def test_files_of_units_are_not_looked_at_again(run):
    unit = run / "student" / "units" / "one.xyz"
    write_text(unit, "unit")
    finish(run, "student", run / "teacher" / "made.txt", outputs=["made.txt", "units/one.xyz"])
    write_text(unit, "damaged")
    assert outdated_stages(run, STAGES) == {}


def test_a_discarded_student_outdates_what_was_made_from_it(run):
    shutil.rmtree(run / "student")
    assert list(outdated_stages(run, STAGES)) == ["compare"]


def test_what_follows_an_outdated_stage_is_outdated_too(run, source):
    finish(run, "data", source, text="other data")
    found = outdated_stages(run, STAGES)
    assert list(found) == ["teacher", "student", "compare"]
    assert found["teacher"] == "data/made.txt has changed since it was made"
    assert found["student"] == "the teacher stage before it is out of date"


def test_a_file_from_outside_counts_where_it_is_there(run, source):
    write_text(source, "other structures")
    assert list(outdated_stages(run, STAGES)) == list(STAGES)
    source.unlink()
    assert outdated_stages(run, STAGES) == {}


def test_a_stage_that_is_not_finished_is_held_to_what_it_was_begun_with(run):
    student = run / "student" / "made.txt"
    (run / "compare" / MANIFEST_NAME).unlink()
    fingerprint = begin(run, "compare", student=student)
    assert read_started(run / "compare") == fingerprint
    assert outdated_stages(run, STAGES) == {}
    finish(run, "student", run / "teacher" / "made.txt", text="another")
    assert outdated_stages(run, STAGES) == {
        "compare": "student/made.txt has changed since it was made"
    }


def test_a_run_that_was_moved_is_as_it_was(run, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere"
    run.rename(moved)
    monkeypatch.chdir(moved.parent)
    assert outdated_stages(Path(moved.name), STAGES) == {}
    finish(moved, "student", moved / "teacher" / "made.txt", text="another")
    assert list(outdated_stages(moved, STAGES)) == ["compare"]


def test_a_stage_folder_may_be_a_link(run, tmp_path):
    big_disk = tmp_path / "big"
    (run / "student").rename(big_disk)
    os.symlink(big_disk, run / "student")
    finish(run, "compare", run / "student" / "made.txt")
    assert outdated_stages(run, STAGES) == {}
    assert read_manifest(run / "compare")["inputs"]["input0"]["path"] == "student/made.txt"


@pytest.mark.parametrize("start", ["", "/home/user/example/"])
def test_a_manifest_without_a_version_names_files_from_where_the_run_was_started(run, start):
    for stage in STAGES:
        file = run / stage / MANIFEST_NAME
        manifest = read_json(file)
        del manifest["version"]
        if stage != "data":
            for entry in manifest["inputs"].values():
                entry["path"] = f"{start}runs/example/{entry['path']}"
        write_json(file, manifest)
    assert outdated_stages(run, STAGES) == {}
    finish(run, "student", run / "teacher" / "made.txt", text="another")
    assert list(outdated_stages(run, STAGES)) == ["compare"]


@pytest.mark.parametrize("text", ["null", "{}", "[]", "3"])
def test_a_damaged_manifest_is_named(run, text):
    (run / "student" / MANIFEST_NAME).write_text(text)
    with pytest.raises(UserError, match=r"student/manifest\.json is damaged"):
        outdated_stages(run, STAGES)


def test_a_stage_that_was_not_begun_has_no_fingerprint(tmp_path):
    assert read_started(tmp_path) is None
    assert not (tmp_path / STARTED_NAME).exists()


def test_a_stage_of_other_settings_than_the_config_has_is_outdated_and_what_follows(run, source):
    begun = begin(run, "teacher", train=source)
    begun.pop("inputs")
    for stage, wanted, expected in (
        ("teacher", begun, set()),
        ("teacher", {**begun, "seed": 2}, {"teacher"}),
        ("teacher", {**begun, "settings": {"a": 2}}, {"teacher"}),
        ("student", {**begun, "seed": 2}, set()),
    ):
        write_wanted(run, {stage: wanted})
        assert unwanted_stages(run, STAGES) == expected
    assert unwanted_stages(run / "elsewhere", STAGES) == set()
    found = outdated_stages(run, STAGES, {"teacher"})
    assert found["teacher"] == "it was made with other settings than the present config's"
    assert list(found) == ["teacher", "student", "compare"]


def test_a_damaged_note_of_settings_is_named(run):
    (run / WANTED_NAME).write_text("[1]")
    with pytest.raises(UserError, match=r"stages\.json is damaged"):
        unwanted_stages(run, STAGES)


@pytest.mark.parametrize("text", ["null", "{}", "[]", "3", '{"settings": {}, "seed": 1}'])
def test_a_damaged_note_of_what_a_stage_was_begun_with_is_named(run, source, text):
    begin(run, "teacher", train=source)
    (run / "teacher" / STARTED_NAME).write_text(text)
    with pytest.raises(UserError, match=r"started\.json is damaged"):
        read_started(run / "teacher")
