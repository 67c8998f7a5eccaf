"""The YAML vocabulary: every option of a workflow, with its unit, default and range.

Nothing else in the package reads YAML. Unknown keys are refused with the nearest valid name.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from distill.errors import UserError

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A block of the YAML file: unknown keys are refused, values are checked and fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """The reference labels that the teacher learns from and everything is measured against."""

    train: str = Field("bundled:h2cu_train", description="file with labels, or bundled:NAME")
    test: str | None = Field(
        None, description="held-out file, or bundled:NAME; else test_fraction of train is held out"
    )
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="held out by seed, stratified by config_type, where no test file is given"
    )
    energy_key: str = Field("REF_energy", description="key of the total energy, eV")
    forces_key: str = Field("REF_forces", description="key of the forces, eV/Å")
    stress_key: str = Field("REF_stress", description="key of the stress, eV/Å³, sign as in ASE")
    max_force: Positive = Field(
        100.0, description="structures with a larger force are left out, eV/Å"
    )
    min_distance: Positive = Field(0.3, description="smallest distance allowed between atoms, Å")


class CalculatorConfig(Section):
    """Any ASE calculator: a model file, or a class by import path with its arguments."""

    path: str = Field(description="MACE .model, student .npz, or 'package.module:Class'")
    args: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class")


class StageTwo(Section):
    """Second training stage with a higher weight on energies, as in the study."""

    start_epoch: Count = Field(description="epoch at which it starts")
    energy_weight: NonNegative = Field(1000.0, description="weight of energies")
    forces_weight: NonNegative = Field(100.0, description="weight of forces")
    stress_weight: NonNegative = Field(0.0, description="weight of stress")
    lr: Positive = Field(0.001, description="learning rate")


class TeacherConfig(Section):
    """Fine-tuning of a foundation model with part of its weights frozen."""

    foundation: str = Field(
        "bundled",
        description="bundled, a name known to mace-torch (small, medium-mpa-0), or a path",
    )
    strategy: Literal["finetune", "scratch", "none"] = Field(
        "finetune", description="finetune, scratch (same architecture, new weights), or none"
    )
    freeze: str | list[str] = Field(
        "f4",
        description="f0, f4 (embeddings), f5 (and interactions), f6 (and products), or patterns",
    )
    lr_factors: dict[str, Positive] = Field(
        default_factory=dict,
        description="soft freezing: factor on the learning rate by pattern over parameter names",
    )
    head: str | None = Field(None, description="head of a multi-head foundation model")
    keep_elements: bool = Field(
        False, description="keep the foundation's elements that the data do not have"
    )
    fraction: Fraction = Field(1.0, description="share of the training set used, nested by seed")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="share of the used structures that steers early stopping"
    )
    e0: Literal["auto", "isolated", "lstsq", "foundation"] | dict[str, float] = Field(
        "auto", description="atomic reference energies, eV: isolated, lstsq, foundation, or given"
    )
    epochs: Count = Field(100, description="epochs at most")
    patience: Count = Field(50, description="epochs without improvement before stopping")
    batch_size: Count = Field(8, description="structures a batch")
    lr: Positive = Field(0.01, description="learning rate")
    schedule: Literal["plateau", "cosine", "constant"] = Field(
        "plateau", description="learning rate: plateau (times 0.8 when stuck), cosine, constant"
    )
    plateau_patience: Count = Field(
        50, description="epochs without improvement before the plateau schedule lowers the rate"
    )
    weight_decay: NonNegative = Field(0.0, description="L2 penalty of the optimiser")
    energy_weight: NonNegative = Field(1.0, description="weight of energies in the loss")
    forces_weight: NonNegative = Field(100.0, description="weight of forces in the loss")
    stress_weight: NonNegative = Field(0.0, description="weight of stress in the loss")
    stage_two: StageTwo | None = Field(None, description="second stage of the loss weights")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="decay of the weight average"
    )
    dtype: Literal["float32", "float64"] = Field("float64", description="precision")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA if present")
    threads: Count | None = Field(None, description="torch threads; all cores if not given")


class SlabConfig(Section):
    """A metal slab, periodic in the plane, with fixed bottom layers."""

    element: str = Field("Cu", description="fcc metal")
    size: tuple[Count, Count] = Field((3, 3), description="surface cells along the two directions")
    layers: Count = Field(4, description="atomic layers")
    fixed_layers: Annotated[int, Field(ge=0)] = Field(2, description="bottom layers held fixed")
    vacuum: Positive = Field(16.0, description="gap between periodic images along z, Å")
    lattice_constant: Positive | None = Field(
        None, description="at 0 K, Å; if not given, from the calculator's energy-volume curve"
    )
    thermal_expansion: NonNegative = Field(
        1.69e-5, description="linear coefficient α of a(T) = a(0 K) (1 + αT), 1/K; Cu by default"
    )


Facet = Literal["111", "100", "110", "211"]


class ScatteringConfig(Section):
    """Trajectories of a diatomic on a surface; the defaults are the study's."""

    molecule: str = Field("H2", description="diatomic")
    masses: tuple[Positive, Positive] | None = Field(
        None, description="of its two atoms for other isotopes, amu"
    )
    slab: SlabConfig = Field(default_factory=SlabConfig, description="the surface")
    facets: Annotated[list[Facet], Field(min_length=1)] = Field(
        ["111", "110", "100", "211"], description="fcc facets"
    )
    surface_temperatures: Annotated[list[NonNegative], Field(min_length=1)] = Field(
        [300.0, 600.0, 900.0], description="K"
    )
    states: Annotated[
        list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]], Field(min_length=1)
    ] = Field([(0, 1), (1, 1)], description="rovibrational (v, J)")
    collision_energies: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.2, 0.4, 0.6, 0.8, 1.0], description="eV"
    )
    trajectories: Count = Field(5, description="trajectories for each condition")
    polar_angle: Annotated[float, Field(ge=0, lt=90)] = Field(
        0.0, description="incidence, degrees from the normal"
    )
    azimuthal_angle: float | None = Field(
        None, description="incidence, degrees from x; random if not given"
    )
    start_height: Positive = Field(7.0, description="molecule above the top layer at start, Å")
    time_step: Positive = Field(0.1, description="fs")
    max_time: Positive = Field(3000.0, description="fs")
    save_every: Positive = Field(1.0, description="fs between saved structures")
    dissociation_distance: Positive = Field(2.25, description="bond length that ends it, Å")
    scattered_height: Positive | None = Field(
        None,
        description="height that ends it once the molecule moves away, Å; "
        "start_height + 0.1 if not given",
    )
    thermalisation_time: NonNegative = Field(
        500.0, description="Langevin time before the first surface snapshot, fs"
    )
    snapshots: Count = Field(20, description="surface snapshots a facet and temperature at most")
    snapshot_interval: Positive = Field(100.0, description="Langevin time between snapshots, fs")
    surface_time_step: Positive = Field(2.0, description="of the Langevin dynamics, fs")
    friction: Positive = Field(0.02, description="of the Langevin dynamics, 1/fs")
    max_energy_error: Positive = Field(
        0.1, description="change of the total energy above which a trajectory is set aside, eV"
    )
    max_temperature: Positive = Field(
        20000.0, description="of the moving atoms, above which a trajectory is set aside, K"
    )


