"""Selection: diverse, repeatable, without duplicates, honest about coverage and filters."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111

from distill.config import SelectionConfig
from distill.core.errors import UserError
from distill.data.structures import set_labels
from distill.metrics.selection import coverage, distinct, largest_leverage
from distill.sampling.descriptors import structure_descriptors
from distill.sampling.selection import choices, select
from distill.sampling.unphysical import without_unphysical

METHODS = ["kmeans", "fps", "leverage", "random"]


@pytest.fixture
def clumped() -> np.ndarray:
    """Ten tight clumps far from each other; nine of ten points sit in the first."""
    generator = np.random.default_rng(0)
    centres = 10 * generator.standard_normal((10, 4))
    counts = [450] + [50 // 9] * 9
    return np.vstack(
        [c + 0.01 * generator.standard_normal((n, 4)) for c, n in zip(centres, counts, strict=True)]
    )


@pytest.mark.parametrize("method", METHODS)
def test_choice_is_of_the_asked_size_and_repeats(clumped, method):
    config = SelectionConfig(method=method, count=10)
    chosen = select(clumped, config, 3)
    assert len(np.unique(chosen)) == 10
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, select(clumped, config, 3))
    everything = config.model_copy(update={"count": len(clumped)})
    np.testing.assert_array_equal(select(clumped, everything, 3), np.arange(len(clumped)))


@pytest.mark.parametrize("method", ["kmeans", "fps"])
def test_every_clump_is_found(clumped, method):
    chosen = select(clumped, SelectionConfig(method=method, count=10), 3)
    assert coverage(clumped, clumped[chosen])["largest_distance"] < 0.2
    drawn = select(clumped, SelectionConfig(method="random", count=10), 3)
    assert coverage(clumped, clumped[drawn])["largest_distance"] > 1.0


def test_leverage_is_the_greedy_d_optimal_design():
    generator = np.random.default_rng(1)
    points = generator.standard_normal((40, 3))
    chosen = select(points, SelectionConfig(method="leverage", count=8), 0)
    rows = np.hstack([points, np.ones((40, 1))])
    floor = 1e-6 * np.mean(rows**2) * np.eye(4)
    expected: list[int] = []
    for _ in range(8):
        gains = [
            np.linalg.slogdet(floor + rows[[*expected, i]].T @ rows[[*expected, i]])[1]
            if i not in expected
            else -np.inf
            for i in range(40)
        ]
        expected.append(int(np.argmax(gains)))
    assert sorted(expected) == chosen.tolist()


def test_leverage_looks_away_from_what_is_known():
    along, across = np.array([[1.0, 0.0]]), np.array([[0.0, 0.9]])
    points = np.vstack([along, across])
    assert largest_leverage(points, 1).tolist() == [0]
    assert largest_leverage(points, 1, known=np.repeat(along, 3, axis=0)).tolist() == [1]
    assert sorted(largest_leverage(points, 2)) == [0, 1]


def test_random_choice_depends_on_the_seed(clumped):
    config = SelectionConfig(method="random", count=10)
    assert select(clumped, config, 3).tolist() != select(clumped, config, 4).tolist()


def test_near_duplicates_are_dropped_in_order():
    points = np.array([[0.0], [0.05], [1.0], [1.05], [0.08], [2.0]])
    assert distinct(points, 0.1).tolist() == [0, 2, 5]
    assert distinct(points, 0.0).tolist() == list(range(6))


def test_coverage_is_the_distance_to_the_nearest_chosen():
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    numbers = coverage(points, points[[0, 2]])
    assert numbers["mean_distance"] == pytest.approx((0 + 1 + 0 + 4) / 4)
    assert numbers["largest_distance"] == pytest.approx(4.0)


def test_methods_are_compared_at_the_same_count(clumped):
    config = SelectionConfig(method="fps", count=10)
    chosen = select(clumped, config, 3)
    assert list(choices(clumped, chosen, config, 3)) == ["fps", "random"]
    every = config.model_copy(update={"compare_methods": True})
    found = choices(clumped, chosen, every, 3)
    assert set(found) == set(METHODS)
    assert {len(indices) for indices in found.values()} == {10}
    assert found["fps"] is chosen


def test_empty_pool_and_too_many_clusters_are_explained():
    with pytest.raises(UserError, match="no sampled structure is left"):
        select(np.empty((0, 3)), SelectionConfig(count=1), 0)
    with pytest.raises(UserError, match=r"selection.count is 11, but only 10 distinct"):
        select(np.zeros((10, 3)), SelectionConfig(count=11), 0)


@pytest.fixture
def approaching() -> list[Atoms]:
    """H2 at falling heights over a slab whose atoms shiver."""
    generator = np.random.default_rng(4)
    slab = fcc111("Cu", (2, 2, 3), a=3.65, vacuum=7.0)
    slab.pbc = True
    structures = []
    for height in np.linspace(4.0, 1.0, 12):
        atoms = slab + Atoms("H2", [[2.0, 1.5, 0], [2.74, 1.5, 0]])
        atoms.positions[-2:, 2] = slab.positions[:, 2].max() + height
        atoms.positions += generator.normal(0, 0.02, atoms.positions.shape)
        structures.append(atoms)
    return structures


def test_two_hydrogen_atoms_are_not_drowned_by_the_slab(approaching):
    values = structure_descriptors(approaching, "ace", "")
    assert len(values) == 12
    distances = np.linalg.norm(values - values[-1], axis=1)
    # The molecule at the surface is farther from one high above than from its neighbour, although
    # every atom of the slab has shivered.
    assert distances[-2] < 0.7 * distances[0]


def test_descriptors_do_not_see_rotations_or_the_order_of_atoms(approaching):
    turned = approaching[-1].copy()
    turned.rotate(37, "z", rotate_cell=True)
    turned = turned[::-1]
    structures = [*approaching, turned]
    values = structure_descriptors(structures, "ace", "")
    np.testing.assert_allclose(values[-1], values[-2], atol=1e-6)


def test_structures_without_an_element_are_told_apart(approaching):
    clean = approaching[-1][:-2]
    values = structure_descriptors([*approaching, clean], "ace", "")
    assert np.isfinite(values).all()
    assert np.linalg.norm(values[-1] - values[-2]) > 0.5


def test_teacher_without_descriptors_is_refused(approaching):
    with pytest.raises(UserError, match="has no descriptors; use 'ace'"):
        structure_descriptors(approaching, "teacher", "ase.calculators.emt:EMT")


def test_unphysical_structures_are_left_out_with_reasons():
    def pair(distance: float, energy: float, force: float) -> Atoms:
        atoms = Atoms("H2", [[0, 0, 0], [distance, 0, 0]])
        forces = np.array([[force, 0, 0], [-force, 0, 0]])
        return set_labels(atoms, energy=energy, forces=forces)

    structures = [
        pair(0.74, -4.5, 0.1),
        pair(0.2, 3.0, 10.0),
        pair(0.5, 0.0, 80.0),
        pair(0.74, float("nan"), 0.1),
        pair(0.74, -4.5, float("inf")),
        pair(0.8, -4.4, 1.0),
    ]
    kept, reasons = without_unphysical(structures, SelectionConfig(max_force=50.0))
    assert [atoms.get_distance(0, 1) for atoms in kept] == pytest.approx([0.74, 0.8])
    assert reasons == {
        "atoms closer than min_distance": 1,
        "force above max_force": 1,
        "label or position not finite": 2,
    }
