"""What quantities of error tables are called, and their units."""

from __future__ import annotations

import pytest

from distill.core.quantities import quantity_title, quantity_unit


@pytest.mark.parametrize(
    ("key", "title", "unit"),
    [
        ("energy_per_atom", "energy", "meV/atom"),
        ("forces", "forces", "meV/Å"),
        ("forces_Cu", "forces on Cu", "meV/Å"),
        ("stress", "stress", "meV/Å³"),
    ],
)
def test_quantities_have_titles_and_units(key, title, unit):
    assert (quantity_title(key), quantity_unit(key)) == (title, unit)
