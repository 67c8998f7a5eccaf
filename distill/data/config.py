"""Options of the reference labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from distill.core.config import Length, Positive, Section
from distill.core.input_files import InputFile


class DataConfig(Section):
    """The reference labels that the teacher learns from and everything is measured against."""

    train: InputFile = Field(
        InputFile("bundled:h2cu_train"), description="file with labels, or bundled:NAME"
    )
    test: InputFile | None = Field(
        None, description="held-out file, or bundled:NAME; else test_fraction of train is held out"
    )
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="held out by seed, stratified by config_type, where no test file is given"
    )
    energy_key: str = Field("REF_energy", description="key of the total energy, eV")
    forces_key: str = Field("REF_forces", description="key of the forces, eV/Å")
    stress_key: str = Field("REF_stress", description="key of the stress, eV/Å³, sign as in ASE")
    virial_key: str | None = Field(
        None, description="key of the virial, eV, −stress × volume; used where there is no stress"
    )
    max_force: Positive = Field(
        100.0, description="structures with a larger force are left out, eV/Å"
    )
    max_energy_deviation: Positive | None = Field(
        None,
        description="structures further than this from the best fit of energies to compositions "
        "are left out, eV/atom; null only lists those far outside",
    )
    unlabelled: bool = Field(
        False, description="allow structures without labels, which teacher.labels then makes"
    )
    min_distance: Length = Field(0.3, description="smallest distance allowed between atoms, Å")
