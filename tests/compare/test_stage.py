"""The compare stage on tiny inputs: what it writes, what it keeps, and when it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from fake_run import barriers_result, diffusion_result, sticking_result

from distill.compare import compare_stage as stage
from distill.compare.observables import bulk_rows
from distill.compare.verdict import judge_student
from distill.config import (
    BulkConfig,
    CalculatorConfig,
    CompareConfig,
    DiffusionConfig,
    NebConfig,
    ParallelConfig,
    StickingConfig,
    StudentConfig,
    TimingConfig,
    Tolerances,
)
from distill.core.artifacts import read_json
from distill.core.errors import ChecksFailed, UserError
from distill.core.number_text import number_text
from distill.data.structures import read_structures, reference_forces, write_structures
from distill.metrics.errors import extrapolation_text
from distill.models.calculators import label_structures, load_calculator
from distill.student.fit.native_fit import fit

TEACHER, STUDENT = Path("compare_toys:Teacher"), Path("compare_toys:Student")


@pytest.fixture
def inputs(tmp_path):
    rng = np.random.default_rng(5)
    structures = []
    for _ in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, rng=rng)
        atoms.info["config_type"] = "bulk"
        structures.append(atoms)
    reference, teacher = (
        label_structures(structures, load_calculator(f"compare_toys:{name}"))
        for name in ("Scaled", "Teacher")
    )
    write_structures(tmp_path / "test.xyz", reference)
    write_structures(tmp_path / "held_out.xyz", teacher)
    return {
        "teacher": TEACHER,
        "student": STUDENT,
        "reference_test": tmp_path / "test.xyz",
        "held_out": tmp_path / "held_out.xyz",
        "out": tmp_path / "compare",
        "seed": 1,
        "parallel": ParallelConfig(backend="serial"),
    }


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes longer than all else here; the figures have tests of their own."""
    monkeypatch.setattr(stage, "_draw", lambda out, name, results, labels: None)


def rms(structures):
    return np.sqrt(np.mean([reference_forces(a) ** 2 for a in structures]))


def test_errors_of_the_three_levels_are_the_known_ones(inputs):
    stage.run(CompareConfig(timing=None), **inputs)
    errors = read_json(inputs["out"] / "errors.json")
    size = rms(read_structures(inputs["reference_test"]))
    found = {name: errors["test"][name]["forces"]["rmse"] for name in list(errors["test"])[:3]}
    assert found["reference_teacher"] == pytest.approx(0.03 * size, rel=1e-5)
    assert found["teacher_student"] == pytest.approx(0.0103 * size, rel=1e-5)
    assert found["reference_student"] == pytest.approx(0.0403 * size, rel=1e-5)
    assert errors["test"]["force_error_correlation"] == pytest.approx(1, abs=1e-4)
    held_out = errors["held_out"]["teacher_student"]
    assert held_out["forces"]["rmse"] == pytest.approx(0.0103 * size, rel=1e-5)
    predicted = read_structures(inputs["out"] / "test_student.xyz")
    assert rms(predicted) == pytest.approx(1.03 * 1.01 * size, rel=1e-5)
    for name in ("errors.csv", "parity.png", "parity.pdf", "error_histograms.png"):
        assert (inputs["out"] / name).stat().st_size > 0
    judge_student(CompareConfig(timing=None), inputs["out"])
    assert read_json(inputs["out"] / "verdict.json") == {"passed": None, "checks": []}


def test_test_structures_outside_the_students_training_are_told(inputs, tmp_path, capsys):
    """The fourth of the test structures is squeezed to distances that the student never saw."""
    config = StudentConfig(order=2, totaldegree=6.0, rcut=4.5, backend="native", threads=1)
    student = fit(read_structures(inputs["held_out"]), config, seed=0).student
    student.save(tmp_path / "student.npz")
    test = read_structures(inputs["held_out"])
    test[3].set_cell(0.8 * test[3].cell, scale_atoms=True)
    write_structures(inputs["reference_test"], test)
    inputs["student"] = tmp_path / "student.npz"
    stage.run(CompareConfig(timing=None), **inputs)
    errors = read_json(inputs["out"] / "errors.json")
    found = errors["extrapolation"]
    assert found["beyond_training_indices"] == [3]
    assert found["teacher_student_within"]["structures"] == 5
    within, everywhere = (
        1000 * table["forces"]["rmse"]
        for table in (found["teacher_student_within"], errors["test"]["teacher_student"])
    )
    assert within < 0.1 * everywhere
    assert (
        f"student: 1 of 6 test structures outside the training data (largest extrapolation "
        f"grade {number_text(found['largest_grade'])}); force RMSE against the teacher "
        f"{number_text(within)} meV/Å on the others, {number_text(everywhere)} on all"
    ) in capsys.readouterr().out
    del errors["extrapolation"]["teacher_student_within"]["forces"]
    assert extrapolation_text(errors).endswith(")")
    assert extrapolation_text({**errors, "extrapolation": None}) == ""


def test_finished_parts_are_kept(inputs, monkeypatch, no_figures):
    stage.run(CompareConfig(timing=None), **inputs)
    out = inputs["out"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "test_student.xyz").unlink()
    monkeypatch.setattr(stage, "_errors", lambda *arguments: pytest.fail("computed again"))
    stage.run(CompareConfig(timing=None), **inputs)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_failed_check_raises_after_the_verdict_is_written(inputs, no_figures):
    config = CompareConfig(
        timing=None, tolerances=Tolerances(teacher_force_rmse=1e-6, student_force_rmse=10.0)
    )
    stage.run(config, **inputs)
    with pytest.raises(ChecksFailed, match="teacher's force RMSE against the reference") as failure:
        judge_student(config, inputs["out"])
    assert "student" not in str(failure.value)
    verdict = read_json(inputs["out"] / "verdict.json")
    assert [check["passed"] for check in verdict["checks"]] == [False, True]
    # Other tolerances judge the same numbers.
    lenient = config.model_copy(update={"tolerances": Tolerances(teacher_force_rmse=10.0)})
    judge_student(lenient, inputs["out"])
    assert read_json(inputs["out"] / "verdict.json")["passed"] is True


