"""Steps of a calculation whose labels are wrong or not its own: ASE passes them on like any other.

Those are steps whose electronic loop ended without convergence, steps that VASP took with a
machine-learned force field, and runs behind the first in one OUTCAR that are of other atoms.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from distill.core.errors import UserError
from distill.core.progress import say

# What other programs write where their electronic loop has failed.
_FAILED = {
    "espresso-out": rb"convergence NOT achieved",
    "aims-output": rb"Self-consistency cycle not yet converged",
    "castep-castep": rb"SCF cycles performed but system has not reached the groundstate",
    "nwchem-out": rb"Calculation failed to converge",
    "gaussian-out": rb"Convergence failure",
    "orca-output": rb"SCF NOT CONVERGED",
}


def unconverged_steps(file: Path, format_name: str) -> list[int]:
    """Indices of the structures in a program's output whose electronic loop did not converge.

    A step of VASP has not converged if it used up NELM electronic steps and its last two energies
    differ by more than EDIFF (vasprun.xml), or the loop was not left because of EDIFF (OUTCAR).

    Raises
    ------
    UserError
        If another program says that a loop failed, because it cannot be told here in which step;
        if VASP took steps with a force field, or an OUTCAR holds runs of different atoms.
    """
    from ase.io.formats import open_with_compression

    if format_name == "vasp-xml":
        return _vasprun(file)
    if format_name == "vasp-out":
        return _outcar(file)
    pattern = _FAILED.get(format_name)
    if pattern is None:
        return []
    with open_with_compression(str(file), "rb") as opened:
        lines = [str(n) for n, line in enumerate(opened, 1) if re.search(pattern, line, re.I)]
    if lines:
        raise UserError(
            f"{file}: {len(lines)} electronic loops did not converge (line "
            f"{', '.join(lines[:5])}): their energies and forces are wrong; remove these steps"
        )
    return []


def _vasprun(file: Path) -> list[int]:
    from ase.io.formats import open_with_compression

    limit, tolerance, index, failed = 0, 0.0, -1, []
    energies: list[float] = []
    try:
        with open_with_compression(str(file), "rb") as opened:
            for event, element in ElementTree.iterparse(opened, events=("start", "end")):
                if event == "start":
                    if element.tag == "calculation":
                        index, energies = index + 1, []
                elif element.get("name") in ("NELM", "EDIFF") and element.tag == "i":
                    if element.get("name") == "NELM":
                        limit = int(element.text or 0)
                    else:
                        tolerance = float(element.text or 0)
                elif element.tag == "scstep":
                    energy = element.find("energy/i[@name='e_fr_energy']")
                    if energy is not None and energy.text:
                        energies.append(float(energy.text))
                elif element.tag == "calculation":
                    if not energies and element.find("energy") is not None:
                        raise _by_force_field(file, index)
                    moved = abs(energies[-1] - energies[-2]) if len(energies) > 1 else None
                    if 0 < limit <= len(energies) and (moved is None or moved > tolerance):
                        failed.append(index)
                    element.clear()
    except ElementTree.ParseError:
        if index >= 0:
            say(f"{file} is cut off in or after step {index}: what follows it is lost")
    return failed


def _outcar(file: Path) -> list[int]:
    """Failed steps of an OUTCAR, counted by their energies, as ASE counts them."""
    from ase.io.formats import open_with_compression

    limit, index, cycles, left_early, failed = 0, 0, 0, False, []
    runs = _Runs(file)
    with open_with_compression(str(file), "rt") as opened:
        for line in opened:
            runs.take(line)
            if "ML TOTEN" in line:
                # Below the heading that counts it.
                raise _by_force_field(file, index - 1)
            if found := re.search(r"\bNELM\s*=\s*(\d+)", line):
                limit = int(found.group(1))
            elif found := re.search(r"Iteration\s+\d+\(\s*(\d+)\)", line):
                cycles = int(found.group(1))
            elif "aborting loop because EDIFF is reached" in line:
                left_early = True
            elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
                if 0 < limit <= cycles and not left_early:
                    failed.append(index)
                index, cycles, left_early = index + 1, 0, False
    return failed


class _Runs:
    """The systems of the runs in an OUTCAR, of which ASE reads all with the atoms of the first."""

    def __init__(self, file: Path) -> None:
        self._file, self._potentials = file, dict[str, None]()
        self._first: tuple[list[str], list[str]] | None = None

    def take(self, line: str) -> None:
        """Take a line.

        Raises
        ------
        UserError
            If it ends the header of a run of another system than the first.
        """
        if "POTCAR:" in line:
            self._potentials[" ".join(line.split()[1:])] = None
        elif "ions per type =" in line:
            found = list(self._potentials), line.split("=")[1].split()
            self._potentials = {}
            self._first = self._first or found
            if found != self._first:
                raise UserError(
                    f"{self._file} holds runs of different systems, one behind the other: "
                    f"{_system(self._first)}, then {_system(found)}; give each OUTCAR as a file of "
                    "its own, and join them after they are read"
                )


def _system(run: tuple[list[str], list[str]]) -> str:
    potentials, counts = run
    return f"{' '.join(counts)} atoms of {', '.join(potentials) or 'unknown elements'}"


def _by_force_field(file: Path, index: int) -> UserError:
    return UserError(
        f"{file}: step {index} was taken with VASP's machine-learned force field and has no "
        "labels of its own; give the ab initio steps alone"
    )