class NebConfig(Section):
    """A climbing-image nudged elastic band, by default for H2 dissociating on a facet."""

    facet: Facet = Field("111", description="fcc facet of the preset")
    slab: SlabConfig = Field(default_factory=SlabConfig, description="the surface of the preset")
    site: Literal["bridge", "hollow", "top"] = Field("bridge", description="site of the molecule")
    initial: str | None = Field(
        None, description="structure file of the first end point, in place of the preset"
    )
    final: str | None = Field(
        None, description="structure file of the second end point, same atoms in the same order"
    )
    relax_ends: bool = Field(True, description="relax the end points first")
    images: Annotated[int, Field(ge=3)] = Field(9, description="images, end points included")
    fmax: Positive = Field(0.05, description="force tolerance, eV/Å")
    max_steps: Count = Field(300, description="optimiser steps at most, and for each end point")
    keep: Annotated[int, Field(ge=0)] = Field(
        50, description="structures kept for labelling along the path"
    )
    require_convergence: bool = Field(
        False, description="stop with an error where fmax is not reached, instead of marking it"
    )

    @model_validator(mode="after")
    def _check(self) -> NebConfig:
        if (self.initial is None) != (self.final is None):
            raise ValueError("initial and final belong together: give both or none")
        return self


class MdConfig(Section):
    """Molecular dynamics of a given structure at a list of temperatures."""

    structure: str = Field(description="file read by ASE, or bundled:NAME")
    index: int = Field(0, description="which structure of the file")
    ensemble: Literal["nve", "nvt", "npt"] = Field("nvt", description="nvt by Langevin dynamics")
    temperatures: Annotated[list[NonNegative], Field(min_length=1)] = Field(
        [300.0, 600.0], description="K"
    )
    pressure: float = Field(0.0, description="eV/Å³, for npt")
    supercell: tuple[Count, Count, Count] = Field((1, 1, 1), description="repeats along the axes")
    defect: Literal["none", "interstitial", "vacancy", "dumbbell"] = Field(
        "none", description="point defect put into the supercell"
    )
    defect_element: str | None = Field(
        None, description="element of the defect; the structure's first if not given"
    )
    time: Positive = Field(2000.0, description="fs")
    equilibration_time: NonNegative = Field(200.0, description="left out at the start, fs")
    time_step: Positive = Field(1.0, description="fs")
    save_every: Positive = Field(20.0, description="fs between saved structures")
    friction: Positive = Field(0.01, description="of the Langevin dynamics, 1/fs")
    max_temperature: Positive = Field(
        10000.0, description="above which the run is stopped and set aside, K"
    )


