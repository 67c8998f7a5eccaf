"""The config reference: every option, as the models have it."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from helpers import ROOT
from pydantic import Field

from distill.config import RunConfig
from distill.core.config import Fraction, Section
from distill.core.input_files import InputFile


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    script = ROOT / "tools" / "config_reference.py"
    specification = importlib.util.spec_from_file_location("config_reference", script)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_committed_page_is_that_of_the_models(reference: ModuleType) -> None:
    committed = reference.PAGE.read_text(encoding="utf-8")
    assert committed == reference.page(), "run `make docs`, or `python tools/config_reference.py`"


def test_every_option_says_what_it_is(reference: ModuleType) -> None:
    silent = [
        f"{path}.{name}"
        for kind, path in reference.section_homes(RunConfig).items()
        for name, field in reference.options(kind)
        if not field.description and not reference.sections_in(field.annotation)
    ]
    assert silent == []


def test_types_ranges_and_defaults_are_in_words(reference: ModuleType) -> None:
    class Inner(Section):
        """Inside. More."""

        name: str = Field(description="of it")

    class Outer(Section):
        """Outside."""

        share: Fraction | None = Field(None, description="a share")
        file: InputFile = Field(InputFile("bundled:x"), description="a | b")
        sizes: list[tuple[int, float]] = Field([(1, 2.0)], description="sizes")
        inner: dict[str, Inner] = Field(default_factory=lambda: {"a": Inner(name="b")})

    homes = reference.section_homes(Outer)
    assert homes == {Outer: "", Inner: "inner"}
    rows = [reference.row(name, field, homes) for name, field in reference.options(Outer)]
    assert rows == [
        "| `share` | number > 0 and ≤ 1 | – | a share |",
        "| `file` | file | `bundled:x` | a \\| b |",
        "| `sizes` | list of [integer, number] | `[[1, 2.0]]` | sizes |",
        "| `inner` | names with [`inner`](#inner) | `{a: {name: b}}` | Inside. More. |",
    ]
