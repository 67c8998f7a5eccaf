"""One number for how near the bulk properties of a model come to a reference's.

The deviation of a group of properties is the relative norm of the difference, in percent:
100 sqrt(sum (x - r)² / sum r²) over the numbers x of the model and r of the reference. Groups are
the lattice (edges of the cell), the elasticity (elastic constants and the bulk modulus), the
phonons (frequencies along the path of the dispersion) and the free energy (vibrational, at every
temperature). The figure of merit is the mean over the groups that both have: 0 is perfect, smaller
is better, and no weights are chosen. The study of Ti-Al-V alloys ranks its models by a figure of
merit over such properties (npj Comput. Mater. 2025, doi 10.1038/s41524-025-01727-x); this one is
defined here and its values are not to be set beside published ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill.core.errors import UserError
from distill.observables.bulk.elastic import CONSTANTS
from distill.observables.bulk.result import BulkProperties, FiguresOfMerit, Merit

GROUPS = {
    "lattice": ("lattice_constant", "lattice_constant_b", "lattice_constant_c"),
    "elasticity": ("bulk_modulus_GPa", *CONSTANTS),
}
GIVEN = "given values"
Numbers = dict[str, dict[str, Any]]


def figures_of_merit(
    models: Mapping[str, BulkProperties],
    *,
    reference: str,
    given: Mapping[str, float] | None = None,
) -> FiguresOfMerit:
    """Figure of merit of every model but the reference.

    Parameters
    ----------
    models
        Properties by name.
    reference
        Name of the model that the others are held against.
    given
        Numbers to hold every model against in place of `reference`, such as measured ones: keys
        of `GROUPS`, lengths in Å and moduli in GPa.

    Raises
    ------
    UserError
        If a given number is none of those known, or zero.
    """
    truth = given_numbers(given) if given else property_numbers(models[reference])
    found = {}
    for name, properties in models.items():
        if not given and name == reference:
            continue
        groups = _deviations(property_numbers(properties), truth)
        merit = sum(groups.values()) / len(groups) if groups else None
        found[name] = Merit(merit=merit, groups=groups)
    return FiguresOfMerit(reference=GIVEN if given else reference, models=found)


def property_numbers(properties: BulkProperties) -> Numbers:
    """Numbers of one model by group and name; arrays for phonons."""
    quantities = properties.quantities()
    numbers: Numbers = {
        group: {key: quantities[key].value for key in keys if key in quantities}
        for group, keys in GROUPS.items()
    }
    if vibrations := properties.phonons:
        numbers["phonons"] = {"frequencies": vibrations.dispersion.frequencies}
        numbers["free energy"] = {
            f"{energy.temperature:g} K": energy.value for energy in vibrations.free_energy
        }
    return numbers


def given_numbers(given: Mapping[str, float]) -> Numbers:
    """Given numbers by group and name.

    Raises
    ------
    UserError
        If one is none of those known, or zero.
    """
    known = [key for keys in GROUPS.values() for key in keys]
    for key, value in given.items():
        if key not in known:
            raise UserError(
                f"compare.bulk.reference: {key} is unknown, expected some of {', '.join(known)}"
            )
        if not value:
            raise UserError(f"compare.bulk.reference: {key} is 0, expected a measured value")
    return {
        group: {key: given[key] for key in keys if key in given} for group, keys in GROUPS.items()
    }


def _deviations(
    numbers: Mapping[str, Mapping[str, Any]], truth: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    found = {}
    for group, wanted in truth.items():
        squares = norm = 0.0
        for key, value in wanted.items():
            if key not in numbers.get(group, {}):
                continue
            right, other = np.asarray(value, dtype=float), np.asarray(numbers[group][key])
            if right.shape == other.shape:
                squares += float(np.sum((other - right) ** 2))
                norm += float(np.sum(right**2))
        if norm > 0:
            found[group] = 100 * math.sqrt(squares / norm)
    return found
