"""The compare stage: errors, timing, the observables, and the verdict on the student.

Every part writes its result as JSON, its tables as CSV and its figures. What was finished of it is
not done again; the verdict is a function of the results and the tolerances alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.compare.config import CompareBase
from distill.compare.error_tables import ERRORS, compare_errors
from distill.compare.errors_result import ErrorsResult, extrapolation_text
from distill.compare.map_result import MAP
from distill.compare.predictions import label_test_sets
from distill.compare.reference_student import errors_alone, settled_as
from distill.compare.structure_map import compare_structures
from distill.compare.timing_result import TimingResult
from distill.compare.timing_stage import TIMING, compare_times, refuse_timing
from distill.compare.verdict import refuse_what_cannot_work
from distill.core.errors import UserError
from distill.core.executors import ParallelConfig
from distill.core.figures import save_figure
from distill.core.progress import say
from distill.core.results import write_result
from distill.core.sections import asked
from distill.core.tables import write_table_csv
from distill.core.work import WorkFolder
from distill.metrics.error_texts import study_table_text
from distill.models.cached_calculators import ModelSpec
from distill.models.config import CalculatorConfig
from distill.observables.base import OBSERVABLES, REFERENCE, STUDENT, TEACHER
from distill.observables.teacher_level import TEACHER_LEVEL, TeacherLevelResult, TeacherNumber
from distill.student.config import StudentConfig

_OWN_FILES = (
    TEACHER_LEVEL,
    ERRORS,
    TIMING,
    "verdict",
    "parity",
    "error_histograms",
    "cost",
    "reference_student",
    MAP,
)


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
    reference_train: Path | None = None,
    student_config: StudentConfig | None = None,
    training: Path | None = None,
) -> None:
    """Compare reference, teacher and student; `verdict.judge_student` then says pass or fail.

    Writes to `out`: `NAME.json`, tables as CSV, and figures as PNG and PDF of the errors, the
    times, the map of structures and each observable that is asked for; `structure_map/` with the
    structures that are worth a look and a file for chemiscope; and `predictions/` with
    `test_teacher.xyz`, `test_student.xyz` and `held_out_student.xyz`, under the REF_ keys.

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
    reference_train, student_config
        Training structures with reference labels, and the `student` section: of the student on the
        reference data alone, which there is not where one of them is left out.
    training
        Structures that the student was fitted to, with the teacher's labels, for the map.

    Raises
    ------
    UserError
        For bad input, or a tolerance on something that is not computed.
    """
    refuse_what_cannot_work(config)
    if config.timing is not None:
        refuse_timing(config.timing)
    # The reference comes first in tables and figures.
    models: dict[str, ModelSpec] = {
        **({REFERENCE: reference} if reference else {}),
        TEACHER: teacher,
        STUDENT: student,
        **config.models,
    }
    labels = label_test_sets(teacher, student, reference_test, held_out, out / "predictions")
    alone = None
    if config.reference_student and reference_train is not None and student_config is not None:
        alone = errors_alone(
            settled_as(student_config, student.parent),
            train=reference_train,
            test=reference_test,
            folder=out / "reference_student",
            seed=seed,
        )
    errors = compare_errors(labels, student, out, alone)
    compare_structures(labels, student, training, out)
    timing = None
    if config.timing is not None:
        timing = compare_times(config.timing, models, labels, errors, out, seed)
    _compare_observables(config, models, WorkFolder(out, seed, parallel), labels.held_out_teacher)
    _say_errors(errors, timing)


def _compare_observables(
    config: CompareBase, models: Mapping[str, ModelSpec], work: WorkFolder, held_out: Path
) -> None:
    """Compute, tabulate and draw each observable that is asked for."""
    writers = dict.fromkeys(_OWN_FILES, "the comparison itself")
    budgets = {TEACHER: config.teacher_calls, REFERENCE: config.reference_calls}
    budgets = {level: calls for level, calls in budgets.items() if calls and level in models}
    numbers: dict[str, dict[str, list[TeacherNumber]]] = {level: {} for level in budgets}
    for name, configs in asked(config, OBSERVABLES).items():
        observable = OBSERVABLES.load(name)()
        if (option := observable.held_out_option) and getattr(configs[0], option) is None:
            configs = [configs[0].model_copy(update={option: str(held_out)})]
        options: Any = configs if observable.repeated else configs[0]
        result = observable.run(options, models, work.sub(name))
        for level, calls in budgets.items():
            if found := observable.teacher_level(
                options, models[level], models[STUDENT], calls, work.sub(name)
            ):
                numbers[level][name] = found
        tables, figures = observable.rows(result), observable.draw(result)
        for stem in {name, *tables, *figures}:
            if (other := writers.setdefault(stem, name)) != name:
                raise UserError(
                    f"the observable {name} writes files named {stem}, as {other} does: give them "
                    "another name in the package that adds it"
                )
        write_result(work.path / f"{name}.json", result)
        for stem, rows in tables.items():
            write_table_csv(work.path / f"{stem}.csv", rows)
        for stem, figure in figures.items():
            save_figure(figure, work.path, stem)
    if numbers:
        _write_teacher_level(numbers, work.path)


def _write_teacher_level(
    numbers: Mapping[str, Mapping[str, list[TeacherNumber]]], out: Path
) -> None:
    """Numbers by level and observable, as JSON and CSV."""
    write_result(out / f"{TEACHER_LEVEL}.json", TeacherLevelResult(levels=numbers))
    rows: list[dict[str, Any]] = []
    for level, of_level in numbers.items():
        for name, found in of_level.items():
            for number in found:
                row = number.model_dump()
                place = "; ".join(f"{key} {value}" for key, value in row.pop("place").items())
                rows.append({"level": level, "observable": name, "place": place, **row})
    write_table_csv(out / f"{TEACHER_LEVEL}.csv", rows)


def _say_errors(errors: ErrorsResult, timing: TimingResult | None) -> None:
    if text := extrapolation_text(errors):
        say(f"student: {text}")
    times = {
        column: timing.medians_ms(column.split(" ", 1)[0]) for column in errors.columns() if timing
    }
    say(study_table_text(errors.columns(), times))
