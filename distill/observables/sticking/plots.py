"""Figures of sticking: probabilities against energy, and what scattered molecules carry away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.observables.base import REFERENCE, STUDENT, TEACHER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from distill.observables.sticking.result import (
        ConditionSticking,
        Distribution,
        StickingResult,
    )

CURVES = {
    REFERENCE: REFERENCE,
    TEACHER: TEACHER,
    STUDENT: STUDENT,
    "two_level": "teacher, two-level",
    "three_level": "reference, three-level",
}
_SHADES = ("white", "#999999", "#333333")
# By the polar angle.
_MARKERS = "o^vD"
_DISTRIBUTIONS = {
    "vibration": "vibrational quantum number v",
    "rotation": "rotational quantum number J",
    "exit_angle": "angle from the normal [degrees]",
}
Point = tuple[float, float, "tuple[float, float] | None"]


def curves(result: StickingResult) -> dict[str, dict[tuple[str, float], list[Point]]]:
    """By surface and state, then curve and polar angle: (normal energy in eV, S0, interval).

    Curves are those of the models, the two-level and three-level estimates, and published points by
    their source, at no angle, on every panel that they may belong to.
    """
    found: dict[str, dict[tuple[str, float], list[Point]]] = {}
    for condition in result.conditions:
        panel = found.setdefault(condition.surface_and_state, {})
        for key, title in CURVES.items():
            if (curve := getattr(condition, key)) and curve.trajectories:
                point = (condition.normal_energy, curve.probability, curve.interval)
                panel.setdefault((title, condition.polar_angle), []).append(point)
        for published in result.published:
            point = (published.energy, published.probability, published.interval)
            listed = panel.setdefault((published.source, 0.0), [])
            if published.belongs(condition) and point not in listed:
                listed.append(point)
    return {
        title: {name: points for name, points in panel.items() if points}
        for title, panel in found.items()
    }


def draw_probabilities(result: StickingResult) -> Figure:
    """Sticking probability against the normal energy with intervals; published as squares."""
    import numpy as np

    from distill.core.figures import panels

    angles = sorted({condition.polar_angle for condition in result.conditions})
    quantity = "normal energy" if any(angles) else "collision energy"
    with panels(curves(result), 3.4) as (figure, contents):
        for axis, title, lines in contents:
            shifts = np.linspace(-0.006, 0.006, len(lines)) if len(lines) > 1 else [0.0]
            for k, (shift, ((name, angle), points)) in enumerate(
                zip(shifts, lines.items(), strict=True)
            ):
                _draw_curve(axis, name, points, shift, k, angle, _MARKERS[angles.index(angle) % 4])
            axis.set(title=title, xlabel=f"{quantity} [eV]", ylabel="sticking probability $S_0$")
            energies = sorted({energy for points in lines.values() for energy, *_ in points})
            margin = 0.1 if len(energies) == 1 else 0.05
            axis.set(ylim=(-0.03, 1.03), xlim=(energies[0] - margin, energies[-1] + margin))
            if len(energies) <= 8:
                axis.set_xticks(energies)
        _common_legend(figure, [axis for axis, *_ in contents])
    return figure


def _draw_curve(
    axis: Axes,
    name: str,
    points: list[Point],
    shift: float,
    index: int,
    angle: float,
    marker: str,
) -> None:
    import numpy as np

    from distill.core.figures import colour_of

    points = sorted(points, key=lambda point: point[0])
    x, y = (np.array(values) for values in list(zip(*points, strict=True))[:2])
    ends = np.array([interval or (value, value) for _, value, interval in points])
    style: dict[str, Any] = {"ms": 5, "capsize": 3}
    style["label"] = f"{name}, {angle:g}°" if angle else name
    if name in CURVES.values():
        style["fmt"] = f"-{marker}" if len(points) > 1 else marker
        style["color"] = colour_of(name, index)
        x = x + shift
    else:
        style |= {"fmt": "s", "color": "#333333", "mfc": _SHADES[index % len(_SHADES)]}
    # An end beyond 0 or 1, of a difference that is added, is drawn there.
    axis.errorbar(x, y, np.abs(np.clip(ends.T, 0, 1) - np.clip(y, 0, 1)), **style)


def draw_scattered(result: StickingResult) -> Figure:
    """Distributions over scattered molecules, of the condition with the most of them."""
    from distill.core.figures import colour_of, panels

    condition = max(result.conditions, key=_fewest_scattered)
    with panels({title: name for name, title in _DISTRIBUTIONS.items()}, 3.0) as (figure, contents):
        for axis, title, name in contents:
            for k, (model, molecules) in enumerate(condition.scattered.items()):
                shift = 0.1 * (k - (len(condition.scattered) - 1) / 2)
                _draw_distribution(axis, getattr(molecules, name), shift, model, colour_of(model))
            axis.set(xlabel=title, ylabel="share of scattered molecules", ylim=(0, None))
        figure.suptitle(condition.title, fontsize="medium")
        _common_legend(figure, [axis for axis, *_ in contents])
    return figure


def _fewest_scattered(condition: ConditionSticking) -> tuple[int, int]:
    counts = [molecules.molecules for molecules in condition.scattered.values()]
    return len(counts), min(counts, default=0)


def _draw_distribution(
    axis: Axes, found: Distribution, shift: float, label: str, colour: str
) -> None:
    import numpy as np

    if not found.values:
        return
    width = found.values[1] - found.values[0] if len(found.values) > 1 else 1.0
    x, shares = np.array(found.values) + shift * width, np.array(found.shares)
    errors = np.abs(np.array(found.intervals).T - shares)
    axis.errorbar(x, shares, errors, fmt="-o", ms=4, capsize=2, label=label, color=colour)


def _common_legend(figure: Figure, axes: list[Axes]) -> None:
    shown = dict(
        pair
        for axis in axes
        for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True)
    )
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4)
