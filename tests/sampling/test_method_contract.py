"""What every sampling method promises, for each of the package's own."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from helpers import SERIAL
from method_tests import SamplingMethodContract
from surface_potentials import DOUBLE_WELL, STICKY, WALL

from distill.config import MdConfig, NebConfig, RattleConfig, ScatteringConfig, SlabConfig
from distill.core.work import WorkFolder, run_waiting
from distill.sampling.method import SAMPLING_METHODS, Sampler
from distill.sampling.methods.augment import Augment, AugmentConfig
from distill.simulation.config import ScatteringCase

EMT_PATH, LENNARD_JONES = "ase.calculators.emt:EMT", "ase.calculators.lj:LennardJones"
SLAB = SlabConfig(size=(3, 3), layers=2, fixed_layers=1, vacuum=13.0, lattice_constant=3.6)


# Of a student that differs from its teacher by nothing.
STEPS = {
    "multiple_time_steps": {
        "student": EMT_PATH, "test_time": 8.0, "outer_step": 4.0, "max_drift": 1e9,
    }
}  # fmt: skip


@pytest.fixture(scope="class")
def copper(tmp_path_factory) -> str:
    """Two cells of copper in one file."""
    path = tmp_path_factory.mktemp("structures") / "copper.xyz"
    write(path, [bulk("Cu", a=a, cubic=True) for a in (3.59, 3.65)], format="extxyz")
    return str(path)


@pytest.fixture(scope="class")
def silver(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("structures") / "silver.xyz"
    write(path, [bulk("Ag", a=a, cubic=True) for a in (4.05, 4.1)], format="extxyz")
    return str(path)


class TestScattering(SamplingMethodContract):
    method = "scattering"
    model, other_model = STICKY, WALL
    conditions = frozenset(
        {
            "facets",
            "surface_temperatures",
            "states",
            "collision_energies",
            "cases",
            "trajectories",
        }
    )
    some = frozenset({"snapshots"})

    @pytest.fixture(scope="class")
    def configs(self):
        return [
            ScatteringConfig(
                slab=SLAB,
                facets=["111"],
                surface_temperatures=[300.0],
                states=[(0, 1)],
                collision_energies=[0.5, 1.0],
                trajectories=2,
                start_height=3.0,
                time_step=0.4,
                max_time=40.0,
                save_every=2.0,
                thermalisation_time=20.0,
                snapshots=2,
                snapshot_interval=8.0,
                surface_time_step=4.0,
                max_energy_error=1.0,
            )
        ]

    @pytest.fixture(scope="class")
    def others(self):
        return {
            "molecule": {"molecule": "CuH"},
            "masses": {"masses": (2.014, 2.014)},
            "slab": {"slab": SLAB.model_copy(update={"lattice_constant": 3.65})},
            "facets": {"facets": ["111", "100"]},
            "surface_temperatures": {"surface_temperatures": [300.0, 0.0]},
            "states": {"states": [(0, 1), (1, 1)]},
            "collision_energies": {"collision_energies": [0.5, 1.0, 0.8]},
            "cases": {"cases": [ScatteringCase(), ScatteringCase(states=[(1, 1)])]},
            "trajectories": {"trajectories": 3},
            "polar_angle": {"polar_angle": 20.0},
            "azimuthal_angle": {"azimuthal_angle": 30.0},
            "start_height": {"start_height": 3.2},
            "time_step": {"time_step": 0.5},
            "max_time": {"max_time": 50.0},
            "save_every": {"save_every": 4.0},
            "dissociation_distance": {"dissociation_distance": 2.0},
            "scattered_height": {"scattered_height": 4.0},
            "thermalisation_time": {"thermalisation_time": 24.0},
            "snapshots": {"snapshots": 3},
            "snapshot_interval": {"snapshot_interval": 12.0},
            "surface_time_step": {"surface_time_step": 2.0},
            "friction": {"friction": 0.03},
            "max_energy_error": {"max_energy_error": 0.2},
            "max_temperature": {"max_temperature": 10000.0},
        }

    def test_more_of_anything_leaves_the_surface_of_each_trajectory(
        self, configs, others, tmp_path, ran
    ):
        """There is one for each, if not told otherwise."""
        update = {"snapshots": None, "max_time": 4.0, "thermalisation_time": 4.0}
        config = configs[0].model_copy(update=update)
        before = self.plan([config], tmp_path)
        run_waiting(before, parallel=SERIAL, label="x")
        made = set(ran)
        ran.clear()
        for name in sorted(self.conditions):
            after = self.plan([config.model_copy(update=others[name])], tmp_path)
            assert {u.key for u in before} <= {u.key for u in after if u.finished}, name
        assert len(made) > len(before)
        assert not made & set(ran)


class TestMinimumEnergyPaths(SamplingMethodContract):
    method = "neb"
    model, other_model = DOUBLE_WELL, STICKY
    random = False
    harmless = frozenset({"require_convergence"})

    @pytest.fixture(scope="class")
    def ends(self, tmp_path_factory) -> dict[str, str]:
        """Structure files near the two minima, by their place along x."""
        folder = tmp_path_factory.mktemp("ends")
        paths = {}
        for x in (-0.9, -0.8, 0.9, 1.1):
            # The second atom tells the interpolation how far apart things are.
            write(folder / f"{x}.xyz", Atoms("H2", [[x, 0.2, 0.1], [0, 4, 0]]))
            paths[str(x)] = str(folder / f"{x}.xyz")
        return paths

    @pytest.fixture(scope="class")
    def configs(self, ends):
        return [
            NebConfig(initial=ends["-0.9"], final=final, images=5, fmax=0.05, keep=8)
            for final in (ends["0.9"], ends["1.1"])
        ]

    @pytest.fixture(scope="class")
    def others(self, ends):
        return {
            "facet": {"facet": "100"},
            "slab": {"slab": SLAB},
            "site": {"site": "top"},
            "initial": {"initial": ends["-0.8"]},
            "final": {"final": ends["1.1"]},
            "exchange": {"exchange": True},
            "relax_ends": {"relax_ends": False},
            "images": {"images": 7},
            "fmax": {"fmax": 0.1},
            "max_steps": {"max_steps": 100},
            "keep": {"keep": 4},
            "require_convergence": {"require_convergence": True},
            "hessian": {"hessian": "mobile"},
        }


class TestMolecularDynamics(SamplingMethodContract):
    method = "md"
    model, other_model = EMT_PATH, LENNARD_JONES
    conditions = frozenset({"temperatures", "pressures", "runs"})
    harmless = frozenset({"multiple_time_steps"})  # without that engine

    @pytest.fixture(scope="class")
    def configs(self, copper):
        return [
            MdConfig(
                structure=copper,
                ensemble=ensemble,
                temperatures=[300.0, 600.0],
                time=20.0,
                equilibration_time=4.0,
                time_step=2.0,
                save_every=4.0,
            )
            for ensemble in ("npt", "nvt")
        ]

    @pytest.fixture(scope="class")
    def others(self, silver):
        return {
            "structure": {"structure": silver},
            "runs": {"runs": 2},
            "index": {"index": 1},
            "ensemble": {"ensemble": "nve"},
            "temperatures": {"temperatures": [300.0, 600.0, 400.0]},
            "pressures": {"pressures": [0.0, 0.05]},
            "supercell": {"supercell": (2, 1, 1)},
            "defect": {"defect": "vacancy"},
            "defect_element": {"defect_element": "Cu"},
            "time": {"time": 24.0},
            "equilibration_time": {"equilibration_time": 8.0},
            "time_step": {"time_step": 1.0},
            "save_every": {"save_every": 2.0},
            "friction": {"friction": 0.02},
            "max_temperature": {"max_temperature": 5000.0},
            "engine": {"ensemble": "nve", "engine": "multiple_time_steps", **STEPS},
            "multiple_time_steps": STEPS,
        }


class TestRattle(SamplingMethodContract):
    method = "rattle"
    model, other_model = EMT_PATH, LENNARD_JONES

    @pytest.fixture(scope="class")
    def configs(self, copper):
        return [RattleConfig(structures=copper, copies=2, amplitude=0.05, relax_steps=1)]

    @pytest.fixture(scope="class")
    def others(self, silver):
        return {
            "structures": {"structures": silver},
            "copies": {"copies": 3},
            "amplitude": {"amplitude": 0.06},
            "strain": {"strain": 0.01},
            "relax_steps": {"relax_steps": 0},
        }

    def test_the_same_structures_in_another_file_are_not_done_again(
        self, configs, again, copper, tmp_path
    ):
        shutil.copy(copper, tmp_path / "other.xyz")
        other = configs[0].model_copy(update={"structures": str(tmp_path / "other.xyz")})
        assert all(unit.finished for unit in self.plan([other], again))

    def test_neither_are_they_in_another_order_or_beside_others(
        self, configs, again, copper, silver, tmp_path
    ):
        write(tmp_path / "all.xyz", [*read(silver, ":"), *read(copper, ":")[::-1]])
        other = configs[0].model_copy(update={"structures": str(tmp_path / "all.xyz")})
        assert [unit.finished for unit in self.plan([other], again)] == [False, False, True, True]


class TestAugment(SamplingMethodContract):
    method = "augment"
    model, other_model = EMT_PATH, LENNARD_JONES

    @pytest.fixture(scope="class")
    def configs(self, copper):
        return [
            AugmentConfig(
                structures=copper, children=3, amplitude=0.3, relax_steps=2, temperature=100
            )
        ]

    @pytest.fixture(scope="class")
    def others(self, silver):
        return {
            "structures": {"structures": silver},
            "children": {"children": 4},
            "amplitude": {"amplitude": 0.2},
            "strain": {"strain": 0.01},
            "temperature": {"temperature": 5000},
            "relax_steps": {"relax_steps": 0},
            "depth_bias": {"depth_bias": 50.0},
        }


def test_a_tree_descends_from_its_first_structure_and_counts_its_calls(copper, tmp_path):
    config = AugmentConfig(structures=copper, children=12, amplitude=0.4, temperature=300)
    unit = Augment().units([config], Sampler(EMT_PATH, WorkFolder(tmp_path)))[0]
    unit.run()
    tree = unit.structures()
    assert len(tree) == 13
    assert max(a.info["generation"] for a in tree) > 1
    branches = {a.info["trajectory"] for a in tree}
    assert len(branches) == 1 + sum(a.info["generation"] == 1 for a in tree)
    first = read(copper, index=0)
    assert np.allclose(tree[0].positions, first.positions)
    # Relaxed, they lie lower than rattled alone; each look at the model is counted.
    calls = Augment().collect([unit]).calls["augment"]
    assert 13 < calls <= 1 + 12 * 6
    plain = config.model_copy(update={"relax_steps": 0})
    other = Augment().units([plain], Sampler(EMT_PATH, WorkFolder(tmp_path / "plain")))[0]
    other.run()
    highest = [max(a.info["REF_energy"] for a in u.structures()) for u in (unit, other)]
    assert highest[0] < highest[1]
    assert Augment().collect([other]).calls["augment"] == 13


def test_every_method_of_the_package_is_tested():
    tested = {kind.method for kind in SamplingMethodContract.__subclasses__()}
    assert tested >= set(SAMPLING_METHODS.own)