def test_a_tolerance_without_its_computation_is_refused_before_any_work(inputs):
    config = CompareConfig(timing=None, tolerances=Tolerances(speedup=10))
    with pytest.raises(UserError, match=r"tolerances\.speedup"):
        stage.run(config, **inputs)
    assert not inputs["out"].exists()


def test_a_budget_too_small_for_its_precision_is_refused_before_any_work(inputs):
    sticking = StickingConfig(precision=0.01, teacher_trajectories=5)
    with pytest.raises(UserError, match="teacher_trajectories is 5"):
        stage.run(CompareConfig(timing=None, sticking=sticking), **inputs)
    assert not inputs["out"].exists()


def test_models_are_timed_on_the_largest_held_out_structure(inputs, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    config = CompareConfig(timing=TimingConfig(repeats=3), tolerances=Tolerances(speedup=0.01))
    stage.run(config, **inputs)
    judge_student(config, inputs["out"])
    timing = read_json(inputs["out"] / "timing.json")
    assert timing["structure"] == "held-out structure 0"
    assert list(timing["models"]) == ["teacher", "student"]
    assert (inputs["out"] / "timing.png").exists() and (inputs["out"] / "timing.csv").exists()
    assert read_json(inputs["out"] / "verdict.json")["passed"] is True


def test_observables_are_computed_once_and_judged(inputs, monkeypatch):
    asked = []

    def run_barriers(nebs, models, reference_paths, out, *, parallel):
        asked.append(("barriers", list(models), reference_paths))
        return barriers_result()

    def run_sticking(config, *, teacher, student, out, seed, parallel):
        asked.append(("sticking", [teacher, student], seed))
        return sticking_result()

    def run_diffusion(config, *, models, out, seed, parallel):
        asked.append(("diffusion", list(models), seed))
        return diffusion_result()

    monkeypatch.setattr("distill.observables.barriers.barriers.run_barriers", run_barriers)
    monkeypatch.setattr("distill.observables.sticking.sticking.run_sticking", run_sticking)
    monkeypatch.setattr("distill.observables.diffusion.diffusion.run_diffusion", run_diffusion)
    config = CompareConfig(
        timing=None,
        barriers=[NebConfig()],
        reference_barriers={"111": "path.xyz"},
        sticking=StickingConfig(),
        diffusion=DiffusionConfig(),
        tolerances=Tolerances(barrier=0.05, sticking=0.2, activation_energy=0.04),
    )
    reference = CalculatorConfig(path="compare_toys:Scaled")
    stage.run(config, **inputs, reference=reference)
    monkeypatch.setattr(stage, "_draw", lambda out, name, results, labels: None)
    stage.run(config, **inputs, reference=reference)
    with pytest.raises(ChecksFailed, match="activation energy"):
        judge_student(config, inputs["out"])
    assert asked == [
        ("barriers", ["reference", "teacher", "student"], {"111": "path.xyz"}),
        ("sticking", [TEACHER, STUDENT], 1),
        ("diffusion", ["teacher", "student"], 1),
    ]
    verdict = read_json(inputs["out"] / "verdict.json")
    assert [check["passed"] for check in verdict["checks"]] == [True, True, False]
    for name in ("barriers", "sticking", "diffusion"):
        for suffix in (".json", ".csv", ".png", ".pdf"):
            assert (inputs["out"] / f"{name}{suffix}").stat().st_size > 0


def test_bulk_properties_are_tabulated(inputs):
    config = CompareConfig(timing=None, bulk=BulkConfig(formula="Cu", elastic=False))
    stage.run(config, **inputs)
    rows = bulk_rows(read_json(inputs["out"] / "bulk.json"))
    found = {(row["model"], row["property"]): row["value"] for row in rows}
    # Scaling all energies scales the modulus and leaves the lattice constant.
    ratio = found["student", "bulk modulus"] / found["teacher", "bulk modulus"]
    assert ratio == pytest.approx(1.01, rel=1e-3)
    assert found["student", "lattice constant"] == pytest.approx(
        found["teacher", "lattice constant"], abs=1e-4
    )
    assert (inputs["out"] / "bulk.png").exists()


def test_the_test_set_stands_in_for_missing_held_out_structures(inputs, no_figures):
    inputs["held_out"].write_text("")
    stage.run(CompareConfig(timing=None), **inputs)
    errors = read_json(inputs["out"] / "errors.json")
    held_out, test = (errors[name]["teacher_student"]["forces"] for name in ("held_out", "test"))
    assert held_out == test


def test_labels_that_are_missing_are_named(inputs):
    structures = read_structures(inputs["reference_test"])
    del structures[2].arrays["REF_forces"]
    write_structures(inputs["reference_test"], structures)
    with pytest.raises(UserError, match="structure 2"):
        stage.run(CompareConfig(timing=None), **inputs)


def test_model_of_acepotentials_is_timed_where_julia_can_run_it(tmp_path, monkeypatch):
    student = tmp_path / "student.npz"
    assert stage._julia_model(student) is None
    (tmp_path / "ace_model.json").touch()
    monkeypatch.setattr("distill.student.julia.acepotentials.available", lambda: "no Julia here")
    assert stage._julia_model(student) is None
    monkeypatch.setattr("distill.student.julia.acepotentials.available", lambda: None)
    assert stage._julia_model(student) == tmp_path / "ace_model.json"
