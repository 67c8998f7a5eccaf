"""A stand-in for juliacall whose `DistillACE` answers from a student file.

`FAKE_STUDENT` names the file: its arrays are what the fit "finds", and the native engine gives
what "Julia" evaluates. `FAKE_FAULT` chooses a misbehaviour, `FAKE_RECORD` a file that gets the
arguments of every call.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import MutableMapping
from types import SimpleNamespace

import numpy as np

FAULT = os.environ.get("FAKE_FAULT", "")


class JuliaError(Exception):
    """As juliacall's: the text is the message followed by Julia's stack trace."""


class ArrayValue:
    """As juliacall's wrapper of a Julia array: NumPy converts it, columns first in memory."""

    def __init__(self, array):
        self._array = np.asfortranarray(array)

    def __array__(self, dtype=None, copy=None):
        return self._array


class DictValue:
    """As juliacall's wrapper of a Julia dictionary."""

    def __init__(self, values):
        self._values = values

    def keys(self):
        return self._values.keys()

    def __iter__(self):
        return iter(self._values)

    def __getitem__(self, key):
        value = self._values[key]
        return ArrayValue(value) if isinstance(value, np.ndarray) else value


MutableMapping.register(DictValue)


def _record(name, arguments):
    if "FAKE_RECORD" in os.environ:
        with open(os.environ["FAKE_RECORD"], "ab") as handle:
            pickle.dump((name, arguments), handle)


def _misbehave(name):
    print(f"Julia prints something in {name}")
    if f"error:{name}" == FAULT:
        raise JuliaError(
            "TaskFailedException\n\n    nested task error: BoundsError: attempt to access 3\n"
            "    Stacktrace:\n     [1] fill_rows! at fit.jl:1"
        )
    if f"die:{name}" == FAULT:
        os.kill(os.getpid(), signal.SIGKILL)
    if f"sleep:{name}" == FAULT:
        time.sleep(60)


def _structures(arrays):
    from ase import Atoms

    offsets = arrays["offsets"]
    return [
        Atoms(
            numbers=arrays["numbers"][a:b],
            positions=arrays["positions"][a:b],
            cell=arrays["cells"][k],
            pbc=arrays["periodic"][k],
        )
        for k, (a, b) in enumerate(itertools.pairwise(offsets))
    ]


class _Model:
    def __init__(self):
        from distill.student.student_model import Student

        self.student = Student.load(os.environ["FAKE_STUDENT"])

    def change(self, parameters):
        from dataclasses import replace

        self.student = replace(self.student, coefficients=np.array(parameters))


