"""Bulk properties of a crystal by every model, their differences and figures of merit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.random_streams import stream
from distill.core.work import Unit, WorkFolder
from distill.models.kept_calls import KeptCalls
from distill.observables.base import REFERENCE, baseline
from distill.observables.bulk.confidence import curve_at, elastic_at, lattice_at
from distill.observables.bulk.elastic import elastic_constants
from distill.observables.bulk.figure_of_merit import figures_of_merit, given_numbers
from distill.observables.bulk.phonons import phonons
from distill.observables.bulk.result import (
    BulkDifference,
    BulkProperties,
    BulkResult,
    ElasticConstants,
    EquationOfState,
    LatticeConstant,
    Phonons,
    PropertyDifference,
    Quantity,
)
from distill.observables.crystal_files import read_crystal
from distill.simulation.constant_pressure import lattice_constant_at
from distill.systems.config import NptConfig
from distill.systems.crystals import is_cubic, relaxed_cell
from distill.systems.equation_of_state import equation_of_state

if TYPE_CHECKING:
    from ase import Atoms

    from distill.models.cached_calculators import ModelSpec
    from distill.observables.bulk.config import BulkConfig, PhononsConfig


@dataclass(frozen=True)
class CurveUnit(Unit):
    """Energy-volume curve; the shape of a cell that is not cubic is relaxed first, then kept."""

    model: ModelSpec
    crystal: Atoms
    strain: float
    points: int

    def work(self) -> dict[str, Any]:
        calculator = KeptCalls(self.model, self.parts)
        cubic = is_cubic(self.crystal)
        crystal = self.crystal if cubic else relaxed_cell(self.crystal, calculator)
        curve = equation_of_state(
            crystal,
            calculator,
            strain=self.strain,
            points=self.points,
        )
        if not cubic:
            _, second, third = crystal.cell.lengths() * curve["scale"]
            curve |= {
                "cell": crystal.cell.array,
                "scaled_positions": crystal.get_scaled_positions(),
                "lattice_constant_b": second,
                "lattice_constant_c": third,
            }
        return curve

    def curve(self) -> EquationOfState:
        """Of the finished unit."""
        return EquationOfState.model_validate(self.numbers())

    def relaxed(self) -> Atoms:
        """The crystal at the minimum of the finished unit's curve."""
        curve, relaxed = self.curve(), self.crystal.copy()
        if curve.cell is not None:
            relaxed.set_cell(curve.cell)
            relaxed.set_scaled_positions(curve.scaled_positions)
        relaxed.set_cell(relaxed.cell * curve.scale, scale_atoms=True)
        return relaxed


@dataclass(frozen=True)
class _ElasticUnit(Unit):
    """Elastic constants of a relaxed crystal."""

    model: ModelSpec
    crystal: Atoms
    strain: float

    def work(self) -> dict[str, Any]:
        calculator = KeptCalls(self.model, self.parts)
        found = elastic_constants(self.crystal, calculator, strain=self.strain)
        return found.model_dump(mode="json")


@dataclass(frozen=True)
class LatticeUnit(Unit):
    """Lattice constant of a relaxed crystal at a temperature (K).

    `role` is the model's name, which the random stream carries.
    """

    role: str
    model: ModelSpec
    crystal: Atoms
    temperature: float
    config: NptConfig
    seed: int

    def work(self) -> dict[str, Any]:
        return lattice_constant_at(
            self.crystal,
            self.model,
            self.temperature,
            config=self.config,
            generator=stream(self.seed, "lattice constant", self.role, self.temperature),
            parts=self.parts,
        )


@dataclass(frozen=True)
class _PhononsUnit(Unit):
    """Phonons of a relaxed crystal."""

    model: ModelSpec
    crystal: Atoms
    config: PhononsConfig

    def work(self) -> dict[str, Any]:
        calculator = KeptCalls(self.model, self.parts)
        return phonons(self.crystal, calculator, config=self.config).model_dump(mode="json")


@dataclass(frozen=True)
class _Properties:
    """What is computed with one model at the minimum of its energy-volume curve."""

    elastic: _ElasticUnit | None
    expansion: list[LatticeUnit]
    phonons: _PhononsUnit | None

    @property
    def units(self) -> list[Unit]:
        """All of them."""
        return [unit for unit in (self.elastic, self.phonons, *self.expansion) if unit]

    def found(self, curve: EquationOfState, confidence: float) -> BulkProperties:
        """The properties with the intervals of a confidence, all units finished."""
        elastic, vibrations = None, self.phonons
        if self.elastic:
            constants = ElasticConstants.model_validate(self.elastic.numbers())
            elastic = elastic_at(constants, confidence)
        return BulkProperties(
            equation_of_state=curve_at(curve, confidence),
            elastic_constants=elastic,
            thermal_expansion=[
                lattice_at(
                    LatticeConstant.model_validate(unit.numbers()), unit.config.blocks, confidence
                )
                for unit in self.expansion
            ],
            phonons=vibrations and Phonons.model_validate(vibrations.numbers()),
        )


