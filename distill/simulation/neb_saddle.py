"""The saddle that a band climbs to: its order, and the way to a lower one where it is not first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.core.progress import say
from distill.models.kept_calls import KeptCalls
from distill.simulation.config import PathConfig
from distill.simulation.dynamics import Forces
from distill.simulation.hessian import Curvature, curvature
from distill.simulation.neb_band import Band, image_step, path_lengths, relaxed_band

# A saddle of higher order is left so many times at most.
_MOST_ROUNDS = 3
# Steps down a second way from the saddle, Å, and how many at most.
_STEP_DOWN, _STEPS_DOWN = 0.15, 6


@dataclass(frozen=True)
class Saddle:
    """A band and the Hessian at its highest image.

    Attributes
    ----------
    band
        The band.
    curvature
        At its highest image; None where it did not converge, an end point is highest, or no
        Hessian was asked for.
    calls
        Model calls of all bands and Hessians on the way.
    left
        Barriers of saddles of higher order that were left for this one, eV.
    """

    band: Band
    curvature: Curvature | None
    calls: int
    left: list[float] = field(default_factory=list)

    @property
    def place(self) -> int:
        """Number of the highest image."""
        return int(np.argmax(self.band.energies))


def lowest_saddle(
    config: PathConfig,
    model: Calculator,
    images: Sequence[Atoms],
    groups: Sequence[Sequence[int]],
    checkpoint: Path | None = None,
) -> Saddle:
    """Relax a band, and follow every second way down from its saddle until there is none.

    Both sides of the saddle are tried, and the lower band that converges is taken. Where neither
    is lower, the saddle of higher order stays.

    Parameters
    ----------
    config
        Tolerance and steps.
    model
        Any ASE calculator.
    images
        The band to begin with.
    groups
        Whose Hessian is taken, as for `curvature`; none where there are no groups.
    checkpoint
        Folder of the bands on the way.
    """

    def found(start: Sequence[Atoms], name: str) -> Saddle:
        file = None if checkpoint is None else checkpoint / f"{name}.npz"
        band = relaxed_band(config, model, start, file)
        place = int(np.argmax(band.energies))
        if not groups or not band.converged or place in (0, len(band.images) - 1):
            return Saddle(band, None, band.calls)
        kept = KeptCalls(model, checkpoint and checkpoint / f"{name}_hessian")
        hessian = curvature(band.images[place], kept, *groups)
        return Saddle(band, hessian, band.calls + hessian.calls)

    saddle = found(images, "band")
    calls, left = saddle.calls, []
    for turn in range(1, _MOST_ROUNDS + 1):
        if saddle.curvature is None or saddle.curvature.negative < 2:
            break
        say(
            f"the path climbs to a saddle of order {saddle.curvature.negative} at "
            f"{saddle.band.barrier:.3f} eV: its second way down is followed to both sides"
        )
        sides = []
        for name, sign in (("one", 1), ("other", -1)):
            pushed, asked = _pushed(saddle, saddle.curvature, sign, model)
            sides.append(found(pushed, f"{turn}_{name}_side"))
            calls += asked + sides[-1].calls
        lower = [
            side
            for side in sides
            if side.band.converged and side.band.barrier < saddle.band.barrier
        ]
        if not lower:
            break
        left.append(saddle.band.barrier)
        saddle = min(lower, key=lambda side: side.band.barrier)
    return Saddle(saddle.band, saddle.curvature, calls, left)


def _pushed(
    saddle: Saddle, hessian: Curvature, sign: int, model: Calculator
) -> tuple[list[Atoms], int]:
    """The band put aside along the second way down, most at the saddle; and the calls it took."""
    images, place = saddle.band.images, saddle.place
    mode = np.zeros((len(images[0]), 3))
    mode[hessian.atoms] = sign * _second_way(hessian, images, place)
    force = Forces(images[place], model)
    energies = [images[place].get_potential_energy()]
    for step in range(1, _STEPS_DOWN + 1):
        energies.append(force(images[place].positions + step * _STEP_DOWN * mode)[0])
        if energies[-1] >= energies[-2]:
            break
    length = _STEP_DOWN * max(int(np.argmin(energies)), 1)
    along = path_lengths(images)
    shares = np.interp(along, [0, along[place], along[-1]], [0, 1, 0])
    pushed = [image.copy() for image in images]
    for share, image in zip(shares, pushed, strict=True):
        image.positions += share * length * mode
    return pushed, force.calls


def _second_way(hessian: Curvature, images: Sequence[Atoms], place: int) -> np.ndarray:
    """Of the ways down, the steepest combination that is not the path's own, unit, shape (n, 3)."""
    tangent = image_step(images[place - 1], images[place + 1])[hessian.atoms].ravel()
    down = hessian.modes[: hessian.negative].reshape(hessian.negative, -1)
    # The part of the path within the ways down; what is at right angles to it leaves the path.
    own = down @ tangent
    if not own.any():
        own[0] = 1.0
    own /= np.linalg.norm(own)
    across = np.eye(len(own)) - np.outer(own, own)
    _, vectors = np.linalg.eigh(across @ np.diag(hessian.eigenvalues[: len(own)]) @ across)
    return np.asarray((vectors[:, 0] @ down).reshape(-1, 3))