class RattleConfig(Section):
    """Random displacements and strains of given structures."""

    structures: str = Field(description="file read by ASE, or bundled:NAME")
    copies: Count = Field(5, description="rattled copies of each")
    amplitude: NonNegative = Field(0.1, description="standard deviation of displacements, Å")
    strain: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.02, description="largest entry of the random strain"
    )
    relax_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="optimiser steps after each rattling; every structure on the way is kept"
    )


class SelectionConfig(Section):
    """Which of the sampled structures are kept and labelled."""

    method: Literal["kmeans", "fps", "leverage", "random"] = Field(
        "kmeans", description="cluster representatives, farthest points, D-optimal, or random"
    )
    count: Count = Field(2000, description="structures kept for the student, beside minimum paths")
    held_out: Annotated[int, Field(ge=0)] = Field(
        100, description="structures of whole trajectories kept apart for testing the student"
    )
    descriptor: Literal["ace", "teacher"] = Field(
        "ace", description="what distances are measured in"
    )
    duplicate_tolerance: NonNegative = Field(
        1e-4, description="descriptor distance below which structures count as the same"
    )
    max_force: Positive = Field(50.0, description="sampled structures above this are dropped, eV/Å")
    min_distance: Positive = Field(
        0.4, description="sampled structures with closer atoms are dropped, Å"
    )


class SamplingConfig(Section):
    """Which configurations the teacher visits and labels."""

    scattering: ScatteringConfig | None = None
    neb: list[NebConfig] = Field(default_factory=list)
    md: list[MdConfig] = Field(default_factory=list)
    rattle: list[RattleConfig] = Field(default_factory=list)
    include_training: bool = Field(
        True, description="also relabel the reference training structures with the teacher"
    )
    selection: SelectionConfig = Field(default_factory=SelectionConfig)


class LabelWeights(Section):
    """Weights of the three kinds of labels; rows are E/√N, F and V/√N as in ACEpotentials."""

    energy: NonNegative = Field(30.0, description="energies")
    forces: NonNegative = Field(1.0, description="forces")
    virial: NonNegative = Field(1.0, description="virials")


