"""Numbers as text: no exponents where people would not write them."""

from __future__ import annotations

import pytest

from distill.core.number_text import interval_text, number_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0.0, "0"),
        (12.345, "12.3"),
        (-0.0512, "−0.0512"),
        (1716.4, "1716"),
        (2_345_678.0, "2345678"),
        (3.21e9, "3.21·10⁹"),
        (7.62e-6, "7.62·10⁻⁶"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number_text(value) == text


def test_intervals_name_both_ends():
    assert interval_text([-0.2, 1500.0]) == "−0.2 to 1500"
    assert interval_text(None) == "—"
