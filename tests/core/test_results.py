"""Typed results: written, read back, brought up to date, and refused where they are none."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.core.results import Interval, Record, Result, read_result, write_result


class Point(Record):
    """A value with its interval."""

    value: float
    interval: Interval | None = None


class Curve(Result):
    """Points in eV; layout 1 had them in meV and no title."""

    VERSION = 2

    version: int = 2
    title: str
    points: list[Point]

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        points = [{"value": value / 1000} for value in data["values"]]
        return {"version": 2, "title": "", "points": points}


CURVE = Curve(title="barriers", points=[Point(value=0.5, interval=(0.4, 0.6)), Point(value=0.1)])


def test_a_result_is_read_back_as_it_was_written(tmp_path):
    write_result(tmp_path / "curve.json", CURVE)
    assert read_json(tmp_path / "curve.json")["version"] == 2
    assert read_result(tmp_path / "curve.json", Curve) == CURVE


def test_results_are_fixed_and_strict():
    with pytest.raises(ValidationError):
        CURVE.title = "other"
    with pytest.raises(ValidationError):
        Point(value=1.0, unit="eV")


@pytest.mark.parametrize("old", [{"version": 1, "values": [500]}, {"values": [500]}])
def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path, old):
    write_json(tmp_path / "old.json", old)
    assert read_result(tmp_path / "old.json", Curve) == Curve(title="", points=[Point(value=0.5)])


@pytest.mark.parametrize("version", [3, "x", None, 2.5])
def test_a_file_of_a_version_that_is_not_known_is_refused(tmp_path, version):
    write_json(tmp_path / "new.json", {**CURVE.model_dump(), "version": version})
    with pytest.raises(UserError, match=r"new\.json has layout .* newer distill; .* up to 2"):
        read_result(tmp_path / "new.json", Curve)


def test_another_layout_than_the_present_cannot_be_made():
    with pytest.raises(ValidationError, match="layout 1, expected 2"):
        Curve(version=1, title="", points=[])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("null", "is damaged: expected a Curve, found NoneType"),
        ("[]", "is damaged: expected a Curve, found list"),
        ("{", "is damaged: expected JSON"),
        ("{}", "is damaged or no Curve"),
        ('{"version": 2, "title": "x"}', "is damaged or no Curve: .*points"),
        ('{"version": 2, "title": "x", "points": [], "other": 1}', "is damaged or no Curve"),
        ('{"version": 1, "values": [null]}', "is damaged or no Curve"),
    ],
)
def test_what_is_no_such_result_is_refused_and_named(tmp_path, text, words):
    (tmp_path / "curve.json").write_text(text)
    with pytest.raises(UserError, match=rf"(?s)curve\.json {words}"):
        read_result(tmp_path / "curve.json", Curve)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nothing\.json"):
        read_result(tmp_path / "nothing.json", Curve)
