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

from distill.core.fingerprint import names_of
from distill.core.progress import say
from distill.core.work import Unit
from distill.data.structures import read_structures, set_labels, write_structures
from distill.models.cached_calculators import ModelSpec, cached_calculator
from distill.simulation.config import NebConfig
from distill.simulation.neb import bare, minimum_energy_path
from distill.simulation.neb_band import Memory, path_lengths
from distill.systems.slabs import USER_SLAB


def path_structures(
    images: Sequence[Atoms], config: NebConfig, model: Calculator
) -> tuple[list[Atoms], int]:
    """`config.keep` labelled structures along a path, in order, and the force calls they cost.

    The labelled images themselves come first; further ones lie between them on a cubic spline
    through the images, evenly over its length.
    """
    from scipy.interpolate import CubicSpline

    coordinates = path_lengths(images)
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

    In its folder it leaves `NAME.xyz` (the images) and `NAME.json` (the numbers). `guess` is the
    file of another model's images to begin with.
    """

    model: ModelSpec
    config: NebConfig
    guess: Path | None = None

    def settings(self) -> dict[str, Any]:
        """All but what is kept of it, and whether a band that does not converge is an error."""
        return {**super().settings(), "config": _search(self.config)}

    def fault(self) -> str | None:
        """Why it is to be made; also where it had to converge and did not."""
        fault = super().fault()
        if fault is None and self.config.require_convergence and not self.numbers()["converged"]:
            return "it did not converge"
        return fault

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

    def files(self) -> list[Path]:
        """The images."""
        return [self.images_path]

    def work(self) -> dict[str, Any]:
        """Find the path and write its files."""
        model = cached_calculator(self.model, dtype="float64")
        guess = None if self.guess is None else read_structures(self.guess)
        path = minimum_energy_path(self.config, model, self.parts, guess)
        write_structures(self.images_path, path.images)
        return {"name": self.name, **path.summary()}

    @property
    def images_path(self) -> Path:
        """File of the images."""
        return self.folder / f"{self.name}.xyz"


@dataclass(frozen=True)
class KeptUnit(Unit):
    """Label structures along a path, which is found first where it is not there."""

    path: PathUnit

    def settings(self) -> dict[str, Any]:
        """The path, and how many."""
        return {"path": self.path.key, "keep": self.path.config.keep}

    def fault(self) -> str | None:
        """Why it is to be made: its own reasons, or its path's."""
        fault = super().fault()
        return fault if fault is not None or self.path.finished else self.path.fault()

    def files(self) -> list[Path]:
        """The structures, where any are kept."""
        return [self.folder / f"{self.name}.xyz"] if self.path.config.keep else []

    def structures(self) -> list[Atoms]:
        """The labelled structures."""
        return [atoms for file in self.files() for atoms in read_structures(file)]

    def work(self) -> dict[str, int]:
        """Find the path, and label structures along it; the calls of the latter."""
        path = self.path
        if not path.finished:
            path.run()
        model = cached_calculator(path.model, dtype="float64")
        kept, calls = path_structures(read_structures(path.images_path), path.config, model)
        for atoms in kept:
            atoms.info["trajectory"] = path.name
            atoms.info["path_converged"] = path.numbers()["converged"]
        for file in self.files():
            write_structures(file, kept)
        return {"calls": calls}


def _search(config: NebConfig) -> NebConfig:
    """What a path depends on: not on how much is kept of it, nor on what is done about it."""
    return config.model_copy(update={"keep": 0, "require_convergence": False})


def path_units(configs: Sequence[NebConfig], *, model: ModelSpec, out: Path) -> list[PathUnit]:
    """Every path of a list, named by facet, site and its other settings.

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
    for name, config in zip(names_of(map(_search, configs)), configs, strict=True):
        facet = USER_SLAB if config.slab.file else config.facet
        what = f"{facet}_{config.site}" if config.initial is None else "path"
        units.append(PathUnit(out, f"{what}_{name}", model, config))
    return units
