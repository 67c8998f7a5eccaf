"""Everything that a report shows, gathered from a run folder as plain data."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill._version import __version__
from distill.compare.observables import (
    activation_energy_difference,
    arrhenius_rows,
    barrier_differences,
    barrier_rows,
    bulk_rows,
    diffusion_rows,
    merit_rows,
    sticking_differences,
    sticking_rows,
)
from distill.compare.timing import machine_text, timing_rows
from distill.compare.verdict import bound_text, measured_interval_text, measured_text
from distill.core.artifacts import read_json, read_manifest, sha256
from distill.core.errors import UserError
from distill.core.quantities import MEV
from distill.metrics.errors import extrapolation_text, interval_rows, study_rows

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
        **{
            name: _read(run_folder / "compare" / f"{name}.json")
            for name in ("errors", "timing", "barriers", "sticking", "diffusion", "bulk", "verdict")
        },
    }
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
        "verdict": _verdict(parts["verdict"]),
        "headline": _headline(parts),
        "accuracy": _accuracy(parts),
        "timing": _timing(parts["timing"]),
        "barriers": _barriers(parts["barriers"]),
        "sticking": _sticking(parts["sticking"]),
        "diffusion": _diffusion(parts["diffusion"]),
        "bulk": _bulk(parts["bulk"]),
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


def _verdict(verdict: Any) -> Any:
    if not verdict:
        return None
    checks = [
        {
            **check,
            "measured_text": measured_text(check),
            "interval_text": measured_interval_text(check) or "—",
            "bound_text": bound_text(check),
        }
        for check in verdict["checks"]
    ]
    return {**verdict, "checks": checks}


def _headline(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The few numbers that a reader looks for first; each with its interval, where it has one."""
    cards: list[dict[str, Any]] = []
    timing, errors = parts["timing"], parts["errors"]
    if timing and "student" in timing["models"]:
        ratio = timing["models"]["student"]["speedup_forces"]
        note = f"energy and forces, {timing['atoms']} atoms, one core"
        cards.append(_card("faster than the teacher", ratio, "median", "×", note))
    if errors:
        forces = errors["held_out"]["teacher_student"]["forces"]
        note = f"{errors['held_out']['teacher_student']['structures']} held-out sampled structures"
        cards.append(
            _card("student’s force RMSE against the teacher", forces, "rmse", "meV/Å", note)
        )
    teacher_errors = parts["teacher_errors"]
    if errors or teacher_errors:
        table = errors["test"]["reference_teacher"] if errors else teacher_errors["teacher"]
        forces, note = table["forces"], _improvement(teacher_errors)
        cards.append(
            _card("teacher’s force RMSE against the reference", forces, "rmse", "meV/Å", note)
        )
    barriers = barrier_differences(parts["barriers"])
    if barriers:
        name, result = max(barriers.items(), key=lambda item: abs(item[1]["difference"]))
        note = name if len(barriers) == 1 else f"{name}, the largest of {len(barriers)} paths"
        note += "" if result["converged"] else "; not converged"
        cards.append(
            _card("student’s barrier minus the teacher’s", result, "difference", "meV", note)
        )
    pairs = sticking_differences(parts["sticking"])
    if pairs:
        name, paired = max(pairs.items(), key=lambda item: abs(item[1]["difference"]))
        note = name if len(pairs) == 1 else f"{name}, the largest of {len(pairs)} conditions"
        note += f"; {paired['trajectories']} pairs"
        label = "sticking probability, teacher minus student"
        cards.append(_card(label, paired, "difference", "", note))
    energy = activation_energy_difference(parts["diffusion"])
    if energy:
        label = "activation energy of diffusion, student minus teacher"
        cards.append(_card(label, energy, "difference", "meV", ""))
    return cards


def _card(label: str, numbers: Mapping[str, Any], key: str, unit: str, note: str) -> dict[str, Any]:
    scale = MEV if unit.startswith("meV") else 1.0
    interval = numbers.get("interval", numbers.get("rmse_interval"))
    return {
        "label": label,
        "value": scale * numbers[key],
        "interval": [scale * end for end in interval] if interval else None,
        "unit": unit,
        "note": note,
    }


