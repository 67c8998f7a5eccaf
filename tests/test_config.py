"""The YAML vocabulary: defaults, overrides, paths, and clear errors."""

from pathlib import Path

import pytest
from helpers import ROOT

from distill.cli.starter import PRESETS, write_starter
from distill.config import load_config, parse_config, strategy_teacher
from distill.core.errors import UserError

CONFIGS = ROOT / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "workflow.yaml"
    path.write_text(text)
    return path


def test_misspelt_keys_name_the_nearest_valid_one():
    with pytest.raises(UserError) as caught:
        parse_config({"teacher": {"epoch": 3}, "studnt": {}}, "x.yaml")
    assert "teacher.epoch: unknown key; did you mean 'epochs'?" in str(caught.value)
    assert "studnt: unknown key; did you mean 'student'?" in str(caught.value)
    assert "x.yaml" in str(caught.value)


def test_misspelt_key_inside_a_list_is_found():
    with pytest.raises(UserError, match=r"sampling\.neb\.0\.facett.*'facet'"):
        parse_config({"sampling": {"neb": [{"facett": "111"}]}}, "x.yaml")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"teacher": {"fraction": 1.5}}, "teacher.fraction"),
        ({"teacher": {"epochs": 0}}, "teacher.epochs"),
        ({"student": {"order": 9}}, "student.order"),
        ({"student": {"order": 3, "totaldegree": [6, 5]}}, "totaldegree has 2 numbers"),
        ({"student": {"weights": {"slab": {}}}}, "needs an entry 'default'"),
        ({"name": "a/b"}, "without slashes"),
        ({"seed": -1}, "seed"),
    ],
)
def test_values_out_of_range_are_refused(data, words):
    with pytest.raises(UserError, match=words.replace("[", r"\[")):
        parse_config(data, "x.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("a: [1", "not valid YAML"), ("- 1", "must be a mapping")],
)
def test_unusable_files_are_explained(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=words) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_missing_and_binary_files_are_explained(tmp_path):
    with pytest.raises(UserError, match="cannot read the config"):
        load_config(tmp_path / "nothing.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not text"):
        load_config(path)


def test_later_overrides_win_and_values_are_yaml(tmp_path):
    path = write(tmp_path, "teacher: {epochs: 5}")
    config = load_config(path, ["teacher.epochs=7", "teacher.epochs=9", "student.totaldegree=6"])
    assert config.teacher.epochs == 9
    assert config.student.degrees == (6.0,) * config.student.order


@pytest.mark.parametrize("override", ["teacher.epochs", "=3", "teacher.epochs.deep=1"])
def test_bad_overrides_are_refused(tmp_path, override):
    path = write(tmp_path, "teacher: {epochs: 5}")
    with pytest.raises(UserError, match="--set"):
        load_config(path, [override])


def test_file_names_are_relative_to_the_config(tmp_path):
    path = write(
        tmp_path,
        "data: {train: a.xyz, test: 'bundled:h2cu_test'}\nteacher: {foundation: models/x.model}",
    )
    config = load_config(path)
    assert config.data.train == str(tmp_path / "a.xyz")
    assert config.data.test == "bundled:h2cu_test"
    assert config.teacher.foundation == str(tmp_path / "models" / "x.model")


def test_named_foundation_is_not_taken_for_a_path(tmp_path):
    assert (
        load_config(write(tmp_path, "teacher: {foundation: small}")).teacher.foundation == "small"
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_starter_is_a_valid_config_that_shows_the_options(tmp_path, preset):
    path = tmp_path / "starter.yaml"
    write_starter(path, preset=preset, train="mine.xyz", foundation="medium-mpa-0")
    config = load_config(path)
    assert config.data.train == str(tmp_path / "mine.xyz")
    assert config.teacher.foundation == "medium-mpa-0"
    assert "# max_force: 100.0" in path.read_text()


def test_a_starter_for_molecules_asks_for_nothing_that_needs_a_cell(tmp_path):
    path = tmp_path / "starter.yaml"
    write_starter(path, preset="molecule", train="mine.xyz", foundation="off-medium")
    config = load_config(path)
    assert [runs.ensemble for runs in config.sampling.md] == ["nvt"]
    assert [copies.strain for copies in config.sampling.rattle] == [0.0]
    assert config.compare.gates is not None and config.compare.vdos is not None
    assert config.compare.bulk is None and config.compare.rdf is None


def test_starter_does_not_replace_a_file(tmp_path):
    path = tmp_path / "starter.yaml"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists"):
        write_starter(path, preset="bulk", train="a", foundation="b")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_ready_workflows_are_valid(path):
    assert load_config(path).name


def test_learning_curves_do_not_inherit_a_way_of_training(tmp_path):
    """Low-rank adaptation of the teacher says nothing about a curve from scratch."""
    path = write(tmp_path, "teacher: {lora: {rank: 2}, replay: {structures: a.xyz}, epochs: 7}")
    config = load_config(path)
    assert config.teacher.replay.structures == str(tmp_path / "a.xyz")
    for name, strategy in config.curve.strategies.items():
        teacher = strategy_teacher(config.teacher, name, strategy)
        assert (teacher.lora, teacher.replay, teacher.epochs) == (None, None, 7)


def test_calculators_of_the_teacher_are_found_from_the_config(tmp_path):
    path = write(
        tmp_path,
        "teacher: {strategy: delta, delta: {base: {path: base.npz}}, "
        "labels: {calculator: {path: 'ase.calculators.emt:EMT'}}}",
    )
    calculators = load_config(path).teacher.calculators()
    assert calculators["base"].path == str(tmp_path / "base.npz")
    assert calculators["labels"].path == "ase.calculators.emt:EMT"


def test_a_strategy_keeps_what_its_name_says_with_options_of_its_own():
    """A curve called scratch that fine-tunes would be a wrong result."""
    config = parse_config(
        {
            "curve": {
                "strategies": {
                    "scratch": {"fractions": [1.0]},
                    "f4": {"teacher": {"lora": {"rank": 2}}},
                    "f6": None,
                    "own": {"teacher": {"freeze": "f5"}},
                }
            }
        },
        "x",
    )
    teachers = {
        name: strategy_teacher(config.teacher, name, strategy)
        for name, strategy in config.curve.strategies.items()
    }
    assert teachers["scratch"].strategy == "scratch"
    assert config.curve.strategies["scratch"].fractions == [1.0]
    assert (teachers["f4"].freeze, teachers["f4"].lora.rank) == ("f4", 2)
    assert (teachers["f6"].freeze, teachers["own"].freeze) == ("f6", "f5")


def test_paths_of_older_configs_are_put_where_they_belong():
    compare = {
        "barriers": [{"facet": "100", "keep": 20}, {}, {"facet": "110"}],
        "reference_barriers": {"111": "one.xyz", 100: "two.xyz"},
    }
    barriers = parse_config({"compare": compare}, "old.yaml").compare.barriers
    found = [(path.facet, path.reference) for path in barriers]
    assert found == [("100", "two.xyz"), ("111", "one.xyz"), ("110", None)]
    with pytest.raises(UserError, match="reference_barriers: unknown key"):
        parse_config({"compare": {"reference_barriers": 3}}, "old.yaml")