class SolverConfig(Section):
    """The linear solver. Options that a solver does not know are refused."""

    kind: Literal["blr", "ridge", "ard", "rrqr", "tsvd", "qr", "lsqr"] = Field("blr")
    strength: NonNegative | None = Field(
        None,
        description="ridge/qr/lsqr: λ of the penalty λ² ‖c‖²; if not given, cross-validated "
        "(ridge) or 0",
    )
    rtol: Positive | None = Field(None, description="rrqr/tsvd: relative tolerance; 1e-9")
    committee: Annotated[int, Field(ge=0)] = Field(
        32, description="posterior draws kept for uncertainties (blr, ard, ridge, qr)"
    )
    factorization: Literal["cholesky", "svd"] | None = Field(
        None, description="blr with acepotentials: svd if a committee is drawn, else cholesky"
    )
    ard_threshold: Positive | None = Field(
        None, description="ard with acepotentials: threshold of ACEfit.BLR, 1e-3 if not given"
    )
    atol: Positive | None = Field(None, description="lsqr with acepotentials: tolerance, 1e-6")
    conlim: Positive | None = Field(
        None, description="lsqr with acepotentials: limit of the condition number, 1e8"
    )
    max_iterations: Count | None = Field(
        None, description="lsqr with acepotentials: iterations at most, 100000"
    )

    @model_validator(mode="after")
    def _check(self) -> SolverConfig:
        for option, kinds in (
            ("strength", ("ridge", "qr", "lsqr")),
            ("rtol", ("rrqr", "tsvd")),
            ("factorization", ("blr",)),
            ("ard_threshold", ("ard",)),
            ("atol", ("lsqr",)),
            ("conlim", ("lsqr",)),
            ("max_iterations", ("lsqr",)),
        ):
            if getattr(self, option) is not None and self.kind not in kinds:
                raise ValueError(f"{option} is an option of {', '.join(kinds)}, not of {self.kind}")
        return self


class StudentConfig(Section):
    """The linear ACE basis and its fit; names as in ACEpotentials.jl."""

    backend: Literal["auto", "native", "acepotentials"] = Field(
        "auto", description="acepotentials where Julia is set up, else native"
    )
    elements: list[str] | None = Field(None, description="order of species; sorted if not given")
    order: Annotated[int, Field(ge=1, le=6)] = Field(4, description="correlation order")
    totaldegree: Positive | list[Positive] = Field(
        [18.0, 12.0, 10.0, 8.0], description="one number, or one for each correlation order"
    )
    wL: Positive = Field(1.5, description="weight of l against n in the degree")
    rcut: Positive | dict[str, Positive] = Field(6.0, description="Å; or a table over pairs 'Cu-H'")
    r0: Literal["bondlen"] | Positive | dict[str, Positive] = Field("bondlen", description="Å")
    pair: bool = Field(True, description="add the pair term")
    pair_degree: Count | None = Field(
        None, description="its degree; the largest degree if not given"
    )
    zbl: bool = Field(False, description="ZBL repulsion at close approach (native only)")
    e0: Literal["auto", "isolated", "lstsq", "teacher"] | dict[str, float] = Field(
        "auto", description="one-body energies, eV"
    )
    weights: dict[str, LabelWeights] = Field(
        default_factory=lambda: {"default": LabelWeights()},
        description="by config_type; 'default' for the rest",
    )
    smoothness: NonNegative = Field(4.0, description="power p of the algebraic smoothness prior")
    solver: SolverConfig = Field(default_factory=SolverConfig)
    repulsion_restraint: bool = Field(
        False, description="ACEpotentials' artificial repulsive dimers (acepotentials only)"
    )
    restraint_weight: Positive = Field(0.01, description="weight of those dimers' energies")
    threads: Count | None = Field(None, description="threads for assembly, or Julia's threads")

    @model_validator(mode="after")
    def _check(self) -> StudentConfig:
        degrees = self.totaldegree
        if isinstance(degrees, list) and len(degrees) != self.order:
            raise ValueError(
                f"totaldegree has {len(degrees)} numbers, expected one for each of the "
                f"{self.order} correlation orders"
            )
        if "default" not in self.weights:
            raise ValueError("weights needs an entry 'default'")
        if self.backend == "native" and self.julia_options:
            raise ValueError(
                f"{', '.join(self.julia_options)}: known to the backend acepotentials only"
            )
        return self

    @property
    def julia_options(self) -> tuple[str, ...]:
        """Names of the options in use that only the backend `acepotentials` knows."""
        names = ("factorization", "ard_threshold", "atol", "conlim", "max_iterations")
        used = tuple(f"solver.{n}" for n in names if getattr(self.solver, n) is not None)
        return used + ("repulsion_restraint",) * self.repulsion_restraint

    @property
    def degrees(self) -> tuple[float, ...]:
        """Total degree of each correlation order, 1 to `order`."""
        if isinstance(self.totaldegree, list):
            return tuple(self.totaldegree)
        return (self.totaldegree,) * self.order


