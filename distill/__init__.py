"""Fast, deployable interatomic potentials distilled from foundation models.

The functions of `distill.api` work on structures and models in memory; `load_config` and
`run_pipeline` run a whole workflow. Units: eV, Å, fs, K, amu.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from distill._version import __version__

if TYPE_CHECKING:
    from distill.api import (
        barrier,
        diffusivity,
        equation_of_state,
        evaluate,
        fit_student,
        label,
        load,
        sample_md,
        sticking,
    )
    from distill.config import load_config
    from distill.models.calculators import load_calculator
    from distill.models.teacher_model import Teacher
    from distill.pipeline import run_pipeline
    from distill.student.student_model import Student

__all__ = [
    "Student",
    "Teacher",
    "__version__",
    "barrier",
    "diffusivity",
    "equation_of_state",
    "evaluate",
    "fit_student",
    "label",
    "load",
    "load_calculator",
    "load_config",
    "run_pipeline",
    "sample_md",
    "sticking",
]

_HOMES = {
    "Student": "distill.student.student_model",
    "Teacher": "distill.models.teacher_model",
    "load_calculator": "distill.models.calculators",
    "load_config": "distill.config",
    "run_pipeline": "distill.pipeline",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the command line answers at once.
    if name not in __all__:
        raise AttributeError(f"module 'distill' has no attribute '{name}'")
    return getattr(import_module(_HOMES.get(name, "distill.api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
