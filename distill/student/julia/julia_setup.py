"""Whether Julia and ACEpotentials are there, where they are, and how to install them.

Nothing here starts Julia in the calling process. What juliapkg and juliacall read is honoured:
`PYTHON_JULIAPKG_EXE`, `_PROJECT`, `_OFFLINE`, `PYTHON_JULIACALL_EXE`, `_PROJECT`, `_THREADS`, and
the `-X` options of the same names.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from distill.core.errors import UserError
from distill.core.progress import format_duration, say
from distill.student.julia.julia_options import option
from distill.student.julia.julia_session import JuliaSession
from distill.student.julia.julia_worker import PACKAGE_FOLDER

PACKAGE = "DistillACE"
INSTALL = 'pip install "distill[julia]"'
# What a project of one's own has to have; DistillACE's other needs come with them.
_NEEDED = ("ACEpotentials", "PythonCall")
# The oldest version that the Julia package was run with, and the first that it is not for.
_OLDEST_JULIA = "1.11"
_VERSIONS = {"julia": (_OLDEST_JULIA, None), "ACEpotentials": ("0.10.1", "0.11")}
# A program that has not said its version after this many seconds is not Julia.
_PATIENCE = 30
_OTHERWISE = "see docs/julia.md, or choose backend native"


def available() -> str | None:
    """None when the backend `acepotentials` can run at once, else the reason in one sentence.

    Fast: it looks for juliacall and for an environment that juliapkg has prepared (or that
    `PYTHON_JULIACALL_EXE` and `PYTHON_JULIACALL_PROJECT` name, whose version it asks for).
    """
    if importlib.util.find_spec("juliacall") is None:
        return f"juliacall is not installed: {INSTALL}"
    executable, project = option("juliacall", "exe"), option("juliacall", "project")
    if executable is not None or project is not None:
        return _problem_of_own_project(executable, project)
    found = prepared()
    if found is None:
        return "Julia is not set up yet: run `distill julia setup`"
    if not Path(found["executable"]).is_file():
        return f"Julia is no longer at {found['executable']}: run `distill julia setup`"
    return None


def require() -> None:
    """Make sure that Julia can start; on an ordinary machine the first call installs it.

    Raises
    ------
    UserError
        If it cannot, with what to install.
    """
    reason = available()
    if reason is None:
        return
    if importlib.util.find_spec("juliacall") is None or _has_own_project() or _is_offline():
        raise UserError(f"ACEpotentials cannot run: {reason}; {_OTHERWISE}")
    say(f"{reason}; doing so now")
    install()


def install() -> None:
    """Install Julia, ACEpotentials and this project's Julia package into juliapkg's project.

    Raises
    ------
    UserError
        If juliacall is missing or the installation fails.
    """
    if importlib.util.find_spec("juliacall") is None:
        raise UserError(f"juliacall is not installed: {INSTALL}")
    if _has_own_project():
        reason = available()
        if reason is not None:
            raise UserError(reason)
        return
    import juliapkg

    try:
        juliapkg.resolve()
    except Exception as error:
        # juliapkg raises plain exceptions, and Julia's package manager fails as a process.
        hint = "offline" if _is_offline() else "is there access to the internet?"
        raise UserError(
            f"Julia could not be set up ({hint}): {type(error).__name__}: {error}; {_OTHERWISE}"
        ) from None


def setup() -> None:
    """Install everything that the backend `acepotentials` needs, compile it, and say how it went.

    Raises
    ------
    UserError
        If juliacall is missing, or the installation or the first start of Julia fails.
    """
    start = time.monotonic()
    if importlib.util.find_spec("juliacall") is None:
        raise UserError(f"juliacall is not installed: {INSTALL}")
    say("setting up Julia and ACEpotentials.jl (some minutes and 2 GB the first time)")
    install()
    with JuliaSession(log=Path("julia-setup.log"), keep_log=False) as julia:
        versions = julia.call("versions")
    check_versions(versions)
    say(
        f"Julia {versions['julia']} with ACEpotentials {versions['ACEpotentials']} is ready "
        f"after {format_duration(time.monotonic() - start)}"
    )


def check_versions(versions: Mapping[str, Any]) -> None:
    """Refuse versions of Julia or ACEpotentials with which the Julia package was never run.

    Parameters
    ----------
    versions
        As `DistillACE.versions` gives them.

    Raises
    ------
    UserError
        Naming the version found and those expected.
    """
    for name in _VERSIONS:
        wrong = _wrong_version(name, versions[name])
        if wrong is not None:
            raise UserError(
                f"found {wrong}; install it into the project that `distill julia status` names, or "
                f"{_OTHERWISE}"
            )


def _wrong_version(name: str, version: str) -> str | None:
    """The version and those expected, where it is none of these."""
    oldest, limit = _VERSIONS[name]
    found = _numbers(version)
    if found >= _numbers(oldest) and not (limit and found >= _numbers(limit)):
        return None
    expected = f"{oldest} or later" + (f", before {limit}" if limit else "")
    return f"{'Julia' if name == 'julia' else name} {version}, expected {expected}"


def status() -> dict[str, Any]:
    """What there is, by name: versions, paths and settings. Starts no Julia."""
    reason = available()
    found: dict[str, Any] = {"ready": "yes" if reason is None else f"no: {reason}"}
    for package in ("juliacall", "juliapkg"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    found.update(_where())
    found["julia package"] = str(PACKAGE_FOLDER)
    found["depot"] = os.environ.get("JULIA_DEPOT_PATH") or str(_depot())
    found["offline"] = "yes" if _is_offline() else "no"
    found["threads"] = option("juliacall", "threads") or "student.threads, or all cores"
    return found


def prepared() -> dict[str, Any] | None:
    """What juliapkg recorded of its last installation, if that included this project's package."""
    if importlib.util.find_spec("juliapkg") is None:
        return None
    from juliapkg.deps import load_meta

    found = load_meta()
    if found is None or PACKAGE not in {package["name"] for package in found["pkgs"]}:
        return None
    return found


