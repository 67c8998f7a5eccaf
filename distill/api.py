"""The public functions: each usable in one line on structures and models in memory.

A model is a file, an import path `package.module:Class`, an ASE calculator, a `Student` or anything
that `load` gives. No workflow file, folder or seed is needed; all three can be given. Units: eV, Å,
fs, K, amu.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.errors import UserError
from distill.core.measured import Measured
from distill.core.work import work_folder

if TYPE_CHECKING:
    from ase import Atoms

    from distill.metrics.errors import ErrorTable
    from distill.models.calculators import ModelSpec
    from distill.student.student_model import Student


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
    from distill.data.structures import structures_of
    from distill.models.calculators import load_calculator
    from distill.models.labelling import label_structures

    calculator = load_calculator(model)
    stress = "stress" in calculator.implemented_properties
    return label_structures(structures_of(frames, require=()), calculator, stress=stress)


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
    from distill.data.structure_files import structure_file
    from distill.sampling.method import Sampler
    from distill.sampling.methods.md import BLOWN_UP, MdUnit, MolecularDynamics
    from distill.sampling.methods.md_config import MdConfig

    with work_folder(folder, seed) as work:
        config = section_from(
            MdConfig,
            structure=structure_file(atoms, work.path, "start"),
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
    order: int | None = None,
    totaldegree: float | Sequence[float] | None = None,
    rcut: float | None = None,
    smoothness: float | str | None = None,
    seed: int = 1,
    **options: Any,
) -> Student:
    """A linear ACE fitted to labelled structures; it knows its grades and warns outside its data.

    Parameters
    ----------
    frames
        Structures with `REF_energy`, `REF_forces` and, where periodic, `REF_stress`; or a file.
    order, totaldegree, rcut, smoothness
        Of the basis and its prior; see `StudentConfig`. Those left out are 3, [14, 12, 9], 5.5 Å
        and "evidence", or, with `basis="auto"`, chosen from the structures.
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
    from distill.data.structures import structures_of
    from distill.student.config import StudentConfig
    from distill.student.fit_backends import fit_student as fit

    asked: dict[str, Any] = {
        "order": order,
        "totaldegree": list(totaldegree) if isinstance(totaldegree, Sequence) else totaldegree,
        "rcut": rcut,
        "smoothness": smoothness,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    if options.get("basis") != "auto":
        given = {"order": 3, "totaldegree": [14, 12, 9], "rcut": 5.5, "smoothness": "evidence"}
        asked = given | asked
    config = section_from(StudentConfig, backend="native", **asked, **options)
    return fit(structures_of(frames), config, seed=seed).student


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
    from distill.data.structures import reference_stress, structures_of
    from distill.metrics.errors import error_table
    from distill.models.calculators import load_calculator
    from distill.models.labelling import label_structures

    reference = structures_of(frames)
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
    from distill.data.structure_files import structure_file
    from distill.models.calculators import load_calculator
    from distill.simulation.config import NebConfig
    from distill.simulation.neb import minimum_energy_path
    from distill.systems.slabs import slab_called

    with work_folder(folder, 1) as work:
        if initial is not None or final is not None:
            options |= {
                name: structure_file(end, work.path, name)
                for name, end in (("initial", initial), ("final", final))
                if end is not None
            }
        else:
            preset, facet = slab_called(slab, options.pop("slab_options", {}))
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
    from distill.data.structure_files import structure_file
    from distill.observables.sticking.sticking import sticking_of
    from distill.simulation.config import ScatteringConfig
    from distill.systems.slabs import slab_called

    with work_folder(folder, seed) as work:
        if isinstance(slab, str) and not Path(slab).exists():
            preset, facet = slab_called(slab, options.pop("slab_options", {}))
            options |= {"slab": preset, "facets": [facet]}
        else:
            options |= {"slab": {"file": structure_file(slab, work.path, "slab")}}
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
    from distill.data.structures import structures_of
    from distill.observables.diffusion.one_trajectory import diffusivity_of_frames
    from distill.observables.diffusion.result import CM2_PER_S

    found = diffusivity_of_frames(
        structures_of(trajectory, require=()),
        species,
        interval=interval,
        fit_start=fit_start,
        fit_end=fit_end,
        defects=defects,
        confidence=confidence,
        seed=seed,
    )
    if found.value is None or found.interval is None:
        raise UserError(f"no diffusivity can be given: {found.reason}")
    if found.disagreement:
        say(f"diffusivity: {found.disagreement}")
    low, high = found.interval
    return Measured(
        CM2_PER_S * found.value,
        (CM2_PER_S * low, CM2_PER_S * high),
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
    from distill.data.structures import structures_of
    from distill.models.calculators import load_calculator
    from distill.systems.equation_of_state import equation_of_state as curve_of

    curve: Any = curve_of(structures_of(atoms, require=())[0], load_calculator(model), **options)
    return Measured(
        curve["bulk_modulus_GPa"], tuple(curve["bulk_modulus_GPa_interval"]), "GPa", curve
    )
