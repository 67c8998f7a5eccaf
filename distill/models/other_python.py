"""A calculator that runs with the Python of another environment.

For models whose packages do not go together with distill's, such as DeePMD models of PyTorch. The
other environment needs ase, numpy and the model's package, and nothing of distill.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from distill.core.errors import UserError

_SERVER = Path(__file__).with_name("other_python_server.py")


class OtherPython(Calculator):
    """An ASE calculator of another environment, asked through a pipe.

    Parameters
    ----------
    python
        Interpreter of the other environment.
    calculator
        `package.module:Class` there.
    args
        Keyword arguments of the class.

    Raises
    ------
    UserError
        If the interpreter cannot be started, or the class not be made there; and at a call, with
        what the other process said.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, python: str, calculator: str, args: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._named = f"{calculator} of {python}"
        try:
            self._process = subprocess.Popen(
                [python, str(_SERVER), calculator, json.dumps(args or {})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise UserError(
                f"the Python {python} of another environment cannot be started: {error}"
            ) from None
        self._answer()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Energy (eV), forces (eV/Å) and, where the model has it, stress (eV/Å³, Voigt's order)."""
        super().calculate(atoms, properties, system_changes)
        structure = self.atoms
        assert structure is not None
        question = {
            "numbers": structure.numbers.tolist(),
            "positions": structure.positions.tolist(),
            "cell": structure.cell.array.tolist(),
            "pbc": structure.pbc.tolist(),
            "stress": "stress" in properties,
        }
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(question) + "\n")
            pipe.flush()
        except OSError:
            raise UserError(f"{self._named} has ended") from None
        self.results = {
            name: value if name == "energy" else np.array(value)
            for name, value in self._answer().items()
        }

    def _answer(self) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        line = pipe.readline()
        if not line:
            raise UserError(f"{self._named} ended without an answer; what it wrote stands above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserError(f"{self._named}: {answer['error']}")
        return answer

    def __del__(self) -> None:
        """End the other process."""
        process = getattr(self, "_process", None)
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            process.wait()
