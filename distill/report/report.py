"""The report of a run: one self-contained HTML file, and the same numbers as JSON.

The page shows what `collect` gathers, which is `report.json`, and the figures; nothing else. A run
that is not finished gives a report of what is there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import write_json, write_text
from distill.core.figures import FIGURE_DPI
from distill.core.number_text import interval_text, number_text
from distill.core.quantities import MEV
from distill.report.report_data import Report, collect

if TYPE_CHECKING:
    from markupsafe import Markup

REPORT_NAME = "report.html"
FIGURES_FOLDER = "figures"
_UNIT = re.compile(r"\[[^\[\]]*\]")


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
    forces = (report["uncertainty"] or {}).get("forces")
    if forces:
        predicted = [MEV * part["predicted_deviation"] for part in forces["bins"]]
        actual = [MEV * part["rmse"] for part in forces["bins"]]
        figure = calibration_figure(predicted, actual, "meV/Å")
        pictures.append(save_figure(figure, folder, "calibration"))
    return {file.stem: _embedded(file) for file in pictures}


def _by_observable(figures: Iterable[str], observables: Iterable[str]) -> dict[str, list[str]]:
    """The figures of each observable: named as it is, or beginning with its name and `_`."""
    found: dict[str, list[str]] = {name: [] for name in observables}
    for figure in figures:
        owners = [name for name in found if figure == name or figure.startswith(f"{name}_")]
        if owners:
            found[max(owners, key=len)].append(figure)
    return found


def _embedded(file: Path) -> dict[str, Any]:
    """A PNG as base64, with the width at which its text has the size of the page's."""
    data = file.read_bytes()
    pixels = int.from_bytes(data[16:20], "big")
    return {"data": base64.b64encode(data).decode(), "width": round(pixels * 100 / FIGURE_DPI)}


def _render(report: Report, figures: Mapping[str, Any]) -> str:
    from jinja2 import ChoiceLoader, Environment, FunctionLoader, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("distill.report", "templates"), FunctionLoader(_packaged)]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    own = _by_observable(figures, [observable["name"] for observable in report["observables"]])
    template = environment.get_template("report.html.j2")
    return template.render(r=report, figures=figures, figures_of=own)


def _duration(seconds: float | None) -> str:
    """A duration in words, or an em dash."""
    from distill.core.progress import format_duration

    return "—" if seconds is None else format_duration(seconds)


def _packaged(name: str) -> str | None:
    """The template `package:file` of an observable."""
    package, _, file = name.partition(":")
    if not file:
        return None
    return (files(package) / file).read_text(encoding="utf-8")


def _cell(value: Any) -> str:
    """A value of any kind in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, (list, tuple)):
        return interval_text(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return str(value)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """The columns of a table, and whether they hold text."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {n: any(isinstance(row.get(n), (str, Mapping)) for row in rows) for n in names}


def _unbroken(text: str) -> Markup:
    """A text whose units in brackets stay on one line."""
    from markupsafe import Markup, escape

    return Markup(_UNIT.sub(r'<span class="whole">\g<0></span>', str(escape(text))))


# What the templates, those of observables too, may apply to a value.
FILTERS = {
    "number": number_text,
    "interval": interval_text,
    "duration": _duration,
    "cell": _cell,
    "columns": _columns,
    "unbroken": _unbroken,
}
