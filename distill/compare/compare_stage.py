"""The compare stage: errors, timing, observables, figures, and the verdict on the student.

Each part writes its own file and is not done again where that file is; tables and figures are made
anew from the files every time. The verdict is a function of the files and the tolerances alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compare.accuracy import predictions
from distill.compare.config import CompareConfig
from distill.compare.observables import (
    arrhenius_rows,
    barrier_profiles,
    barrier_rows,
    bulk_rows,
    diffusion_rows,
    merit_rows,
    sticking_curves,
    sticking_rows,
)
from distill.compare.verdict import require_computed
from distill.core.artifacts import read_json, write_json
from distill.core.config import ParallelConfig
from distill.core.progress import say
from distill.data.structures import read_structures, write_structures
from distill.metrics.errors import (
    error_budget,
    error_table,
    extrapolation_text,
    study_table_text,
    table_rows,
    write_table_csv,
)
from distill.models.calculators import load_calculator
from distill.models.config import CalculatorConfig

if TYPE_CHECKING:
    from ase import Atoms

Results = dict[str, Any]
_Models = dict[str, Path | CalculatorConfig]


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
        """(true, predicted) by the title used in figures and CSV."""
        return {
            "reference → teacher": (self.reference, self.teacher),
            "teacher → student, held out": (self.held_out_teacher, self.held_out_student),
            "reference → student": (self.reference, self.student),
        }


def run(
    config: CompareConfig,
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
    under the REF_ keys), `errors.json` and `.csv`, and, where configured, `timing.json` and `.csv`,
    `barriers.json`, `sticking.json`, `diffusion.json` and `bulk.json` with `.csv`; and figures as
    PNG and PDF.

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
        Where barriers and trajectories run.
    reference
        Calculator of the reference level, where one can be run. Like the further models of the
        config it is timed and takes part in barriers and bulk properties, and in diffusion where
        `diffusion.times` names it.

    Raises
    ------
    UserError
        For bad input, or a tolerance on something that is not computed.
    """
    require_computed(config)
    if config.sticking:
        from distill.observables.sticking.sticking import check_sticking

        check_sticking(config.sticking)
    labels = _labels(teacher, student, reference_test, held_out, out)
    models = {"teacher": teacher, "student": student}

    leveled: _Models = {"reference": reference} if reference else {}
    # The reference comes first in tables and figures.
    leveled |= {**models, **config.models}
    computations: dict[str, tuple[object, Callable[[], Results]]] = {
        "errors": (True, lambda: _errors(labels, student)),
        "timing": (config.timing, lambda: _timing(config, student, leveled, labels, seed)),
        "barriers": (
            config.barriers,
            lambda: _barriers(config, leveled, out, parallel),
        ),
        "sticking": (config.sticking, lambda: _sticking(config, models, out, seed, parallel)),
        "diffusion": (config.diffusion, lambda: _diffusion(config, leveled, out, seed, parallel)),
        "bulk": (config.bulk, lambda: _bulk(config, leveled, out, seed, parallel)),
    }
    results: Results = {}
    for name, (wanted, compute) in computations.items():
        if wanted:
            results[name] = _part(out / f"{name}.json", name, compute)
            _write_tables(out, name, results)
            _draw(out, name, results, labels)
    _say_table(results)