class TimingConfig(Section):
    """Time per call on one core, every model in turn within one run."""

    facet: Literal["111", "100", "110", "211"] = Field("111", description="of the 56-atom slab")
    structure: str | None = Field(None, description="file instead of the H2/Cu slab")
    repeats: Annotated[int, Field(ge=3)] = Field(15, description="rounds, each timing every model")
    time_step: Positive = Field(0.1, description="fs, for the nanoseconds a day")
    supercells: list[tuple[Count, Count, Count]] = Field(
        default_factory=list, description="repetitions of the structure, for scaling with size"
    )


class StickingConfig(Section):
    """Sticking probability of teacher and student from the same initial conditions."""

    scattering: ScatteringConfig = Field(
        default_factory=ScatteringConfig,
        description="conditions and dynamics; its `trajectories` is not used here",
    )
    teacher_trajectories: Annotated[int, Field(ge=0)] = Field(
        100, description="teacher trajectories a condition, each paired with a student's"
    )
    student_trajectories: Count = Field(10000, description="student trajectories a condition")
    initial_conditions: Literal["teacher", "student"] = Field(
        "teacher", description="whose thermal surfaces and molecular levels both start from"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")

    @model_validator(mode="after")
    def _check(self) -> StickingConfig:
        if self.student_trajectories < self.teacher_trajectories:
            raise ValueError(
                f"student_trajectories ({self.student_trajectories}) must not be fewer than "
                f"teacher_trajectories ({self.teacher_trajectories}): every teacher trajectory is "
                "paired with a student's"
            )
        return self


class DiffusionConfig(Section):
    """Diffusion of a point defect by molecular dynamics, for every model; by default Li in LiF."""

    structure: str | None = Field(
        None, description="file of the perfect crystal, or bundled:NAME; rocksalt LiF if not given"
    )
    index: int = Field(0, description="which structure of the file")
    supercell: tuple[Count, Count, Count] = Field((2, 2, 2), description="repeats along the axes")
    defect: Literal["none", "interstitial", "vacancy", "dumbbell"] = Field(
        "interstitial", description="point defect put into the supercell"
    )
    element: str = Field("Li", description="of the defect and of the atoms that diffuse")
    defects: Count | None = Field(
        None,
        description="number of defects in the file's structure where defect is none; if not "
        "given, every atom of the element counts as one",
    )
    relax_volume: bool = Field(
        True, description="scale the crystal to each model's own volume at 0 K"
    )
    thermal_expansion: NonNegative = Field(
        0.0, description="linear coefficient α of a(T) = a(0 K) (1 + αT), 1/K"
    )
    temperatures: Annotated[list[Positive], Field(min_length=1)] = Field(
        [400.0, 450.0, 500.0, 600.0, 700.0], description="K"
    )
    runs: Count = Field(4, description="independent runs at each temperature")
    time: Positive = Field(3e6, description="production of each run, fs")
    times: dict[str, Positive] = Field(
        default_factory=dict, description="other production times by model, fs, e.g. teacher: 2e4"
    )
    equilibration_time: Positive = Field(5000.0, description="Langevin time before, fs")
    equilibration_friction: Positive = Field(0.01, description="of that, 1/fs")
    ensemble: Literal["nvt", "nve"] = Field(
        "nvt", description="of the production: nvt by Langevin dynamics of low friction, or nve"
    )
    friction: Positive = Field(0.001, description="of the production in nvt, 1/fs")
    time_step: Positive = Field(1.0, description="fs")
    save_every: Positive = Field(200.0, description="fs between saved positions")
    checkpoint_every: Positive = Field(20000.0, description="fs between checkpoints of a run")
    fit_start: Positive = Field(
        2000.0, description="first lag of the fit of the mean squared displacement, fs"
    )
    fit_end: Positive | None = Field(
        None, description="last lag, fs; a twentieth of the model's production time if not given"
    )
    counting: Literal["tracer", "collective"] = Field(
        "tracer", description="sum of the squares of all atoms, or square of the sum"
    )
    jump_length: Positive | None = Field(
        None,
        description="of the defect, Å, for upper bounds; nearest neighbours of the element if not "
        "given",
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")
    max_temperature_ratio: Annotated[float, Field(gt=1)] = Field(
        3.0, description="kinetic over wanted temperature above which a run is blown up"
    )
    max_energy_change: Positive = Field(
        0.5, description="change of potential energy that marks a run as blown up, eV/atom"
    )
    melting_displacement: Positive = Field(
        0.3,
        description="median shift of framework atoms, in nearest-neighbour distances, that "
        "marks a run as melted",
    )

    @model_validator(mode="after")
    def _check(self) -> DiffusionConfig:
        if self.save_every < self.time_step or self.checkpoint_every < self.save_every:
            raise ValueError("expected time_step <= save_every <= checkpoint_every")
        if self.equilibration_time < self.time_step:
            raise ValueError("expected time_step <= equilibration_time")
        return self


class ThermalExpansionConfig(Section):
    """Lattice constant against temperature by molecular dynamics at constant pressure."""

    temperatures: Annotated[list[Positive], Field(min_length=1)] = Field(
        [200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0], description="K"
    )
    supercell: tuple[Count, Count, Count] = Field((4, 4, 4), description="of the cubic cell")
    time: Positive = Field(20000.0, description="production, fs")
    equilibration_time: NonNegative = Field(5000.0, description="left out at the start, fs")
    time_step: Positive = Field(2.0, description="fs")
    pressure: float = Field(0.0, description="eV/Å³")
    thermostat_time: Positive = Field(100.0, description="of the Nosé-Hoover chain, fs")
    barostat_time: Positive = Field(1000.0, description="of the barostat, fs")
    blocks: Annotated[int, Field(ge=3)] = Field(8, description="that the interval rests on")


class PhononsConfig(Section):
    """Phonons of the crystal by finite displacements (phonopy)."""

    supercell: tuple[Count, Count, Count] = Field((2, 2, 2), description="of the cubic cell")
    displacement: Positive = Field(0.01, description="Å")
    mesh: Count = Field(20, description="wave vectors along each axis for the density of states")
    temperatures: Annotated[list[NonNegative], Field(min_length=1)] = Field(
        [0.0, 300.0, 1000.0, 2000.0], description="of the free energy, K"
    )
    volume_points: Annotated[int, Field(ge=0)] = Field(
        0, description="volumes of the quasi-harmonic free energy, 5 or more; 0 leaves it out"
    )
    volume_strain: Annotated[float, Field(gt=0, lt=0.2)] = Field(
        0.03, description="largest linear strain of those volumes; a third of it in compression"
    )
    max_force: Positive = Field(1e-3, description="that a relaxed cell may have, eV/Å")
    max_stress: Positive = Field(1e-3, description="that a relaxed cell may have, eV/Å³")


class BulkConfig(Section):
    """Energy-volume curve, elastic constants, thermal expansion and phonons of a cubic crystal."""

    structure: str | None = Field(
        None, description="file of the cubic cell, or bundled:NAME; else built from formula"
    )
    index: int = Field(0, description="which structure of the file")
    formula: str = Field("Cu", description="of the crystal where no file is given")
    crystal: str | None = Field(
        None, description="fcc, bcc, diamond, rocksalt, ...; known to ASE for elements"
    )
    lattice_constant: Positive | None = Field(
        None, description="first guess, Å; known to ASE for elements"
    )
    volume_strain: Annotated[float, Field(gt=0, lt=0.2)] = Field(
        0.03, description="largest linear strain of the energy-volume curve"
    )
    volume_points: Annotated[int, Field(ge=6)] = Field(9, description="points of the curve")
    elastic: bool = Field(True, description="elastic constants (needs matscipy)")
    elastic_strain: Annotated[float, Field(gt=0, lt=0.1)] = Field(
        0.004, description="largest strain of the elastic constants"
    )
    thermal_expansion: ThermalExpansionConfig | None = None
    phonons: PhononsConfig | None = None
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the intervals")


class Tolerances(Section):
    """Bounds of the verdict. A check passes only if its whole 95 % interval lies inside."""

    teacher_force_rmse: Positive | None = Field(
        None, description="reference-teacher on the test set, eV/Å"
    )
    teacher_energy_rmse: Positive | None = Field(
        None, description="reference-teacher on the test set, eV/atom"
    )
    student_force_rmse: Positive | None = Field(
        None, description="teacher-student on held-out sampled structures, eV/Å"
    )
    student_energy_rmse: Positive | None = Field(
        None, description="teacher-student on held-out sampled structures, eV/atom"
    )
    barrier: Positive | None = Field(
        None, description="difference of barriers teacher-student on every facet, eV"
    )
    sticking: Positive | None = Field(
        None, description="difference of sticking probabilities teacher-student, every condition"
    )
    activation_energy: Positive | None = Field(
        None, description="difference of activation energies of diffusion teacher-student, eV"
    )
    speedup: Positive | None = Field(
        None, description="least ratio of the times of a forces call, teacher/student"
    )


class CompareConfig(Section):
    """What proves the student: errors, timing, barriers, sticking."""

    timing: TimingConfig | None = Field(default_factory=TimingConfig)
    barriers: list[NebConfig] = Field(default_factory=list)
    reference_barriers: dict[str, str] = Field(
        default_factory=dict, description="reference path files by facet, extxyz or bundled:NAME"
    )
    sticking: StickingConfig | None = None
    diffusion: DiffusionConfig | None = None
    bulk: BulkConfig | None = None
    tolerances: Tolerances = Field(default_factory=Tolerances)


class ParallelConfig(Section):
    """Where independent units of work run."""

    backend: Literal["serial", "local", "dask", "parsl"] = Field("local")
    workers: Count | None = Field(None, description="processes; all cores if not given")
    options: dict[str, Any] = Field(
        default_factory=dict, description="options of the dask cluster or parsl configuration"
    )


class RunConfig(Section):
    """One workflow: from a foundation model and labels to a checked student."""

    name: str = Field("run", description="title of the report and name of the run folder")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="the one seed of the whole run")
    output: str | None = Field(None, description="run folder; runs/NAME if not given")
    data: DataConfig = Field(default_factory=DataConfig)
    reference: CalculatorConfig | None = Field(
        None, description="calculator of the reference level, where one can be run"
    )
    teacher: TeacherConfig = Field(default_factory=TeacherConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    student: StudentConfig = Field(default_factory=StudentConfig)
    compare: CompareConfig = Field(default_factory=CompareConfig)
    parallel: ParallelConfig = Field(default_factory=ParallelConfig)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not name or any(c in name for c in "/\\\0") or name.startswith("."):
            raise ValueError("expected a plain name without slashes or a leading dot")
        return name


def load_config(path: str | os.PathLike[str], overrides: list[str] | None = None) -> RunConfig:
    """Read a YAML workflow, apply `key.sub=value` overrides, and check it.

    Parameters
    ----------
    path
        YAML file. Relative file names inside it are taken from its folder.
    overrides
        Settings such as `teacher.epochs=20`; values are YAML, later ones win.

    Raises
    ------
    UserError
        If the file is missing or not YAML, a key is unknown, or a value is out of range.
    """
    import yaml

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the config {path} is not text: expected YAML in UTF-8") from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the config {path} is not valid YAML: {error}") from None
    if data is None:
        raise UserError(f"the config {path} is empty: `distill init` writes a starter config")
    if not isinstance(data, dict):
        raise UserError(
            f"the config {path} must be a mapping of sections, found {type(data).__name__}"
        )
    for override in overrides or []:
        _apply_override(data, override)
    return _resolve_paths(parse_config(data, str(path)), path.parent)


def parse_config(data: dict[str, Any], origin: str) -> RunConfig:
    """Check a mapping against the vocabulary; `origin` names it in messages.

    Raises
    ------
    UserError
        With one line for each wrong field, and the nearest valid key for a misspelt one.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
        raise UserError(
            f"{origin} has {len(lines)} wrong setting(s):\n  " + "\n  ".join(lines)
        ) from None


def _apply_override(data: dict[str, Any], override: str) -> None:
    import yaml

    key, separator, value = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected key=value, such as teacher.epochs=20")
    node: Any = data
    *parents, last = key.split(".")
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        node = node[parent]
        if not isinstance(node, dict):
            raise UserError(f"--set {override}: '{parent}' is not a section")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: '{value}' is not a YAML value") from None


def _explain(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *parents, key = error["loc"]
        known = _keys_at(parents)
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"
        return f"{place}: unknown key; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    found = error.get("input")
    shown = "" if isinstance(found, dict) else f", found {found!r}"
    return f"{place}: {message[0].lower()}{message[1:]}{shown}"


def _keys_at(location: list[Any]) -> list[str]:
    """Keys of the section at a location, walking through optional and list fields."""
    section: type[BaseModel] = RunConfig
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            continue
        found = _section_in(field.annotation)
        if found is None:
            return []
        section = found
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _section_in(argument)
        if found is not None:
            return found
    return None


def _resolve_paths(config: RunConfig, folder: Path) -> RunConfig:
    """Make the file names of a config relative to its folder absolute."""

    def resolve(name: str) -> str:
        return name if name.startswith("bundled:") else str((folder / name).resolve())

    def resolve_ends(neb: NebConfig) -> NebConfig:
        ends = {"initial": neb.initial, "final": neb.final}
        return neb.model_copy(update={key: resolve(end) for key, end in ends.items() if end})

    data = config.data
    test = resolve(data.test) if data.test else None
    updates: dict[str, Any] = {
        "data": data.model_copy(update={"train": resolve(data.train), "test": test})
    }
    foundation = config.teacher.foundation
    if "/" in foundation or foundation.endswith(".model"):
        updates["teacher"] = config.teacher.model_copy(update={"foundation": resolve(foundation)})
    if config.reference and ":" not in config.reference.path:
        updates["reference"] = config.reference.model_copy(
            update={"path": resolve(config.reference.path)}
        )
    sampling = config.sampling
    updates["sampling"] = sampling.model_copy(
        update={
            "neb": [resolve_ends(neb) for neb in sampling.neb],
            "md": [m.model_copy(update={"structure": resolve(m.structure)}) for m in sampling.md],
            "rattle": [
                r.model_copy(update={"structures": resolve(r.structures)}) for r in sampling.rattle
            ],
        }
    )
    paths = {facet: resolve(name) for facet, name in config.compare.reference_barriers.items()}
    barriers = [resolve_ends(neb) for neb in config.compare.barriers]
    timing = config.compare.timing
    if timing and timing.structure:
        timing = timing.model_copy(update={"structure": resolve(timing.structure)})
    diffusion, bulk = config.compare.diffusion, config.compare.bulk
    if diffusion and diffusion.structure:
        diffusion = diffusion.model_copy(update={"structure": resolve(diffusion.structure)})
    if bulk and bulk.structure:
        bulk = bulk.model_copy(update={"structure": resolve(bulk.structure)})
    updates["compare"] = config.compare.model_copy(
        update={
            "reference_barriers": paths,
            "barriers": barriers,
            "timing": timing,
            "diffusion": diffusion,
            "bulk": bulk,
        }
    )
    return config.model_copy(update=updates)
