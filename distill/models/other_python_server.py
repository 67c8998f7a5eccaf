"""Answers an `OtherPython` from inside another environment; imports nothing of distill.

    python other_python_server.py package.module:Class '{"keyword": "argument"}'

A line of JSON is a structure, and the answer a line with its energy, forces and stress.
"""

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    """Read structures from standard input until it ends."""
    # What the model's package prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(found: dict[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    try:
        module, _, name = sys.argv[1].partition(":")
        calculator = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
        from ase import Atoms
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return
    answer({})
    for line in sys.stdin:
        question = json.loads(line)
        wants_stress = question.pop("stress")
        try:
            atoms = Atoms(**question)
            atoms.calc = calculator
            found = {
                "energy": float(atoms.get_potential_energy()),
                "forces": atoms.get_forces().tolist(),
            }
            if wants_stress:
                found["stress"] = atoms.get_stress().tolist()
            answer(found)
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