def _improvement(errors: Any) -> str:
    if not errors or not errors.get("foundation") or not errors["foundation"]["forces"]:
        return "test set"
    before, after = errors["foundation"]["forces"]["rmse"], errors["teacher"]["forces"]["rmse"]
    return f"test set; the foundation model’s is {before / after:.1f} times as large"


def _accuracy(parts: Mapping[str, Any]) -> Any:
    """The accuracy table in the published layout, and the full tables behind it."""
    tables: dict[str, Any] = {}
    if parts["teacher_errors"] and parts["teacher_errors"].get("foundation"):
        tables["foundation – reference"] = parts["teacher_errors"]["foundation"]
    if parts["errors"]:
        test, held_out = parts["errors"]["test"], parts["errors"]["held_out"]
        tables["teacher – reference"] = test["reference_teacher"]
        tables["student – teacher, held out"] = held_out["teacher_student"]
        tables["student – teacher"] = test["teacher_student"]
        tables["student – reference"] = test["reference_student"]
    elif parts["teacher_errors"]:
        tables["teacher – reference"] = parts["teacher_errors"]["teacher"]
    if parts["student_errors"] and not parts["errors"]:
        tables["student – teacher, held out"] = parts["student_errors"]["test"]
    if not tables:
        return None
    rows: list[dict[str, Any]] = [
        {"title": title, "cells": cells}
        for title, cells in study_rows(tables, _times_by_column(parts["timing"]))
    ]
    published: list[str] = []
    if any(set(table["forces_by_element"]) == {"Cu", "H"} for table in tables.values()):
        published = ["published teacher – DFT", "published student – teacher"]
        for row in rows:
            row["cells"] += [PUBLISHED[name].get(row["title"], "—") for name in PUBLISHED]
    errors = parts["errors"]
    return {
        "columns": list(tables),
        "published_columns": published,
        "published_source": PUBLISHED_SOURCE if published else None,
        "rows": rows,
        "intervals": interval_rows(tables),
        "structures": {name: table["structures"] for name, table in tables.items()},
        "force_error_correlation": errors["test"]["force_error_correlation"] if errors else None,
        "extrapolation": extrapolation_text(errors) if errors else "",
        "tables": tables,
    }


def _times_by_column(timing: Any) -> dict[str, tuple[float, float]]:
    if not timing:
        return {}
    times = {
        name: (model["energy_ms"]["median"], model["forces_ms"]["median"])
        for name, model in timing["models"].items()
    }
    columns = {
        "teacher – reference": "teacher",
        "student – teacher, held out": "student",
        "student – teacher": "student",
        "student – reference": "student",
    }
    return {column: times[name] for column, name in columns.items() if name in times}


def _timing(timing: Any) -> Any:
    if not timing:
        return None
    return {**timing, "rows": timing_rows(timing), "how": machine_text(timing)}


def _barriers(barriers: Any) -> Any:
    return {**barriers, "rows": barrier_rows(barriers)} if barriers else None


def _sticking(sticking: Any) -> Any:
    return {**sticking, "rows": sticking_rows(sticking)} if sticking else None


def _diffusion(diffusion: Any) -> Any:
    if not diffusion:
        return None
    return {
        **diffusion,
        "rows": diffusion_rows(diffusion),
        "arrhenius_rows": arrhenius_rows(diffusion),
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


def _bulk(bulk: Any) -> Any:
    """Bulk properties, a row for each property and a cell for each model."""
    if not bulk:
        return None
    rows: dict[str, dict[str, Any]] = {}
    for row in bulk_rows(bulk):
        title = f"{row['property']} [{row['unit']}]"
        rows.setdefault(title, {})[row["model"]] = {k: row[k] for k in ("value", "interval")}
    return {**bulk, "rows": rows, "merit_rows": merit_rows(bulk)}


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