def _where() -> dict[str, Any]:
    if _has_own_project():
        return {
            "julia": option("juliacall", "exe") or "PYTHON_JULIACALL_EXE is not set",
            "project": option("juliacall", "project") or "PYTHON_JULIACALL_PROJECT is not set",
        }
    found = prepared()
    if found is None:
        return {"julia": "not set up"}
    from juliapkg.state import STATE

    return {"julia": f"{found['version']} at {found['executable']}", "project": STATE["project"]}


def _has_own_project() -> bool:
    return option("juliacall", "exe") is not None or option("juliacall", "project") is not None


def _is_offline() -> bool:
    return option("juliapkg", "offline") == "yes"


def _problem_of_own_project(executable: str | None, project: str | None) -> str | None:
    if executable is None or project is None:
        return "PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT must be set together"
    if shutil.which(executable) is None:
        return f"PYTHON_JULIACALL_EXE names {executable}, which is no program"
    version = _version_of(executable)
    if version is None:
        return f"PYTHON_JULIACALL_EXE names {executable}, which is not Julia"
    wrong = _wrong_version("julia", version)
    if wrong is not None:
        return f"PYTHON_JULIACALL_EXE names {executable}, which is {wrong}"
    if not any((Path(project) / name).is_file() for name in ("Project.toml", "JuliaProject.toml")):
        return f"PYTHON_JULIACALL_PROJECT names {project}, which holds no Project.toml"
    installed = _installed(Path(project))
    missing = [name for name in _NEEDED if name not in installed]
    if missing:
        added = ", ".join(f'"{name}"' for name in missing)
        return (
            f"PYTHON_JULIACALL_PROJECT names {project}, in which {' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} not installed: {executable} "
            f"--project={project} -e 'using Pkg; Pkg.add([{added}])'"
        )
    wrong = _wrong_version(
        "ACEpotentials", installed["ACEpotentials"] or _VERSIONS["ACEpotentials"][0]
    )
    if wrong is not None:
        return f"PYTHON_JULIACALL_PROJECT names {project}, which has {wrong}"
    return None


@cache
def _version_of(executable: str) -> str | None:
    """The version that a program says it has, if it says that it is Julia."""
    try:
        said = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = re.match(r"julia version (\S+)", said.stdout)
    return found[1] if found else None


def _installed(project: Path) -> dict[str, str | None]:
    """Packages in the manifests of a project and of the shared environments, which it sees too.

    With their versions, as far as these are known.
    """
    if os.environ.get("JULIA_LOAD_PATH"):
        return dict.fromkeys(_NEEDED)
    environments = _depot() / "environments"
    folders = [project, *(environments.iterdir() if environments.is_dir() else ())]
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for folder in folders
        for path in folder.glob("*Manifest*.toml")
    ]
    found: dict[str, str | None] = {}
    for text in texts:
        for entry in re.split(r"^\[\[deps\.", text, flags=re.M)[1:]:
            version = re.search(r'^version = "([^"]+)"', entry, re.M)
            found.setdefault(entry.partition("]")[0], version and version[1])
    return found


def _depot() -> Path:
    first = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)[0]
    return Path(first) if first else Path.home() / ".julia"


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparison."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
