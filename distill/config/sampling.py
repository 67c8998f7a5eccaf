"""Options of the sampling stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.config.base import Count, NonNegative, Positive, Section
from distill.config.properties import NptConfig
from distill.config.student import StudentConfig

# What a slab of the user's own brings with it.
_OF_THE_FILE = (
    "element",
    "size",
    "layers",
    "vacuum",
    "lattice_constant",
    "thermal_expansion",
    "npt",
)


class SlabConfig(Section):
    """A metal slab, periodic in the plane, with fixed bottom layers; or a slab of the user's."""

    file: str | None = Field(
        None, description="slab of your own, used as it is at every temperature; no facets then"
    )
    element: str = Field("Cu", description="fcc metal")
    size: tuple[Count, Count] = Field((3, 3), description="surface cells along the two directions")
    layers: Count = Field(4, description="atomic layers")
    fixed_layers: Annotated[int, Field(ge=0)] = Field(
        2, description="bottom layers held fixed; of a file, where it constrains no atom itself"
    )
    vacuum: Positive = Field(16.0, description="gap between periodic images along z, Å")
    lattice_constant: Positive | None = Field(
        None, description="at 0 K, Å; if not given, from the calculator's energy-volume curve"
    )
    thermal_expansion: NonNegative = Field(
        1.69e-5, description="linear coefficient α of a(T) = a(0 K) (1 + αT), 1/K; Cu by default"
    )
    npt: NptConfig | None = Field(
        None, description="measure a(T) by dynamics at constant pressure, in place of α"
    )

    @model_validator(mode="after")
    def _check(self) -> SlabConfig:
        defaults = type(self).model_fields
        given = [n for n in _OF_THE_FILE if getattr(self, n) != defaults[n].default]
        if self.file and given:
            raise ValueError(
                f"the slab of a file brings its own {', '.join(given)}: leave them out"
            )
        return self

    def with_paths(self, resolve: Callable[[str], str]) -> SlabConfig:
        """The same with the name of its file put through a function."""
        return self.model_copy(update={"file": resolve(self.file)}) if self.file else self


Facet = Literal["111", "100", "110", "211"]


class ScatteringConfig(Section):
    """Trajectories of a diatomic on a surface; the defaults are the study's."""

    molecule: str = Field("H2", description="diatomic")
    masses: tuple[Positive, Positive] | None = Field(
        None, description="of its two atoms for other isotopes, amu"
    )
    slab: SlabConfig = Field(default_factory=SlabConfig, description="the surface")
    facets: Annotated[list[Facet], Field(min_length=1)] = Field(
        ["111", "110", "100", "211"], description="fcc facets; not used with slab.file"
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

    def with_paths(self, resolve: Callable[[str], str]) -> ScatteringConfig:
        """The same with the name of its slab's file put through a function."""
        return self.model_copy(update={"slab": self.slab.with_paths(resolve)})


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
    relax_ends: bool = Field(
        True, description="relax the end points first, to 0.005 eV/Å or fmax if that is less"
    )
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

    def with_paths(self, resolve: Callable[[str], str]) -> NebConfig:
        """The same with the names of its files put through a function."""
        ends = {"initial": self.initial, "final": self.final}
        updates = {key: resolve(end) for key, end in ends.items() if end}
        return self.model_copy(update={**updates, "slab": self.slab.with_paths(resolve)})


class MdConfig(Section):
    """Molecular dynamics of a given structure at a list of temperatures."""

    structure: str = Field(
        description="file read by ASE, bundled:NAME, or preset:lif (the cubic cell of LiF)"
    )
    index: int = Field(0, description="which structure of the file")
    ensemble: Literal["nve", "nvt", "npt"] = Field("nvt", description="nvt by Langevin dynamics")
    temperatures: Annotated[list[NonNegative], Field(min_length=1)] = Field(
        [300.0, 600.0], description="K"
    )
    pressures: Annotated[list[float], Field(min_length=1)] = Field(
        [0.0], description="eV/Å³, for npt; every one at every temperature"
    )
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

    @model_validator(mode="after")
    def _check(self) -> MdConfig:
        if self.ensemble != "npt" and self.pressures != [0.0]:
            raise ValueError(f"pressures belong to ensemble npt, not to {self.ensemble}")
        return self


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
    compare_methods: bool = Field(
        False, description="coverage by every method, as numbers and pictures, beside the chosen"
    )
    duplicate_tolerance: NonNegative = Field(
        1e-4, description="descriptor distance below which structures count as the same"
    )
    max_force: Positive = Field(50.0, description="sampled structures above this are dropped, eV/Å")
    min_distance: Positive = Field(
        0.4, description="sampled structures with closer atoms are dropped, Å"
    )


class LabelConfig(Section):
    """How the teacher labels structures; a MACE model takes several at once."""

    batch_size: Count = Field(8, description="structures at once")
    device: Literal["cpu", "cuda", "auto"] = Field("cpu", description="auto: CUDA if there is any")


class DrivenConfig(Section):
    """Sampling by the student: the teacher labels only what the student is unsure of."""

    rounds: Count = Field(10, description="rounds at most")
    labels: Count = Field(40, description="structures that the teacher labels in a round at most")
    max_calls: Count | None = Field(
        None, description="teacher calls at most, those of the held-out set apart; no limit if null"
    )
    target: Positive = Field(
        0.05,
        description="largest force deviation in a structure that ends it when 95 % of new "
        "structures are below, eV/Å",
    )
    bound: Positive = Field(
        10.0, description="extrapolation grade at which the student's trajectories are cut"
    )
    trajectories: Count | None = Field(
        None, description="of each scattering condition in a round; as in scattering if not given"
    )
    seed_structures: Count = Field(
        60, description="diverse structures of the training set that the first student learns"
    )
    curve_points: Annotated[int, Field(ge=5)] = Field(
        20, description="bond lengths of the scattering molecule that the first student learns"
    )
    extra_structures: str | None = Field(
        None, description="file of further candidates, such as those that a guarded run kept"
    )
    student: StudentConfig = Field(
        default_factory=lambda: StudentConfig(
            backend="native",
            order=3,
            totaldegree=[14, 12, 9],
            rcut=5.5,
            smoothness="evidence",
        ),
        description="the student that samples; a small one is fitted in seconds",
    )

    @model_validator(mode="after")
    def _check(self) -> DrivenConfig:
        if self.student.backend != "native":
            raise ValueError("driven.student.backend: expected native")
        if self.student.solver.committee == 0:
            raise ValueError("driven.student.solver.committee: expected members, found 0")
        return self


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
    labels: LabelConfig = Field(default_factory=LabelConfig)
    driven: DrivenConfig | None = Field(
        None, description="let the student sample, and the teacher label what it is unsure of"
    )

    def with_paths(self, resolve: Callable[[str], str]) -> SamplingConfig:
        """The same with the name of every file in it put through a function."""
        driven = self.driven
        if driven and driven.extra_structures:
            extra = resolve(driven.extra_structures)
            driven = driven.model_copy(update={"extra_structures": extra})
        md = [m.model_copy(update={"structure": resolve(m.structure)}) for m in self.md]
        rattle = [r.model_copy(update={"structures": resolve(r.structures)}) for r in self.rattle]
        return self.model_copy(
            update={
                "scattering": self.scattering and self.scattering.with_paths(resolve),
                "neb": [neb.with_paths(resolve) for neb in self.neb],
                "md": md,
                "rattle": rattle,
                "driven": driven,
            }
        )