def _part(path: Path, label: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON of a part: read where it is finished, else computed and written."""
    if path.exists():
        say(f"{label}: done before, kept")
    else:
        write_json(path, compute())
    result: dict[str, Any] = read_json(path)
    return result


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


def _errors(labels: _Labels, student: Path) -> dict[str, Any]:
    return {
        "test": error_budget(labels.reference, labels.teacher, labels.student),
        "held_out": {
            "teacher_student": error_table(labels.held_out_teacher, labels.held_out_student)
        },
        "extrapolation": _extrapolation(labels, student),
    }


def _extrapolation(labels: _Labels, student: Path) -> dict[str, Any] | None:
    """Test structures that the student was not trained for, and its errors on the others.

    They are held against the teacher; None for a student without a committee.
    """
    from distill.student.uncertainty.uncertainty_model import extrapolation

    graded = getattr(load_calculator(student), "student", None)
    found = extrapolation(graded, labels.reference) if graded else None
    if found is None:
        return None
    beyond = set(found.beyond_training_indices)
    inside = [index for index in range(len(labels.reference)) if index not in beyond]
    pairs = [(labels.teacher[index], labels.student[index]) for index in inside]
    within = error_table([t for t, _ in pairs], [s for _, s in pairs]) if pairs else None
    return {**found.model_dump(), "teacher_student_within": within}


def _timing(
    config: CompareConfig, student: Path, models: _Models, labels: _Labels, seed: int
) -> dict[str, Any]:
    from distill.compare.timing import time_models

    settings = config.timing
    assert settings is not None
    if settings.structure:
        name, atoms = settings.structure, read_structures(settings.structure, require=())[0]
    else:
        name, atoms = _timing_structure(settings.facet, labels)
    say(f"timing on {name} ({len(atoms)} atoms)")
    # Ratios are to the first model.
    timed: _Models = {"teacher": models["teacher"], "student": student, **models}
    if (julia_model := _julia_model(student)) is not None:
        timed["ACEpotentials.jl"] = julia_model
    result = time_models(
        timed,
        atoms,
        settings.repeats,
        time_step=settings.time_step,
        supercells=settings.supercells,
        core_counts=settings.cores,
        seed=seed,
    )
    return {"structure": name, **result}


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


def _barriers(
    config: CompareConfig, models: _Models, out: Path, parallel: ParallelConfig
) -> Results:
    from distill.observables.barriers.barriers import run_barriers

    paths = config.reference_barriers
    return run_barriers(config.barriers, models, paths, out / "barriers", parallel=parallel)


def _sticking(
    config: CompareConfig, models: dict[str, Path], out: Path, seed: int, parallel: ParallelConfig
) -> Results:
    from distill.observables.sticking.sticking import run_sticking

    assert config.sticking is not None
    folder = out / "sticking"
    return run_sticking(config.sticking, **models, out=folder, seed=seed, parallel=parallel)


def _diffusion(
    config: CompareConfig, models: _Models, out: Path, seed: int, parallel: ParallelConfig
) -> Results:
    """Diffusion by teacher and student, and by other models that are given a time of their own."""
    from distill.observables.diffusion.diffusion import run_diffusion

    assert config.diffusion is not None
    asked = {"teacher", "student", *config.diffusion.times}
    chosen = {name: model for name, model in models.items() if name in asked}
    folder = out / "diffusion"
    return run_diffusion(config.diffusion, models=chosen, out=folder, seed=seed, parallel=parallel)


def _bulk(
    config: CompareConfig, models: _Models, out: Path, seed: int, parallel: ParallelConfig
) -> Results:
    from distill.observables.bulk.bulk import run_bulk

    assert config.bulk is not None
    return run_bulk(config.bulk, models=models, out=out / "bulk", seed=seed, parallel=parallel)


def _write_tables(out: Path, name: str, results: Results) -> None:
    """CSV files of a part."""
    from distill.compare.timing import timing_rows

    result = results[name]
    tables: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
        "errors": _error_rows,
        "timing": timing_rows,
        "barriers": barrier_rows,
        "sticking": sticking_rows,
        "diffusion": diffusion_rows,
        "bulk": bulk_rows,
    }
    write_table_csv(out / f"{name}.csv", tables[name](result))
    if name == "diffusion":
        write_table_csv(out / "arrhenius.csv", arrhenius_rows(result))
    if name == "bulk":
        write_table_csv(out / "merit.csv", merit_rows(result))


def _error_rows(errors: Results) -> list[dict[str, Any]]:
    test, held_out = errors["test"], errors["held_out"]
    budget = ("reference_teacher", "teacher_student", "reference_student")
    tables = {f"{name}, test": test[name] for name in budget}
    return table_rows({**tables, "teacher_student, held out": held_out["teacher_student"]})


def _draw(out: Path, name: str, results: Results, labels: _Labels) -> None:
    """Figures of a part, as PNG and PDF."""
    from distill.compare import observable_plots
    from distill.compare.timing_plots import cost_figure, timing_figure
    from distill.core.figures import save_figure
    from distill.metrics.error_plots import error_histogram_figure, parity_figure

    result, errors = results[name], results["errors"]
    if name == "errors":
        tables = {
            "reference → teacher": errors["test"]["reference_teacher"],
            "teacher → student, held out": errors["held_out"]["teacher_student"],
            "reference → student": errors["test"]["reference_student"],
        }
        save_figure(parity_figure(labels.pairs, tables), out, "parity")
        save_figure(error_histogram_figure(labels.pairs), out, "error_histograms")
    elif name == "timing":
        against_reference = {
            "teacher": errors["test"]["reference_teacher"],
            "student": errors["test"]["reference_student"],
        }
        save_figure(timing_figure(result), out, "timing")
        save_figure(cost_figure(result, against_reference), out, "cost")
    elif name == "barriers":
        figure = observable_plots.barrier_figure(barrier_profiles(result))
        save_figure(figure, out, name)
    elif name == "sticking":
        figure = observable_plots.sticking_figure(sticking_curves(result))
        save_figure(figure, out, name)
    elif name == "diffusion":
        save_figure(observable_plots.arrhenius_figure(result), out, name)
    else:
        save_figure(observable_plots.bulk_figure(result), out, name)


def _say_table(results: Results) -> None:
    errors, timing = results["errors"], results.get("timing")
    if text := extrapolation_text(errors):
        say(f"student: {text}")
    columns = {
        "teacher – reference": errors["test"]["reference_teacher"],
        "student – teacher, held out": errors["held_out"]["teacher_student"],
        "student – reference": errors["test"]["reference_student"],
    }
    times = {}
    if timing:
        for column in columns:
            model = timing["models"][column.split(" ", 1)[0]]
            times[column] = (model["energy_ms"]["median"], model["forces_ms"]["median"])
    say(study_table_text(columns, times))
