"""Everything that a report shows, gathered from a run folder as plain data."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill._version import __version__
from distill.compare.errors_result import ErrorsResult, extrapolation_text
from distill.compare.timing import machine_text, timing_rows
from distill.compare.timing_result import TimingResult
from distill.compare.verdict import (
    VERDICT_FILE,
    Verdict,
    bound_text,
    measured_interval_text,
    measured_text,
)
from distill.core.artifacts import read_json, read_manifest, sha256
from distill.core.errors import UserError
from distill.core.quantities import MEV
from distill.core.results import Kind, read_result
from distill.metrics.error_texts import interval_rows, study_rows
from distill.metrics.errors import Errors, ErrorTable
from distill.observables.base import OBSERVABLES, STUDENT, TEACHER, Card

STAGES = ("data", "teacher", "sampling", "student", "compare")
# Radova, Stark, Allen, Maurer, Bartók, npj Comput. Mater. (2025): H2/Cu test set, 56-atom slab, one
# core of an AMD EPYC 7742. Rows as `study_rows` names them.
PUBLISHED_SOURCE = (
    "Radova et al., npj Computational Materials (2025), doi 10.1038/s41524-025-01727-x: H2/Cu with "
    "DFT data, MACE-MP as foundation model, ACE of order 4; times on one core of an AMD EPYC 7742"
)
PUBLISHED = {
    "teacher": {
        "MAE / RMSE E [meV]": "6.7 / 13.5",
        "MAE / RMSE F [meV/Å]": "3.1 / 10.1",
        "H atoms MAE / RMSE F [meV/Å]": "4.3 / 17.1",
        "time E / time F [ms]": "372.6 / 390.5",
    },
    "student": {
        "MAE / RMSE E [meV]": "4.8 / 6.4",
        "MAE / RMSE F [meV/Å]": "7.2 / 10.9",
        "H atoms MAE / RMSE F [meV/Å]": "9.0 / 17.7",
        "time E / time F [ms]": "9.6 / 22.6",
    },
}

Report = dict[str, Any]


def collect(run_folder: Path) -> Report:
    """Everything that the report shows, as plain data.

    Raises
    ------
    UserError
        If the folder is not a run folder or one of its files is damaged.
    """
    if not (run_folder / "config.json").is_file():
        raise UserError(f"{run_folder} is not a run folder: expected config.json in it")
    config = read_json(run_folder / "config.json")
    parts = {
        "teacher": _read(run_folder / "teacher" / "teacher.json"),
        "teacher_errors": _read(run_folder / "teacher" / "errors.json"),
        "sampling": _read(run_folder / "sampling" / "sampling.json"),
        "student_errors": _read(run_folder / "student" / "errors.json"),
        "uncertainty": _read(run_folder / "student" / "uncertainty.json"),
        "errors": _result(run_folder / "compare" / "errors.json", ErrorsResult),
        "timing": _result(run_folder / "compare" / "timing.json", TimingResult),
    }
    observables = _observables(run_folder / "compare")
    manifests = {stage: read_manifest(run_folder / stage) for stage in STAGES}
    return {
        "name": config["name"],
        "distill": __version__,
        "workflow": _workflow(config, parts),
        "stages": {
            stage: {
                "finished": manifest["finished"] if manifest else None,
                "wall_time_s": manifest["wall_time_s"] if manifest else None,
            }
            for stage, manifest in manifests.items()
        },
        "verdict": _verdict(_result(run_folder / "compare" / VERDICT_FILE, Verdict)),
        "headline": [*_headline(parts), *(c for o in observables for c in o.pop("cards"))],
        "accuracy": _accuracy(parts),
        "timing": _timing(parts["timing"]),
        "observables": observables,
        "teacher": parts["teacher"],
        "history": _history(run_folder / "teacher" / "history.csv"),
        "sampling": parts["sampling"],
        "outcomes": _outcomes(run_folder / "sampling" / "outcomes.csv"),
        "student": _student(run_folder / "student" / "student.npz", parts["student_errors"]),
        "uncertainty": parts["uncertainty"],
        "provenance": _provenance(run_folder, config, manifests),
    }


def _workflow(config: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """One sentence on what was made from what."""
    teacher = parts["teacher"]
    foundation = teacher["foundation"]["name"] if teacher else config["teacher"]["foundation"]
    strategy, freeze = config["teacher"]["strategy"], config["teacher"]["freeze"]
    made = {
        "finetune": f"the foundation model “{foundation}” fine-tuned ({freeze})",
        "scratch": f"a MACE trained from scratch in the shape of “{foundation}”",
        "delta": f"a small MACE trained on top of “{foundation}”",
        "none": f"the foundation model “{foundation}” as it is",
    }[strategy]
    used = f" on {teacher['training']['used']} reference structures" if teacher else ""
    student = config["student"]
    return (
        f"Teacher: {made}{used}. Student: a linear ACE of correlation order {student['order']} "
        "fitted to the teacher's labels."
    )


def _verdict(verdict: Verdict | None) -> Any:
    if verdict is None:
        return None
    checks = [
        {
            **check.model_dump(),
            "measured_text": measured_text(check),
            "interval_text": measured_interval_text(check) or "—",
            "bound_text": bound_text(check),
        }
        for check in verdict.checks
    ]
    return {"passed": verdict.passed, "checks": checks}


def _observables(folder: Path) -> list[dict[str, Any]]:
    """What each observable that was computed shows: rows, result, cards and template."""
    found = []
    for name, kind in OBSERVABLES.members().items():
        observable = kind()
        result = _result(folder / f"{name}.json", observable.Result)
        if result is not None:
            found.append(
                {
                    "name": name,
                    "title": observable.title,
                    "template": observable.template,
                    "rows": observable.rows(result),
                    "result": result.model_dump(mode="json"),
                    "cards": [card.model_dump() for card in observable.cards(result)],
                }
            )
    return found


def _headline(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The few numbers on errors and times that a reader looks for first, with their intervals."""
    cards: list[Card] = []
    timing: TimingResult | None = parts["timing"]
    errors: ErrorsResult | None = parts["errors"]
    if timing and STUDENT in timing.models:
        ratio = timing.models[STUDENT].speedup_forces
        cards.append(
            Card(
                label="faster than the teacher",
                value=ratio.median,
                interval=ratio.interval,
                unit="×",
                note=f"energy and forces, {timing.atoms} atoms, one core",
            )
        )
    if errors and errors.held_out.forces:
        note = f"{errors.held_out.structures} held-out sampled structures"
        label = "student’s force RMSE against the teacher"
        cards.append(_error_card(label, errors.held_out.forces, note))
    of_teacher = None
    if errors:
        of_teacher = errors.test.reference_teacher.forces
    elif parts["teacher_errors"]:
        of_teacher = ErrorTable.model_validate(parts["teacher_errors"]["teacher"]).forces
    if of_teacher:
        note = _improvement(parts["teacher_errors"])
        cards.append(_error_card("teacher’s force RMSE against the reference", of_teacher, note))
    return [card.model_dump() for card in cards]


