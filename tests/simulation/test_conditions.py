"""Conditions and the surfaces they name: cases, order, how many snapshots are independent."""

import numpy as np
import pytest
from ase import Atoms

from distill.config import ScatteringConfig
from distill.simulation.conditions import (
    Condition,
    conditions,
    normal_energy,
    places,
    snapshots_of,
)
from distill.simulation.config import ScatteringCase
from distill.simulation.scattering import surface_order
from distill.simulation.surface_independence import independence


def test_each_case_has_energies_of_its_own():
    config = ScatteringConfig(
        surface_temperatures=[925.0],
        cases=[
            ScatteringCase(facets=["111"], states=[(0, 1)], collision_energies=[0.2, 0.85]),
            ScatteringCase(facets=["111", "211"], states=[(1, 1)], collision_energies=[0.2, 0.3]),
        ],
    )
    found = [(c.facet, c.v, c.energy) for c in conditions(config)]
    assert found == [
        ("111", 0, 0.2),
        ("111", 0, 0.85),
        ("111", 1, 0.2),
        ("111", 1, 0.3),
        ("211", 1, 0.2),
        ("211", 1, 0.3),
    ]
    assert {c.temperature for c in conditions(config)} == {925.0}
    assert places(config) == [("111", 925.0), ("211", 925.0)]


def test_a_condition_of_two_cases_is_run_once():
    case = ScatteringCase(facets=["111"])
    once, twice = (ScatteringConfig(cases=[case] * count) for count in (1, 2))
    assert conditions(once) == conditions(twice)


def test_polar_angles_are_conditions_with_names_of_their_own():
    config = ScatteringConfig(
        facets=["111"],
        surface_temperatures=[300.0],
        states=[(0, 1)],
        collision_energies=[0.8],
        polar_angle=10.0,
        cases=[ScatteringCase(), ScatteringCase(polar_angles=[0.0, 60.0])],
    )
    found = conditions(config)
    assert [c.polar_angle for c in found] == [10.0, 0.0, 60.0]
    assert len({c.name for c in found}) == 3
    assert normal_energy(0.8, 60.0) == pytest.approx(0.2)


def test_there_is_a_surface_for_each_trajectory_up_to_500():
    config = ScatteringConfig(facets=["111"], surface_temperatures=[300.0], trajectories=5)
    assert snapshots_of(config) == 5
    assert snapshots_of(config.model_copy(update={"trajectories": 10000})) == 500
    assert snapshots_of(config.model_copy(update={"snapshots": 7})) == 7


def test_every_surface_is_met_before_one_is_met_again():
    condition = Condition("111", 300.0, 0, 1, 0.5)
    order = surface_order(condition, 1, 40)
    assert sorted(order) == list(range(40))
    assert (order == surface_order(condition, 1, 40)).all()
    for other in (
        surface_order(condition, 2, 40),
        surface_order(Condition("111", 300.0, 1, 1, 0.5), 1, 40),
    ):
        assert (order != other).any()


def walks(count, length, correlation, generator):
    """Snapshots of stationary walks with a correlation of neighbours."""
    fresh = np.sqrt(1 - correlation**2)
    found = []
    for _ in range(count):
        positions, walk = generator.standard_normal((12, 3)), []
        for _ in range(length):
            walk.append(Atoms("Cu12", positions=positions))
            positions = correlation * positions + fresh * generator.standard_normal((12, 3))
        found.append(walk)
    return found


@pytest.mark.physics
@pytest.mark.parametrize(
    ("count", "length", "correlation", "groups"),
    [(20, 10, 0.0, 200), (20, 10, 0.3, 100), (20, 10, 0.9, 20), (4, 5, 0.0, 20), (4, 5, 0.9, 4)],
)
def test_groups_hold_what_is_correlated(count, length, correlation, groups):
    found = independence(walks(count, length, correlation, np.random.default_rng(2)), 1000.0)
    assert found.independent == groups
    assert len(found.groups) == count * length
    if correlation == 0.9:
        # A walk is shorter than the correlation: it is one group, and the time is not known.
        assert found.correlation_time is None
        assert found.groups[:length] == (0,) * length
    else:
        exact = 500 * (1 + correlation) / (1 - correlation)
        assert found.correlation_time == pytest.approx(exact, rel=0.15)


def test_atoms_that_are_held_have_no_say():
    from ase.constraints import FixAtoms

    found = walks(4, 5, 0.0, np.random.default_rng(3))
    for walk in found:
        for atoms in walk:
            atoms.positions[6:] = 0.0
            atoms.set_constraint(FixAtoms(range(6, 12)))
    assert independence(found, 100.0).independent == 20
