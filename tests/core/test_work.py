"""Units of work: finished only with equal settings, inputs and models, and unchanged files."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from helpers import SERIAL

from distill.core.artifacts import read_json, sha256, write_json
from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.executors import ParallelConfig
from distill.core.input_files import InputFile
from distill.core.work import (
    KEPT_NAME,
    Unit,
    WorkFolder,
    keep_units,
    record_of,
    run_chains,
    run_waiting,
)


class Options(Section):
    """Options of the unit."""

    structure: InputFile
    factor: float = 2.0


@dataclass(frozen=True)
class Writer(Unit):
    """Write a number; note each time that it is done in a list that all of them share."""

    model: Any
    options: Options
    number: int = 1
    done: list[str] | None = None

    unkeyed = Unit.unkeyed | {"done"}

    def files(self) -> list[Path]:
        return [self.folder / f"{self.name}.txt"]

    def work(self) -> dict[str, float]:
        if self.done is not None:
            self.done.append(self.name)
        result = self.options.factor * self.number
        self.files()[0].write_text(f"{result}\n")
        return {"result": result}


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with a model and a structure."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "student.npz").write_text("a model")
    (folder / "structure.xyz").write_text("a structure")
    return folder


def writer(project: Path, **changes: Any) -> Writer:
    unit = Writer(
        project / "out",
        "one",
        model=str(project / "student.npz"),
        options=Options(structure=str(project / "structure.xyz")),
        done=[],
    )
    return replace(unit, **changes)


def finished(project: Path, **changes: Any) -> Writer:
    unit = writer(project, **changes)
    assert not unit.finished
    unit.run()
    assert unit.finished
    return unit


def test_a_record_says_what_was_made_and_from_what(project):
    unit = finished(project)
    record = read_json(unit.record)
    assert record == record_of(unit.folder, "one")
    assert record["key"] == unit.key
    assert record["files"] == {"one.txt": sha256(unit.files()[0])}
    assert record["numbers"] == unit.numbers() == {"result": 2.0}


@pytest.mark.parametrize(
    "change",
    [
        {"number": 3},
        {"model": "surface_potentials:Wall"},
        {"model": EMT()},
        {"options": {"factor": 3.0}},
    ],
    ids=["number", "model", "model in memory", "option"],
)
def test_a_unit_of_other_settings_is_not_finished(project, change):
    unit = finished(project)
    if "options" in change:
        change = {"options": unit.options.model_copy(update=change["options"])}
    other = writer(project, **change)
    assert other.key != unit.key
    assert other.fault() == "it was made with other settings or models"
    assert not other.finished


def test_where_a_unit_lies_and_what_it_is_called_change_nothing(project):
    unit = finished(project)
    assert writer(project, folder=project / "elsewhere", name="two").key == unit.key


def test_kinds_of_units_are_told_apart(project):
    class Another(Writer):
        pass

    unit = writer(project)
    other = Another(unit.folder, unit.name, unit.model, unit.options)
    assert other.key != unit.key


def test_a_replaced_input_is_another(project):
    finished(project)
    (project / "structure.xyz").write_text("another structure")
    assert writer(project).fault() == "it was made with other settings or models"
    (project / "structure.xyz").write_text("a structure")
    assert writer(project).finished
    (project / "student.npz").write_text("another model")
    assert not writer(project).finished


def test_a_moved_project_is_the_same(project, tmp_path):
    finished(project)
    moved = tmp_path / "moved"
    shutil.move(project, moved)
    assert writer(moved).finished


def test_a_missing_input_is_named(project):
    (project / "structure.xyz").unlink()
    with pytest.raises(UserError, match=r"structure\.xyz does not exist"):
        _ = writer(project).finished


def damage(kind: str, unit: Writer) -> None:
    file, record = unit.files()[0], unit.record
    match kind:
        case "changed":
            file.write_text("3.0\n")
        case "missing":
            file.unlink()
        case "record of another file":
            file.rename(file.with_name("two.txt"))
            record.write_text(record.read_text().replace("one.txt", "two.txt"))
        case _:
            record.write_text(kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("changed", "one.txt was changed"),
        ("missing", "one.txt is missing"),
        ("record of another file", "its record names other files"),
        ("null", "its record is damaged"),
        ("{}", "its record is damaged"),
        ("[]", "its record is damaged"),
        ("{", "its record is damaged"),
        ('{"key": "x", "files": 3, "numbers": 0}', "its record is damaged"),
        ('{"key": "x", "files": {}}', "its record is damaged"),
    ],
)
def test_what_is_no_longer_the_unit_s_is_made_again_with_a_sentence(project, capsys, kind, words):
    unit = finished(project)
    damage(kind, unit)
    assert unit.fault() == words
    run_waiting([unit], parallel=SERIAL, label="writing")
    assert f"writing: one is made again: {words}\n" in capsys.readouterr().out
    assert unit.finished
    assert unit.files()[0].read_text() == "2.0\n"


@pytest.mark.parametrize(
    "text",
    ["null", "{}", '{"key": "", "files": {}}', '{"key": "", "files": [1], "numbers": 0}'],
)
def test_a_record_that_says_nothing_is_named_when_it_is_read(project, text):
    unit = finished(project)
    unit.record.write_text(text)
    with pytest.raises(UserError, match=r"one\.json is no record of finished work; remove it"):
        unit.numbers()


def test_a_record_takes_no_file_from_elsewhere(project, tmp_path):
    unit = finished(project)
    (tmp_path / "mine.txt").write_text("mine")
    record = {"key": unit.key, "files": {"../mine.txt": sha256(tmp_path / "mine.txt")}}
    write_json(unit.record, {**record, "numbers": 0})
    with pytest.raises(UserError, match="names files that are not beside it"):
        unit.numbers()
    keep_units(unit.folder, tmp_path / "kept")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_only_what_is_missing_runs(project, capsys):
    units = [writer(project, name=f"unit {n}", number=n, done=[]) for n in range(4)]
    units[1].run()
    units[1].done.clear()
    run_waiting(units, parallel=SERIAL, label="writing")
    assert [len(unit.done) for unit in units] == [1, 0, 1, 1]
    assert "writing: 1 of 4 are done already" in capsys.readouterr().out
    run_waiting(units, parallel=SERIAL, label="writing")
    assert [len(unit.done) for unit in units] == [1, 0, 1, 1]


def test_results_of_settings_that_come_back_are_used_again(project, capsys):
    first = finished(project)
    for number in (2, 3):
        run_waiting([writer(project, number=number)], parallel=SERIAL, label="writing")
        assert first.files()[0].read_text() == f"{2.0 * number}\n"
    for number in (1, 3, 2, 1):
        unit = writer(project, number=number)
        run_waiting([unit], parallel=SERIAL, label="writing")
        assert unit.done == []
        assert unit.numbers() == {"result": 2.0 * number}
        assert unit.files()[0].read_text() == f"{2.0 * number}\n"


def test_kept_results_that_were_changed_are_made_again(project):
    first = finished(project)
    writer(project, number=2).run()
    [kept] = (project / "out" / KEPT_NAME).glob("*/one.txt")
    kept.write_text("3.0\n")
    again = writer(project)
    run_waiting([again], parallel=SERIAL, label="writing")
    assert again.done == ["one"]
    assert first.files()[0].read_text() == "2.0\n"


def test_a_damaged_record_is_not_kept_in_place_of_a_good_one(project):
    unit = finished(project)
    unit.record.write_text("{")
    writer(project, number=2).run()
    assert not list((project / "out").rglob(f"{KEPT_NAME}/*/*"))


def test_units_that_are_kept_take_their_parts_and_what_they_had_replaced_along(project, tmp_path):
    finished(project)
    other = writer(project, number=2)
    other.run()
    parts = writer(project, name="two").parts
    parts.mkdir()
    (parts / "0.npz").write_text("half")
    (other.folder / "table.csv").write_text("no unit's")
    keep_units(other.folder, tmp_path / "kept")
    assert [path.name for path in other.folder.rglob("*") if path.is_file()] == ["table.csv"]
    moved = tmp_path / "kept"
    assert (moved / parts.name / "0.npz").read_text() == "half"
    assert writer(project, folder=moved, number=2).finished
    assert writer(project, folder=moved).finished


def test_parts_are_of_their_settings_and_go_when_the_unit_is_done(project):
    class InParts(Writer):
        def work(self):
            self.parts.mkdir()
            return super().work()

    unit = writer(project)
    unit = InParts(unit.folder, unit.name, unit.model, unit.options)
    assert unit.parts != replace(unit, number=2).parts
    unit.run()
    assert unit.finished
    assert not unit.parts.exists()


def test_a_chain_goes_on_at_what_is_missing_in_it(project):
    done: list[str] = []
    chains = [
        [writer(project, name=f"{chain}{k}", number=k, done=done) for k in range(3)]
        for chain in "ab"
    ]
    chains[0][0].run()
    chains[1][2].run()
    done.clear()
    run_chains(chains, parallel=SERIAL, label="writing")
    assert done == ["a1", "a2", "b0", "b1"]


def test_a_unit_that_fails_leaves_no_record(project):
    class Broken(Writer):
        def work(self):
            self.files()[0].write_text("half")
            raise KeyboardInterrupt

    unit = finished(project)
    broken = Broken(unit.folder, unit.name, unit.model, unit.options)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert not unit.record.exists()
    assert unit.fault() == "it was not done"


def test_a_model_in_memory_is_like_no_other(project):
    model = EMT()
    unit = writer(project, model=model)
    assert unit.key == writer(project, model=model).key
    assert unit.key != writer(project, model=EMT()).key


def test_a_worker_takes_the_key_of_the_process_that_asks(project):
    """A model in memory has another identity in another process, where no key is made then."""
    unit = writer(project, model=EMT())
    assert unit.fault() == "it was not done"
    there = pickle.loads(pickle.dumps(unit))
    assert there.key == unit.key
    there.run()
    assert unit.finished


def test_units_without_a_value_have_the_key_of_those_without_the_field(project):
    """So that an option which a later version adds repeats nothing where it is not given."""

    @dataclass(frozen=True)
    class Old(Unit):
        number: int = 1

        def work(self):
            return 0

    old = Old(project, "x").key

    @dataclass(frozen=True)
    class Old(Unit):
        number: int = 1
        guess: Path | None = None

        def work(self):
            return 0

    assert Old(project, "x").key == old
    assert Old(project, "x", guess=project / "structure.xyz").key != old


def test_numbers_of_structures_and_arrays_are_part_of_the_key(project):
    atoms = Atoms("H2", [[0, 0, 0], [0.74, 0, 0]])
    keys = {writer(project, number=value).key for value in (atoms, np.zeros(2), [0.0, 0.0], 0.0)}
    moved = atoms.copy()
    moved.positions[1, 0] += 1e-9
    assert len(keys | {writer(project, number=moved).key}) == 5
    assert writer(project, number=atoms.copy()).key in keys


def test_a_work_folder_runs_units_where_its_section_says(project):
    parallel = ParallelConfig(backend="serial")
    work = WorkFolder(project / "out", seed=7, parallel=parallel)
    assert work.sub("md") == WorkFolder(project / "out" / "md", seed=7, parallel=parallel)
    unit = writer(project)
    work.run([unit], "writing")
    assert unit.finished
    assert WorkFolder(project).parallel.backend == "serial"