def _error_card(label: str, forces: Errors, note: str) -> Card:
    interval = forces.rmse_interval
    return Card(
        label=label,
        value=MEV * forces.rmse,
        interval=interval and (MEV * interval[0], MEV * interval[1]),
        unit="meV/Å",
        note=note,
    )


def _improvement(errors: Any) -> str:
    if not errors or not errors.get("foundation") or not errors["foundation"]["forces"]:
        return "test set"
    before, after = errors["foundation"]["forces"]["rmse"], errors["teacher"]["forces"]["rmse"]
    return f"test set; the foundation model’s is {before / after:.1f} times as large"


def _accuracy(parts: Mapping[str, Any]) -> Any:
    """The accuracy table in the published layout, and the full tables behind it."""
    tables: dict[str, ErrorTable] = {}
    errors: ErrorsResult | None = parts["errors"]
    of_teacher, of_student = parts["teacher_errors"], parts["student_errors"]
    if of_teacher and of_teacher.get("foundation"):
        tables["foundation – reference"] = ErrorTable.model_validate(of_teacher["foundation"])
    if errors:
        tables |= {
            "teacher – reference": errors.test.reference_teacher,
            "student – teacher, held out": errors.held_out,
            "student – teacher": errors.test.teacher_student,
            "student – reference": errors.test.reference_student,
        }
    elif of_teacher:
        tables["teacher – reference"] = ErrorTable.model_validate(of_teacher["teacher"])
    if of_student and not errors:
        tables["student – teacher, held out"] = ErrorTable.model_validate(of_student["test"])
    if not tables:
        return None
    rows: list[dict[str, Any]] = [
        {"title": title, "cells": cells}
        for title, cells in study_rows(tables, _times_by_column(parts["timing"]))
    ]
    published: list[str] = []
    if any(set(table.forces_by_element) == {"Cu", "H"} for table in tables.values()):
        published = ["published teacher – DFT", "published student – teacher"]
        for row in rows:
            row["cells"] += [PUBLISHED[name].get(row["title"], "—") for name in PUBLISHED]
    return {
        "columns": list(tables),
        "published_columns": published,
        "published_source": PUBLISHED_SOURCE if published else None,
        "rows": rows,
        "intervals": interval_rows(tables),
        "structures": {name: table.structures for name, table in tables.items()},
        "force_error_correlation": errors.test.force_error_correlation if errors else None,
        "extrapolation": extrapolation_text(errors) if errors else "",
        "tables": {name: table.model_dump(mode="json") for name, table in tables.items()},
    }


