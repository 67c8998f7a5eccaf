"""One trajectory of a diatomic that meets a surface, from its start to its end."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms, units

from distill.core.parts import STEPS_IN_PART, UNDER_WAY, Part, in_parts
from distill.core.quantities import CONFIG_TYPE_KEY
from distill.models.cached_calculators import ModelSpec
from distill.simulation.conditions import Condition
from distill.simulation.config import ScatteringConfig
from distill.simulation.dynamics import (
    Step,
    begin_at,
    calculator_of_part,
    end_of,
    velocity_verlet,
)
from distill.simulation.frames import Frame, reason_to_stop, stacked, structures_of
from distill.simulation.scattering import (
    BLOWN_UP,
    CONFIG_TYPE,
    CUT,
    DISSOCIATED,
    SCATTERED,
    UNDECIDED,
    Outcome,
    molecular_motion,
    trajectory_name,
)
from distill.simulation.shadow_energy import EnergyDrift
from distill.simulation.trust_bound import Trust
from distill.systems.constraints import mobile_atoms
from distill.systems.slabs import facet_label


def run_trajectory(
    start: Atoms,
    model: ModelSpec,
    config: ScatteringConfig,
    condition: Condition,
    number: int,
    *,
    keep_structures: bool = True,
    trust: Trust | None = None,
    parts: Path | None = None,
) -> tuple[Outcome, list[Atoms]]:
    """Follow a molecule by velocity Verlet until it dissociates, scatters or time is out.

    A trajectory whose energy drifts by more than `max_energy_error`, whose moving atoms pass
    `max_temperature`, or whose molecule leaves through the bottom is `blown_up`. The drift is an
    `EnergyDrift`, so no molecule is set aside for its own vibration. With
    `trust`, every structure kept is judged, and the first beyond its bound ends the trajectory as
    `cut`.

    Parameters
    ----------
    start
        As `initial_conditions` gives it.
    model
        What `distill.models.calculators.load_calculator` takes.
    config, condition, number
        Of the trajectory.
    keep_structures
        Whether there are any.
    trust
        Bound within which a student is believed.
    parts
        Folder to keep the parts of a long trajectory in.

    Returns
    -------
    outcome
        How it ended.
    structures
        One every `save_every` fs and the last, labelled with the calculator's energy and raw
        forces; empty unless `keep_structures`.
    """
    trajectory = _Trajectory(start, model, config, trust)
    done = in_parts(parts, partial(trajectory.part, keep_structures))
    last = done[-1]
    positions, velocities = last["end_positions"], last["end_velocities"]
    motion = molecular_motion(start.get_masses()[-2:], positions[-2:], velocities[-2:])
    outcome = Outcome(
        trajectory=trajectory_name(condition, number),
        facet=condition.facet,
        temperature=condition.temperature,
        v=condition.v,
        j=condition.j,
        energy=condition.energy,
        polar_angle=condition.polar_angle,
        number=number,
        outcome=str(last["outcome"]),
        reason=str(last["reason"]),
        time=int(last["end_step"]) * config.time_step,
        calls=sum(int(part["calls"]) for part in done),
        distance=bond_length(positions),
        height=trajectory.height(positions),
        lowest_height=float(last["lowest"]),
        energy_error=float(last["energy_error"]),
        translation=motion.translation,
        exit_angle=motion.exit_angle,
        internal_kinetic=motion.internal_kinetic,
        rotation=motion.rotation,
    )
    structures = [atoms for part in done for atoms in structures_of(part, start)]
    for atoms in structures:
        step = atoms.info["step"]
        atoms.info = {
            CONFIG_TYPE_KEY: CONFIG_TYPE,
            "trajectory": outcome.trajectory,
            "step": step,
            "time_fs": round(step * config.time_step, 6),
            "facet": facet_label(condition.facet),
            "surface_temperature_K": condition.temperature,
            "vibrational_state": condition.v,
            "rotational_state": condition.j,
            "collision_energy_eV": condition.energy,
            **{name: value for name, value in atoms.info.items() if name != "step"},
            "bond_length_A": bond_length(atoms.positions),
            "height_A": trajectory.height(atoms.positions),
        }
    return outcome, structures


class _Trajectory:
    """The dynamics of one trajectory and what is asked of each of its steps."""

    def __init__(
        self, start: Atoms, model: ModelSpec, config: ScatteringConfig, trust: Trust | None
    ) -> None:
        self._start, self._model, self._config, self._trust = start, model, config, trust
        masses = start.get_masses()[-2:]
        self._shares = masses / masses.sum()
        self._top, self._bottom = float(start.info["top"]), float(start.positions[:-2, 2].min())
        self._per_kelvin = 1.5 * int(mobile_atoms(start).sum()) * units.kB
        self._far = config.scattered_height or config.start_height + 0.1
        self._last = round(config.max_time / config.time_step)

    def part(self, keep_structures: bool, before: Part | None, number: int) -> Part:
        """Frames of a part of the trajectory, and the state at its end."""
        config, atoms = self._config, self._start.copy()
        lowest, energy_error, memory = np.inf, 0.0, None
        if before is not None:
            begin_at(atoms, before)
            lowest, energy_error = float(before["lowest"]), float(before["energy_error"])
            memory = before["drift_memory"]
        drift = EnergyDrift(atoms, config.time_step, memory)
        every = max(round(config.save_every / config.time_step), 1)
        begun = number * STEPS_IN_PART
        frames: list[Frame] = []
        calculator = calculator_of_part(self._model, number)
        end = reason = ""
        for step in velocity_verlet(atoms, calculator, config.time_step):
            index, drifted = begun + step.index, drift.at(step)
            if number and not step.index:
                continue  # it was the last of the part before
            energy_error = max(energy_error, drifted)
            lowest = min(lowest, self.height(step.positions))
            end, reason = self._end(step, index, drifted)
            if keep_structures and (index % every == 0 or end):
                frames.append(_frame(atoms, step, index))
                if self._trust and end != BLOWN_UP:
                    reason = reason_to_stop(frames, atoms, self._trust)
                    end = CUT if reason else end
            if end or step.index == STEPS_IN_PART:
                break
        return {
            UNDER_WAY: not end,
            **stacked(frames),
            **end_of(step),
            "end_step": index,
            "outcome": end,
            "reason": reason,
            "calls": step.index + 1,
            "lowest": lowest,
            "energy_error": energy_error,
            "drift_memory": drift.memory,
        }

    def height(self, positions: np.ndarray) -> float:
        """Of the molecule's centre of mass above the top layer, Å."""
        return float(self._shares @ positions[-2:, 2]) - self._top

    def _end(self, step: Step, index: int, drift: float) -> tuple[str, str]:
        """How the trajectory ends with a step, empty if it does not; why, if it blew up."""
        config, molecule = self._config, step.positions[-2:]
        temperature = step.kinetic / self._per_kelvin
        reason = ""
        # Written so that NaN, which compares false, counts as blown up.
        if not np.isfinite(step.energy + step.kinetic):
            reason = "the total energy is not finite"
        elif not drift <= config.max_energy_error:
            reason = f"the total energy drifted by {drift:.3g} eV"
        elif not temperature <= config.max_temperature:
            reason = f"temperature of {temperature:.3g} K"
        elif molecule[:, 2].min() < self._bottom:
            reason = "an atom left through the bottom of the slab"
        if reason:
            return BLOWN_UP, reason
        if bond_length(step.positions) > config.dissociation_distance:
            return DISSOCIATED, ""
        if self.height(step.positions) > self._far and self._shares @ step.velocities[-2:, 2] > 0:
            return SCATTERED, ""
        return (UNDECIDED if index >= self._last else ""), ""


def bond_length(positions: np.ndarray) -> float:
    """Distance of the last two atoms, Å."""
    return float(np.linalg.norm(positions[-1] - positions[-2]))


def _frame(atoms: Atoms, step: Step, index: int) -> Frame:
    """A frame without stress, which a slab with vacuum has no use for."""
    positions, forces = step.positions.copy(), step.forces.copy()
    return Frame(index, positions, atoms.cell.array, step.energy, forces, np.empty(0))
