"""Barriers and sticking probabilities as figures, tables and checks need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.observables.bulk.elastic import CONSTANTS

Results = Mapping[str, Any] | None
CURVE_NAMES = {"two_level": "teacher, two-level"}


def barrier_profiles(barriers: Results) -> dict[str, dict[str, Any]]:
    """By path and model: `distance` [Å], `energy` [eV, 0 at the first image], `barrier` [eV]."""
    return {name: dict(models) for name, models in (barriers or {}).get("paths", {}).items()}


def barrier_differences(barriers: Results) -> dict[str, dict[str, Any]]:
    """By path: `difference`, barrier of the student minus the teacher's in eV, and `converged`."""
    return {
        name: {
            "difference": models["student"]["barrier"] - models["teacher"]["barrier"],
            "converged": bool(models["student"]["converged"] and models["teacher"]["converged"]),
        }
        for name, models in barrier_profiles(barriers).items()
        if {"student", "teacher"} <= set(models)
    }


def barrier_rows(barriers: Results) -> list[dict[str, Any]]:
    """Flat rows: path, model, barrier and difference to the teacher (eV), how it was found."""
    rows = []
    for name, models in barrier_profiles(barriers).items():
        teacher = models.get("teacher", {}).get("barrier")
        for model, path in models.items():
            rows.append(
                {
                    "path": name,
                    "model": model,
                    "barrier": path["barrier"],
                    "difference": None if teacher is None else path["barrier"] - teacher,
                    "converged": path.get("converged"),
                    "began_with": path.get("began_with"),
                    "images": len(path["energy"]),
                }
            )
    return rows


def sticking_curves(sticking: Results) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By surface and state, then curve: points with `energy`, `probability` and `interval`.

    Curves are those of the models, the teacher's two-level estimate, and published points by
    their source, on every panel that they may belong to.
    """
    curves: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for condition in (sticking or {}).get("conditions", []):
        panel = curves.setdefault(_surface_and_state(condition), {})
        for model in ("teacher", "student", "two_level"):
            if condition.get(model) and condition[model].get("trajectories", 1):
                point = {"energy": condition["energy"], **condition[model]}
                panel.setdefault(CURVE_NAMES.get(model, model), []).append(point)
        for point in (sticking or {}).get("published", []):
            listed = panel.setdefault(point["source"], [])
            if _belongs(point, condition) and point not in listed:
                listed.append(point)
    return {
        title: {name: points for name, points in panel.items() if points}
        for title, panel in curves.items()
    }


def _belongs(point: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    """Whether a published point is of a condition's surface and state, as far as it says."""
    return all(
        point[key] is None or str(point[key]) == str(condition[key])
        if key == "facet"
        else point[key] is None or float(point[key]) == float(condition[key])
        for key in ("facet", "temperature", "v", "j")
    )


def sticking_differences(sticking: Results) -> dict[str, dict[str, Any]]:
    """By condition: the `paired` difference of `run_sticking`, with its `confidence`."""
    if not sticking:
        return {}
    return {
        f"{_surface_and_state(c)}, {c['energy']:g} eV": {
            **c["paired"],
            "confidence": sticking["confidence"],
        }
        for c in sticking["conditions"]
        if c.get("paired")
    }


def sticking_rows(sticking: Results) -> list[dict[str, Any]]:
    """Flat rows, one for each condition and model."""
    rows = []
    for condition in (sticking or {}).get("conditions", []):
        for model in ("teacher", "student", "two_level"):
            result = condition.get(model)
            if result:
                rows.append(
                    {
                        "surface": _surface_and_state(condition),
                        "energy": condition["energy"],
                        "model": model,
                        "probability": result["probability"],
                        "interval": result["interval"],
                        "trajectories": result.get("trajectories"),
                        "outcomes": result.get("outcomes", {}),
                        "needed": condition.get("precision", {}).get(model, {}).get("needed"),
                    }
                )
    return rows