def _times_by_column(timing: TimingResult | None) -> dict[str, tuple[float, float]]:
    if not timing:
        return {}
    columns = {
        "teacher – reference": TEACHER,
        "student – teacher, held out": STUDENT,
        "student – teacher": STUDENT,
        "student – reference": STUDENT,
    }
    return {
        column: timing.medians_ms(name) for column, name in columns.items() if name in timing.models
    }


def _timing(timing: TimingResult | None) -> Any:
    if not timing:
        return None
    return {
        **timing.model_dump(mode="json"),
        "rows": timing_rows(timing),
        "how": machine_text(timing),
    }


def _student(path: Path, errors: Any) -> Any:
    """What the student is, and its errors on what it was fitted to."""
    if not path.is_file() or not errors:
        return None
    from distill.student.student_model import Student

    student = Student.load(path)
    return {
        "backend": student.provenance.get("backend"),
        "elements": list(student.elements),
        "cutoff": student.cutoff,
        "functions": len(student.coefficients),
        "committee": 0 if student.committee is None else len(student.committee),
        "train": errors["train"],
    }


def _history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(newline="") as handle:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(handle)]


def _outcomes(path: Path) -> Any:
    """How the teacher's trajectories ended, counted by facet and collision energy."""
    if not path.is_file():
        return None
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    if not rows:
        return None
    kinds = sorted({row["outcome"] for row in rows})
    groups: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        groups.setdefault((row["facet"], row["energy"]), Counter())[row["outcome"]] += 1
    return {
        "trajectories": len(rows),
        "kinds": kinds,
        "rows": [
            {"facet": facet, "energy": float(energy), **{k: counts[k] for k in kinds}}
            for (facet, energy), counts in sorted(groups.items())
        ],
    }


def _provenance(
    run_folder: Path, config: Mapping[str, Any], manifests: Mapping[str, Any]
) -> dict[str, Any]:
    import yaml

    finished = [m for m in manifests.values() if m]
    newest = finished[-1] if finished else {}
    models = {
        name: sha256(path)
        for name, path in {
            "teacher.model": run_folder / "teacher" / "teacher.model",
            "student.npz": run_folder / "student" / "student.npz",
        }.items()
        if path.is_file()
    }
    return {
        "seed": config["seed"],
        "versions": newest.get("versions", {}),
        "host": newest.get("host"),
        "machine": newest.get("machine"),
        "inputs": {stage: manifest["inputs"] for stage, manifest in manifests.items() if manifest},
        "models": models,
        "config": yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        "commands": [
            "distill run workflow.yaml",
            f"distill timing {run_folder}/teacher/teacher.model {run_folder}/student/student.npz",
            f"distill report {run_folder}",
        ],
    }


def _read(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _result(path: Path, kind: type[Kind]) -> Kind | None:
    return read_result(path, kind) if path.is_file() else None
