"""Barriers and sticking probabilities as figures, tables and checks need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Results = Mapping[str, Any] | None


def barrier_profiles(barriers: Results) -> dict[str, dict[str, Any]]:
    """By path and model: `distance` [Å], `energy` [eV, 0 at the first image], `barrier` [eV]."""
    return {name: dict(models) for name, models in (barriers or {}).get("paths", {}).items()}


def barrier_differences(barriers: Results) -> dict[str, float]:
    """Barrier of the student minus that of the teacher, eV, by path."""
    return {
        name: models["student"]["barrier"] - models["teacher"]["barrier"]
        for name, models in barrier_profiles(barriers).items()
        if {"student", "teacher"} <= set(models)
    }


def barrier_rows(barriers: Results) -> list[dict[str, Any]]:
    """Flat rows (path, model, barrier, difference to the teacher, all eV; converged, images)."""
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
                    "images": len(path["energy"]),
                }
            )
    return rows


def sticking_curves(sticking: Results) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By surface and state, then model: points with `energy`, `probability` and `interval`."""
    curves: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for condition in (sticking or {}).get("conditions", []):
        panel = curves.setdefault(_surface_and_state(condition), {})
        for model in ("teacher", "student"):
            if condition.get(model) and condition[model]["trajectories"]:
                point = {"energy": condition["energy"], **condition[model]}
                panel.setdefault(model, []).append(point)
    return curves


def sticking_differences(sticking: Results) -> dict[str, dict[str, Any]]:
    """By condition: `difference` (teacher minus student), `interval`, `trajectories` (pairs)."""
    return {
        f"{_surface_and_state(c)}, {c['energy']:g} eV": dict(c["paired"])
        for c in (sticking or {}).get("conditions", [])
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
                    }
                )
    return rows


def _surface_and_state(condition: Mapping[str, Any]) -> str:
    return (
        f"({condition['facet']}), {condition['temperature']:g} K, "
        f"v = {condition['v']}, J = {condition['j']}"
    )
