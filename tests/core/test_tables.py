"""Rows as CSV and as text in columns."""

from __future__ import annotations

import csv

from distill.core.tables import aligned, write_table_csv


def test_intervals_and_mappings_become_columns_and_floats_keep_all_digits(tmp_path):
    value = 1 / 3
    rows = [
        {"model": "teacher", "value": value, "interval": (0.25, 0.5), "parts": {"H": 1, "Cu": 2}},
        {"model": "student", "value": 2.0, "interval": None, "comment": "a, b"},
    ]
    write_table_csv(tmp_path / "t.csv", rows)
    with open(tmp_path / "t.csv", newline="") as handle:
        first, second = csv.DictReader(handle)
    assert list(first) == ["model", "value", "interval_low", "interval_high", "H", "Cu", "comment"]
    assert float(first["value"]) == value
    assert (first["interval_low"], first["interval_high"]) == ("0.25", "0.5")
    assert (second["interval_low"], second["H"], second["comment"]) == ("", "", "a, b")


def test_titles_stand_to_the_left_and_cells_to_the_right():
    assert aligned([("", ["E", "F"]), ("teacher", ["1.5", "20"])]) == (
        "           E   F\nteacher  1.5  20"
    )
