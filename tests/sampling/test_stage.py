"""The whole stage: what it leaves, that labels are the teacher's, and that kills change nothing."""

import csv
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from drive_stage import CONFIG, sample
from drivers import kill_a_worker, kill_driver, start_driver, wait_for_files
from surface_potentials import MorseSurface

from distill.config import MdConfig, RattleConfig, SamplingConfig, SelectionConfig
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.data.structures import config_type, read_structures, reference_energy, reference_forces
from distill.sampling.held_out import held_out_trajectories

RESULTS = ("selected.xyz", "held_out.xyz", "outcomes.csv", "sampling.json")


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> Path:
    """Three structures with labels of another level of theory."""
    path = tmp_path_factory.mktemp("data") / "train.xyz"
    structures = []
    for bond in (0.7, 0.8, 0.9):
        atoms = Atoms("H2", [[0, 0, 0], [bond, 0, 0]], cell=[12, 12, 12], pbc=True)
        atoms.info.update(REF_energy=100.0, config_type="h2")
        atoms.arrays["REF_forces"] = np.ones((2, 3))
        structures.append(atoms)
    write(path, structures, format="extxyz")
    return path


@pytest.fixture(scope="module")
def sampled(tmp_path_factory, train) -> Path:
    """A finished stage, run in this process."""
    out = tmp_path_factory.mktemp("sampling")
    sample(out, train, workers=1)
    return out


