"""Atomic reference energies: exact recovery, choice of method, other and mixed references."""

from __future__ import annotations

import numpy as np
import pytest

from distill.core.errors import UserError
from distill.data.reference_energies import (
    composition_matrix,
    least_squares_shifts,
    reference_energies,
    refuse_mixed_references,
)

ELEMENTS = ["H", "Cu"]
FOUNDATION = {"H": -1.0, "Cu": -0.5}
COUNTS = np.array([[2, 0], [0, 4], [2, 9], [2, 12], [1, 12], [2, 18], [0, 8]], dtype=float)
SHIFTS = np.array([-12.5, -3021.25])


def solve(method, differences, isolated=None, counts=COUNTS):
    return reference_energies(
        method,
        elements=ELEMENTS,
        foundation=FOUNDATION,
        counts=counts,
        differences=differences,
        isolated=isolated or {},
    )


def test_counts_atoms_by_element():
    counts = composition_matrix([["H", "H"], ["Cu", "H", "Cu"]], ELEMENTS)
    np.testing.assert_array_equal(counts, [[2, 0], [1, 2]])


def test_least_squares_recovers_a_shift_exactly():
    found = solve("lstsq", COUNTS @ SHIFTS)
    assert found.values["H"] == pytest.approx(FOUNDATION["H"] + SHIFTS[0], abs=1e-8)
    assert found.values["Cu"] == pytest.approx(FOUNDATION["Cu"] + SHIFTS[1], abs=1e-8)
    assert found.rms["lstsq"] < 1e-8
    assert found.rms["foundation"] > 1000
    assert not found.undetermined


def test_an_outlier_hardly_moves_the_shift():
    rng = np.random.default_rng(0)
    counts = np.column_stack([rng.integers(0, 3, 60), rng.integers(1, 20, 60)]).astype(float)
    differences = counts @ SHIFTS + 0.01 * rng.normal(size=60)
    differences[7] += 500.0
    shifts, _ = least_squares_shifts(counts, differences)
    np.testing.assert_allclose(shifts, SHIFTS, atol=0.02)


def test_one_composition_leaves_the_split_open_but_fits():
    counts = np.array([[4.0, 4.0], [32.0, 32.0]])
    found = solve("lstsq", counts @ SHIFTS, counts=counts)
    assert found.undetermined
    assert "do not fix them" in found.summary()
    assert sum(found.shifts.values()) == pytest.approx(SHIFTS.sum())


def test_auto_takes_the_free_atoms_that_are_given():
    isolated = dict(zip(ELEMENTS, SHIFTS, strict=True))
    noise = 0.1 * np.random.default_rng(1).normal(size=len(COUNTS)) * COUNTS.sum(axis=1)
    assert solve("auto", COUNTS @ SHIFTS + noise, isolated).method == "isolated"
    assert solve("auto", COUNTS @ SHIFTS, isolated).rms["isolated"] < 1e-8
    # Also where least squares would start closer: a free atom's energy is what was measured.
    far = {"H": SHIFTS[0] + 1.0, "Cu": SHIFTS[1] - 2.0}
    found = solve("auto", COUNTS @ SHIFTS + noise, far)
    assert found.shifts == pytest.approx(far)
    assert found.rms["isolated"] > found.rms["lstsq"]
    assert solve("auto", COUNTS @ SHIFTS, {}).method == "lstsq"


def test_auto_finds_the_elements_without_a_free_atom_by_least_squares():
    counts = np.array([[2.0, 1.0], [4.0, 2.0]])
    found = solve("auto", counts @ SHIFTS, {"H": SHIFTS[0]}, counts)
    assert found.shifts == pytest.approx(dict(zip(ELEMENTS, SHIFTS, strict=True)))
    assert found.method == "isolated and lstsq"
    # One composition and one free atom fix both.
    assert not found.undetermined
    assert found.rms[found.method] < 1e-8


def test_given_and_foundation_values_are_taken_as_they_are():
    given = solve({"H": -13.0, "Cu": -3000.0}, COUNTS @ SHIFTS)
    assert given.method == "given"
    assert given.values == pytest.approx({"H": -13.0, "Cu": -3000.0})
    assert solve("foundation", COUNTS @ SHIFTS).values == FOUNDATION


def test_another_reference_is_explained():
    text = solve("lstsq", COUNTS @ SHIFTS).explanation()
    assert "another reference" in text
    assert "Cu -3021.250" in text
    assert solve("lstsq", np.full(len(COUNTS), 1e-3)).explanation() is None


@pytest.mark.parametrize(("method", "word"), [("isolated", "Cu"), ({"H": -1.0}, "Cu")])
def test_missing_values_are_named(method, word):
    with pytest.raises(UserError, match=word):
        solve(method, COUNTS @ SHIFTS, {"H": -12.5})


def test_mixed_references_are_refused_with_indices():
    counts = np.tile(COUNTS, (4, 1))
    differences = 0.05 * np.random.default_rng(2).normal(size=len(counts)) * counts.sum(axis=1)
    refuse_mixed_references(counts, differences)
    differences[[3, 10, 17]] += 9.0 * counts[[3, 10, 17]].sum(axis=1)
    with pytest.raises(UserError, match=r"different references.* 3 of 28 .* 3 \(\+"):
        refuse_mixed_references(counts, differences)
