"""Registries: members of the package and of others, and what is said of names that are unknown."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from distill.core import registry
from distill.core.errors import UserError
from distill.core.registry import Registry

OWN = {"squares": "math:sqrt", "sums": "math:fsum"}


def made(monkeypatch, **added: str) -> Registry:
    points = [EntryPoint(name, value, "distill.tests") for name, value in added.items()]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: points if group == "distill.tests" else []
    )
    return Registry("sampling method", "distill.tests", OWN)


def test_members_are_those_of_the_package_and_then_those_of_others(monkeypatch):
    import math

    members = made(monkeypatch, logarithms="math:log")
    assert members.names() == ["squares", "sums", "logarithms"]
    assert members.load("logarithms") is math.log
    assert members.members() == {
        "squares": math.sqrt,
        "sums": math.fsum,
        "logarithms": math.log,
    }


def test_listing_the_members_imports_none(monkeypatch):
    assert made(monkeypatch, broken="no.such.module:X").names() == ["squares", "sums", "broken"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("square", "there is no sampling method 'square': did you mean 'squares'?"),
        ("md", "there is no sampling method 'md': expected one of squares, sums"),
    ],
)
def test_an_unknown_name_has_a_hint(monkeypatch, name, words):
    with pytest.raises(UserError) as caught:
        made(monkeypatch).load(name)
    assert str(caught.value) == words


def test_a_name_that_is_taken_is_refused(monkeypatch):
    members = made(monkeypatch, sums="mine:Sums")
    with pytest.raises(UserError, match=r"entry points of distill\.tests name sums, which distill"):
        members.names()


@pytest.mark.parametrize("value", ["no.such.module:X", "math:no_such_function"])
def test_a_member_that_cannot_be_loaded_is_named_with_the_reason(monkeypatch, value):
    with pytest.raises(UserError, match=rf"the sampling method 'mine' \({value}\) cannot be load"):
        made(monkeypatch, mine=value).load("mine")


@pytest.mark.parametrize("code", ["1 / 0", "raise SystemExit(0)", "raise RuntimeError('a\\nb')"])
def test_a_member_whose_module_fails_is_named_with_the_reason(monkeypatch, tmp_path, code):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"failing_member_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    with pytest.raises(UserError, match=r"the sampling method 'mine' .* cannot be load") as caught:
        made(monkeypatch, mine=f"{name}:X").load("mine")
    assert "\n" not in str(caught.value)