def test_stage_leaves_what_it_promises(sampled):
    summary = read_json(sampled / "sampling.json")
    selected = read_structures(sampled / "selected.xyz")
    held_out = read_structures(sampled / "held_out.xyz")
    kinds = [config_type(atoms) for atoms in selected]
    assert kinds.count("scattering") == 12
    assert kinds.count("neb") == 5
    assert kinds.count("h2") == 3
    assert len(held_out) == 6
    assert summary["selected"] == {
        "total": 20,
        "by_config_type": {"h2": 3, "neb": 5, "scattering": 12},
    }
    with open(sampled / "outcomes.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 6
    assert sum(summary["outcomes"].values()) == 6
    assert (sampled / "selection.png").stat().st_size > 1000
    assert (sampled / "plots" / "fcc111_300K.png").stat().st_size > 1000
    assert set(summary["selection"]["coverage"]) == {"kmeans", "random"}


def test_labels_are_the_teachers(sampled):
    for name in ("selected.xyz", "held_out.xyz"):
        for atoms in read_structures(sampled / name):
            expected = atoms.copy()
            expected.calc = MorseSurface()
            energy = expected.get_potential_energy()
            assert reference_energy(atoms) == pytest.approx(energy, abs=1e-5)
            np.testing.assert_allclose(reference_forces(atoms), expected.get_forces(), atol=1e-5)


def test_held_out_trajectories_are_not_learned_from(sampled):
    learned = {a.info["trajectory"] for a in read_structures(sampled / "selected.xyz")[:17]}
    tested = {a.info["trajectory"] for a in read_structures(sampled / "held_out.xyz")}
    assert tested
    assert not learned & tested
    assert tested <= set(read_json(sampled / "sampling.json")["selection"]["held_out_trajectories"])


def test_every_teacher_call_is_counted(sampled):
    calls = read_json(sampled / "sampling.json")["teacher_calls"]
    with open(sampled / "outcomes.csv") as handle:
        assert calls["scattering"] == sum(int(row["calls"]) for row in csv.DictReader(handle))
    # 120 for the molecule's curve; each of two walks calls once a step and once at the start.
    assert calls["surfaces"] == 120 + 2 * (10 + 1)
    assert calls["labels"] == 3
    assert calls["total"] == sum(n for kind, n in calls.items() if kind != "total")


def test_repeating_the_stage_changes_nothing(sampled, train):
    before = {p: p.read_bytes() for p in sampled.rglob("*") if p.is_file()}
    trajectory = next((sampled / "trajectories").glob("*.xyz"))
    made = trajectory.stat().st_mtime_ns
    sample(sampled, train, workers=1)
    assert trajectory.stat().st_mtime_ns == made
    for path, content in before.items():
        if path.suffix != ".png":
            assert path.read_bytes() == content, path.name


def test_killed_driver_and_killed_worker_end_in_the_same_files(sampled, train, tmp_path):
    out = tmp_path / "run"
    driver = start_driver(out, train)
    wait_for_files(out, "trajectories/*.json", 1)
    kill_driver(driver)
    finished = {p: p.stat().st_mtime_ns for p in (out / "trajectories").glob("*.json")}
    assert not (out / "sampling.json").exists()
    driver = start_driver(out, train)
    kill_a_worker(driver)
    assert driver.wait(timeout=600) == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for name in RESULTS:
        assert (out / name).read_bytes() == (sampled / name).read_bytes(), name


def test_killed_dask_worker_changes_nothing(sampled, train, tmp_path):
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    driver = start_driver(tmp_path, train, backend="dask")
    # By then its workers are at work: one killed while dask starts it ends the cluster.
    wait_for_files(tmp_path, "trajectories/*.json", 1)
    kill_a_worker(driver)
    assert driver.wait(timeout=600) == 0
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (sampled / name).read_bytes(), name


def test_held_out_trajectories_are_spread_over_the_endings():
    endings = {f"d{i}": "dissociated" for i in range(10)} | {
        f"s{i}": "scattered" for i in range(10)
    }
    config = SelectionConfig(count=80, held_out=20)
    held = held_out_trajectories(endings, {}, config, 1)
    assert len(held) == 4
    assert sum(name.startswith("d") for name in held) == 2
    assert held == held_out_trajectories(dict(reversed(endings.items())), {}, config, 1)
    assert held != held_out_trajectories(endings, {}, config, 2)
    with pytest.raises(UserError, match="only one was sampled"):
        held_out_trajectories({"a": "scattered"}, {}, config, 1)


def test_as_many_trajectories_are_held_out_as_an_interval_needs():
    config = SelectionConfig(count=95, held_out=5)
    held = {
        n: len(held_out_trajectories({f"t{k}": "scattered" for k in range(n)}, {}, config, 1))
        for n in (2, 6, 12, 24, 200)
    }
    assert held == {2: 1, 6: 2, 12: 4, 24: 4, 200: 10}


def test_held_out_trajectories_have_surfaces_of_their_own():
    """Six surfaces with five trajectories each, one in ten dissociates."""
    endings = {f"{i:02d}": "scattered" if i % 10 else "dissociated" for i in range(30)}
    starts = {name: f"surface {int(name) % 6}" for name in endings}
    config = SelectionConfig(count=80, held_out=20)
    for seed in range(10):
        held = held_out_trajectories(endings, starts, config, seed)
        others = set(endings) - held
        assert not {starts[name] for name in held} & {starts[name] for name in others}
        assert {endings[name] for name in held} == {"dissociated", "scattered"}
        assert 5 <= len(held) <= 10


def test_a_rare_ending_is_held_out_and_learned_from():
    endings = {f"{i:02d}": "scattered" if i > 1 else "dissociated" for i in range(40)}
    config = SelectionConfig(count=90, held_out=10)
    for seed in range(10):
        held = held_out_trajectories(endings, {}, config, seed)
        assert len(held) == 4
        assert sum(endings[name] == "dissociated" for name in held) == 1


def test_one_surface_for_all_still_gives_a_test():
    endings = {f"{i}": "scattered" for i in range(10)}
    config = SelectionConfig(count=80, held_out=20)
    held = held_out_trajectories(endings, dict.fromkeys(endings, "rest"), config, 1)
    assert len(held) == 3  # as an interval would need four, and a third is three


def test_pool_that_blew_up_is_explained(train, tmp_path):
    config = CONFIG.model_copy(
        update={
            "scattering": CONFIG.scattering.model_copy(update={"max_energy_error": 1e-9}),
            "neb": [],
            "selection": SelectionConfig(count=5, held_out=0),
        }
    )
    with pytest.raises(UserError, match="no sampled structure is left"):
        sample(tmp_path, train, workers=1, config=config)
    assert len(list((tmp_path / "set_aside").glob("*.xyz"))) == 6
    assert not list((tmp_path / "trajectories").glob("*.xyz"))


def test_more_clusters_than_structures_is_explained(sampled, train):
    config = CONFIG.model_copy(update={"selection": SelectionConfig(count=5000, held_out=2)})
    before = (sampled / "selected.xyz").read_bytes()
    with pytest.raises(UserError, match=r"selection.count is 5000, but only \d+ distinct"):
        sample(sampled, train, workers=1, config=config)
    assert (sampled / "selected.xyz").read_bytes() == before


def test_two_units_of_one_name_are_refused(train, tmp_path):
    """The second would be taken for the first, or both write one file at once."""
    # As a method of others might; the options of `md` are refused.
    entry = MdConfig(structure=str(train)).model_copy(update={"temperatures": [300.0, 300.0001]})
    config = SamplingConfig(md=[entry])
    with pytest.raises(UserError, match=r"sampling\.md asks for md_[0-9a-f]+_300K more than once"):
        sample(tmp_path, train, workers=1, config=config)


def test_nothing_to_sample_is_explained(train, tmp_path):
    with pytest.raises(UserError, match="asks for nothing"):
        sample(tmp_path, train, workers=1, config=SamplingConfig(include_training=False))


def test_dynamics_and_rattled_structures_join_the_pool(train, tmp_path):
    config = SamplingConfig(
        md=[
            MdConfig(
                structure=str(train),
                temperatures=[100.0, 300.0],
                time=40.0,
                equilibration_time=10.0,
                time_step=0.5,
                save_every=5.0,
            )
        ],
        rattle=[RattleConfig(structures=str(train), copies=3, amplitude=0.05, strain=0.0)],
        include_training=False,
        selection=SelectionConfig(count=8, held_out=4, min_distance=0.2),
    )
    sample(tmp_path, train, workers=1, config=config)
    summary = read_json(tmp_path / "sampling.json")
    assert summary["selection"]["sampled"] == 2 * 9 + 9
    assert summary["teacher_calls"]["md"] == 2 * 101
    assert summary["teacher_calls"]["rattle"] == 9
    assert len(read_structures(tmp_path / "selected.xyz")) == 8
