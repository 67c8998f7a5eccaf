"""What runs the finished teacher: the fast engine where it agrees with torch, else torch."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from fast_engine import needs_engine
from tiny_mace import rattled_structures, tiny_model

from distill.config import RunConfig, TeacherConfig
from distill.core.errors import UserError
from distill.core.results import read_result
from distill.data.structures import write_structures
from distill.models import fast_mace
from distill.models.calculators import load_model
from distill.models.mace.family import Mace
from distill.models.teacher_model import FAST_NAME, MODEL_NAME
from distill.stages import STAGES
from distill.teacher import engine
from distill.teacher.engine import CONVERTED_NAME, ENGINE_NAME, EngineRecord, choose_engine
from distill.teacher.starting_model import Start, settings_hash


@pytest.fixture
def folder(tmp_path):
    """A run folder with a finished teacher, as far as this step looks at it."""
    out = tmp_path / "teacher"
    out.mkdir()
    (tmp_path / "data").mkdir()
    write_structures(tmp_path / "data" / "train.xyz", rattled_structures(15))
    Mace(tiny_model((1, 29))).save(out / MODEL_NAME)
    return tmp_path


@pytest.fixture
def converted(folder, fast_file, monkeypatch):
    """The folder with a teacher whose conversion is there already."""
    model = folder / "teacher" / MODEL_NAME
    model.write_bytes(fast_file.with_name("tiny.model").read_bytes())

    def copied(model, path, target, torch_file):
        target.write_bytes(fast_file.with_name("converted.json").read_bytes())
        fast_mace.name_files(path, torch_file, target, ["H", "Cu"], "float64")
        return load_model(path)

    monkeypatch.setattr(engine, "converted_model", copied)
    return folder


def chosen(folder, **options):
    out = folder / "teacher"
    config = TeacherConfig(**options)
    choose_engine(config, train=folder / "data" / "train.xyz", out=out, seed=1)
    return read_result(out / ENGINE_NAME, EngineRecord)


def teacher_of(folder):
    """The file that sampling, and the comparison, take for the teacher."""
    config = RunConfig(name="one")
    stages = {stage.name: stage for stage in STAGES}
    found = {stages[n].inputs(config, folder)["teacher"].name for n in ("sampling", "compare")}
    (name,) = found
    return name


@needs_engine
class TestAccepted:
    def test_an_engine_that_agrees_runs_the_teacher(self, converted, capsys):
        assert teacher_of(converted) == MODEL_NAME
        record = chosen(converted)
        assert (record.engine, record.structures) == ("symmetrix", 12)
        assert 0 < record.differences.forces < 1e-4
        assert "runs in Symmetrix, which differs from torch by at most" in capsys.readouterr().out
        assert teacher_of(converted) == FAST_NAME
        assert load_model(converted / "teacher" / FAST_NAME).kind == "fast_mace"

    def test_one_that_differs_is_left_with_the_measured_difference(self, converted, capsys):
        """As a converted file of another model does."""
        path = converted / "teacher" / MODEL_NAME
        model = Mace.load(path)
        model.module.scale_shift.shift += 0.1
        model.save(path)
        record = chosen(converted)
        assert record.engine == "torch"
        assert record.differences.energy == pytest.approx(0.1, abs=1e-5)
        assert "Symmetrix differs from torch by 1e+02 meV/atom" in record.reason
        assert f"WARNING: the teacher runs in torch: {record.reason}" in capsys.readouterr().out
        assert teacher_of(converted) == MODEL_NAME
        assert not (converted / "teacher" / CONVERTED_NAME).exists()

    def test_one_that_fails_on_the_data_is_left_though_torch_answers_for_it(
        self, converted, monkeypatch
    ):
        def failing(calculator, model):
            made(calculator, model)
            calculator._engine.calculate = None

        made = fast_mace.FastCalculator.__init__
        monkeypatch.setattr(fast_mace.FastCalculator, "__init__", failing)
        assert "Symmetrix failed on structures of the data" in chosen(converted).reason
        assert teacher_of(converted) == MODEL_NAME

    def test_a_choice_stays_with_its_teacher_and_its_setting(self, converted, monkeypatch):
        record = chosen(converted)
        monkeypatch.setattr(engine, "converted_model", None)
        assert chosen(converted) == record
        assert chosen(converted, engine="torch").engine == "torch"
        assert teacher_of(converted) == MODEL_NAME
        with pytest.raises(TypeError):
            chosen(converted)

    def test_an_architecture_that_it_does_not_take_is_left_to_torch(self, folder, capsys):
        assert "does not take this model" in chosen(folder, engine="symmetrix").reason
        assert "WARNING: the teacher runs in torch" in capsys.readouterr().out


def test_without_the_package_auto_is_torch_and_says_so(folder, monkeypatch, capsys):
    monkeypatch.setattr(fast_mace, "find_spec", lambda name: None)
    record = chosen(folder)
    assert (record.engine, record.differences) == ("torch", None)
    assert "not installed: pip install 'distill[fast]'" in record.reason
    assert record.reason in capsys.readouterr().out
    assert teacher_of(folder) == MODEL_NAME


def test_a_teacher_of_several_parts_runs_as_it_is(folder):
    (folder / "teacher" / MODEL_NAME).write_text('{"distill": "calculator"}')
    config = TeacherConfig()
    out = folder / "teacher"
    choose_engine(config, train=folder / "data" / "train.xyz", out=out, seed=1)
    assert not (out / ENGINE_NAME).exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "delta"}, "runs one MACE, found strategy: delta"),
        ({"committee": {"members": 2}}, r"runs one MACE, found teacher\.committee"),
        ({"calculator": {"path": "ase.calculators.emt:EMT"}}, r"found teacher\.calculator"),
        ({}, r"'symmetrix', but Symmetrix \(symmetrix-xl\) is not installed"),
    ],
)
def test_an_engine_that_cannot_be_had_is_refused_before_the_first_stage(
    options, words, monkeypatch
):
    monkeypatch.setattr(fast_mace, "find_spec", lambda name: None)
    stage = next(stage for stage in STAGES if stage.name == "teacher")
    for engine_of_choice, refused in (
        ("symmetrix", pytest.raises(UserError, match=words)),
        ("auto", nullcontext()),
    ):
        section = {**options, "engine": engine_of_choice}
        with refused:
            stage.refuse(RunConfig.model_validate({"name": "one", "teacher": section}))


def test_a_missing_compiler_is_refused_too(monkeypatch):
    monkeypatch.setattr(fast_mace, "find_spec", lambda name: True)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no C\\+\\+20 compiler 'no-such-compiler': install one"):
        engine.refuse_engine(TeacherConfig(engine="symmetrix"))


def test_the_engine_changes_no_weights(folder):
    train, start = folder / "data" / "train.xyz", Start("foundation", "its hash", Mace(None))
    one, other = (
        settings_hash(TeacherConfig(engine=name), start, train, 1) for name in ("auto", "torch")
    )
    assert one == other != settings_hash(TeacherConfig(epochs=7), start, train, 1)
