"""Student-driven sampling: what it asks of the teacher, what it leaves, and that kills are safe."""

import csv
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from drive_stage import (
    DRIVEN,
    SLAB,
    sample,
    structures_above_the_surface,
    write_driven_train,
)
from drivers import kill_a_worker, kill_driver, start_driver, wait_for_files
from surface_potentials import Counted, MorseSurface

from distill.config import NebConfig, RattleConfig, RunConfig, SamplingConfig
from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.data.structures import config_type, read_structures, reference_energy, reference_forces
from distill.report.report import write_report
from distill.sampling.driven import uncertain
from distill.simulation.trust_bound import DEVIATION_KEY, GRADE_KEY
from distill.student.fit.native_fit import fit

RESULTS = ("selected.xyz", "held_out.xyz", "outcomes.csv", "sampling.json")


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Isolated atoms and a dozen structures near the surface, without labels."""
    return write_driven_train(tmp_path_factory.mktemp("data") / "train.xyz")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory, train):
    """A finished stage, run in this process with a teacher that counts its calls."""
    out = tmp_path_factory.mktemp("driven")
    Counted.calls = 0
    sample(out, train, workers=1, config=DRIVEN, teacher="surface_potentials:Counted")
    return out, Counted.calls


def test_every_teacher_call_is_counted(sampled):
    out, made = sampled
    summary = read_json(out / "sampling.json")
    calls = summary["teacher_calls"]
    # Two isolated atoms, ten structures, twelve bond lengths; a lattice constant is given.
    assert calls == {
        "lattice constant": 0,
        "seed": 24,
        "round 1": 6,
        "round 2": 6,
        "total": 36,
    }
    assert summary["driven"]["held_out_calls"] == 6
    assert made == 36 + 6
    assert summary["driven"]["student_calls"] > 20 * made


def test_selected_and_held_out_carry_the_teachers_labels(sampled):
    out, _ = sampled
    selected = read_structures(out / "selected.xyz")
    held_out = read_structures(out / "held_out.xyz")
    assert len(held_out) == 6
    kinds = [config_type(atoms) for atoms in selected]
    assert kinds.count("scattering") == 12
    assert kinds.count("molecule") <= 12
    for atoms in [*selected, *held_out]:
        expected = atoms.copy()
        expected.calc = MorseSurface()
        assert reference_energy(atoms) == pytest.approx(expected.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(reference_forces(atoms), expected.get_forces(), atol=1e-5)


def test_held_out_structures_are_of_a_round_that_taught_nothing(sampled):
    out, _ = sampled
    taught = {a.info.get("round") for a in read_structures(out / "selected.xyz")}
    tested = {a.info["round"] for a in read_structures(out / "held_out.xyz")}
    assert taught == {None, 1, 2}
    assert tested == {3}
    rounds = read_json(out / "sampling.json")["driven"]["rounds"]
    assert [entry["round"] for entry in rounds] == [1, 2, 3]
    assert [entry["training_structures"] for entry in rounds][1:] == [
        rounds[0]["training_structures"] + 6,
        rounds[0]["training_structures"] + 12,
    ]


@pytest.mark.physics
def test_the_student_learns_from_what_it_picks(sampled):
    """Force deviations on new trajectories fall, and so do errors on the last of them."""
    out, _ = sampled
    rounds = read_json(out / "sampling.json")["driven"]["rounds"]
    assert rounds[-1]["force_deviation_95"] < 0.6 * rounds[0]["force_deviation_95"]
    selected = read_structures(out / "selected.xyz")
    test = read_structures(out / "held_out.xyz")
    errors = []
    # A core where the data end would have its own part in the errors.
    config = DRIVEN.driven.student.model_copy(update={"zbl": False})
    for structures in (selected[:-12], selected):
        student = fit(structures, config, seed=1).student
        errors.append(
            np.sqrt(np.mean([(student.predict(a)[1] - reference_forces(a)) ** 2 for a in test]))
        )
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.slow
def test_kills_in_any_round_change_nothing(sampled, train, tmp_path):
    """A killed driver, and a killed worker of the one that goes on, on two workers."""
    driver = start_driver(tmp_path, train, what="driven")
    wait_for_files(tmp_path, "driven/round_02/trajectories/*.json", 1)
    kill_driver(driver)
    assert not (tmp_path / "sampling.json").exists()
    picked = (tmp_path / "driven" / "round_01" / "picked.xyz").read_bytes()
    driver = start_driver(tmp_path, train, what="driven")
    kill_a_worker(driver)
    assert driver.wait(timeout=600) == 0
    assert (tmp_path / "driven" / "round_01" / "picked.xyz").read_bytes() == picked
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (sampled[0] / name).read_bytes(), name


def test_the_report_shows_every_round(sampled, tmp_path):
    write_json(tmp_path / "config.json", RunConfig(sampling=DRIVEN).model_dump(mode="json"))
    shutil.copytree(sampled[0], tmp_path / "sampling")
    text = write_report(tmp_path).read_text()
    assert "the teacher labelled what it was unsure of" in text
    assert "36, and 6 for the held-out structures" in text
    assert "trajectories with the last student of the sampling" in text
    rounds = read_json(sampled[0] / "sampling.json")["driven"]["rounds"]
    for entry in rounds:
        assert f"<tr><th>{entry['round']}</th><td>{entry['training_structures']}</td>" in text
    assert (sampled[0] / "plots" / "fcc111_300K.png").stat().st_size > 1000
    assert (sampled[0] / "selection.png").stat().st_size > 1000


def driven(**updates) -> SamplingConfig:
    return DRIVEN.model_copy(update={"driven": DRIVEN.driven.model_copy(update=updates)})


def test_a_certain_student_asks_no_more(train, tmp_path):
    sample(tmp_path, train, workers=1, config=driven(target=1e6, bound=1e6))
    summary = read_json(tmp_path / "sampling.json")
    assert summary["driven"]["ending"].startswith("the uncertainty of new trajectories is below")
    assert list(summary["teacher_calls"]) == ["lattice constant", "seed", "total"]
    assert len(read_structures(tmp_path / "held_out.xyz")) == 6


# A path that is not found in one step.
STUCK = NebConfig(
    slab=SLAB, images=3, fmax=1e-6, max_steps=1, keep=3, relax_ends=False, require_convergence=True
)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("cut", DRIVEN),
        ("failed", DRIVEN.model_copy(update={"neb": [STUCK]})),
    ],
)
def test_a_student_that_did_not_get_through_is_not_certain(train, tmp_path, name, config):
    """Where a run was cut or failed, nobody knows how uncertain the student is beyond."""
    options = {"rounds": 1, "target": 1e6, "bound": 0.05 if name == "cut" else 1e6}
    changed = DRIVEN.driven.model_copy(update=options)
    sample(tmp_path, train, workers=1, config=config.model_copy(update={"driven": changed}))
    summary = read_json(tmp_path / "sampling.json")["driven"]
    assert summary["rounds"][0][name] > 0
    assert summary["rounds"][0]["force_deviation_95"] < 1e6
    assert not any(entry["certain"] for entry in summary["rounds"])
    assert "below the target" not in summary["ending"]


def test_a_changed_file_of_the_student_s_runs_is_made_again(sampled, train, tmp_path):
    """It would be left out without a word: what was tried is noted apart from what was made."""
    out = tmp_path / "run"
    shutil.copytree(sampled[0], out)
    [trajectory, *_] = sorted((out / "driven" / "round_03" / "trajectories").glob("*.xyz"))
    trajectory.write_text(trajectory.read_text()[:-300])
    sample(out, train, workers=1, config=DRIVEN, teacher="surface_potentials:Counted")
    for name in RESULTS:
        assert (out / name).read_bytes() == (sampled[0] / name).read_bytes(), name


def test_trajectories_are_cut_where_trust_ends_and_calls_where_they_are_limited(train, tmp_path):
    sample(tmp_path, train, workers=1, config=driven(bound=0.05, max_calls=28))
    with open(tmp_path / "outcomes.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["outcome"] for row in rows} == {"cut"}
    assert all("extrapolation grade of" in row["reason"] for row in rows)
    summary = read_json(tmp_path / "sampling.json")
    assert summary["teacher_calls"]["total"] == 28
    assert summary["driven"]["ending"] == "max_calls of 28 is reached"
    assert summary["driven"]["rounds"][0]["cut"] == 6


def test_structures_of_the_user_are_candidates(train, tmp_path):
    extra = tmp_path / "kept.xyz"
    odd = structures_above_the_surface(3, seed=4)
    for atoms in odd:
        atoms.positions[-1, 2] += 0.9
        atoms.info["config_type"] = "kept"
    write(extra, odd, format="extxyz")
    config = driven(extra_structures=str(extra), rounds=1, labels=30)
    sample(tmp_path / "run", train, workers=1, config=config)
    kinds = [config_type(a) for a in read_structures(tmp_path / "run" / "selected.xyz")]
    assert kinds.count("kept") >= 1
    write(extra, Atoms("He", cell=[5, 5, 5], pbc=True), format="extxyz")
    with pytest.raises(UserError, match=r"driven.extra_structures holds He"):
        sample(tmp_path / "other", train, workers=1, config=config)


def test_what_cannot_begin_is_explained(train, tmp_path):
    with pytest.raises(UserError, match=r"driven.max_calls is 10, but the first student .* 24"):
        sample(tmp_path, train, workers=1, config=driven(max_calls=10))
    without = DRIVEN.model_copy(update={"include_training": False})
    with pytest.raises(UserError, match=r"set sampling.include_training to true"):
        sample(tmp_path, train, workers=1, config=without)
    nothing = DRIVEN.model_copy(update={"scattering": None})
    with pytest.raises(UserError, match="has nothing to sample"):
        sample(tmp_path / "nothing", train, workers=1, config=nothing)
    blown = DRIVEN.scattering.model_copy(update={"max_energy_error": 1e-12})
    with pytest.raises(UserError, match="nothing that the student visited in round 1 is left"):
        sample(
            tmp_path / "blown",
            train,
            workers=1,
            config=DRIVEN.model_copy(update={"scattering": blown}),
        )


def test_rattled_structures_are_candidates_too(train, tmp_path):
    config = driven(rounds=1).model_copy(
        update={
            "scattering": None,
            "rattle": [RattleConfig(structures=str(train), copies=2, amplitude=0.08)],
        }
    )
    sample(tmp_path, train, workers=1, config=config)
    kinds = [config_type(a) for a in read_structures(tmp_path / "selected.xyz")]
    assert kinds.count("rattle") == 6
    assert kinds.count("molecule") == 0


def test_certain_structures_are_no_candidates():
    def judged(deviation: float, grade: float) -> Atoms:
        return Atoms("H", info={DEVIATION_KEY: deviation, GRADE_KEY: grade})

    pool = [judged(0.2, 0.5), judged(0.01, 0.5), judged(0.01, 1.5)]
    found = [(a.info[DEVIATION_KEY], a.info[GRADE_KEY]) for a in uncertain(pool, 0.1)]
    assert found == [(0.2, 0.5), (0.01, 1.5)]


def test_a_student_without_uncertainty_is_refused():
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="expected members, found 0"):
        DRIVEN.driven.model_validate(
            {"student": {"backend": "native", "solver": {"kind": "blr", "committee": 0}}}
        )
    with pytest.raises(ValidationError, match="expected native"):
        DRIVEN.driven.model_validate({"student": {"backend": "auto"}})


def test_options_of_the_student_that_samples_leave_the_others():
    default = DRIVEN.driven.model_validate({}).student
    found = DRIVEN.driven.model_validate({"student": {"solver": {"committee": 8}}}).student
    assert found.model_copy(update={"solver": default.solver}) == default
    assert found.solver.committee == 8
    given = {"order": 2, "totaldegree": 6, "rcut": 4.0}
    other = DRIVEN.driven.model_validate({"student": given}).student
    assert (other.order, other.totaldegree, other.rcut, other.zbl) == (2, 6, 4.0, True)
    assert DRIVEN.driven.model_validate({"student": default.model_dump()}).student == default
