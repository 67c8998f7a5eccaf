"""The compare stage: errors, timing, the observables, and the verdict on the student.

Every part writes its result as JSON, its tables as CSV and its figures. What was finished of it is
not done again; the verdict is a function of the results and the tolerances alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compare.accuracy import predictions
from distill.compare.config import CompareBase
from distill.compare.errors_result import ErrorsResult, Extrapolation, extrapolation_text
from distill.compare.timing_result import TimingResult
from distill.compare.verdict import refuse_what_cannot_work
from distill.core.executors import ParallelConfig
from distill.core.figures import save_figure
from distill.core.progress import say
from distill.core.results import read_result, write_result
from distill.core.sections import asked
from distill.core.tables import write_table_csv
from distill.core.work import WorkFolder
from distill.data.structures import read_structures, write_structures
from distill.metrics.error_texts import study_table_text, table_rows
from distill.metrics.errors import error_budget, error_table
from distill.models.calculators import load_calculator
from distill.models.config import CalculatorConfig
from distill.observables.base import OBSERVABLES, REFERENCE, STUDENT, TEACHER

if TYPE_CHECKING:
    from ase import Atoms

ERRORS, TIMING = "errors", "timing"
Models = Mapping[str, "Path | CalculatorConfig"]


@dataclass(frozen=True)
class _Labels:
    """The test set at three levels, and the held-out structures at two."""

    reference: list[Atoms]
    teacher: list[Atoms]
    student: list[Atoms]
    held_out_teacher: list[Atoms]
    held_out_student: list[Atoms]

    @property
    def pairs(self) -> dict[str, tuple[list[Atoms], list[Atoms]]]:
        """(true, predicted) by the titles of `ErrorsResult.tables`."""
        return {
            "reference → teacher": (self.reference, self.teacher),
            "teacher → student, held out": (self.held_out_teacher, self.held_out_student),
            "reference → student": (self.reference, self.student),
        }


def run(
    config: CompareBase,
    *,
    teacher: Path,
    student: Path,
    reference_test: Path,
    held_out: Path,
    out: Path,
    seed: int,
    parallel: ParallelConfig,
    reference: CalculatorConfig | None = None,
) -> None:
    """Compare reference, teacher and student; `verdict.judge_student` then says pass or fail.

    Writes to `out`: `test_teacher.xyz`, `test_student.xyz`, `held_out_student.xyz` (predictions
    under the REF_ keys); and `NAME.json`, `NAME.csv` and figures as PNG and PDF of the errors, the
    times and each observable that is asked for.

    Parameters
    ----------
    config
        The `compare` section.
    teacher, student
        Model files.
    reference_test
        Structures with reference labels, extxyz with REF_ keys.
    held_out
        Structures with the teacher's labels that the student was not fitted to.
    out
        Output folder; finished parts in it are kept.
    seed
        The run's seed.
    parallel
        Where units of work run.
    reference
        Calculator of the reference level, where one can be run. Like the further models of the
        config it is timed and takes part in the observables.

    Raises
    ------
    UserError
        For bad input, or a tolerance on something that is not computed.
    """
    refuse_what_cannot_work(config)
    labels = _labels(teacher, student, reference_test, held_out, out)
    # The reference comes first in tables and figures.
    models: Models = {
        **({REFERENCE: reference} if reference else {}),
        TEACHER: teacher,
        STUDENT: student,
        **config.models,
    }
    errors = _errors(labels, student)
    _write_errors(errors, labels, out)
    timing = _timing(config, models, labels, errors, out, seed)
    work = WorkFolder(out, seed, parallel)
    for name, configs in asked(config, OBSERVABLES).items():
        observable = OBSERVABLES.load(name)()
        options = configs if observable.repeated else configs[0]
        result = observable.run(options, models, work.sub(name))
        write_result(out / f"{name}.json", result)
        for stem, rows in observable.rows(result).items():
            write_table_csv(out / f"{stem}.csv", rows)
        for stem, figure in observable.draw(result).items():
            save_figure(figure, out, stem)
    if text := extrapolation_text(errors):
        say(f"student: {text}")
    times = {
        column: timing.medians_ms(column.split(" ", 1)[0]) for column in errors.columns() if timing
    }
    say(study_table_text(errors.columns(), times))


def _labels(
    teacher: Path, student: Path, reference_test: Path, held_out: Path, out: Path
) -> _Labels:
    reference = read_structures(reference_test)
    on_test = _predicted(reference, teacher, out / "test_teacher.xyz", "teacher on the test set")
    if held_out.stat().st_size:
        held_out_teacher = read_structures(held_out)
    else:
        say("no sampled structures were held out: the test set takes their place")
        held_out_teacher = on_test
    return _Labels(
        reference=reference,
        teacher=on_test,
        student=_predicted(reference, student, out / "test_student.xyz", "student on the test set"),
        held_out_teacher=held_out_teacher,
        held_out_student=_predicted(
            held_out_teacher,
            student,
            out / "held_out_student.xyz",
            "student on held-out structures",
        ),
    )


def _predicted(structures: list[Atoms], model: Path, path: Path, label: str) -> list[Atoms]:
    """Predictions for structures, from `path` where they are finished.

    They are read back from the file in either case, so that a resumed run has the same digits.
    """
    if not path.exists():
        write_structures(path, predictions(structures, model, label))
    return read_structures(path)


def _errors(labels: _Labels, student: Path) -> ErrorsResult:
    return ErrorsResult(
        test=error_budget(labels.reference, labels.teacher, labels.student),
        held_out=error_table(labels.held_out_teacher, labels.held_out_student),
        extrapolation=_extrapolation(labels, student),
    )


def _extrapolation(labels: _Labels, student: Path) -> Extrapolation | None:
    from distill.student.uncertainty.uncertainty_model import extrapolation

    graded = getattr(load_calculator(student), "student", None)
    found = extrapolation(graded, labels.reference) if graded else None
    if found is None:
        return None
    beyond = set(found["beyond_training_indices"])
    inside = [index for index in range(len(labels.reference)) if index not in beyond]
    within = None
    if inside:
        within = error_table(
            [labels.teacher[index] for index in inside], [labels.student[index] for index in inside]
        )
    return Extrapolation(**found, within=within)


def _write_errors(errors: ErrorsResult, labels: _Labels, out: Path) -> None:
    from distill.metrics.error_plots import error_histogram_figure, parity_figure

    write_result(out / f"{ERRORS}.json", errors)
    rows = {
        "reference_teacher, test": errors.test.reference_teacher,
        "teacher_student, test": errors.test.teacher_student,
        "reference_student, test": errors.test.reference_student,
        "teacher_student, held out": errors.held_out,
    }
    write_table_csv(out / f"{ERRORS}.csv", table_rows(rows))
    save_figure(parity_figure(labels.pairs, errors.tables()), out, "parity")
    save_figure(error_histogram_figure(labels.pairs), out, "error_histograms")


def _timing(
    config: CompareBase,
    models: Models,
    labels: _Labels,
    errors: ErrorsResult,
    out: Path,
    seed: int,
) -> TimingResult | None:
    """Times of every model, measured once."""
    from distill.compare.timing import time_models, timing_rows
    from distill.compare.timing_plots import cost_figure, timing_figure

    settings = config.timing
    if settings is None:
        return None
    path = out / f"{TIMING}.json"
    if path.exists():
        say("timing: done before, kept")
        result = read_result(path, TimingResult)
    else:
        if settings.structure:
            name: str = settings.structure
            atoms = read_structures(settings.structure, require=())[settings.index]
        else:
            name, atoms = _timing_structure(settings.facet, labels)
        say(f"timing on {name} ({len(atoms)} atoms)")
        # Ratios are to the first model.
        timed: dict[str, Any] = {TEACHER: models[TEACHER], STUDENT: models[STUDENT], **models}
        if (julia_model := _julia_model(Path(str(models[STUDENT])))) is not None:
            timed["ACEpotentials.jl"] = julia_model
        measured = time_models(
            timed,
            atoms,
            settings.repeats,
            time_step=settings.time_step,
            supercells=settings.supercells,
            core_counts=settings.cores,
            seed=seed,
        )
        result = measured.model_copy(update={"structure": name})
        write_result(path, result)
    write_table_csv(out / f"{TIMING}.csv", timing_rows(result))
    save_figure(timing_figure(result), out, "timing")
    on_test = {
        TEACHER: errors.test.reference_teacher.forces,
        STUDENT: errors.test.reference_student.forces,
    }
    against = {name: forces for name, forces in on_test.items() if forces is not None}
    if against:
        save_figure(cost_figure(result, against), out, "cost")
    return result


def _julia_model(student: Path) -> Path | None:
    """ACEpotentials' own file of the student where it lies beside it and Julia can run it."""
    from distill.student.julia.acepotentials import MODEL_FILE, available

    path = student.with_name(MODEL_FILE)
    return path if path.is_file() and available() is None else None


def _timing_structure(facet: str, labels: _Labels) -> tuple[str, Atoms]:
    """The H2/Cu slab where the study is on H and Cu, else the largest held-out structure."""
    elements = {symbol for atoms in labels.reference for symbol in atoms.get_chemical_symbols()}
    if elements >= {"H", "Cu"}:
        from distill.systems.slabs import timing_slab

        return f"H2/Cu({facet}) slab", timing_slab(facet)
    index = max(range(len(labels.held_out_teacher)), key=lambda i: len(labels.held_out_teacher[i]))
    return f"held-out structure {index}", labels.held_out_teacher[index]
