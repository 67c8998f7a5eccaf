"""The report of a run: one self-contained HTML file, and the same numbers as JSON.

The page shows what `collect` gathers, which is `report.json`, and the figures; nothing else. A run
that is not finished gives a report of what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distill.core.artifacts import write_json, write_text
from distill.core.quantities import MEV
from distill.report.page import embedded, page
from distill.report.report_data import Report, collect

REPORT_NAME = "report.html"
FIGURES_FOLDER = "figures"


def write_report(run_folder: Path) -> Path:
    """Write `report.html`, `report.json` and the figures of the earlier stages into a run folder.

    Parameters
    ----------
    run_folder
        Folder of a run, finished or not: `config.json` and the stages' folders.

    Returns
    -------
    Path
        The HTML file. It needs no other file and no network.

    Raises
    ------
    UserError
        If the folder is not a run folder or one of its files is damaged.
    """
    from distill.report.teacher_report import teacher_report

    run_folder = Path(run_folder)
    report = collect(run_folder)
    current, with_student = (
        report["stages"][s]["outdated"] is None for s in ("teacher", "student")
    )
    found = teacher_report(run_folder, with_student=with_student) if current else None
    report["teacher_report"] = found
    figures = _figures(run_folder, report)
    write_json(run_folder / "report.json", report)
    path = run_folder / REPORT_NAME
    write_text(path, _render(report, figures))
    return path


def _figures(run_folder: Path, report: Report) -> dict[str, dict[str, Any]]:
    """PNG figures as base64, by name: those of the stages that are shown, and those drawn here."""
    from distill.core.figures import save_figure
    from distill.metrics.error_plots import calibration_figure
    from distill.report.basis_report import FIGURE_NAME, basis_figure
    from distill.report.plots import time_spent_figure, training_figure

    stages = {name: stage for name, stage in report["stages"].items() if stage["outdated"] is None}
    shown = [*stages, *(["teacher_report"] if "teacher" in stages else [])]
    pictures = [file for name in shown for file in sorted((run_folder / name).glob("*.png"))]
    folder = run_folder / FIGURES_FOLDER
    if len(report["history"]) > 1:
        pictures.append(save_figure(training_figure(report["history"]), folder, "training"))
    times = {name: s["wall_time_s"] for name, s in stages.items() if s["wall_time_s"] is not None}
    if times:
        pictures.append(save_figure(time_spent_figure(times), folder, "time_spent"))
    if choice := (report["student"] or {}).get("basis"):
        pictures.append(save_figure(basis_figure(choice), folder, FIGURE_NAME))
    forces = (report["uncertainty"] or {}).get("forces")
    if forces:
        predicted = [MEV * part["predicted_deviation"] for part in forces["bins"]]
        actual = [MEV * part["rmse"] for part in forces["bins"]]
        figure = calibration_figure(predicted, actual, "meV/Å")
        pictures.append(save_figure(figure, folder, "calibration"))
    return {file.stem: embedded(file) for file in pictures}


def _by_observable(figures: Iterable[str], observables: Iterable[str]) -> dict[str, list[str]]:
    """The figures of each observable: named as it is, or beginning with its name and `_`."""
    found: dict[str, list[str]] = {name: [] for name in observables}
    for figure in figures:
        owners = [name for name in found if figure == name or figure.startswith(f"{name}_")]
        if owners:
            found[max(owners, key=len)].append(figure)
    return found


def _render(report: Report, figures: Mapping[str, Any]) -> str:
    own = _by_observable(figures, [observable["name"] for observable in report["observables"]])
    return page("report.html.j2", r=report, figures=figures, figures_of=own)
