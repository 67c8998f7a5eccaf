"""Everything that a report shows, gathered from a run folder as plain data."""

from __future__ import annotations

import base64
import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill._version import __version__
from distill.compare.errors_result import ErrorsResult
from distill.compare.map_result import MAP, TITLES, StructureMap
from distill.compare.timing import machine_text, timing_rows
from distill.compare.timing_result import TimingResult
from distill.compare.verdict import VERDICT_FILE
from distill.compare.verdict_result import (
    Verdict,
    bound_text,
    measured_interval_text,
    measured_text,
)
from distill.core.artifacts import read_json, read_manifest, sha256
from distill.core.errors import UserError
from distill.core.progress import argument
from distill.core.quantities import MEV
from distill.core.results import Kind, read_result
from distill.core.stage_folder import outdated_stages, unwanted_stages
from distill.data.isolated_atoms import is_isolated_atom, isolated_energies
from distill.data.structures import read_structures
from distill.metrics.binding import Level, binding_energies
from distill.metrics.errors import Errors
from distill.models.teacher_model import RECORD_NAME, TeacherRecord
from distill.observables.base import OBSERVABLES, REFERENCE, STUDENT, TEACHER, Card
from distill.observables.teacher_level import TEACHER_LEVEL, TeacherLevelResult
from distill.report.accuracy_tables import accuracy_tables
from distill.report.basis_report import basis_choice
from distill.report.teacher_level_table import teacher_level_rows
from distill.student.search.basis_choice import CHOICE_FILE
from distill.teacher.teacher_results import TeacherErrors

STAGES = ("data", "teacher", "sampling", "student", "compare")
# What the page shows of these files.
_SAMPLING = ("selection", "selected", "held_out", "teacher_calls")

Report = dict[str, Any]


def collect(run_folder: Path) -> Report:
    """Everything that the report shows, as plain data and typed results.

    Of a stage that is out of date, as `outdated_stages` and `unwanted_stages` say, there is nothing
    but the reason.

    Raises
    ------
    UserError
        If the folder is not a run folder or one of its files is damaged.
    """
    if not (run_folder / "config.json").is_file():
        raise UserError(f"{run_folder} is not a run folder: expected config.json in it")
    config = _block(run_folder / "config.json", ("name", "seed", "teacher", "student"))
    unwanted = unwanted_stages(run_folder, STAGES)
    run = _Run(run_folder, outdated_stages(run_folder, STAGES, unwanted))
    parts = {
        "teacher": run.result("teacher", RECORD_NAME, TeacherRecord),
        "teacher_errors": run.result("teacher", "errors.json", TeacherErrors),
        "sampling": run.block("sampling", "sampling.json", _SAMPLING),
        "student_errors": run.block("student", "errors.json", ("train",)),
        "uncertainty": run.block("student", "uncertainty.json", ("members",)),
        "errors": run.result("compare", "errors.json", ErrorsResult),
        "timing": run.result("compare", "timing.json", TimingResult),
        "map": run.result("compare", f"{MAP}.json", StructureMap),
    }
    observables = _observables(run)
    manifests = {stage: read_manifest(run_folder / stage) for stage in STAGES}
    return {
        "name": config["name"],
        "distill": __version__,
        "workflow": _workflow(config, parts),
        "stages": {
            stage: {
                "finished": manifest["finished"] if manifest else None,
                "wall_time_s": manifest["wall_time_s"] if manifest else None,
                "outdated": run.outdated.get(stage),
            }
            for stage, manifest in manifests.items()
        },
        "verdict": _verdict(run.result("compare", VERDICT_FILE, Verdict)),
        "headline": [*_headline(parts), *(c for o in observables for c in o.pop("cards"))],
        "accuracy": accuracy_tables(parts),
        "binding": _binding(run, parts["teacher"]),
        "map": _map(run, parts["map"]),
        "timing": _timing(parts["timing"]),
        "observables": observables,
        "teacher": parts["teacher"],
        "history": _history(run.file("teacher", "history.csv")),
        "sampling": parts["sampling"],
        "outcomes": _outcomes(run.file("sampling", "outcomes.csv")),
        "student": _student(
            run.file("student", "student.npz"),
            parts["student_errors"],
            run.file("student", CHOICE_FILE),
        ),
        "uncertainty": parts["uncertainty"],
        "provenance": _provenance(run, config, manifests),
    }


@dataclass(frozen=True)
class _Run:
    """A run's folder, and the stages in it that are out of date: their files are not looked at."""

    folder: Path
    outdated: Mapping[str, str]

    def file(self, stage: str, name: str) -> Path | None:
        """A file of a stage, if it is there and to be shown."""
        path = self.folder / stage / name
        return path if stage not in self.outdated and path.is_file() else None

    def result(self, stage: str, name: str, kind: type[Kind]) -> Kind | None:
        path = self.file(stage, name)
        return None if path is None else read_result(path, kind)

    def block(self, stage: str, name: str, keys: Iterable[str]) -> Any:
        path = self.file(stage, name)
        return path and _block(path, keys)