class DistillACE:
    """The functions of the Julia package, under their Python names."""

    def versions(self):
        _misbehave("versions")
        return DictValue(
            {
                "julia": "1.12.0",
                "ACEpotentials": "0.9.0" if FAULT == "old" else "0.10.1",
                "ACEfit": "0.3.0",
                "threads": int(os.environ["PYTHON_JULIACALL_THREADS"]),
                "signals": os.environ["PYTHON_JULIACALL_HANDLE_SIGNALS"],
            }
        )

    def build_model(self, **arguments):
        _record("build_model", arguments)
        _misbehave("build_model")
        model = _Model()
        model.e0 = dict(zip(arguments["elements"], arguments["e0"], strict=True))
        return model

    def describe(self, model):
        basis = model.student.basis
        numbers = np.array([29 if e == "Cu" else 1 for e in basis.elements])
        return DictValue(
            {
                "elements": numbers,
                "cutoff": basis.cutoff,
                "many_body": basis.n_many_body,
                "pair": basis.n_pair,
                "functions": basis.n_functions,
            }
        )

    def least_squares(self, model, **arguments):
        _record("least_squares", arguments)
        return SimpleNamespace(model=model, rows=arguments)

    def shape(self, problem):
        n = problem.model.student.basis.n_functions
        if problem.rows is None:
            return DictValue({"structures": 0, "rows": problem.labels, "columns": n})
        weights, atoms = problem.rows["weights"] > 0, np.diff(problem.rows["offsets"])
        rows = weights[:, 0].sum() + 3 * (weights[:, 1] * atoms).sum() + 6 * weights[:, 2].sum()
        return DictValue({"structures": len(atoms), "rows": int(rows), "columns": n})

    def factored_least_squares(self, model, **arguments):
        _record("factored_least_squares", arguments)
        return SimpleNamespace(model=model, labels=arguments["labels"], rows=None)

    def weighted_rows(self, problem):
        """As Julia would assemble them, by the rows of the native engine."""
        from distill.student.engine.assembly import design_rows

        arrays, student = problem.rows, problem.model.student
        found = []
        for k, atoms in enumerate(_structures(arrays)):
            a, b = arrays["offsets"][k], arrays["offsets"][k + 1]
            energy, forces, virial = design_rows(student.basis, atoms)
            one_body = sum(problem.model.e0[symbol] for symbol in atoms.symbols)
            labels = (
                (energy[None], [arrays["energies"][k] - one_body]),
                (forces, arrays["forces"][a:b].ravel()),
                (virial, arrays["virials"][k][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]),
            )
            scale = np.array([1 / np.sqrt(b - a), 1.0, 1 / np.sqrt(b - a)])
            for (rows, target), weight in zip(labels, scale * arrays["weights"][k], strict=True):
                if weight:
                    found.append(weight * np.column_stack([rows, target]))
        rows = np.concatenate(found)
        if FAULT == "rows":
            rows[:, 7] *= 1 + 1e-8
        return ArrayValue(rows)

    def assemble_b(self, problem, first, last):
        _record("assemble", {"first": first, "last": last})
        _misbehave("assemble")

    def solve_b(self, problem, **arguments):
        _record("solve", arguments)
        _misbehave("solve")
        report = {"factorization": "svd", "committee": arguments.get("committee", 0)}
        if FAULT == "unsolved":
            report["gradient"] = 1e-3
        return DictValue(report)

    def set_parameters_b(self, model, parameters, committee=None):
        _record("set_parameters", {"parameters": parameters, "committee": committee})
        model.change(parameters)

    def export_arrays(self, model):
        from distill.student.npz import read_npz

        arrays = read_npz(os.environ["FAKE_STUDENT"])
        meta = json.loads(bytes(arrays["meta_json"]))
        bodies = meta["nnll"]
        exported = {
            name: value.astype(np.int64) if value.dtype == np.int32 else value
            for name, value in arrays.items()
            if not name.startswith("distill_") and name not in ("meta_json", "gamma")
        }
        for kind in ("rnl", "pair"):
            grid = meta[f"{kind}_spline"]
            exported[f"{kind}_spline_grid"] = np.array([grid["x0"], grid["h"], float(grid["n"])])
        exported["nnll"] = np.array([pair for body in bodies for pair in body])
        exported["nnll_offsets"] = np.cumsum([0, *(len(body) for body in bodies)])
        exported["lmax"] = int(meta["lmax"])
        if FAULT != "alone":
            exported["committee"] = model.student.coefficients + np.zeros((3, 1))
        if FAULT.startswith("corrupt:"):
            name = FAULT.removeprefix("corrupt:")
            exported[name] = exported[name].astype(float) * (1 + 1e-6)
        return DictValue(exported)

    def evaluate(self, model, mended=False, **arrays):
        _misbehave("evaluate")
        found = [model.student.predict(atoms) for atoms in _structures(arrays)]
        scale = np.nan if FAULT == "nan" else 1.0
        return DictValue(
            {
                "energies": scale * np.array([energy for energy, _, _ in found]),
                "forces": np.concatenate([forces for _, forces, _ in found]),
                "virials": np.array([virial for _, _, virial in found]),
            }
        )

    def energies(self, model, **arrays):
        _misbehave("energies")
        return ArrayValue([model.student.energy(atoms) for atoms in _structures(arrays)])

    def time_calls(self, model, repeats, mended=False, **arrays):
        return ArrayValue(np.full(repeats, 0.01 if mended else 0.3))

    def save(self, model, path):
        with open(path, "w") as handle:
            saved = {"model_spec": {}, "model_parameters": model.student.coefficients.tolist()}
            json.dump(saved, handle)

    def load(self, path):
        _misbehave("load")
        return _Model()


class _Main:
    Base = SimpleNamespace(LOAD_PATH=[])

    def push_b(self, collection, item):
        collection.append(item)

    def seval(self, code):
        if FAULT == "start":
            print("ERROR: LoadError: ArgumentError: Package ACEpotentials is required", flush=True)
            raise JuliaError("The following 1 direct dependency failed to precompile:")
        if code != "import DistillACE" or not os.path.isfile(
            os.path.join(self.Base.LOAD_PATH[-1], "src", "DistillACE.jl")
        ):
            raise JuliaError(f"ArgumentError: cannot do {code}")
        self.DistillACE = DistillACE()


if "torch" in sys.modules:
    raise ImportError("torch was imported before juliacall")
Main = _Main()
