"""The papers of the repository say what the code is."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module

import pytest
import yaml
from helpers import ROOT

import distill

PAPERS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")})


def test_the_floors_of_the_house_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    floors = next(
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["name"] == "floors"
    )
    text = (ROOT / "docs" / "internals.md").read_text()
    table = text.split("## Floors")[1].split("\n## ")[0]
    told = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines() if "| `" in row]
    assert told == [re.findall(r"distill\.(\w+)", floor) for floor in floors]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == distill.__version__


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_names_of_modules_are_those_of_the_package(paper) -> None:
    # A style of LAMMPS is no module.
    text = paper.read_text(encoding="utf-8").replace("distill/grade/atom", "")
    for name in set(re.findall(r"(?<![\w/])distill/[\w/]+(?:\.\w+)?", text)):
        assert (ROOT / name).exists(), f"{name} in {paper.name}"


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_python_that_is_shown_uses_what_there_is(paper) -> None:
    text = paper.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "distill":
                module = import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "distill":
                assert hasattr(distill, node.attr), ast.unparse(node)


def test_every_line_of_what_survives_what_names_a_test_that_there_is() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [row for row in re.findall(r"^\| .*", text, flags=re.MULTILINE) if "shown by" not in row]
    assert len(rows) > 40
    for row in rows:
        [(file, name)] = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?` \|$", row)
        shown = (ROOT / file).read_text(encoding="utf-8")
        expected = rf"^ *def {name}\(" if name else "max_examples="
        assert re.search(expected, shown, re.MULTILINE), row