def _block(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """A JSON file that has to have some keys."""
    found = read_json(path)
    missing = [key for key in keys if not isinstance(found, dict) or key not in found]
    if missing:
        raise UserError(f"{path} is damaged: expected {', '.join(missing)} in it")
    return dict(found)


def _workflow(config: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """One sentence on what was made from what."""
    teacher: TeacherRecord | None = parts["teacher"]
    asked: Mapping[str, Any] = teacher.model_dump() if teacher else config["teacher"]
    foundation = teacher.foundation.name if teacher else asked["foundation"]
    made = {
        "finetune": f"the foundation model “{foundation}” fine-tuned ({asked['freeze']})",
        "scratch": f"a MACE trained from scratch in the shape of “{foundation}”",
        "delta": f"a small MACE trained on top of “{foundation}”",
        "none": f"{_taken(asked, foundation)} as it is",
    }[asked["strategy"]]
    used = f" on {teacher.training.used} reference structures" if teacher else ""
    student = config["student"]
    return (
        f"Teacher: {made}{used}. Student: a linear ACE of correlation order {student['order']} "
        "fitted to the teacher's labels."
    )


def _taken(asked: Mapping[str, Any], name: str) -> str:
    """What a teacher that was not trained is called."""
    return f"the foundation model “{name}”" if asked.get("parameters", 1) else f"“{name}”"


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
    return {**verdict.model_dump(include={"passed", "warnings", "answers"}), "checks": checks}


def _observables(run: _Run) -> list[dict[str, Any]]:
    """What each observable that was computed shows: rows, result, cards and template."""
    found = []
    known = run.result("compare", f"{TEACHER_LEVEL}.json", TeacherLevelResult)
    levels = known.levels if known else {}
    for name, kind in OBSERVABLES.members().items():
        observable = kind()
        result = run.result("compare", f"{name}.json", observable.Result)
        if result is not None:
            found.append(
                {
                    "name": name,
                    "title": observable.title,
                    "template": observable.template,
                    "rows": observable.rows(result),
                    "result": result,
                    "cards": [card.model_dump() for card in observable.cards(result)],
                    "levels": {
                        level: teacher_level_rows(numbers[name])
                        for level, numbers in levels.items()
                        if name in numbers
                    },
                }
            )
    return found


def _map(run: _Run, found: StructureMap | None) -> dict[str, Any] | None:
    """The structures that are worth a look by reason, each with its file as a link."""
    if found is None:
        return None
    listed = []
    for one in found.listed:
        file = run.file("compare", f"{MAP}/{one.file}")
        listed.append(
            {
                **found.points[one.point].model_dump(),
                "reason": one.reason,
                "file": f"compare/{MAP}/{one.file}",
                "link": None if file is None else _link(file),
            }
        )
    return {
        "points": len(found.points),
        "training": found.training,
        "chemiscope": f"compare/{MAP}/{found.chemiscope}",
        "titles": TITLES,
        "listed": listed,
    }


def _link(file: Path) -> str:
    """A file's text as the address of a link."""
    return f"data:chemical/x-xyz;base64,{base64.b64encode(file.read_bytes()).decode()}"


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
        of_teacher = parts["teacher_errors"].teacher.forces
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


def _improvement(errors: TeacherErrors | None) -> str:
    before = errors.foundation.forces if errors and errors.foundation else None
    after = errors.teacher.forces if errors else None
    if not (before and after):
        return "test set"
    return f"test set; the foundation model’s is {before.rmse / after.rmse:.1f} times as large"


def _binding(run: _Run, teacher: TeacherRecord | None) -> list[dict[str, Any]]:
    """Energies of parting test structures into free atoms, of reference, teacher and student."""
    from distill.student.student_model import Student

    predictions = {
        name: run.file("compare", f"predictions/test_{name}.xyz") for name in (TEACHER, STUDENT)
    }
    student = run.file("student", "student.npz")
    sets = {
        name: run.file("teacher", f"labels/{name}.xyz") or run.file("data", f"{name}.xyz")
        for name in ("train", "test")
    }
    files = [*predictions.values(), student, *sets.values()]
    if teacher is None or any(file is None for file in files):
        return []
    read = {name: read_structures(file) for name, file in (sets | predictions).items() if file}
    free = isolated_energies([atoms for atoms in read["train"] if is_isolated_atom(atoms)])
    levels = {
        REFERENCE: Level(read["test"], free),
        TEACHER: Level(read[TEACHER], teacher.free_atoms),
        STUDENT: Level(read[STUDENT], Student.load(student).e0 if student else {}),
    }
    return [row.model_dump(mode="json") for row in binding_energies(levels)]


def _timing(timing: TimingResult | None) -> Any:
    if not timing:
        return None
    return {
        **timing.model_dump(mode="json"),
        "rows": timing_rows(timing),
        "how": machine_text(timing),
    }


def _student(path: Path | None, errors: Any, choice: Path | None) -> Any:
    """What the student is, how its basis was chosen, and its errors on what it was fitted to."""
    if path is None or not errors:
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
        "short_range": student.training.short_range,
        "basis": basis_choice(choice),
    }


def _history(path: Path | None) -> list[dict[str, float]]:
    if path is None:
        return []
    with path.open(newline="") as handle:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(handle)]


def _outcomes(path: Path | None) -> Any:
    """How the teacher's trajectories ended, counted by facet and collision energy."""
    if path is None:
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
    run: _Run, config: Mapping[str, Any], manifests: Mapping[str, Any]
) -> dict[str, Any]:
    import yaml

    shown = {s: manifest for s, manifest in manifests.items() if manifest and s not in run.outdated}
    newest = list(shown.values())[-1] if shown else {}
    models = {
        name: sha256(path)
        for stage, name in (("teacher", "teacher.model"), ("student", "student.npz"))
        if (path := run.file(stage, name)) is not None
    }
    files = [run.folder / "teacher" / "teacher.model", run.folder / "student" / "student.npz"]
    return {
        "seed": config["seed"],
        "versions": newest.get("versions", {}),
        "host": newest.get("host"),
        "machine": newest.get("machine"),
        "inputs": {stage: manifest["inputs"] for stage, manifest in shown.items()},
        "models": models,
        "config": yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        "commands": [
            "distill run workflow.yaml",
            f"distill timing {' '.join(map(argument, files))}",
            f"distill report {argument(run.folder)}",
        ],
    }
