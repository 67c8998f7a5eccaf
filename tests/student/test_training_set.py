"""Labels, duplicates, outliers, one-body energies and weights of the training set."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from distill.config import LabelWeights
from distill.core.errors import UserError
from distill.data.structures import set_labels
from distill.student.fit import training_set as ts

WEIGHTS = {
    "default": LabelWeights(),
    "slab": LabelWeights(energy=60, forces=2, virial=0),
}
NOTHING = (0.0, np.zeros((4, 3)), np.zeros(6))


def _bulk(seed: int, energy: float | None = -3.5) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    rng = np.random.default_rng(seed)
    atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
    forces = 0.1 * rng.normal(size=(4, 3))
    return set_labels(atoms, energy=None if energy is None else 4 * energy, forces=forces)


def test_row_weights_are_those_of_acepotentials() -> None:
    atoms = set_labels(_bulk(0), stress=np.arange(6.0))
    rows = ts.rows_of(atoms, ts.one_body_baseline(atoms, {"Cu": -3.0}), WEIGHTS)
    assert rows.energy == pytest.approx(4 * -0.5)
    assert (rows.energy_weight, rows.forces_weight, rows.virial_weight) == (15.0, 1.0, 0.5)
    np.testing.assert_allclose(rows.virial, -np.arange(6.0) * atoms.get_volume())
    assert rows.count == 1 + 12 + 6


def test_weights_by_config_type_and_zero_weight_leaves_a_label_out() -> None:
    atoms = set_labels(_bulk(0), stress=np.ones(6))
    atoms.info["config_type"] = "slab"
    rows = ts.rows_of(atoms, NOTHING, WEIGHTS)
    assert rows.energy_weight == 30.0
    assert rows.forces_weight == 2.0
    assert rows.virial is None
    assert rows.count == 13


def test_baseline_is_taken_off_every_label() -> None:
    atoms = set_labels(_bulk(0), stress=np.zeros(6))
    baseline = (1.5, np.full((4, 3), 0.25), np.arange(6.0))
    with_it, without = (ts.rows_of(atoms, b, WEIGHTS) for b in (baseline, NOTHING))
    assert without.energy - with_it.energy == pytest.approx(1.5)
    np.testing.assert_allclose(without.forces - with_it.forces, 0.25)
    np.testing.assert_allclose(without.virial - with_it.virial, np.arange(6.0))


def test_any_subset_of_labels_is_taken() -> None:
    atoms = bulk("Cu", cubic=True)
    assert ts.rows_of(atoms, NOTHING, WEIGHTS).count == 0
    assert ts.rows_of(set_labels(atoms, energy=1.0), NOTHING, WEIGHTS).count == 1


def test_no_labels_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="none of the 2 training structures"):
        ts.label_counts([bulk("Cu"), bulk("Cu")])
    with pytest.raises(UserError, match="empty"):
        ts.label_counts([])


@pytest.mark.parametrize(
    ("atoms", "isolated"),
    [
        (Atoms("Cu"), True),
        (Atoms("Cu", cell=[20, 20, 20], pbc=True), True),
        (Atoms("Cu", cell=[20, 20, 4], pbc=True), False),
        (Atoms("Cu", cell=[20, 20, 4], pbc=[True, True, False]), True),
        (Atoms("Cu", cell=[[20, 0, 0], [19.5, 3, 0], [0, 0, 20]], pbc=True), False),
        (bulk("Cu"), False),
        (molecule("H2"), False),
    ],
)
def test_isolated_atoms_are_recognised(atoms: Atoms, isolated: bool) -> None:
    assert ts.is_isolated_atom(atoms, cutoff=6.0) is isolated


class TestOneBodyEnergies:
    def _set(self) -> list[Atoms]:
        return [set_labels(Atoms("H"), energy=-13.0), *(_bulk(k) for k in range(3))]

    def test_auto_prefers_isolated_atoms_then_the_teacher(self) -> None:
        e0, how = ts.one_body_energies(
            self._set(), ["Cu", "H"], "auto", cutoff=6.0, teacher={"Cu": -1.0, "H": 9.0}
        )
        assert e0 == {"Cu": -1.0, "H": -13.0}
        assert "isolated atoms in the training set (H)" in how
        assert "from the teacher (Cu)" in how

    def test_auto_falls_back_to_least_squares(self) -> None:
        mixed = [
            set_labels(Atoms("CuH", positions=[[0, 0, 0], [0, 0, 1.5]]), energy=-5.0),
            set_labels(Atoms("CuH2", positions=np.eye(3)), energy=-8.0),
        ]
        e0, how = ts.one_body_energies(mixed, ["Cu", "H"], "auto", cutoff=6.0)
        assert e0["Cu"] == pytest.approx(-2.0)
        assert e0["H"] == pytest.approx(-3.0)
        assert "least squares on 2 energies" in how

    def test_a_free_atom_fixes_its_element_and_the_others_follow(self) -> None:
        water = set_labels(molecule("H2O"), energy=-14.0)
        free = set_labels(Atoms("H"), energy=-1.0, forces=np.zeros((1, 3)))
        e0, how = ts.one_body_energies([water, free], ["H", "O"], "auto", cutoff=6.0)
        assert e0 == pytest.approx({"H": -1.0, "O": -12.0})
        assert "isolated atoms in the training set (H)" in how
        assert "least squares on 1 energies (O)" in how
        # Asked for least squares, a free atom is no structure to fit.
        both, _ = ts.one_body_energies([water, free], ["H", "O"], "lstsq", cutoff=6.0)
        alone, _ = ts.one_body_energies([water], ["H", "O"], "lstsq", cutoff=6.0)
        assert both == pytest.approx(alone)

    def test_degenerate_compositions_are_said(self) -> None:
        structures = [set_labels(molecule("H2O"), energy=-14.0)]
        e0, how = ts.one_body_energies(structures, ["H", "O"], "lstsq", cutoff=6.0)
        assert 2 * e0["H"] + e0["O"] == pytest.approx(-14.0)
        assert "only 1 of 2" in how

    def test_no_energies_gives_zero_and_says_so(self) -> None:
        e0, how = ts.one_body_energies([_bulk(0, None)], ["Cu"], "auto", cutoff=6.0)
        assert e0 == {"Cu": 0.0}
        assert "no energies" in how

    @pytest.mark.parametrize(
        ("mode", "teacher", "message"),
        [
            ("isolated", None, "no one-body energy for Cu"),
            ("teacher", None, "the teacher states no one-body energies"),
            ("teacher", {"Cu": 0.0}, "no one-body energy for H"),
            ({"H": 1.0}, None, "no one-body energy for Cu"),
        ],
    )
    def test_missing_elements_are_refused(self, mode, teacher, message: str) -> None:
        with pytest.raises(UserError, match=message):
            ts.one_body_energies(self._set(), ["Cu", "H"], mode, cutoff=6.0, teacher=teacher)


def test_near_identical_structures_are_dropped_once() -> None:
    structures = [_bulk(k) for k in range(30)]
    copy = structures[7].copy()
    copy.positions += 4e-4
    shifted = structures[7].copy()
    shifted.positions[0, 0] += 0.01
    kept, conflicts = ts.without_duplicates([*structures, copy, copy.copy(), shifted])
    assert kept == [*range(30), 32]
    assert conflicts == []


def test_duplicates_with_other_labels_are_kept_and_named() -> None:
    first, second = _bulk(0), _bulk(0)
    second.info["REF_energy"] += 1.0
    kept, conflicts = ts.without_duplicates([first, _bulk(1), second])
    assert kept == [0, 1, 2]
    assert conflicts == [(0, 2)]


def test_a_free_atom_is_no_outlier() -> None:
    free = set_labels(Atoms("Cu"), energy=500.0, forces=np.zeros((1, 3)))
    structures = [_bulk(k) for k in range(30)]
    assert ts.outliers([free, *structures], {"Cu": 0}) == ts.outliers(structures, {"Cu": 0}) == []


def test_outlying_energy_and_force_are_found_by_index() -> None:
    rng = np.random.default_rng(0)
    structures = [_bulk(k, energy=-3.5 + 0.01 * rng.normal()) for k in range(40)]
    structures[5].info["REF_energy"] += 400.0
    structures[9].arrays["REF_forces"][0] = 1e6
    found = {(item["index"], item["quantity"][:6]) for item in ts.outliers(structures, {"Cu": 0})}
    assert found == {(5, "energy"), (9, "larges")}


def test_a_mixed_set_has_no_outliers_for_its_compositions_alone() -> None:
    rng = np.random.default_rng(1)
    structures = []
    for _ in range(60):
        copper, hydrogen = (int(v) for v in rng.integers(1, 6, 2))
        atoms = Atoms(f"Cu{copper}H{hydrogen}", positions=rng.normal(size=(copper + hydrogen, 3)))
        energy = -300.0 * copper - 3.0 * hydrogen + 0.01 * len(atoms) * rng.normal()
        structures.append(set_labels(atoms, energy=energy))
    assert ts.outliers(structures, {"Cu": 0.0, "H": 0.0}) == []
