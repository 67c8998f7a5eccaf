"""Trajectories: where they start, how they end, what they leave, and that they repeat."""

import numpy as np
import pytest
from ase import units
from ase.io import write
from helpers import SERIAL
from sampling_units import sampling_units
from surface_potentials import STICKY, UNSTABLE, WALL, MorseSurface, Wall

from distill.config import NebConfig, NptConfig, ParallelConfig, SlabConfig
from distill.core.errors import UserError
from distill.core.work import WorkFolder, record_of, run_waiting
from distill.data.structures import read_structures, reference_energy, reference_forces
from distill.models.calculators import load_calculator
from distill.simulation.conditions import Condition, conditions
from distill.simulation.dynamics import velocity_verlet
from distill.simulation.neb_endpoints import end_points
from distill.simulation.rovibrational import HBAR, bound_level
from distill.simulation.scattering import initial_conditions
from distill.simulation.scattering_run import run_trajectory
from distill.simulation.surfaces import make_surfaces, read_surfaces
from distill.systems.constraints import mobile_atoms
from distill.systems.slabs import build_slab


@pytest.fixture
def surfaces(scattering_config, tmp_path):
    return make_surfaces(scattering_config, model=STICKY, work=WorkFolder(tmp_path / "surfaces"))


def test_conditions_are_every_combination(scattering_config):
    config = scattering_config.model_copy(
        update={"facets": ["111", "100"], "states": [(0, 1), (1, 1)]}
    )
    found = conditions(config)
    assert len(found) == len(set(found)) == 2 * 1 * 2 * 2
    assert found[0] == Condition("111", 0.0, 0, 1, 0.5)
    assert found[0].name == "111_0K_v0J1_0.5eV"


def test_start_has_the_asked_height_energy_and_state(scattering_config, surfaces):
    config = scattering_config.model_copy(update={"azimuthal_angle": 90.0, "start_height": 4.0})
    condition = Condition("111", 0.0, 0, 1, 0.5, polar_angle=30.0)
    start = initial_conditions(config, condition, 3, 7, surfaces)
    molecule = start[-2:]
    assert molecule.get_center_of_mass()[2] - start.info["top"] == pytest.approx(4.0)
    drift = molecule.get_momenta().sum(axis=0) / molecule.get_masses().sum()
    translational = 0.5 * molecule.get_masses().sum() * drift @ drift
    assert translational == pytest.approx(0.5)
    direction = drift / np.linalg.norm(drift)
    np.testing.assert_allclose(direction, [0, 0.5, -np.sqrt(3) / 2], atol=1e-12)
    level = bound_level(surfaces.diatomic, 0, 1)
    bond = molecule.get_distance(0, 1)
    internal = molecule.get_kinetic_energy() - translational + surfaces.diatomic.potential(bond)
    assert internal == pytest.approx(level.energy)
    relative = molecule.get_velocities() - drift
    moment = np.cross(molecule.positions - molecule.get_center_of_mass(), relative) * units.fs
    moment = moment.sum(axis=0) * molecule.get_masses()[0] / units.fs**2
    assert np.linalg.norm(moment) == pytest.approx(HBAR * np.sqrt(2.0))
    assert not mobile_atoms(start)[:9].any()
    assert mobile_atoms(start)[9:].all()


@pytest.mark.physics
def test_a_beam_without_an_azimuth_comes_from_all_sides(scattering_config, surfaces):
    """Averages over the beam are averages over the whole circle."""
    config = scattering_config
    condition = Condition("111", 0.0, 0, 1, 0.5, polar_angle=45.0)
    directions = []
    for number in range(200):
        molecule = initial_conditions(config, condition, number, 1, surfaces)[-2:]
        x, y, _ = molecule.get_momenta().sum(axis=0)
        directions.append(np.exp(1j * np.arctan2(y, x)))
    # Of 200 unit vectors evenly around a circle the mean is 0 within 0.05 in each direction; so are
    # those of the doubled angles, which tell opposite sides from neither.
    for power in (1, 2):
        assert abs(np.mean(np.array(directions) ** power)) < 0.2


def test_starts_repeat_and_differ(scattering_config, surfaces, tmp_path):
    condition = conditions(scattering_config)[0]
    first = initial_conditions(scattering_config, condition, 0, 1, surfaces)
    again = read_surfaces(scattering_config, tmp_path / "surfaces")
    same = initial_conditions(scattering_config, condition, 0, 1, again)
    np.testing.assert_array_equal(first.positions, same.positions)
    np.testing.assert_array_equal(first.get_momenta(), same.get_momenta())
    for other in (
        initial_conditions(scattering_config, condition, 1, 1, surfaces),
        initial_conditions(scattering_config, condition, 0, 2, surfaces),
        initial_conditions(scattering_config, conditions(scattering_config)[1], 0, 1, surfaces),
    ):
        assert np.abs(other.positions[-2:] - first.positions[-2:]).max() > 1e-3


