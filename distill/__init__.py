"""Fast, deployable interatomic potentials distilled from foundation models.

`Student` and `Teacher` load models; `load_config` and `run_pipeline` run a workflow;
`load_calculator` opens any model as an ASE calculator. Units: eV, Å, fs, K, amu.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from distill._version import __version__

if TYPE_CHECKING:
    from distill.config.workflow import load_config
    from distill.models.calculators import load_calculator
    from distill.models.teacher_model import Teacher
    from distill.pipeline import run_pipeline
    from distill.student.student_model import Student

__all__ = ["Student", "Teacher", "__version__", "load_calculator", "load_config", "run_pipeline"]

_HOMES = {
    "Student": "distill.student.student_model",
    "Teacher": "distill.models.teacher_model",
    "load_calculator": "distill.models.calculators",
    "load_config": "distill.config",
    "run_pipeline": "distill.pipeline",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the command line answers at once.
    if name not in _HOMES:
        raise AttributeError(f"module 'distill' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
