"""Bulk properties of a crystal by every model, their differences and figures of merit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from distill.core.artifacts import read_json, write_json
from distill.core.errors import UserError
from distill.core.progress import say
from distill.observables.bulk.elastic import CONSTANTS
from distill.observables.bulk.figure_of_merit import figures_of_merit, given_numbers
from distill.observables.model_comparison import REFERENCE, baseline, claim_folder
from distill.systems.crystals import is_cubic

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.core.executors import ParallelConfig
    from distill.models.cached_calculators import ModelSpec
    from distill.observables.bulk.config import BulkConfig

RESULT_NAME = "bulk.json"
EQUATION_OF_STATE = "equation_of_state"
ELASTIC_CONSTANTS = "elastic_constants"
LATTICE_CONSTANT = "lattice_constant"
PHONONS = "phonons"


@dataclass(frozen=True)
class _Property:
    """Unit of work: one property by one model.

    Attributes
    ----------
    kind
        One of the names above.
    name, model
        Name of the model, and its file, import path or calculator.
    crystal
        Cell; relaxed for every property but the equation of state.
    temperature
        K, of the lattice constant.
    config
        All settings.
    seed
        Of the workflow.
    folder
        Where its file goes.
    """

    kind: str
    name: str
    model: ModelSpec
    crystal: Atoms
    temperature: float
    config: BulkConfig
    seed: int
    folder: Path

    @property
    def file(self) -> Path:
        """Where the result is."""
        at = f"_{self.temperature:g}K" if self.kind == LATTICE_CONSTANT else ""
        return self.folder / f"{self.name}_{self.kind}{at}.json"


def run_bulk(
    config: BulkConfig,
    *,
    models: Mapping[str, ModelSpec],
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> dict[str, Any]:
    """Energy-volume curve and, as asked, elastic constants, lattice constants, phonons.

    A property is computed again only where its file is missing.

    Parameters
    ----------
    config
        Crystal and properties.
    models
        File, import path or calculator of each model by name. Differences are to the one called
        teacher, or to the first.
    out
        Folder; properties go to `properties/`, the result to `bulk.json`.
    seed
        Of the workflow.
    parallel
        Where the properties are computed.

    Returns
    -------
    dict
        JSON-plain. `models` by name: `equation_of_state`, `elastic_constants`,
        `thermal_expansion` (a list over temperatures) and `phonons`, each as its function
        returns it, None where not asked for. `differences` by name of the other model: `to`, and
        `properties` by name with `value` and `interval` (None where one of both has none).
        `merit`: what `figures_of_merit` gives.

    Raises
    ------
    UserError
        If the crystal cannot be made, a property cannot be computed, or the folder holds results
        of other settings.
    """
    from distill.core.executors import run_units

    crystal = crystal_cell(config)
    if config.thermal_expansion and not is_cubic(crystal):
        raise UserError(
            f"compare.bulk.thermal_expansion: the cell of {crystal.get_chemical_formula()} is not "
            "cubic, and only the lattice constant of a cubic crystal is followed over temperature"
        )
    if config.reference:
        given_numbers(config.reference)
    claim_folder(out, config, models, seed)

    def unit(kind: str, name: str, cell: Atoms, temperature: float = 0.0) -> _Property:
        model, folder = models[name], out / "properties"
        return _Property(kind, name, model, cell, temperature, config, seed, folder)

    def compute(units: list[_Property]) -> None:
        waiting = [u for u in units if not u.file.exists()]
        if len(waiting) < len(units):
            say(f"bulk: {len(units) - len(waiting)} properties are done already")
        run_units(_compute, waiting, config=parallel, label="bulk properties")

    curves = {name: unit(EQUATION_OF_STATE, name, crystal) for name in models}
    compute(list(curves.values()))
    units: dict[str, list[_Property]] = {}
    for name in models:
        relaxed = _relaxed(crystal, read_json(curves[name].file))
        units[name] = [unit(kind, name, relaxed) for kind in _kinds(config)]
        if config.thermal_expansion:
            units[name] += [
                unit(LATTICE_CONSTANT, name, relaxed, t)
                for t in config.thermal_expansion.temperatures
            ]
    compute([u for of_model in units.values() for u in of_model])
    results = {
        name: {
            EQUATION_OF_STATE: read_json(curves[name].file),
            ELASTIC_CONSTANTS: None,
            PHONONS: None,
            **{u.kind: read_json(u.file) for u in units[name] if u.kind != LATTICE_CONSTANT},
            "thermal_expansion": [
                read_json(u.file) for u in units[name] if u.kind == LATTICE_CONSTANT
            ],
        }
        for name in models
    }
    result = {
        "settings": {"formula": crystal.get_chemical_formula(), "confidence": config.confidence},
        "models": results,
        "differences": _differences(results),
        "merit": figures_of_merit(
            results,
            reference=REFERENCE if REFERENCE in results else baseline(results),
            given=config.reference,
        ),
    }
    write_json(out / RESULT_NAME, result)
    plain: dict[str, Any] = read_json(out / RESULT_NAME)
    return plain


def crystal_cell(config: BulkConfig) -> Atoms:
    """The cell that a config names: a cubic one built from a formula, or any from a file.

    Raises
    ------
    UserError
        If it cannot be built or read.
    """
    from ase.build import bulk

    if config.structure is not None:
        return read_crystal(config.structure, config.index)
    try:
        atoms: Atoms = bulk(config.formula, config.crystal, a=config.lattice_constant, cubic=True)
    except (ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"compare.bulk: cannot build a cubic cell of {config.formula}: {error}; give "
            "crystal and lattice_constant, or a structure file"
        ) from None
    return atoms


def _relaxed(crystal: Atoms, curve: Mapping[str, Any]) -> Atoms:
    """The crystal at the minimum of its energy-volume curve."""
    relaxed = crystal.copy()
    if curve.get("cell") is not None:
        relaxed.set_cell(curve["cell"])
        relaxed.set_scaled_positions(curve["scaled_positions"])
    relaxed.set_cell(relaxed.cell * curve["scale"], scale_atoms=True)
    return relaxed


def read_crystal(structure: str, index: int = 0) -> Atoms:
    """One structure of a file (or `bundled:NAME`), periodic in all directions.

    Raises
    ------
    UserError
        If the file is missing or unreadable, the index is out of range, or it is not periodic.
    """
    from ase.io import read

    from distill.core.input_files import resolve_file

    file = resolve_file(structure)
    try:
        atoms: Any = read(file, index=index)
    except (IndexError, StopIteration):
        raise UserError(f"{file}: there is no structure {index}") from None
    except Exception as error:
        # ASE's readers raise whatever their parsing meets first.
        raise UserError(f"{file} is not readable: {type(error).__name__}: {error}") from None
    if not atoms.pbc.all():
        raise UserError(
            f"{file}: expected a crystal periodic in all directions, found pbc {atoms.pbc.tolist()}"
        )
    atoms.calc = None
    return cast("Atoms", atoms)


def _kinds(config: BulkConfig) -> list[str]:
    asked = {ELASTIC_CONSTANTS: config.elastic, PHONONS: config.phonons is not None}
    return [kind for kind, wanted in asked.items() if wanted]


def _compute(unit: _Property) -> None:
    from distill.models.calculators import load_calculator

    properties: dict[str, Callable[[_Property, Calculator], dict[str, Any]]] = {
        EQUATION_OF_STATE: _equation_of_state,
        ELASTIC_CONSTANTS: _elastic_constants,
        LATTICE_CONSTANT: _lattice_constant,
        PHONONS: _phonons,
    }
    write_json(unit.file, properties[unit.kind](unit, load_calculator(unit.model)))


def _equation_of_state(unit: _Property, calculator: Calculator) -> dict[str, Any]:
    """The energy-volume curve; the shape of a cell that is not cubic is relaxed first, then kept.

    `cell` (Å) and `scaled_positions` are what the curve's `scale` refers to; `lattice_constant_b`
    and `lattice_constant_c` the other edges at the minimum, Å.
    """
    from distill.systems.crystals import equation_of_state, relaxed_cell

    config = unit.config
    cubic = is_cubic(unit.crystal)
    crystal = unit.crystal if cubic else relaxed_cell(unit.crystal, calculator)
    curve = equation_of_state(
        crystal,
        calculator,
        strain=config.volume_strain,
        points=config.volume_points,
        confidence=config.confidence,
    )
    if not cubic:
        _, second, third = crystal.cell.lengths() * curve["scale"]
        curve |= {
            "cell": crystal.cell.array.tolist(),
            "scaled_positions": crystal.get_scaled_positions().tolist(),
            "lattice_constant_b": float(second),
            "lattice_constant_c": float(third),
        }
    return curve


def _elastic_constants(unit: _Property, calculator: Calculator) -> dict[str, Any]:
    from distill.observables.bulk.elastic import elastic_constants

    config = unit.config
    return elastic_constants(
        unit.crystal, calculator, strain=config.elastic_strain, confidence=config.confidence
    )


def _lattice_constant(unit: _Property, calculator: Calculator) -> dict[str, Any]:
    from distill.core.random_streams import stream
    from distill.systems.crystals import lattice_constant_at

    assert unit.config.thermal_expansion is not None
    return lattice_constant_at(
        unit.crystal,
        calculator,
        unit.temperature,
        config=unit.config.thermal_expansion,
        generator=stream(unit.seed, "lattice constant", unit.name, unit.temperature),
        confidence=unit.config.confidence,
    )


def _phonons(unit: _Property, calculator: Calculator) -> dict[str, Any]:
    from distill.observables.bulk.phonons import phonons

    assert unit.config.phonons is not None
    return phonons(unit.crystal, calculator, config=unit.config.phonons)


def _differences(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    base = baseline(results)
    first = _numbers(results[base])
    differences = {}
    for name in results:
        if name != base:
            second = _numbers(results[name])
            shared = {key: _difference(second[key], first[key]) for key in second if key in first}
            differences[name] = {"to": base, "properties": shared}
    return differences


_Number = tuple[float, list[float] | None]


def _numbers(result: Mapping[str, Any]) -> dict[str, _Number]:
    """Every number of a model that is compared, by name, with its interval."""
    numbers: dict[str, _Number] = {}
    curve = result[EQUATION_OF_STATE]
    for key in ("lattice_constant", "bulk_modulus_GPa", "energy_per_atom"):
        numbers[key] = curve[key], curve.get(f"{key}_interval")
    for key in ("lattice_constant_b", "lattice_constant_c"):
        if key in curve:
            numbers[key] = curve[key], None
    elastic = result[ELASTIC_CONSTANTS] or {}
    for key in CONSTANTS:
        if key in elastic:
            numbers[key] = elastic[key], elastic[f"{key}_interval"]
    for row in result["thermal_expansion"]:
        if row["status"] == "complete":
            key = f"lattice_constant_{row['temperature']:g}K"
            numbers[key] = row["lattice_constant"], row["interval"]
    if result[PHONONS]:
        for row in result[PHONONS]["free_energy"]:
            numbers[f"free_energy_{row['temperature']:g}K"] = row["value"], None
    return numbers


def _difference(second: _Number, first: _Number) -> dict[str, Any]:
    """Difference of two numbers; the half widths of independent intervals add in squares."""
    value, interval = second[0] - first[0], None
    if second[1] is not None and first[1] is not None:
        half = float(np.hypot(np.ptp(second[1]) / 2, np.ptp(first[1]) / 2))
        interval = [value - half, value + half]
    return {"value": value, "interval": interval}
