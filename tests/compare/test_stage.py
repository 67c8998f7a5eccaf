"""The compare stage on tiny inputs: what it writes, what it keeps, and when it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from fake_observables import barriers_result, sticking_result

from distill.compare import compare_stage as stage
from distill.compare.errors_result import ErrorsResult, extrapolation_text
from distill.compare.timing_result import TimingResult
from distill.compare.timing_stage import JULIA, JULIA_MENDED, julia_models
from distill.compare.verdict import judge_student
from distill.compare.verdict_result import Verdict
from distill.config import (
    BarrierConfig,
    CalculatorConfig,
    CompareConfig,
    StickingConfig,
    StudentConfig,
    TimingConfig,
    Tolerances,
)
from distill.core.errors import ChecksFailed, UserError
from distill.core.number_text import number_text
from distill.core.results import read_result
from distill.core.work import Unit
from distill.data.structures import read_structures, reference_forces, write_structures
from distill.models.calculators import load_calculator
from distill.models.labelling import label_structures
from distill.observables.barriers.observable import Barriers
from distill.observables.sticking.observable import Sticking
from distill.student.fit.native_fit import fit

TEACHER, STUDENT = Path("compare_toys:Teacher"), Path("compare_toys:Student")


def rms(structures):
    return np.sqrt(np.mean([reference_forces(a) ** 2 for a in structures]))


def errors_in(inputs) -> ErrorsResult:
    return read_result(inputs["out"] / "errors.json", ErrorsResult)


def verdict_in(inputs) -> Verdict:
    return read_result(inputs["out"] / "verdict.json", Verdict)


def judged_in(inputs) -> dict[str, bool]:
    """Which of the checks that have a bound passed."""
    return {c.tolerance: c.passed for c in verdict_in(inputs).checks if c.bound is not None}


def test_errors_of_the_three_levels_are_the_known_ones(inputs):
    stage.run(CompareConfig(timing=None), **inputs)
    errors = errors_in(inputs)
    size = rms(read_structures(inputs["reference_test"]))
    assert errors.test.reference_teacher.forces.rmse == pytest.approx(0.03 * size, rel=1e-5)
    assert errors.test.teacher_student.forces.rmse == pytest.approx(0.0103 * size, rel=1e-5)
    assert errors.test.reference_student.forces.rmse == pytest.approx(0.0403 * size, rel=1e-5)
    assert errors.test.force_error_correlation == pytest.approx(1, abs=1e-4)
    assert errors.held_out.forces.rmse == pytest.approx(0.0103 * size, rel=1e-5)
    predicted = read_structures(inputs["out"] / "predictions" / "test_student.xyz")
    assert rms(predicted) == pytest.approx(1.03 * 1.01 * size, rel=1e-5)
    for name in ("errors.csv", "parity.png", "parity.pdf", "error_histograms.png"):
        assert (inputs["out"] / name).stat().st_size > 0
    judge_student(CompareConfig(timing=None), inputs["out"])
    verdict = verdict_in(inputs)
    assert verdict.passed is None
    assert verdict.checks and all(check.bound is None for check in verdict.checks)


def test_test_structures_outside_the_students_training_are_told(
    inputs, tmp_path, capsys, no_figures
):
    """The fourth of the test structures is squeezed to distances that the student never saw."""
    config = StudentConfig(order=2, totaldegree=6.0, rcut=4.5, backend="native", threads=1)
    student = fit(read_structures(inputs["held_out"]), config, seed=0).student
    student.save(tmp_path / "student.npz")
    test = read_structures(inputs["held_out"])
    test[3].set_cell(0.8 * test[3].cell, scale_atoms=True)
    write_structures(inputs["reference_test"], test)
    inputs["student"] = tmp_path / "student.npz"
    stage.run(CompareConfig(timing=None), **inputs)
    errors = errors_in(inputs)
    found = errors.extrapolation
    assert found.beyond_training_indices == [3]
    assert found.within.structures == 5
    within, everywhere = (
        1000 * table.forces.rmse for table in (found.within, errors.test.teacher_student)
    )
    assert within < 0.1 * everywhere
    assert (
        f"student: 1 of 6 test structures outside the training data (largest extrapolation "
        f"grade {number_text(found.largest_grade)}); force RMSE against the teacher "
        f"{number_text(within)} meV/Å on the others, {number_text(everywhere)} on all"
    ) in capsys.readouterr().out
    without_forces = found.within.model_copy(update={"forces": None})
    told = found.model_copy(update={"within": without_forces})
    assert extrapolation_text(errors.model_copy(update={"extrapolation": told})).endswith(")")
    assert extrapolation_text(errors.model_copy(update={"extrapolation": None})) == ""


def test_finished_parts_are_kept(inputs, monkeypatch, no_figures):
    stage.run(CompareConfig(timing=None), **inputs)
    out = inputs["out"]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    lost = out / "predictions" / "test_student.xyz"
    lost.unlink()
    done = []
    run = Unit.run
    monkeypatch.setattr(Unit, "run", lambda unit: (done.append(unit.name), run(unit)))
    stage.run(CompareConfig(timing=None), **inputs)
    assert done == ["test_student"]
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("no_figures")
class TestOtherInputs:
    """What a folder holds of other models or structures is never taken for these."""

    @pytest.fixture
    def first(self, inputs):
        stage.run(CompareConfig(timing=None), **inputs)
        return errors_in(inputs)

    def fresh(self, inputs, tmp_path):
        stage.run(CompareConfig(timing=None), **{**inputs, "out": tmp_path / "fresh"})
        return read_result(tmp_path / "fresh" / "errors.json", ErrorsResult)

    def test_another_student(self, inputs, first, tmp_path):
        inputs["student"] = TEACHER
        stage.run(CompareConfig(timing=None), **inputs)
        assert errors_in(inputs).held_out.forces.rmse == pytest.approx(0, abs=1e-6)
        assert errors_in(inputs) == self.fresh(inputs, tmp_path)
        assert errors_in(inputs).test.reference_teacher == first.test.reference_teacher

    def test_another_teacher(self, inputs, first, tmp_path):
        inputs["teacher"] = Path("compare_toys:Scaled")
        stage.run(CompareConfig(timing=None), **inputs)
        assert errors_in(inputs).test.reference_teacher.forces.rmse == pytest.approx(0, abs=1e-6)
        assert errors_in(inputs) == self.fresh(inputs, tmp_path)

    @pytest.mark.parametrize("role", ["reference_test", "held_out"])
    def test_other_structures(self, inputs, first, tmp_path, role):
        write_structures(inputs[role], read_structures(inputs[role])[:4])
        stage.run(CompareConfig(timing=None), **inputs)
        assert errors_in(inputs) == self.fresh(inputs, tmp_path) != first


def test_a_failed_check_raises_after_the_verdict_is_written(inputs, no_figures):
    config = CompareConfig(
        timing=None, tolerances=Tolerances(teacher_force_rmse=1e-6, student_force_rmse=10.0)
    )
    stage.run(config, **inputs)
    with pytest.raises(ChecksFailed, match="teacher's force RMSE against the reference") as failure:
        judge_student(config, inputs["out"])
    assert "student" not in str(failure.value)
    assert judged_in(inputs) == {"student_force_rmse": True, "teacher_force_rmse": False}
    # Other tolerances judge the same numbers.
    lenient = config.model_copy(update={"tolerances": Tolerances(teacher_force_rmse=10.0)})
    judge_student(lenient, inputs["out"])
    assert judged_in(inputs) == {"teacher_force_rmse": True}


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


def test_models_are_timed_on_the_largest_held_out_structure(inputs):
    config = CompareConfig(timing=TimingConfig(repeats=3), tolerances=Tolerances(speedup=0.01))
    stage.run(config, **inputs)
    judge_student(config, inputs["out"])
    timing = read_result(inputs["out"] / "timing.json", TimingResult)
    assert timing.structure == "held-out structure 0"
    assert list(timing.models) == ["teacher", "student"]
    assert (inputs["out"] / "timing.png").exists() and (inputs["out"] / "timing.csv").exists()
    assert judged_in(inputs) == {"speedup": True}


def test_observables_are_asked_in_order_and_judged(inputs, monkeypatch, no_figures):
    asked = []

    def answer(kind, result):
        def run(self, config, models, work):
            asked.append((self.name, config, dict(models), work.path, work.seed))
            return result

        monkeypatch.setattr(kind, "run", run)

    answer(Barriers, barriers_result())
    answer(Sticking, sticking_result())
    barriers, sticking = [BarrierConfig(), BarrierConfig(facet="100")], StickingConfig()
    config = CompareConfig(
        timing=None,
        barriers=barriers,
        sticking=sticking,
        models={"third": {"path": "compare_toys:Scaled"}},
        tolerances=Tolerances(barrier=0.05, sticking=0.1),
    )
    reference, third = (CalculatorConfig(path="compare_toys:Scaled") for _ in range(2))
    stage.run(config, **inputs, reference=reference)
    with pytest.raises(ChecksFailed, match="sticking probability"):
        judge_student(config, inputs["out"])
    models = {"reference": reference, "teacher": TEACHER, "student": STUDENT, "third": third}
    assert asked == [
        ("barriers", barriers, models, inputs["out"] / "barriers", 1),
        ("sticking", sticking, models, inputs["out"] / "sticking", 1),
    ]
    assert list(asked[0][2]) == list(models)
    assert judged_in(inputs) == {"barrier": True, "sticking": False}
    for name in ("barriers", "sticking"):
        for suffix in (".json", ".csv", ".png", ".pdf"):
            assert (inputs["out"] / f"{name}{suffix}").stat().st_size > 0


def test_the_test_set_stands_in_for_missing_held_out_structures(inputs, no_figures):
    inputs["held_out"].write_text("")
    stage.run(CompareConfig(timing=None), **inputs)
    errors = errors_in(inputs)
    assert errors.held_out.forces == errors.test.teacher_student.forces


def test_labels_that_are_missing_are_named(inputs):
    structures = read_structures(inputs["reference_test"])
    del structures[2].arrays["REF_forces"]
    write_structures(inputs["reference_test"], structures)
    with pytest.raises(UserError, match="structure 2"):
        stage.run(CompareConfig(timing=None), **inputs)


def test_model_of_acepotentials_is_timed_where_julia_can_run_it(tmp_path, monkeypatch):
    student = tmp_path / "student.npz"
    assert julia_models(student) == {}
    (tmp_path / "ace_model.json").touch()
    monkeypatch.setattr("distill.student.julia.acepotentials.available", lambda: "no Julia here")
    assert julia_models(student) == {}
    monkeypatch.setattr("distill.student.julia.acepotentials.available", lambda: None)
    found = julia_models(student)
    assert found[JULIA] == tmp_path / "ace_model.json"
    assert found[JULIA_MENDED].args == {"path": str(tmp_path / "ace_model.json"), "mended": True}


@pytest.mark.usefixtures("no_figures")
class TestStudentOnTheReferenceDataAlone:
    """Fitted to the reference's labels, with the student's options, on the test set."""

    SMALL = StudentConfig(order=1, totaldegree=6.0, rcut=4.5, backend="native", threads=1)

    @pytest.fixture
    def inputs(self, inputs, tmp_path):
        rng = np.random.default_rng(8)
        crystals = [bulk("Cu", cubic=True) for _ in range(12)]
        for atoms in crystals:
            atoms.rattle(0.1, rng=rng)
        labelled = label_structures(crystals, load_calculator("compare_toys:Scaled"))
        write_structures(tmp_path / "train.xyz", labelled)
        return {**inputs, "reference_train": tmp_path / "train.xyz", "student_config": self.SMALL}

    def test_its_errors_are_those_of_such_a_fit(self, inputs):
        stage.run(CompareConfig(timing=None), **inputs)
        student = fit(read_structures(inputs["reference_train"]), self.SMALL, seed=1).student
        test = read_structures(inputs["reference_test"])
        off = [student.evaluate(atoms).forces - reference_forces(atoms) for atoms in test]
        alone = errors_in(inputs).alone
        assert alone.forces.rmse == pytest.approx(np.sqrt(np.mean(np.square(off))), rel=1e-4)
        assert alone.structures == len(test)
        # The toy's student errs by 4 %, so that it is the worse one, and that is said first.
        assert alone.forces.rmse < errors_in(inputs).test.reference_student.forces.rmse
        judge_student(CompareConfig(timing=None), inputs["out"])
        (told,) = verdict_in(inputs).warnings
        assert "fitted to the reference data alone" in told

    def test_a_finished_one_is_kept_and_another_basis_is_fitted_anew(self, inputs, monkeypatch):
        done = []
        run = Unit.run
        monkeypatch.setattr(Unit, "run", lambda unit: (done.append(unit.name), run(unit)))
        stage.run(CompareConfig(timing=None), **inputs)
        assert "reference_student" in done
        done.clear()
        stage.run(CompareConfig(timing=None), **inputs)
        assert done == []
        threads = self.SMALL.model_copy(update={"threads": 2})
        stage.run(CompareConfig(timing=None), **{**inputs, "student_config": threads})
        assert done == []
        larger = self.SMALL.model_copy(update={"totaldegree": 8.0})
        stage.run(CompareConfig(timing=None), **{**inputs, "student_config": larger})
        assert done == ["reference_student"]

    def test_it_can_be_left_out(self, inputs):
        stage.run(CompareConfig(timing=None, reference_student=False), **inputs)
        assert errors_in(inputs).alone is None
        assert not (inputs["out"] / "reference_student").exists()

    def test_labels_that_allow_no_fit_are_said_and_the_rest_is_computed(self, inputs, capsys):
        other = label_structures([bulk("Ni", cubic=True)], load_calculator("compare_toys:Scaled"))
        write_structures(inputs["reference_train"], other)
        stage.run(CompareConfig(timing=None), **inputs)
        assert errors_in(inputs).alone is None
        assert "no student on the reference data alone" in capsys.readouterr().out
