"""Bulk properties at another confidence, which no calculation depends on."""

from __future__ import annotations

from scipy.stats import t

from distill.core.results import Interval
from distill.observables.bulk.elastic import DEGREES_OF_FREEDOM
from distill.observables.bulk.result import ElasticConstants, EquationOfState, LatticeConstant
from distill.systems.equation_of_state import fit_birch_murnaghan, intervals_of


def curve_at(curve: EquationOfState, confidence: float) -> EquationOfState:
    """An energy-volume curve with the intervals of another confidence."""
    fit = fit_birch_murnaghan(curve.volumes, curve.energies)
    length = curve.lattice_constant / curve.scale
    found = intervals_of(fit, length, curve.volume / curve.scale**3, confidence)
    return EquationOfState.model_validate({**curve.model_dump(), **found, "confidence": confidence})


def elastic_at(elastic: ElasticConstants, confidence: float) -> ElasticConstants:
    """Elastic constants with the intervals of another confidence."""
    constants = {
        name: constant.model_copy(
            update={
                "interval": _wider(
                    constant.interval, DEGREES_OF_FREEDOM, elastic.confidence, confidence
                )
            }
        )
        for name, constant in elastic.constants.items()
    }
    return elastic.model_copy(update={"constants": constants, "confidence": confidence})


def lattice_at(found: LatticeConstant, blocks: int, confidence: float) -> LatticeConstant:
    """A lattice constant from so many blocks with the interval of another confidence."""
    if found.interval is None or found.confidence is None:
        return found
    interval = _wider(found.interval, blocks - 1, found.confidence, confidence)
    return found.model_copy(update={"interval": interval, "confidence": confidence})


def _wider(interval: Interval, degrees: int, before: float, after: float) -> Interval:
    """An interval of Student's t about its middle, of one confidence, at another."""
    ratio = t.ppf(0.5 * (1 + after), degrees) / t.ppf(0.5 * (1 + before), degrees)
    middle, half = (interval[0] + interval[1]) / 2, ratio * (interval[1] - interval[0]) / 2
    return float(middle - half), float(middle + half)
