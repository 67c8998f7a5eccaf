"""The teacher's part of a run's report: errors by kind, parity, simple systems, history, cost.

Tables and figures land in RUN/teacher_report as CSV, PNG and PDF.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.config.workflow import parse_config
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.core.fingerprint import fingerprint
from distill.core.quantities import MEV
from distill.core.results import read_result
from distill.core.tables import write_table_csv
from distill.data.isolated_atoms import without_isolated
from distill.data.structures import read_structures
from distill.metrics.error_texts import table_rows
from distill.metrics.errors import Errors, ErrorTable, PartErrors
from distill.student.short_range import CURVES_FILE, PairCurves
from distill.systems.probes import DimerCurve, dimer_pairs
from distill.teacher.made_labels import LABELS_FOLDER
from distill.teacher.simple_systems import CURVES_NAME, ModelCurves, TeacherCurves
from distill.teacher.teacher_results import ERRORS_NAME, TeacherErrors

FOLDER = "teacher_report"
DATA, REFERENCE = "data", "reference"

Results = dict[str, Any]


def teacher_report(run_folder: Path, *, with_student: bool = False) -> Results | None:
    """Write the teacher's tables and figures; return what the report page shows of them.

    Parameters
    ----------
    run_folder
        Folder of a run.
    with_student
        Whether the student's dimers, if there are any, stand beside the teacher's.

    Returns
    -------
    dict or None
        `error_rows`, one for each config type and for all; `curves` by model. None where the
        teacher stage is not finished.
    """
    teacher = run_folder / "teacher"
    if not (teacher / ERRORS_NAME).is_file():
        return None
    out = run_folder / FOLDER
    tables = read_result(teacher / ERRORS_NAME, TeacherErrors).tables()
    write_table_csv(out / "errors.csv", table_rows(tables))
    _draw_parity(run_folder, out, tables)
    curves = _curves(run_folder)
    dimers = run_folder / "student" / CURVES_FILE
    if curves and with_student and dimers.is_file():
        curves["student"] = _student_curves(read_result(dimers, PairCurves))
    if curves:
        _write_curves(out, curves)
    return {"error_rows": error_rows(tables), "curves": curves}


def error_rows(tables: Mapping[str, ErrorTable]) -> list[Results]:
    """RMSEs of each model for each config type, as numbers.

    Parameters
    ----------
    tables
        `error_table`s by model.

    Returns
    -------
    list of dict
        `config_type` (the first is `all`), `structures`, and `cells`: quantity to model to RMSE in
        meV/atom or meV/Å, None where it is not there.
    """
    whole = next(iter(tables.values()))
    elements = list(whole.forces_by_element)
    rows = []
    for kind in ("all", *whole.by_config_type):
        parts: dict[str, PartErrors] = {
            model: table if kind == "all" else table.by_config_type[kind]
            for model, table in tables.items()
        }
        cells = {
            "energy [meV/atom]": {m: _rmse(p.energy_per_atom) for m, p in parts.items()},
            "forces [meV/Å]": {m: _rmse(p.forces) for m, p in parts.items()},
        }
        for element in elements:
            cells[f"{element} forces [meV/Å]"] = {
                m: _rmse(p.forces_by_element.get(element)) for m, p in parts.items()
            }
        structures = next(iter(parts.values())).structures
        rows.append({"config_type": kind, "structures": structures, "cells": cells})
    return rows


def _curves(run_folder: Path) -> dict[str, ModelCurves]:
    """Curves by model; those of the reference only where it is the one of the config."""
    file = run_folder / "teacher" / CURVES_NAME
    if not file.is_file():
        return {}
    found = read_result(file, TeacherCurves)
    curves = dict(found.models)
    if found.reference != _reference(run_folder):
        curves.pop(REFERENCE, None)
    return {**curves, DATA: found.data}


def _student_curves(found: PairCurves) -> ModelCurves:
    """A student's dimers by the names that those of the teacher have."""
    elements = {symbol for name in found.pairs for symbol in name.split("-")}
    dimers, problems = {}, {}
    for pair in dimer_pairs(sorted(elements)):
        curve = found.pairs["-".join(pair if "-".join(pair) in found.pairs else pair[::-1])]
        name = "-".join(pair)
        dimers[name] = DimerCurve(distances=curve.distances, energies=curve.energies)
        if curve.problem:
            problems[name] = curve.problem
    return ModelCurves(crystals={}, dimers=dimers, problems=problems)


def _reference(run_folder: Path) -> str | None:
    """Fingerprint of the config's reference calculator; None where there is none."""
    file = run_folder / "config.json"
    try:
        reference = parse_config(read_json(file), str(file)).reference
        return fingerprint(reference) if reference is not None else None
    except UserError:
        # A config of another version, or a file that is gone.
        return None


def _labelled(run_folder: Path, name: str) -> Path:
    """The training or test set with the labels that count: those a model made, or the data's."""
    made = run_folder / "teacher" / LABELS_FOLDER / f"{name}.xyz"
    return made if made.is_file() else run_folder / "data" / f"{name}.xyz"


def _draw_parity(run_folder: Path, out: Path, tables: Mapping[str, Any]) -> None:
    from distill.core.figures import save_figure
    from distill.metrics.error_plots import parity_figure

    test = _labelled(run_folder, "test")
    files = {name: run_folder / "teacher" / f"test_{name}.xyz" for name in tables}
    if not (test.is_file() and all(file.is_file() for file in files.values())):
        return
    true = without_isolated(read_structures(test), test)[0]
    pairs = {
        f"reference → {name}": (true, without_isolated(read_structures(file), file)[0])
        for name, file in files.items()
    }
    titled = {f"reference → {name}": table for name, table in tables.items()}
    save_figure(parity_figure(pairs, titled), out, "teacher_parity")


def _write_curves(out: Path, curves: Mapping[str, ModelCurves]) -> None:
    from distill.core.figures import save_figure
    from distill.report.teacher_plots import model_curves_figure

    points = [
        (system, model, axis, getattr(curve, axis), curve.energies)
        for model, found in curves.items()
        for axis, kind in (("volumes", found.crystals), ("distances", found.dimers))
        for system, curve in kind.items()
    ]
    rows = [
        {"system": system, "model": model, "quantity": axis, "x": x, "energy_eV": energy}
        for system, model, axis, values, energies in points
        for x, energy in zip(values, energies, strict=True)
    ]
    write_table_csv(out / "curves.csv", rows)
    figure = model_curves_figure(curves)
    if figure is not None:
        save_figure(figure, out, "teacher_curves")


def _rmse(errors: Errors | None) -> float | None:
    return MEV * errors.rmse if errors else None
