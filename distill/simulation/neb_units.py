"""Minimum energy paths as units of work, and the structures that are kept along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic

from distill.core.progress import say
from distill.core.work import Unit
from distill.data.structures import read_structures, set_labels, write_structures
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.config import NebConfig
from distill.simulation.neb import MinimumEnergyPath, bare, minimum_energy_path
from distill.simulation.neb_band import Memory
from distill.systems.slabs import USER_SLAB


def path_structures(
    path: MinimumEnergyPath, config: NebConfig, model: Calculator
) -> tuple[list[Atoms], int]:
    """`config.keep` labelled structures along a path, in order, and the force calls they cost.

    The images themselves come first; further ones lie between them on a cubic spline through the
    images, evenly over its length.
    """
    from scipy.interpolate import CubicSpline

    images, coordinates = path.images, path.coordinates
    if config.keep <= len(images):
        chosen = np.unique(np.linspace(0, len(images) - 1, config.keep).round().astype(int))
        return [images[index] for index in chosen], 0
    positions = [images[0].positions]
    for image in images[1:]:
        step, _ = find_mic(image.positions - positions[-1], image.cell, image.pbc)
        positions.append(positions[-1] + step)
    spline = CubicSpline(coordinates, positions)
    extra = config.keep - len(images)
    between = np.linspace(0, coordinates[-1], extra + 2)[1:-1]
    structures = list(zip(coordinates, images, strict=True))
    memory = Memory(model)
    for coordinate in between:
        atoms = bare(images[0], spline(coordinate), config)
        atoms.calc = memory
        set_labels(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        atoms.calc = None
        structures.append((coordinate, atoms))
    ordered = sorted(structures, key=lambda item: item[0])
    return [atoms for _, atoms in ordered], memory.calls


@dataclass(frozen=True)
class PathUnit(Unit):
    """Find one path with a model.

    In its folder it leaves `NAME.xyz` (the images), `NAME_kept.xyz` (structures for labelling) and
    `NAME.json` (the numbers). `guess` is the file of another model's images to begin with.
    """

    model: ModelSpec
    config: NebConfig
    guess: Path | None = None

    def summary(self) -> dict[str, Any]:
        """The numbers of the finished path; says so if it did not converge."""
        summary: dict[str, Any] = self.numbers()
        if not summary["converged"]:
            say(
                f"path {self.name} did not converge: largest force "
                f"{summary['fmax_eV_per_A']:.3f} eV/Å after {summary['steps']} steps; it is kept "
                "and marked"
            )
        elif summary["saddle"] and summary["saddle"]["negative"] != 1:
            say(
                f"path {self.name} ends on a saddle of order {summary['saddle']['negative']}: its "
                "barrier is no lowest one; it is kept and marked"
            )
        return summary

    def kept(self) -> list[Atoms]:
        """The labelled structures kept along the finished path."""
        return read_structures(self._kept_path) if self.config.keep else []

    def files(self) -> list[Path]:
        """Images, and structures for labelling where any are kept."""
        return [self.images_path, *([self._kept_path] if self._kept_path.exists() else [])]

    def work(self) -> dict[str, Any]:
        """Find the path and write its files."""
        model = cached_calculator(self.model, dtype="float64")
        guess = None if self.guess is None else read_structures(self.guess)
        path = minimum_energy_path(self.config, model, self.parts, guess)
        kept, calls = path_structures(path, self.config, model)
        for atoms in kept:
            atoms.info["trajectory"] = self.name
            atoms.info["path_converged"] = path.converged
        write_structures(self.images_path, path.images)
        self._kept_path.unlink(missing_ok=True)
        if kept:
            write_structures(self._kept_path, kept)
        summary = {"name": self.name, **path.summary()}
        summary["calls"] += calls
        return summary

    @property
    def images_path(self) -> Path:
        """File of the images."""
        return self.folder / f"{self.name}.xyz"

    @property
    def _kept_path(self) -> Path:
        return self.folder / f"{self.name}_kept.xyz"


def path_units(configs: Sequence[NebConfig], *, model: ModelSpec, out: Path) -> list[PathUnit]:
    """Every path of a list, named by its place in the list, facet and site.

    Parameters
    ----------
    configs
        One path each.
    model
        What `distill.models.calculators.load_calculator` takes.
    out
        Where the paths' files go.
    """
    units = []
    for number, config in enumerate(configs):
        facet = USER_SLAB if config.slab.file else config.facet
        what = f"{facet}_{config.site}" if config.initial is None else "path"
        units.append(PathUnit(out, f"{number:02d}_{what}", model, config))
    return units
