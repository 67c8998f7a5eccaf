"""Pictures of what was sampled: trajectories against time, and the choice among structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.core.artifacts import atomic_path

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure

_COLOURS = {"dissociated": "C3", "scattered": "C0", "undecided": "C2", "cut": "C1"}


def draw_selection(path: Path, descriptors: np.ndarray, choices: Mapping[str, np.ndarray]) -> None:
    """The pool and what each method chooses, in the plane of the first two principal components.

    Parameters
    ----------
    path
        PNG file.
    descriptors
        Of the pool, shape (structures, components), principal components first.
    choices
        Indices of the chosen structures by method, one panel each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(choices), 4), layout="constrained")
    panels = figure.subplots(1, len(choices), squeeze=False, sharex=True, sharey=True)[0]
    plane = np.pad(descriptors, ((0, 0), (0, max(2 - descriptors.shape[1], 0))))[:, :2]
    for axes, (name, chosen) in zip(panels, choices.items(), strict=True):
        axes.scatter(*plane.T, s=4, color="0.75", label=f"sampled ({len(plane)})")
        axes.scatter(*plane[chosen].T, s=9, color="C0", label=f"{name} ({len(chosen)})")
        axes.set_xlabel("first principal component of the descriptors")
        axes.legend(frameon=False)
    panels[0].set_ylabel("second")
    _save(figure, path)


def draw_trajectories(
    folder: Path, structures: Sequence[Atoms], endings: Mapping[str, str]
) -> list[Path]:
    """Bond length and height of the molecule against time, one picture a facet and temperature.

    Parameters
    ----------
    folder
        Of the pictures, `FACET_TEMPERATUREK.png`.
    structures
        Of scattering trajectories, as `scattering.run_trajectory` keeps them; others are passed
        over.
    endings
        How each trajectory ended, by its name.
    """
    surfaces: dict[str, dict[str, list[Atoms]]] = {}
    for atoms in structures:
        if "bond_length_A" in atoms.info:
            name = f"{atoms.info['facet']}_{atoms.info['surface_temperature_K']:g}K"
            trajectories = surfaces.setdefault(name, {})
            trajectories.setdefault(atoms.info["trajectory"], []).append(atoms)
    files = []
    for name, trajectories in surfaces.items():
        files.append(folder / f"{name}.png")
        _save(_courses(name, trajectories, endings), files[-1])
    return files


def _courses(
    title: str, trajectories: Mapping[str, Sequence[Atoms]], endings: Mapping[str, str]
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    named: set[str] = set()
    for trajectory, course in trajectories.items():
        ending = endings[trajectory]
        times = [atoms.info["time_fs"] for atoms in course]
        for axes, key in zip(panels, ("bond_length_A", "height_A"), strict=True):
            label = ending if axes is panels[0] and ending not in named else None
            values = [atoms.info[key] for atoms in course]
            axes.plot(times, values, lw=0.8, color=_COLOURS[ending], label=label)
        named.add(ending)
    panels[0].set_title(title.replace("_", ", "))
    panels[0].set_ylabel("bond length [Å]")
    panels[0].legend(frameon=False)
    panels[1].set_ylabel("height above the surface [Å]")
    panels[1].set_xlabel("time [fs]")
    return figure


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
