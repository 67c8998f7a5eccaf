"""The teacher's part of a run's report: errors by kind, parity, simple systems, history, cost.

Everything lands in RUN/teacher_report as JSON, CSV, PNG and PDF. Curves of simple systems need the
models themselves; each model's are kept with its identity and computed again only for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config.workflow import RunConfig, parse_config
from distill.core.artifacts import hash_of, read_json, sha256, write_json
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.core.tables import write_table_csv
from distill.data.isolated_atoms import without_isolated
from distill.data.structures import read_structures
from distill.metrics.error_texts import table_rows
from distill.metrics.errors import Errors, ErrorTable, PartErrors
from distill.models.config import CalculatorConfig
from distill.models.mace.family import Mace

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

FOLDER = "teacher_report"
CURVES_NAME = "curves.json"
_MODELS = ("foundation", "teacher")

Results = dict[str, Any]


def teacher_report(run_folder: Path) -> Results | None:
    """Write the teacher's tables, curves and figures; return what the report page shows of them.

    Parameters
    ----------
    run_folder
        Folder of a run.

    Returns
    -------
    dict or None
        `error_rows`, one for each config type and for all; `crystals` and `dimers`, the curves by
        system and model. None where the teacher stage is not finished.
    """
    teacher = run_folder / "teacher"
    if not (teacher / "errors.json").is_file():
        return None
    out = run_folder / FOLDER
    errors = read_json(teacher / "errors.json")
    tables = {name: ErrorTable.model_validate(errors[name]) for name in _MODELS if errors.get(name)}
    write_table_csv(out / "errors.csv", table_rows(tables))
    structures = _structures(run_folder)
    _draw_parity(run_folder, out, tables)
    curves = _curves(run_folder, out, structures) if structures else {}
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


def model_curves(
    calculator: Calculator, structures: Sequence[Atoms], elements: Sequence[str], cutoff: float
) -> Results:
    """Energy-volume curves of the data's crystals and curves of all dimers with one model.

    Parameters
    ----------
    calculator
        The model.
    structures
        Labelled structures, among which crystals are looked for.
    elements
        Chemical symbols of the dimers.
    cutoff
        Å; dimers are drawn a little beyond it.

    Returns
    -------
    dict
        `crystals` by formula and `dimers` by `A-B`; a system without a result has its `problem`.
    """
    from distill.systems.probes import crystals_of, dimer, dimer_pairs, energy_volume

    return {
        "crystals": {
            crystal.name: _attempt(energy_volume, crystal, calculator)
            for crystal in crystals_of(structures)
        },
        "dimers": {
            "-".join(pair): _attempt(dimer, pair, calculator, cutoff)
            for pair in dimer_pairs(elements)
        },
    }


def data_curves(structures: Sequence[Atoms]) -> Results:
    """The same from the labels themselves, where the data hold such systems."""
    from distill.systems.probes import crystals_of, dimers_of_data, energy_volume_of_data

    crystals = {c.name: energy_volume_of_data(c) for c in crystals_of(structures)}
    return {
        "crystals": {name: found for name, found in crystals.items() if found},
        "dimers": {"-".join(pair): found for pair, found in dimers_of_data(structures).items()},
    }


def _curves(run_folder: Path, out: Path, structures: Sequence[Atoms]) -> Results:
    """Curves by model, each computed once."""
    about = read_json(run_folder / "teacher" / "teacher.json")
    kept = read_json(out / CURVES_NAME) if (out / CURVES_NAME).is_file() else {}
    try:
        file = run_folder / "config.json"
        config = parse_config(read_json(file), str(file))
        data = sha256(run_folder / "data" / "train.xyz")
    except UserError as error:
        # A run of another version, or without its data, still has a report.
        say(f"teacher report: no new curves: {error}")
        return dict(kept)
    curves: Results = {}
    for name, (identity, load) in _models(run_folder, about, config).items():
        key = hash_of({"model": identity, "data": data})
        if kept.get(name, {}).get("key") == key:
            curves[name] = kept[name]
            continue
        try:
            calculator = load()
        except UserError as error:
            say(f"teacher report: no curves of the {name}: {error}")
            continue
        say(f"teacher report: curves of the {name}")
        found = model_curves(calculator, structures, about["elements"], about["r_max"])
        curves[name] = {"key": key, **found}
    if curves:
        curves["data"] = data_curves(structures)
        write_json(out / CURVES_NAME, curves)
    return curves


def _models(
    run_folder: Path, about: Results, config: RunConfig
) -> dict[str, tuple[Any, Callable[[], Calculator]]]:
    """What identifies each model, and how it is loaded."""
    from distill.models.calculators import load_calculator

    path = run_folder / "teacher" / "teacher.model"
    models: dict[str, tuple[Any, Callable[[], Calculator]]] = {}
    if path.is_file():
        models["teacher"] = (sha256(path), lambda: load_calculator(path, dtype="float64"))
    if "foundation" in read_json(run_folder / "teacher" / "errors.json"):
        models["foundation"] = (about["foundation"], lambda: _start(config))
    reference = config.reference
    if isinstance(reference, CalculatorConfig):
        models["reference"] = (
            reference.model_dump(mode="json"),
            lambda: load_calculator(reference),
        )
    return models


def _start(config: RunConfig) -> Calculator:
    """The model that the teacher started from: the foundation, or the base of a delta model."""
    from distill.models.calculators import load_calculator
    from distill.teacher.starting_model import foundation_start

    teacher = config.teacher
    if teacher.strategy == "delta" and teacher.delta.base is not None:
        return load_calculator(teacher.delta.base)
    return Mace.of_module(foundation_start(teacher, "cpu").module, dtype="float64").calculator()


def _attempt(function: Callable[..., Results], *arguments: Any) -> Results:
    try:
        return function(*arguments)
    except Exception as error:
        # Any code may be the reference; one that fails on a dimer must not cost the report.
        return {"problem": f"{type(error).__name__}: {error}"}


def _labelled(run_folder: Path, name: str) -> Path:
    """The training or test set with the labels that count: those a model made, or the data's."""
    made = run_folder / "teacher" / "labels" / f"{name}.xyz"
    return made if made.is_file() else run_folder / "data" / f"{name}.xyz"


def _structures(run_folder: Path) -> list[Atoms]:
    files = [_labelled(run_folder, name) for name in ("train", "test")]
    return [atoms for file in files if file.is_file() for atoms in read_structures(file)]


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


def _write_curves(out: Path, curves: Results) -> None:
    from distill.core.figures import save_figure
    from distill.report.teacher_plots import model_curves_figure

    rows = [
        {"system": system, "model": model, "quantity": axis, "x": x, "energy_eV": energy}
        for model, found in curves.items()
        for kind, axis in (("crystals", "volumes"), ("dimers", "distances"))
        for system, curve in found[kind].items()
        if "problem" not in curve
        for x, energy in zip(curve[axis], curve["energies"], strict=True)
    ]
    write_table_csv(out / "curves.csv", rows)
    figure = model_curves_figure(curves)
    if figure is not None:
        save_figure(figure, out, "teacher_curves")


def _rmse(errors: Errors | None) -> float | None:
    return MEV * errors.rmse if errors else None
