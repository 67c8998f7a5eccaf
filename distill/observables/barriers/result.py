"""What the barriers observable returns."""

from __future__ import annotations

import math

from pydantic import Field

from distill.core.results import Record, Result


class StationaryPoint(Record):
    """A saddle or an end point, by the Hessian of some of its atoms.

    Attributes
    ----------
    atoms
        Their indices; the others stand still.
    lowest_eigenvalues
        eV/Å², ascending.
    negative
        How many lie below −0.01 eV/Å²: 0 at a minimum, 1 at a saddle of first order.
    lowest_wave_number
        Of the harmonic vibrations, 1/cm; negative if imaginary.
    zero_point_energy
        Half the quanta of the real vibrations, eV.
    imaginary_mode
        Of a saddle: displacements of `atoms`, unit vector, shape (atoms, 3).
    """

    atoms: list[int]
    lowest_eigenvalues: list[float]
    negative: int
    lowest_wave_number: float
    zero_point_energy: float
    imaginary_mode: list[list[float]] | None = None


class Profile(Record):
    """A path as one model has it.

    Attributes
    ----------
    distance
        Along the path, Å, one number for each image.
    energy
        eV, 0 at the first image.
    barrier, reaction_energy
        Of the highest and the last image over the first, eV.
    converged, fmax, steps, calls
        Of the band: largest force in eV/Å, optimiser steps, and all force calls, those of end
        points and Hessians too; None for a stored path.
    began_with
        `interpolation`, or the model whose path it began with; None for a stored path.
    file
        Of a stored path.
    ends_fmax, ends_relaxed
        Largest force on the first and the last image, eV/Å, and whether it is below the tolerance.
    initial, saddle, final
        What the Hessians say; None where none was taken.
    zero_point_barrier
        The barrier with the zero-point energies of saddle and first minimum, eV; None unless they
        are a saddle of first order and a minimum.
    crossover_temperature
        Below which tunnelling outweighs hopping, K.
    left
        Barriers of saddles of higher order that were left for this one, eV.
    """

    distance: list[float]
    energy: list[float]
    barrier: float
    reaction_energy: float
    converged: bool | None = None
    fmax: float | None = None
    steps: int | None = None
    calls: int | None = None
    began_with: str | None = None
    file: str | None = None
    ends_fmax: tuple[float, float] | None = None
    ends_relaxed: tuple[bool, bool] | None = None
    initial: StationaryPoint | None = None
    saddle: StationaryPoint | None = None
    final: StationaryPoint | None = None
    zero_point_barrier: float | None = None
    crossover_temperature: float | None = None
    left: list[float] = Field(default_factory=list)

    @property
    def has_saddle(self) -> bool:
        """Whether an image between the ends lies above both: without one there is no barrier."""
        return max(self.energy[1:-1], default=-math.inf) > max(self.energy[0], self.energy[-1])

    @property
    def faults(self) -> list[str]:
        """Why the barrier is not to be trusted; empty where nothing is known against it."""
        first_relaxed = self.ends_relaxed is None or self.ends_relaxed[0]
        found = {
            "the band did not converge: raise max_steps, then compare again": not (
                self.converged or self.file
            ),
            "the first end point is not relaxed: raise max_steps, then compare again": (
                not first_relaxed
            ),
            "the highest image is no saddle of first order, so a lower path lies beside it": (
                self.saddle is not None and self.saddle.negative != 1
            ),
            "the first end point is no minimum": (
                self.initial is not None and self.initial.negative > 0
            ),
        }
        return [fault for fault, there in found.items() if there]

    @property
    def minima(self) -> tuple[bool, bool] | None:
        """Whether the first and the last image are minima; None where it is not known."""
        if self.initial is None or self.final is None:
            return None
        return self.initial.negative == 0, self.final.negative == 0


class BarriersResult(Result):
    """Profiles by path, such as `Cu(111) bridge`, and model."""

    paths: dict[str, dict[str, Profile]]

    def differences(self, one: str, other: str) -> dict[str, tuple[float, list[str]]]:
        """By path, the barrier of one model minus another's, eV, and what is amiss with either."""
        return {
            title: (
                profiles[one].barrier - profiles[other].barrier,
                [f"{name}: {fault}" for name in (one, other) for fault in profiles[name].faults],
            )
            for title, profiles in self.paths.items()
            if {one, other} <= set(profiles)
        }