def run_bulk(config: BulkConfig, models: Mapping[str, ModelSpec], work: WorkFolder) -> BulkResult:
    """Energy-volume curve and, as asked, elastic constants, lattice constants, phonons.

    Parameters
    ----------
    config
        Crystal and properties.
    models
        File, import path or calculator of each model by name. Differences are to the one called
        teacher, or to the first.
    work
        Folder of `properties/`, seed, and where the properties are computed.

    Raises
    ------
    UserError
        If the crystal cannot be made or a property cannot be computed.
    """
    crystal = checked_crystal(config)
    work = work.sub("properties")
    curves = {
        role: curve_unit(config, role, model, crystal, work) for role, model in models.items()
    }
    work.run(list(curves.values()), "energy-volume curves")
    properties = {
        role: _properties_of(config, role, model, curves[role].relaxed(), work)
        for role, model in models.items()
    }
    work.run([unit for of_model in properties.values() for unit in of_model.units], "bulk")
    results = {
        role: found.found(curves[role].curve(), config.confidence)
        for role, found in properties.items()
    }
    return BulkResult(
        formula=crystal.get_chemical_formula(),
        confidence=config.confidence,
        models=results,
        differences=_differences(results),
        merit=figures_of_merit(
            results,
            reference=REFERENCE if REFERENCE in results else baseline(results),
            given=config.reference,
        ),
        given=dict(config.reference),
    )


def checked_crystal(config: BulkConfig) -> Atoms:
    """The cell of a config whose properties can be computed and held against its given numbers.

    Raises
    ------
    UserError
        As `crystal_cell` and `given_numbers`, or if the thermal expansion of a cell that is not
        cubic is asked for.
    """
    given_numbers(config.reference)
    crystal = crystal_cell(config)
    if config.thermal_expansion and not is_cubic(crystal):
        raise UserError(
            f"compare.bulk.thermal_expansion: the cell of {crystal.get_chemical_formula()} is not "
            "cubic, and only the lattice constant of a cubic crystal is followed over temperature"
        )
    return crystal


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


def curve_unit(
    config: BulkConfig, role: str, model: ModelSpec, crystal: Atoms, work: WorkFolder
) -> CurveUnit:
    """The energy-volume curve of a model, whose name is `role`."""
    return CurveUnit(
        work.path,
        f"{role}_equation_of_state",
        model=model,
        crystal=crystal,
        strain=config.volume_strain,
        points=config.volume_points,
    )


def lattice_units(
    config: BulkConfig, role: str, model: ModelSpec, relaxed: Atoms, work: WorkFolder
) -> list[LatticeUnit]:
    """The lattice constants of a model, whose name is `role`, one for each temperature."""
    if not config.thermal_expansion:
        return []
    asked = config.thermal_expansion.model_dump(include=set(NptConfig.model_fields))
    return [
        LatticeUnit(
            work.path,
            f"{role}_lattice_constant_{temperature:g}K",
            role=role,
            model=model,
            crystal=relaxed,
            temperature=temperature,
            config=NptConfig(**asked),
            seed=work.seed,
        )
        for temperature in config.thermal_expansion.temperatures
    ]


def _properties_of(
    config: BulkConfig, role: str, model: ModelSpec, relaxed: Atoms, work: WorkFolder
) -> _Properties:
    elastic = vibrations = None
    if config.elastic:
        elastic = _ElasticUnit(
            work.path,
            f"{role}_elastic_constants",
            model=model,
            crystal=relaxed,
            strain=config.elastic_strain,
        )
    if config.phonons:
        vibrations = _PhononsUnit(work.path, f"{role}_phonons", model, relaxed, config.phonons)
    expansion = lattice_units(config, role, model, relaxed, work)
    return _Properties(elastic, expansion, vibrations)


def _differences(results: Mapping[str, BulkProperties]) -> dict[str, BulkDifference]:
    base = baseline(results)
    first = results[base].quantities()
    return {
        role: BulkDifference(
            to=base,
            properties={
                key: _difference(second, first[key])
                for key, second in properties.quantities().items()
                if key in first
            },
        )
        for role, properties in results.items()
        if role != base
    }


def _difference(second: Quantity, first: Quantity) -> PropertyDifference:
    """Difference of two numbers; the half widths of independent intervals add in squares."""
    value, interval = second.value - first.value, None
    if second.interval is not None and first.interval is not None:
        half = float(np.hypot(np.ptp(second.interval) / 2, np.ptp(first.interval) / 2))
        interval = value - half, value + half
    return PropertyDifference(value=value, interval=interval)