@pytest.mark.physics
def test_molecules_scatter_from_a_wall_and_energy_is_conserved(scattering_config, surfaces):
    condition = conditions(scattering_config)[1]
    start = initial_conditions(scattering_config, condition, 0, 1, surfaces)
    outcome, structures = run_trajectory(start, Wall(), scattering_config, condition, 0)
    assert outcome.outcome == "scattered"
    assert outcome.height > 3.1
    assert 0.5 < outcome.lowest_height < 2.5
    assert outcome.energy_error < 0.01
    assert outcome.calls == round(outcome.time / 0.25) + 1
    steps = [atoms.info["step"] for atoms in structures]
    assert steps[:3] == [0, 8, 16]
    assert len(structures) == (outcome.calls - 1) // 8 + 1 + ((outcome.calls - 1) % 8 > 0)


def test_structures_carry_the_raw_labels_of_their_positions(scattering_config, surfaces):
    condition = conditions(scattering_config)[0]
    start = initial_conditions(scattering_config, condition, 0, 1, surfaces)
    _, structures = run_trajectory(start, MorseSurface(), scattering_config, condition, 0)
    atoms = structures[len(structures) // 2].copy()
    assert not atoms.constraints
    atoms.calc = MorseSurface()
    assert reference_energy(atoms) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(reference_forces(atoms), atoms.get_forces(), atol=1e-9)
    assert np.abs(reference_forces(atoms)[:9]).max() > 1e-3
    assert atoms.info["trajectory"] == "111_0K_v0J1_0.5eV_00000"
    assert atoms.info["collision_energy_eV"] == 0.5


def test_molecules_dissociate_on_a_sticky_surface(scattering_config, surfaces):
    condition = conditions(scattering_config)[1]
    start = initial_conditions(scattering_config, condition, 0, 1, surfaces)
    outcome, structures = run_trajectory(start, MorseSurface(), scattering_config, condition, 0)
    assert outcome.outcome == "dissociated"
    last = structures[-1].positions
    assert np.linalg.norm(last[-1] - last[-2]) == pytest.approx(outcome.distance)
    assert outcome.distance > 2.25


def test_time_out_is_undecided(scattering_config, surfaces):
    config = scattering_config.model_copy(update={"max_time": 5.0})
    condition = conditions(config)[0]
    start = initial_conditions(config, condition, 0, 1, surfaces)
    outcome, structures = run_trajectory(start, Wall(), config, condition, 0, keep_structures=False)
    assert (outcome.outcome, outcome.time, structures) == ("undecided", 5.0, [])


def test_same_files_for_any_number_of_workers(scattering_config, tmp_path):
    contents = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        parallel = ParallelConfig(backend="local", workers=workers)
        units_of_work = sampling_units(
            "scattering", scattering_config, model=STICKY, out=out, parallel=parallel
        )
        run_waiting(units_of_work, parallel=parallel, label="x")
        assert all(unit.finished for unit in units_of_work)
        contents.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*.*")})
    assert contents[0] == contents[1]
    # The molecule; structures and record of the surface and of four trajectories.
    assert len(contents[0]) == 1 + 2 * 5


def test_finished_trajectories_are_not_run_again(scattering_config, tmp_path):
    units_of_work = sampling_units("scattering", scattering_config, model=WALL, out=tmp_path)
    run_waiting(units_of_work[:2], parallel=SERIAL, label="x")
    before = units_of_work[0].record.stat().st_mtime_ns
    run_waiting(units_of_work, parallel=SERIAL, label="x")
    assert units_of_work[0].record.stat().st_mtime_ns == before
    assert units_of_work[3].finished


def test_blown_up_trajectories_are_set_aside(scattering_config, tmp_path):
    unit = sampling_units("scattering", scattering_config, model=UNSTABLE, out=tmp_path)[0]
    unit.run()
    outcome = unit.outcome()
    assert outcome.outcome == "blown_up"
    assert "total energy drifted by" in outcome.reason
    assert not unit.structures_path.exists()
    assert read_structures(tmp_path / "set_aside" / unit.structures_path.name)


@pytest.mark.physics
@pytest.mark.parametrize("time_step", [0.25, 0.5])
def test_a_hot_molecule_is_not_set_aside_for_its_own_vibration(
    scattering_config, surfaces, time_step
):
    """v = 2 at up to half a femtosecond, far out and through its collision."""
    config = scattering_config.model_copy(
        update={"time_step": time_step, "max_energy_error": 0.1, "max_time": 120.0}
    )
    condition = Condition("111", 0.0, 2, 1, 0.5)
    ends, swings = [], []
    for number in range(6):
        start = initial_conditions(config, condition, number, 1, surfaces)
        totals = []
        for step in velocity_verlet(start, MorseSurface(), time_step):
            totals.append(step.energy + step.kinetic)
            if step.index * time_step >= 20:
                break
        swings.append(np.ptp(totals))
        ends.append(run_trajectory(start, MorseSurface(), config, condition, number)[0])
    assert max(swings) > time_step**2 / 2
    assert "blown_up" not in {end.outcome for end in ends}
    assert max(end.energy_error for end in ends) < 0.2 * max(swings)


@pytest.mark.physics
def test_a_drift_is_found_whatever_the_vibration(scattering_config, surfaces):
    """Forces that pump 3 % more than their energy has: a drift, not a swing."""

    class Pumped(MorseSurface):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["forces"] = 1.03 * self.results["forces"]

    condition = Condition("111", 0.0, 0, 1, 1.0)
    config = scattering_config.model_copy(update={"max_energy_error": 0.1})
    start = initial_conditions(config, condition, 0, 1, surfaces)
    assert run_trajectory(start, Pumped(), config, condition, 0)[0].outcome == "blown_up"


def test_nan_counts_as_blown_up(scattering_config, surfaces):
    class Broken(Wall):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["energy"] = float("nan")

    condition = conditions(scattering_config)[0]
    start = initial_conditions(scattering_config, condition, 0, 1, surfaces)
    outcome, _ = run_trajectory(start, Broken(), scattering_config, condition, 0)
    assert (outcome.outcome, outcome.calls) == ("blown_up", 1)


@pytest.mark.parametrize("update", [{"start_height": 0.4}, {"start_height": 12.9}])
def test_overlap_with_the_slab_or_its_image_is_refused(scattering_config, surfaces, update):
    config = scattering_config.model_copy(update=update)
    with pytest.raises(UserError, match=r"scattering.start_height .* they overlap"):
        for number in range(20):
            initial_conditions(config, conditions(config)[0], number, 1, surfaces)


def test_state_above_dissociation_is_refused_before_any_trajectory(scattering_config, tmp_path):
    config = scattering_config.model_copy(update={"states": [(0, 1), (30, 0)]})
    with pytest.raises(UserError, match=r"\(30, 0\) of H-H is above"):
        make_surfaces(config, model=STICKY, work=WorkFolder(tmp_path))


def test_damaged_surface_file_is_named(scattering_config, surfaces, tmp_path):
    path = tmp_path / "surfaces" / "111_0K.xyz"
    path.write_text(path.read_text()[:200])
    with pytest.raises(UserError, match=r"111_0K.xyz is damaged"):
        read_surfaces(scattering_config, tmp_path / "surfaces")


@pytest.fixture
def users_slab(slab_config, tmp_path):
    """A slab of the user's own: the test's, with a vacancy in its top layer."""
    slab = build_slab(slab_config, "111", 3.6)
    slab.info = {}
    del slab[-1]
    path = tmp_path / "users.xyz"
    write(path, slab, format="extxyz")
    return SlabConfig(file=str(path))


def test_molecules_meet_a_slab_of_the_user(scattering_config, users_slab, tmp_path):
    config = scattering_config.model_copy(update={"slab": users_slab})
    assert {condition.facet for condition in conditions(config)} == {"slab"}
    unit = sampling_units("scattering", config, model=WALL, out=tmp_path)[1]
    surfaces = read_surfaces(config, tmp_path / "surfaces")
    made = record_of(tmp_path / "surfaces", "slab_0K")["numbers"]
    assert surfaces.calls == 120 + made["calls"] > 121
    unit.run()
    last = read_structures(unit.structures_path)[-1]
    assert unit.outcome().outcome == "scattered"
    assert len(last) == 17 + 2
    assert last.info["facet"] == "slab"


def test_paths_begin_on_a_slab_of_the_user(users_slab):
    first, last = end_points(NebConfig(slab=users_slab, site="bridge"), MorseSurface())
    assert len(first) == 17 + 2
    assert first.get_distance(-1, -2) == pytest.approx(0.75)
    assert last.get_distance(-1, -2, mic=True) > 1.2


@pytest.mark.physics
def test_lattice_constants_are_measured_at_the_surface_temperature(scattering_config, tmp_path):
    npt = NptConfig(supercell=(2, 2, 2), time=800, equilibration_time=300, time_step=5, blocks=3)
    slab = SlabConfig(size=(2, 2), layers=3, fixed_layers=1, npt=npt)
    config = scattering_config.model_copy(
        update={"slab": slab, "surface_temperatures": [0.0, 600.0], "thermalisation_time": 20.0}
    )
    config = config.model_copy(update={"snapshots": 1, "snapshot_interval": 5.0})
    emt = "ase.calculators.emt:EMT"
    surfaces = make_surfaces(config, model=emt, work=WorkFolder(tmp_path))
    cold, hot = (
        surfaces.snapshots["111", temperature][0].cell[0, 0] * np.sqrt(2) / 2
        for temperature in (0.0, 600.0)
    )
    measured = record_of(tmp_path, "lattice_600K")["numbers"]
    assert hot == pytest.approx(measured["lattice_constant"])
    # EMT's copper expands by about 1.4e-5 / K; 0.8 ps of 32 atoms know it to a half.
    assert 0.3e-5 < (hot / cold - 1) / 600 < 3e-5
    snapshots = sum(
        record_of(tmp_path, name)["numbers"]["calls"] for name in ("111_0K", "111_600K_00_0")
    )
    assert surfaces.calls == 120 + 18 + measured["force_calls"] + snapshots


def test_calculator_named_by_path_is_the_one_used():
    assert isinstance(load_calculator(WALL), Wall)
