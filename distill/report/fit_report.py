"""The page of a student that was fitted straight to labelled structures: `distill fit`.

The page shows what `collect_fit` gathers, which is `report.json`, and the figures; nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill._version import __version__
from distill.compare.timing import machine_text, timing_rows
from distill.compare.timing_result import TimingResult
from distill.core.artifacts import read_json, sha256, write_json, write_text
from distill.core.quantities import MEV
from distill.core.results import read_result
from distill.metrics.binding import Binding, Level, binding_energies
from distill.metrics.error_texts import interval_rows, study_rows
from distill.metrics.errors import ErrorTable
from distill.report.basis_report import FIGURE_NAME, basis_choice, basis_figure
from distill.report.page import embedded, page
from distill.student.search.basis_choice import CHOICE_FILE
from distill.student.student_stage import (
    ERRORS_FILE,
    PREDICTED_FILE,
    STUDENT_FILE,
    UNCERTAINTY_FILE,
)
from distill.student.uncertainty.uncertainty_model import UncertaintyQuality

DATA, STUDENT, FRONT = "data", "student", "front"
REQUEST_FILE, TIMING_FILE = "fit.json", "timing.json"
REPORT_NAME = "report.html"
_TITLES = {"test": "test set", "train": "training set"}

Report = dict[str, Any]


def write_fit_report(folder: Path) -> Path:
    """Write `report.html`, `report.json` and the figures of a direct fit into its folder.

    Parameters
    ----------
    folder
        What `distill.studies.direct_fit` left: the request, the data and student stages, timing.

    Returns
    -------
    Path
        The HTML file. It needs no other file and no network.

    Raises
    ------
    UserError
        If one of the files is missing or damaged.
    """
    report = collect_fit(folder)
    figures = {file.stem: embedded(file) for file in _figures(folder, report)}
    write_json(folder / "report.json", report)
    path = folder / REPORT_NAME
    write_text(path, page("fit.html.j2", r=report, figures=figures))
    return path


def collect_fit(folder: Path) -> Report:
    """Everything that the page shows, as plain data.

    Raises
    ------
    UserError
        If one of the folder's files is missing or damaged.
    """
    from distill.student.student_model import Student

    request = read_json(folder / REQUEST_FILE)
    errors = read_json(folder / STUDENT / ERRORS_FILE)
    tables = {title: ErrorTable.model_validate(errors[name]) for name, title in _TITLES.items()}
    timing = read_result(folder / TIMING_FILE, TimingResult)
    student = Student.load(folder / STUDENT / STUDENT_FILE)
    quality = read_result(folder / STUDENT / UNCERTAINTY_FILE, UncertaintyQuality)
    own_times = timing.medians_ms(next(iter(timing.models)))
    return {
        "name": Path(request["output"]).name,
        "distill": __version__,
        "request": request,
        "data": read_json(folder / DATA / "data.json"),
        "student": {
            "elements": list(student.elements),
            "cutoff": student.cutoff,
            "order": student.basis.spec.order if student.basis.spec else None,
            "functions": student.basis.n_functions,
            "e0": student.e0,
            "e0_source": student.provenance.get("e0_source"),
            "backend": student.provenance.get("backend"),
            "basis": basis_choice(folder / STUDENT / CHOICE_FILE),
            "sha256": sha256(folder / STUDENT / STUDENT_FILE),
        },
        "headline": _headline(tables, timing),
        "accuracy": {
            "columns": list(tables),
            "structures": {title: table.structures for title, table in tables.items()},
            "rows": [
                {"title": title, "cells": cells}
                for title, cells in study_rows(tables, {_TITLES["test"]: own_times})
            ],
            "intervals": interval_rows(tables),
            "tables": {title: table.model_dump(mode="json") for title, table in tables.items()},
        },
        "binding": [row.model_dump(mode="json") for row in _binding(folder, student.e0)],
        "uncertainty": quality.model_dump(mode="json"),
        "timing": {"rows": timing_rows(timing), "how": machine_text(timing)},
        "front": read_json(folder / FRONT / "front.json") if request["front"] else None,
        "versions": student.provenance.get("versions", {}),
    }


def _binding(folder: Path, e0: Mapping[str, float]) -> list[Binding]:
    from distill.data.isolated_atoms import is_isolated_atom, isolated_energies
    from distill.data.structures import read_structures

    train = read_structures(folder / DATA / "train.xyz")
    free = isolated_energies([atoms for atoms in train if is_isolated_atom(atoms)])
    if not free:
        return []
    levels = {
        "data": Level(read_structures(folder / DATA / "test.xyz"), free),
        "student": Level(read_structures(folder / STUDENT / PREDICTED_FILE), e0),
    }
    return binding_energies(levels)


def _headline(tables: Mapping[str, ErrorTable], timing: TimingResult) -> list[dict[str, Any]]:
    table = tables[_TITLES["test"]]
    cards = []
    for label, unit, errors in (
        ("force RMSE", "meV/Å", table.forces),
        ("energy RMSE", "meV/atom", table.energy_per_atom),
    ):
        if errors:
            interval = errors.rmse_interval
            cards.append(
                {
                    "label": label,
                    "value": MEV * errors.rmse,
                    "unit": unit,
                    "interval": interval and [MEV * end for end in interval],
                    "note": f"{errors.structures} test structures",
                }
            )
    model = next(iter(timing.models.values()))
    cards.append(
        {
            "label": "energy and forces, one core",
            "value": model.us_per_atom,
            "unit": "µs/atom",
            "interval": None,
            "note": f"{timing.atoms} atoms",
        }
    )
    return cards


def _figures(folder: Path, report: Report) -> list[Path]:
    from distill.core.figures import save_figure
    from distill.data.structures import read_structures
    from distill.metrics.error_plots import calibration_figure, parity_figure

    true = read_structures(folder / DATA / "test.xyz")
    predicted = read_structures(folder / STUDENT / PREDICTED_FILE)
    title = _TITLES["test"]
    table = ErrorTable.model_validate(report["accuracy"]["tables"][title])
    out = folder / "figures"
    made = [save_figure(parity_figure({title: (true, predicted)}, {title: table}), out, "parity")]
    if forces := report["uncertainty"]["forces"]:
        values = [
            [MEV * part[name] for part in forces["bins"]]
            for name in ("predicted_deviation", "rmse")
        ]
        made.append(
            save_figure(calibration_figure(values[0], values[1], "meV/Å"), out, "calibration")
        )
    if shown := report["student"]["basis"]:
        made.append(save_figure(basis_figure(shown), out, FIGURE_NAME))
    if report["front"]:
        made.append(folder / FRONT / "front.png")
    return made
