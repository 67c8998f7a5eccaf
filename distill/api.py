"""The public functions: each usable in one line on structures and models in memory.

A model is a file, an import path `package.module:Class`, an ASE calculator, a `Student` or anything
that `load` gives. No workflow file, folder or seed is needed; all three can be given. Units: eV, Å,
fs, K, amu.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.number_text import interval_text, number_text
from distill.core.work import WorkFolder

if TYPE_CHECKING:
    from ase import Atoms

    from distill.core.results import Interval
    from distill.metrics.errors import ErrorTable
    from distill.models.calculators import ModelSpec
    from distill.student.student_model import Student
    from distill.systems.config import SlabConfig

Frames = "Sequence[Atoms] | str | os.PathLike[str]"


@dataclass(frozen=True)
class Measured:
    """A number with its interval.

    Attributes
    ----------
    value
        In `unit`.
    interval
        Both ends; None for a number without sampling error.
    unit
        Empty for a pure number.
    details
        The full result that it is from.
    confidence
        Of the interval.
    """

    value: float
    interval: Interval | None
    unit: str
    details: Any
    confidence: float = 0.95

    def __repr__(self) -> str:
        text = f"{number_text(self.value, 4)} {self.unit}".rstrip()
        return f"{text} ({interval_text(self.interval, 4)})" if self.interval else text


def load(model: ModelSpec, *, device: str = "cpu", dtype: str | None = None) -> Any:
    """Open a model: a `Student` for its `.npz`, else a model of its family.

    Parameters
    ----------
    model
        A file (`.npz`, `.model`, `.json`), a calculator by import path, or a model in memory.
    device
        Torch device of a MACE model.
    dtype
        float32 or float64 of a MACE model; its own precision if None.

    Raises
    ------
    UserError
        If the file is missing, damaged or of no known kind.

    Notes
    -----
    A `.model` file is a pickle: loading it runs its code, so load only files that you trust.
    """
    from distill.models.calculators import load_model

    if isinstance(model, (str, os.PathLike)) and Path(model).suffix == ".npz":
        from distill.student.student_model import Student

        return Student.load(Path(model))
    return load_model(model, device=device, dtype=dtype)


def label(frames: Any, model: ModelSpec) -> list[Atoms]:
    """Copies of structures with a model's labels, stresses of fully periodic ones among them.

    Parameters
    ----------
    frames
        Structures, or a file of them.
    model
        The model.

    Returns
    -------
    list of Atoms
        With `REF_energy` (eV), `REF_forces` (eV/Å) and `REF_stress` (eV/Å³, Voigt).

    Raises
    ------
    UserError
        If the model cannot be loaded, lacks an element, or fails on a structure.
    """
    from distill.models.calculators import load_calculator
    from distill.models.labelling import label_structures

    calculator = load_calculator(model)
    stress = "stress" in calculator.implemented_properties
    return label_structures(_frames(frames, require=()), calculator, stress=stress)


def sample_md(
    atoms: Any,
    model: ModelSpec,
    *,
    temperature: float = 300.0,
    time: float = 2000.0,
    ensemble: str = "nvt",
    folder: str | os.PathLike[str] | None = None,
    seed: int = 1,
    **options: Any,
) -> list[Atoms]:
    """Structures along molecular dynamics, with the model's labels.

    Parameters
    ----------
    atoms
        Where it starts: a structure, or a file; constraints hold.
    model
        The model.
    temperature
        K.
    time
        fs, after `equilibration_time`.
    ensemble
        nve, nvt (Langevin) or npt.
    folder
        Keeps the run, which then is not repeated; a scratch folder if None.
    seed
        Of velocities and thermostat.
    options
        Further options of `MdConfig`, such as `time_step`, `save_every`, `friction`, `supercell`.

    Raises
    ------
    UserError
        If an option is wrong, or the run blew up.
    """
    from distill.core.sections import section_from
    from distill.sampling.method import Sampler
    from distill.sampling.methods.md import BLOWN_UP, MdConfig, MdUnit, MolecularDynamics

    with _work(folder, seed) as work:
        config = section_from(
            MdConfig,
            structure=_structure_file(atoms, work, "start"),
            temperatures=[temperature],
            time=time,
            ensemble=ensemble,
            **options,
        )
        (unit,) = MolecularDynamics().units([config], Sampler(model, work))
        assert isinstance(unit, MdUnit)
        work.run([unit], "molecular dynamics")
        numbers = unit.numbers()
        if numbers["outcome"] == BLOWN_UP:
            raise UserError(f"the dynamics blew up: {numbers['reason']}; shorten time_step")
        return unit.structures()


def fit_student(
    frames: Any,
    *,
    order: int = 3,
    totaldegree: float | Sequence[float] = (14, 12, 9),
    rcut: float = 5.5,
    smoothness: float | str = "evidence",
    seed: int = 1,
    **options: Any,
) -> Student:
    """A linear ACE fitted to labelled structures; it knows its grades and warns outside its data.

    Parameters
    ----------
    frames
        Structures with `REF_energy`, `REF_forces` and, where periodic, `REF_stress`; or a file.
    order, totaldegree, rcut, smoothness
        Of the basis and its prior; see `StudentConfig`.
    seed
        Of the committee.
    options
        Further options of `StudentConfig`, such as `weights`, `e0`, `zbl`.

    Raises
    ------
    UserError
        If an option is wrong, labels are missing, or the structures do not fix the fit.
    """
    from distill.core.sections import section_from
    from distill.student.config import StudentConfig
    from distill.student.fit.native_fit import fit

    degrees = list(totaldegree) if isinstance(totaldegree, Sequence) else totaldegree
    config = section_from(
        StudentConfig,
        backend="native",
        order=order,
        totaldegree=degrees,
        rcut=rcut,
        smoothness=smoothness,
        **options,
    )
    return fit(_frames(frames), config, seed=seed).student


def evaluate(model: ModelSpec, frames: Any) -> ErrorTable:
    """Errors of a model on labelled structures, with intervals, by element and config type.

    Parameters
    ----------
    model
        The model.
    frames
        Structures with `REF_` labels, or a file of them.

    Raises
    ------
    UserError
        If labels are missing, or the model lacks an element or fails on a structure.
    """
    from distill.data.structures import reference_stress
    from distill.metrics.errors import error_table
    from distill.models.calculators import load_calculator
    from distill.models.labelling import label_structures

    reference = _frames(frames)
    stress = any(reference_stress(atoms) is not None for atoms in reference)
    return error_table(
        reference, label_structures(reference, load_calculator(model), stress=stress)
    )


def barrier(
    model: ModelSpec,
    *,
    initial: Any = None,
    final: Any = None,
    slab: str = "Cu(111)",
    folder: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Measured:
    """Barrier along a climbing-image minimum energy path, eV; `details.images` is the path.

    Parameters
    ----------
    model
        The model.
    initial, final
        End points: structures with the same atoms in the same order, or files; H2 dissociating on
        `slab` if not given.
    slab
        Metal and facet of the preset.
    folder
        Where the band's checkpoint goes; a scratch folder if None.
    options
        Further options of `NebConfig`, such as `images`, `fmax`, `site`.

    Raises
    ------
    UserError
        If an option or an end point is wrong.
    """
    from distill.core.sections import section_from
    from distill.models.calculators import load_calculator
    from distill.simulation.config import NebConfig
    from distill.simulation.neb import minimum_energy_path

    with _work(folder, 1) as work:
        if initial is not None or final is not None:
            options |= {
                name: _structure_file(end, work, name)
                for name, end in (("initial", initial), ("final", final))
                if end is not None
            }
        else:
            preset, facet = _slab(slab, options.pop("slab_options", {}))
            options |= {"slab": preset, "facet": facet}
        config = section_from(NebConfig, **options)
        path = minimum_energy_path(
            config, load_calculator(model, dtype="float64"), work.path / "bands"
        )
    return Measured(path.barrier, None, "eV", path)


def sticking(
    model: ModelSpec,
    *,
    slab: Any = "Cu(111)",
    molecule: str = "H2",
    energy: float = 0.5,
    temperature: float = 300.0,
    state: tuple[int, int] = (0, 1),
    trajectories: int = 100,
    folder: str | os.PathLike[str] | None = None,
    seed: int = 1,
    **options: Any,
) -> Measured:
    """Sticking probability of a diatomic on a surface, with Wilson's 95 % interval.

    Parameters
    ----------
    model
        The model; its own thermal surfaces and molecular level are the start.
    slab
        Metal and facet such as `Cu(111)`, or a slab with fixed bottom layers.
    molecule
        Diatomic, such as H2.
    energy
        Collision energy, eV.
    temperature
        Of the surface, K.
    state
        Vibrational and rotational quantum numbers.
    trajectories
        How many are run.
    folder
        Keeps surfaces and trajectories, which then are not repeated; a scratch folder if None.
    seed
        Of all random streams.
    options
        Further options of `ScatteringConfig`, such as `time_step`, `max_time`, `snapshots`.

    Raises
    ------
    UserError
        If an option is wrong, or every trajectory was set aside.
    """
    from distill.core.sections import section_from
    from distill.observables.sticking.sticking import sticking_of
    from distill.simulation.config import ScatteringConfig

    with _work(folder, seed) as work:
        if isinstance(slab, str) and not Path(slab).exists():
            preset, facet = _slab(slab, options.pop("slab_options", {}))
            options |= {"slab": preset, "facets": [facet]}
        else:
            options |= {"slab": {"file": _structure_file(slab, work, "slab")}}
        config = section_from(
            ScatteringConfig,
            molecule=molecule,
            collision_energies=[energy],
            surface_temperatures=[temperature],
            states=[state],
            trajectories=trajectories,
            **options,
        )
        found = next(iter(sticking_of(config, model, work).values()))
    if found is None:
        raise UserError("every trajectory was set aside: shorten time_step, or look at the model")
    return Measured(found.probability, found.interval, "", found)


def diffusivity(
    trajectory: Any,
    species: str,
    *,
    interval: float | None = None,
    fit_start: float | None = None,
    fit_end: float | None = None,
    defects: int | None = None,
    confidence: float = 0.95,
    seed: int = 1,
) -> Measured:
    """Tracer diffusivity of an element from a trajectory, cm²/s.

    Positions may be wrapped into the cell: they are followed from frame to frame.

    Parameters
    ----------
    trajectory
        Structures in their order, or a file of them.
    species
        Chemical symbol of what diffuses.
    interval
        Time between frames, fs; by `info["time_fs"]` if not given.
    fit_start, fit_end
        Lags of the fit, fs; without the last it is chosen by the data, not before `fit_start`, a
        hundredth of the whole time if not given.
    defects
        That the displacement is divided by; every atom of the element if not given.
    confidence, seed
        Of the interval, and of its bootstrap.

    Raises
    ------
    UserError
        If there is no such element, the time between frames is not known, the frames are too few,
        or too few jumps were seen for a number.
    """
    from distill.core.progress import say
    from distill.core.random_streams import stream
    from distill.observables.diffusion.diffusivity import (
        diffusivity as diffusivity_of,
    )
    from distill.observables.diffusion.diffusivity import (
        displacements_in_framework,
    )
    from distill.observables.diffusion.window import choose_window
    from distill.systems.defects import nearest_neighbour_distance

    frames = _frames(trajectory, require=())
    mobile = np.array([symbol == species for symbol in frames[0].get_chemical_symbols()])
    if not mobile.any():
        raise UserError(f"there is no {species} in {frames[0].get_chemical_formula()}")
    apart = interval if interval is not None else _time_between(frames)
    whole = apart * (len(frames) - 1)
    tracks = [displacements_in_framework(unwrapped(frames), mobile)]
    count = defects or int(mobile.sum())
    length = nearest_neighbour_distance(
        frames[0], species if mobile.sum() > 1 else frames[0].get_chemical_symbols()[0]
    )
    window = choose_window(
        [tracks],
        apart,
        fit_start=fit_start if fit_start is not None else max(whole / 100, apart),
        fit_end=fit_end,
        defects=count,
        jump_length=length,
    )
    found = diffusivity_of(
        tracks,
        apart,
        defects=count,
        jump_length=length,
        fit_start=window.start,
        fit_end=window.end,
        confidence=confidence,
        generator=stream(seed, "bootstrap", species),
    )
    if found.value is None or found.interval is None:
        raise UserError(f"no diffusivity can be given: {found.reason}")
    if found.disagreement:
        say(f"diffusivity: {found.disagreement}")
    low, high = found.interval
    return Measured(
        _CM2_PER_S * found.value,
        (_CM2_PER_S * low, _CM2_PER_S * high),
        "cm²/s",
        found,
        confidence,
    )


def equation_of_state(atoms: Any, model: ModelSpec, **options: Any) -> Measured:
    """Bulk modulus of a crystal from its energy-volume curve, GPa; the curve is in `details`.

    Parameters
    ----------
    atoms
        Periodic cell, or a file.
    model
        The model.
    options
        Of `distill.systems.equation_of_state.equation_of_state`, such as `strain` and `points`.

    Raises
    ------
    UserError
        If the curve has no minimum within the strains.
    """
    from distill.models.calculators import load_calculator
    from distill.systems.equation_of_state import equation_of_state as curve_of

    curve: Any = curve_of(_frames(atoms, require=())[0], load_calculator(model), **options)
    return Measured(
        curve["bulk_modulus_GPa"], tuple(curve["bulk_modulus_GPa_interval"]), "GPa", curve
    )


# cm²/s in an Å²/fs.
_CM2_PER_S = 0.1


def unwrapped(frames: Sequence[Atoms]) -> np.ndarray:
    """Positions along a trajectory without jumps across periodic boundaries, Å, (frames, N, 3).

    Every atom is taken to have moved by less than half a cell between frames; cells may change.
    """
    from ase.geometry import find_mic

    positions = [frames[0].get_positions()]
    for before, after in pairwise(frames):
        moved, _ = find_mic(after.positions - before.positions, after.cell, after.pbc)
        positions.append(positions[-1] + moved)
    return np.array(positions)


def _time_between(frames: Sequence[Atoms]) -> float:
    times = [atoms.info.get("time_fs") for atoms in frames]
    if len(frames) < 2 or any(time is None for time in times):
        raise UserError('give the time between frames, or frames with info["time_fs"]')
    steps = np.diff(np.array(times, dtype=float))
    if not np.allclose(steps, steps[0]) or steps[0] <= 0:
        raise UserError('info["time_fs"] of the frames does not grow by equal steps')
    return float(steps[0])


def _frames(frames: Any, *, require: Sequence[str] = ("energy", "forces")) -> list[Atoms]:
    """Structures in memory as they are, or those of a file."""
    from ase import Atoms

    from distill.data.structures import check_structures, read_structures

    if isinstance(frames, Atoms):
        frames = [frames]
    if isinstance(frames, (str, os.PathLike)):
        return read_structures(frames, require=require)
    return check_structures(list(frames), require=require)


def _structure_file(structure: Any, work: WorkFolder, name: str) -> str:
    """File of a structure, which is written where it is in memory, constraints included."""
    if isinstance(structure, (str, os.PathLike)):
        return os.fspath(structure)
    from ase.io import write

    from distill.core.artifacts import atomic_path

    path = work.path / f"{name}.traj"
    with atomic_path(path) as temporary:
        bare = structure.copy()
        bare.calc = None
        write(temporary, bare, format="traj")
    return str(path)


def _slab(name: str, options: dict[str, Any]) -> tuple[SlabConfig, str]:
    """Options of a slab called such as `Cu(111)`, and its facet."""
    from distill.core.sections import section_from
    from distill.systems.config import SlabConfig

    match = re.fullmatch(r"\s*([A-Z][a-z]?)\s*\(?(\d{3})\)?\s*", name)
    if match is None:
        raise UserError(f"slab '{name}': expected a metal and its facet such as Cu(111), or a file")
    return section_from(SlabConfig, element=match[1], **options), match[2]


@contextmanager
def _work(folder: str | os.PathLike[str] | None, seed: int) -> Iterator[WorkFolder]:
    """A folder for units of work: the one given, or a scratch folder."""
    if folder is not None:
        yield WorkFolder(Path(folder), seed)
        return
    with tempfile.TemporaryDirectory(prefix="distill-") as scratch:
        yield WorkFolder(Path(scratch), seed)
