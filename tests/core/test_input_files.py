"""Files named in configs: found in every nesting, made absolute, read by contents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from distill.core.artifacts import sha256
from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint, model_identity
from distill.core.input_files import (
    FoundationFile,
    InputFile,
    ModelFile,
    file_digest,
    map_files,
    named_files,
    resolve_file,
    with_absolute_files,
)
from distill.models.config import CalculatorConfig


class Inner(Section):
    """A part with a file."""

    structure: InputFile | None = None
    note: str = "a.xyz"


class Outer(Section):
    """Every kind of nesting."""

    file: InputFile = InputFile("a.xyz")
    inner: Inner = Inner()
    many: list[Inner] = Field(default_factory=list)
    pair: tuple[InputFile, InputFile] | None = None
    named: dict[str, Inner] = Field(default_factory=dict)
    deep: list[dict[str, list[InputFile]]] = Field(default_factory=list)
    model: ModelFile = ModelFile("student.npz")
    foundation: FoundationFile = FoundationFile("medium-mpa-0")


FULL = {
    "inner": {"structure": "b.xyz"},
    "many": [{"structure": "c.xyz"}, {}],
    "pair": ["d.xyz", "bundled:h2cu_test"],
    "named": {"x": {"structure": "sub/e.xyz"}},
    "deep": [{"y": ["f.xyz"]}],
}


def test_files_are_found_in_every_nesting():
    found = dict(named_files(Outer.model_validate(FULL)))
    assert found == {
        "file": "a.xyz",
        "inner.structure": "b.xyz",
        "many.0.structure": "c.xyz",
        "pair.0": "d.xyz",
        "pair.1": "bundled:h2cu_test",
        "named.x.structure": "sub/e.xyz",
        "deep.0.y.0": "f.xyz",
        "model": "student.npz",
    }


def test_files_become_absolute_in_every_nesting(tmp_path):
    section = Outer.model_validate(FULL)
    full = with_absolute_files(section, tmp_path)
    assert isinstance(full, Outer)
    found = dict(named_files(full))
    assert found.keys() == dict(named_files(section)).keys()
    for place, name in named_files(section):
        expected = name if name.startswith("bundled:") else str(tmp_path / name)
        assert found[place] == expected, place
        assert type(found[place]) is type(name)
    assert full.inner.note == "a.xyz"
    assert isinstance(full.pair, tuple)
    assert with_absolute_files(full, tmp_path / "elsewhere") == full


@pytest.mark.parametrize(
    ("name", "is_file"),
    [
        (InputFile("a.xyz"), True),
        (InputFile("preset:lif"), False),
        (InputFile("bundled:h2cu_test"), True),
        (ModelFile("teacher.model"), True),
        (ModelFile("ase.calculators.emt:EMT"), False),
        (FoundationFile("medium-mpa-0"), False),
        (FoundationFile("models/x.pt"), True),
        (FoundationFile("x.model"), True),
    ],
)
def test_names_of_what_is_built_in_are_no_files(name, is_file, tmp_path):
    assert name.names_a_file == is_file
    assert dict(named_files({"here": name})) == ({"here": name} if is_file else {})
    if not is_file:
        assert with_absolute_files(name, tmp_path) == name


def test_files_are_replaced_by_what_a_function_makes_of_them():
    plain: Any = map_files(Outer.model_validate(FULL), str.upper)
    assert plain["file"] == "A.XYZ"
    assert plain["inner"] == {"structure": "B.XYZ", "note": "a.xyz"}
    assert plain["many"][1] == {"structure": None, "note": "a.xyz"}
    assert plain["deep"] == [{"y": ["F.XYZ"]}]
    assert plain["foundation"] == "medium-mpa-0"


def test_code_of_the_user_and_files_in_arguments_count_with_their_contents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_pkg").mkdir()
    for name in ("own_calculator.py", "own_pkg/__init__.py", "own_pkg/deep.py", "w.pt", "run.sh"):
        (tmp_path / name).write_text("1")
    options = [
        {"path": "own_calculator:Potential"},
        {"path": "own_pkg:Potential"},
        {"path": "own_pkg.deep:Potential"},
        {"path": "ase.calculators.emt:EMT", "args": {"nested": [{"weights": "w.pt"}]}},
        {"command": "bash run.sh --socket {socket}"},
    ]
    changed = ["own_calculator.py", "own_pkg/__init__.py", "own_pkg/deep.py", "w.pt", "run.sh"]
    for given, name in zip(options, changed, strict=True):
        config = CalculatorConfig(**given)
        before = fingerprint(config), model_identity(given.get("path"))
        assert before == (fingerprint(config), model_identity(given.get("path")))
        (tmp_path / name).write_text("2")
        assert fingerprint(config) != before[0], name
        assert (model_identity(given.get("path")) != before[1]) == (".py" in name)
    # Of a package that is installed only the name counts.
    assert ModelFile("ase.calculators.emt:EMT").source is None
    assert map_files(ModelFile("ase.calculators.emt:EMT"), str.upper) == "ase.calculators.emt:EMT"
    for strange in ("nowhere:X", "a..b:X", ":", "json:load", "\0:x", "é" * 300 + ":x"):
        assert ModelFile(strange).source is None


def test_a_digest_is_that_of_the_file_as_it_is(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("one")
    assert file_digest(path) == sha256(path)
    path.write_text("two")
    assert file_digest(path) == sha256(path)
    replacement = tmp_path / "b.xyz"
    replacement.write_text("six")
    replacement.replace(path)
    assert file_digest(path) == sha256(path)


def test_what_cannot_be_read_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.xyz does not exist"):
        resolve_file(tmp_path / "nothing.xyz")
    with pytest.raises(UserError, match="is a folder, expected a file"):
        resolve_file(tmp_path)
    os.mkfifo(tmp_path / "pipe.xyz")
    with pytest.raises(UserError, match=r"pipe\.xyz is a pipe or device, expected a file"):
        resolve_file(tmp_path / "pipe.xyz")
    with pytest.raises(UserError, match=r"no bundled data set named 'x'; .*h2cu_test"):
        resolve_file("bundled:x")
    assert isinstance(resolve_file("bundled:h2cu_test"), Path)