def diffusion_rows(diffusion: Results) -> list[dict[str, Any]]:
    """Flat rows (model, temperature in K, diffusivity, interval and upper bound in cm²/s, ...)."""
    return [
        {
            "model": model,
            "temperature": point["temperature"],
            "diffusivity_cm2_per_s": point.get("value_cm2_per_s"),
            "interval_cm2_per_s": point.get("interval_cm2_per_s"),
            "upper_bound_cm2_per_s": point.get("upper_bound_cm2_per_s"),
            "jumps": point.get("jumps"),
            "time_fs": point.get("time"),
            "reason": point["reason"],
        }
        for model, result in (diffusion or {}).get("models", {}).items()
        for point in result["temperatures"]
    ]


def arrhenius_rows(diffusion: Results) -> list[dict[str, Any]]:
    """Flat rows (model, activation energy in eV, prefactor in cm²/s, their intervals, ns/day)."""
    rows = []
    for model, result in (diffusion or {}).get("models", {}).items():
        fit = result["arrhenius"] or {}
        rows.append(
            {
                "model": model,
                "activation_energy": fit.get("activation_energy"),
                "activation_energy_interval": fit.get("activation_energy_interval"),
                "prefactor_cm2_per_s": fit.get("prefactor_cm2_per_s"),
                "prefactor_interval_cm2_per_s": fit.get("prefactor_interval_cm2_per_s"),
                "ns_per_day": result["nanoseconds_per_day"],
                "reason": result["arrhenius_reason"],
            }
        )
    return rows


def activation_energy_difference(diffusion: Results) -> dict[str, Any] | None:
    """`difference` (student minus teacher, eV) and its `interval`; None without both fits."""
    difference = (diffusion or {}).get("differences", {}).get("student", {}).get("arrhenius")
    if not difference:
        return None
    return {
        "difference": difference["activation_energy"],
        "interval": list(difference["activation_energy_interval"]),
    }


_BULK_UNITS = {
    "lattice_constant": ("lattice constant", "Å"),
    "lattice_constant_b": ("lattice constant b", "Å"),
    "lattice_constant_c": ("lattice constant c", "Å"),
    "bulk_modulus_GPa": ("bulk modulus", "GPa"),
    "energy_per_atom": ("energy", "eV/atom"),
    **{name: (name, "GPa") for name in CONSTANTS},
}


def bulk_rows(bulk: Results) -> list[dict[str, Any]]:
    """Flat rows (model, property, unit, value, interval) of bulk properties."""
    rows = []
    for model, result in (bulk or {}).get("models", {}).items():
        numbers = {**result["equation_of_state"], **(result["elastic_constants"] or {})}
        for key, (name, unit) in _BULK_UNITS.items():
            if key in numbers:
                rows.append(
                    _bulk_row(model, name, unit, numbers[key], numbers.get(f"{key}_interval"))
                )
        for point in result["thermal_expansion"] or []:
            if point["status"] == "complete":
                name = f"lattice constant at {point['temperature']:g} K"
                value = point["lattice_constant"]
                rows.append(_bulk_row(model, name, "Å", value, point["interval"]))
        for point in (result["phonons"] or {}).get("free_energy", []):
            name = f"vibrational free energy at {point['temperature']:g} K"
            rows.append(_bulk_row(model, name, "eV/atom", point["value"], None))
        for point in (result["phonons"] or {}).get("quasi_harmonic") or []:
            if "free_energy" in point:
                at = f"at {point['temperature']:g} K, quasi-harmonic"
                value, length = point["free_energy"], point["lattice_constant"]
                rows.append(_bulk_row(model, f"free energy {at}", "eV/atom", value, None))
                rows.append(_bulk_row(model, f"lattice constant {at}", "Å", length, None))
    return rows


def merit_rows(bulk: Results) -> list[dict[str, Any]]:
    """Flat rows (model, figure of merit and deviation of each group, all in percent)."""
    models = (bulk or {}).get("merit", {}).get("models", {})
    groups = list(dict.fromkeys(group for found in models.values() for group in found["groups"]))
    return [
        {"model": name, "merit": found["merit"], **{g: found["groups"].get(g) for g in groups}}
        for name, found in models.items()
    ]


def _bulk_row(
    model: str, name: str, unit: str, value: float, interval: list[float] | None
) -> dict[str, Any]:
    return {"model": model, "property": name, "unit": unit, "value": value, "interval": interval}


def _surface_and_state(condition: Mapping[str, Any]) -> str:
    return (
        f"({condition['facet']}), {condition['temperature']:g} K, "
        f"v = {condition['v']}, J = {condition['j']}"
    )
