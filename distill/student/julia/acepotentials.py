"""The reference fit: ACEpotentials.jl through juliacall, exported to the one student file.

Julia runs in a process of its own (`julia_session`), and every call into ACEpotentials is in the
Julia package `julia/`. What comes back is the model's own arrays, from which the student file is
made; it is accepted only if the native engine then reproduces Julia's energies, forces and
virials.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from distill._version import __version__
from distill.core.artifacts import atomic_path, write_json
from distill.core.errors import UserError
from distill.core.progress import format_duration, progress, say
from distill.data.structures import config_type
from distill.student.julia import julia_arguments
from distill.student.julia.julia_session import JuliaFailure, JuliaSession
from distill.student.julia.julia_setup import available, require, setup, status

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import BasisSpec
    from distill.student.config import StudentConfig
    from distill.student.student_model import Student

__all__ = [
    "JuliaCalculator",
    "JuliaFailure",
    "available",
    "fit",
    "obstacle",
    "require",
    "setup",
    "status",
]

STUDENT_FILE = "student.npz"
MODEL_FILE = "ace_model.json"
PARITY_FILE = "parity.json"
LOG_FILE = "julia.log"
# Largest difference between Julia and the native engine: eV/atom, eV/Å, eV/atom.
TOLERANCES = {"energy": 1e-8, "forces": 1e-8, "virial": 1e-8}
PARITY_STRUCTURES = 8
_BATCHES_PER_THREAD = 2
# Copies of the matrix of rows that each factorisation holds, the assembled one included.
_COPIES = {"cholesky": 1, "svd": 2, "ard": 1, "qr": 3, "rrqr": 3, "lsqr": 1, "tsvd": 5}


def fit(
    structures: Sequence[Atoms],
    config: StudentConfig,
    *,
    e0: Mapping[str, float],
    out: Path,
    seed: int,
) -> Path:
    """Fit a student with ACEpotentials.jl.

    Parameters
    ----------
    structures
        Training set with labels REF_energy (eV), REF_forces (eV/Å), REF_stress (eV/Å³).
    config
        Basis, weights, prior and solver.
    e0
        One-body energies by element, eV.
    out
        Folder that gets `student.npz`, `ace_model.json` (ACEpotentials' own format),
        `parity.json` and `julia.log`. None of the first three appears unless all went well.
    seed
        Of posterior draws and of what is held out.

    Returns
    -------
    Path
        The student file.

    Raises
    ------
    UserError
        If Julia is missing, labels or options do not fit, the regression does not fit in memory,
        Julia raises an error (its trace is in `julia.log`), or Julia and the native engine
        disagree about the exported model.
    """
    from distill.student.basis.basis import BasisSpec

    if not structures:
        raise UserError("the student's training set is empty: expected labelled structures")
    julia_arguments.check_options(config)
    spec = BasisSpec.from_config(config, julia_arguments.chosen_elements(structures, config))
    model = julia_arguments.model_arguments(spec, e0)
    labels = julia_arguments.label_arrays(structures, config.weights)
    solver = julia_arguments.solver_arguments(config.solver, len(structures), seed)
    require()
    out = Path(out)
    with JuliaSession(log=out / LOG_FILE, threads=config.threads) as julia:
        versions = _start(julia)
        described = julia.call("build_model", **model)
        geometry = julia_arguments.geometry_arrays(structures, described["cutoff"])
        data = {**geometry, **labels}
        _check_size(data, described, config.pair, solver)
        report = _regress(julia, config, solver, data, versions["threads"])
        student = _student(
            julia.call("export_arrays"),
            spec,
            {
                "backend": "acepotentials",
                "distill": __version__,
                "julia": versions,
                "config": config.model_dump(mode="json", exclude={"threads", "backend"}),
                "solver": report,
                "structures": len(structures),
                "seed": seed,
            },
        )
        return _accept(julia, student, structures, out, seed)


def obstacle(config: StudentConfig) -> str | None:
    """Why `fit` cannot run at once, or cannot do what the config asks for; None if it can."""
    reason = available()
    if reason is not None:
        return reason
    try:
        julia_arguments.check_options(config)
    except UserError as error:
        return str(error)
    return None


class JuliaCalculator(Calculator):
    """ASE calculator that evaluates a model saved by ACEpotentials with ACEpotentials itself.

    For comparison: the student file of the same fit gives the same numbers, faster.

    Parameters
    ----------
    path
        `ace_model.json` of a fit, or any file of ACEpotentials' `save_model`.
    threads
        Julia's threads.
    mended
        Assemble the gradient in a type-stable way (on one thread) instead of as released.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ASE's declaration

    def __init__(
        self, path: str | os.PathLike[str], *, threads: int = 1, mended: bool = False
    ) -> None:
        super().__init__()
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; expected a model saved by ACEpotentials")
        require()
        self._mended = mended
        handle, log = tempfile.mkstemp(prefix="distill-julia-", suffix=".log")
        os.close(handle)
        self._julia = JuliaSession(log=log, threads=threads, keep_log=False)
        self._julia.start()
        self._model = self._julia.call("load", path=os.fspath(path))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Energy (eV), forces (eV/Å) and, in a cell with a volume, stress (eV/Å³, Voigt)."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        atoms = self.atoms
        foreign = sorted(set(atoms.numbers.tolist()) - set(self._model["elements"].tolist()))
        if foreign:
            raise UserError(f"atomic numbers {foreign} are not in the model of ACEpotentials")
        arrays = julia_arguments.geometry_arrays([atoms], self._model["cutoff"])
        if list(properties) == ["energy"]:
            self.results = {"energy": float(self._julia.call("energies", **arrays)[0])}
            return
        found = self._julia.call("evaluate", mended=self._mended, **arrays)
        self.results = {"energy": float(found["energies"][0]), "forces": found["forces"]}
        if atoms.cell.rank == 3:
            stress = -found["virials"][0] / atoms.get_volume()
            self.results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]

    def time_calls(self, atoms: Atoms, repeats: int) -> np.ndarray:
        """Seconds of each of some evaluations of energy, forces and virial, measured in Julia."""
        geometry = julia_arguments.geometry_arrays([atoms], self._model["cutoff"])
        return self._julia.call("time_calls", repeats=repeats, mended=self._mended, **geometry)

    def close(self) -> None:
        """End Julia."""
        self._julia.stop()

    def __del__(self) -> None:
        if hasattr(self, "_julia"):
            self.close()


def _start(julia: JuliaSession) -> dict[str, Any]:
    start = time.monotonic()
    say(f"student fit: starting Julia with {julia.threads} threads (trace in {julia.log})")
    versions = julia.call("versions")
    say(
        f"student fit: ACEpotentials {versions['ACEpotentials']} on Julia {versions['julia']}, "
        f"ready in {format_duration(time.monotonic() - start)}"
    )
    return versions


def _check_size(
    data: Mapping[str, np.ndarray],
    described: Mapping[str, Any],
    pair: bool,
    solver: Mapping[str, Any],
) -> None:
    """Say the size of the regression; refuse one that does not fit in memory, or has too few rows.

    ACEfit holds the whole matrix, unlike the native fit.
    """
    import psutil

    atoms = np.diff(data["offsets"])
    rows = int(((data["weights"] > 0) * np.stack([atoms**0, 3 * atoms, 6 * atoms**0], 1)).sum())
    columns = int(described["functions"])
    if not pair:
        columns -= int(described["pair"]) * len(described["elements"])
    method = solver.get("factorization", solver["kind"])
    needed = 8.0 * columns * (rows * _COPIES[method] + 3 * columns)
    free = psutil.virtual_memory().available
    say(
        f"student fit: {columns} functions, {rows} rows, up to {needed / 2**30:.2g} GB "
        f"({free / 2**30:.3g} GB free)"
    )
    if needed > free:
        raise UserError(
            f"ACEfit holds all {rows} rows of {columns} functions in memory, "
            f"{needed / 2**30:.3g} GB with {method}; {free / 2**30:.3g} GB are free. Use fewer "
            "structures, lower student.totaldegree, solver.committee 0 (then blr uses cholesky, "
            "with half the memory of svd), or backend native, which keeps only a triangle of it"
        )
    if method == "tsvd" and rows <= columns:
        raise UserError(
            f"student.solver: ACEfit's tsvd needs more rows than functions, found {rows} rows of "
            f"{columns} functions; choose blr, add structures, or lower student.totaldegree"
        )


def _regress(
    julia: JuliaSession,
    config: StudentConfig,
    solver: Mapping[str, Any],
    data: Mapping[str, np.ndarray],
    threads: int,
) -> dict[str, Any]:
    """Assemble and solve; returns what there is to say of it."""
    shape = julia.call(
        "least_squares",
        smoothness=config.smoothness,
        pair=config.pair,
        restraint_weight=config.restraint_weight if config.repulsion_restraint else None,
        **data,
    )
    start = time.monotonic()
    count = shape["structures"]
    size = _BATCHES_PER_THREAD * threads
    for first in progress(range(1, count + 1, size), "assembly", unit=f"batches of {size}"):
        julia.call("assemble", first=first, last=min(first + size - 1, count))
    assembled = time.monotonic()
    say(f"student fit: solving with {config.solver.kind}")
    report = {"solver": config.solver.kind, **julia.call("solve", **solver)}
    report["rows"], report["functions"] = shape["rows"], shape["columns"]
    report["assembly_s"] = round(assembled - start, 3)
    report["solve_s"] = round(time.monotonic() - assembled, 3)
    say(
        f"student fit: {shape['columns']} coefficients from {shape['rows']} rows; assembly "
        f"{format_duration(report['assembly_s'])}, solve {format_duration(report['solve_s'])}"
    )
    return report


def _student(arrays: dict[str, Any], spec: BasisSpec, provenance: Mapping[str, Any]) -> Student:
    """The student that the arrays of `DistillACE.export_arrays` describe."""
    from distill.student.file_schema import basis_from_arrays
    from distill.student.student_model import Student

    n_many = arrays["WB"].size
    if not spec.pair:
        arrays = {
            **arrays,
            "Wpair": arrays["Wpair"][:0],
            "pair_spline_coefs": arrays["pair_spline_coefs"][..., :0],
            "pairspec": arrays["pairspec"][:0],
        }
        if "committee" in arrays:
            arrays["committee"] = arrays["committee"][:, :n_many]
    basis = basis_from_arrays(arrays, _description(arrays), "the model from ACEpotentials")
    return Student(
        basis=dataclasses.replace(basis, spec=spec),
        coefficients=np.concatenate([arrays["WB"].T.ravel(), arrays["Wpair"].T.ravel()]),
        e0=dict(zip(basis.elements, arrays["E0"].tolist(), strict=True)),
        committee=arrays.get("committee"),
        provenance=provenance,
    )


def _description(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `meta_json` that go with arrays from Julia."""
    factors, offsets = arrays["nnll"].tolist(), arrays["nnll_offsets"].tolist()
    orders = sum(name.startswith("aa_spec_") for name in arrays)
    return {
        "nnll": [factors[a:b] for a, b in itertools.pairwise(offsets)],
        "aa_orders": list(range(1, orders + 1)),
        "rnl_spline": _grid(arrays["rnl_spline_grid"]),
        "pair_spline": _grid(arrays["pair_spline_grid"]),
    }


def _grid(values: np.ndarray) -> dict[str, float]:
    return {"x0": float(values[0]), "h": float(values[1]), "n": int(values[2])}


def _accept(
    julia: JuliaSession, student: Student, structures: Sequence[Atoms], out: Path, seed: int
) -> Path:
    """Write the files of a fit, if the student file gives Julia's numbers."""
    from distill.student.student_model import Student as StudentFile

    path = out / STUDENT_FILE
    with atomic_path(path) as student_part, atomic_path(out / MODEL_FILE) as model_part:
        student.save(student_part)
        julia.call("save", path=str(model_part))
        chosen = parity_sample(structures, seed)
        sample = [structures[k] for k in chosen]
        differences = _differences(julia, StudentFile.load(student_part), sample)
        shown = (
            f"energy {differences['energy']:.1e} eV/atom, forces {differences['forces']:.1e} eV/Å, "
            f"virial {differences['virial']:.1e} eV/atom"
        )
        say(f"student fit: native engine against Julia on {len(chosen)} structures: {shown}")
        if not all(differences[name] <= bound for name, bound in TOLERANCES.items()):
            raise UserError(
                f"the exported student does not give Julia's numbers: largest differences {shown}, "
                "expected 1e-8 at most; nothing was written. The installed ACEpotentials may be "
                "newer than this program knows: compare its version in julia.log with docs/julia.md"
            )
    write_json(
        out / PARITY_FILE,
        {
            "structures": chosen,
            "largest_differences": differences,
            "tolerances": TOLERANCES,
            "units": {"energy": "eV/atom", "forces": "eV/Å", "virial": "eV/atom"},
        },
    )
    return path


def parity_sample(structures: Sequence[Atoms], seed: int) -> list[int]:
    """Indices of the structures on which the export is checked, each config_type in turn."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    kinds = np.array([config_type(atoms) for atoms in structures])
    queues = [list(rng.permutation(np.flatnonzero(kinds == kind))) for kind in np.unique(kinds)]
    chosen: list[int] = []
    while len(chosen) < min(PARITY_STRUCTURES, len(structures)):
        for queue in queues:
            if queue and len(chosen) < PARITY_STRUCTURES:
                chosen.append(int(queue.pop()))
    return sorted(chosen)


def _differences(
    julia: JuliaSession, student: Student, structures: Sequence[Atoms]
) -> dict[str, float]:
    """Largest differences of energy and virial (eV/atom) and of forces (eV/Å)."""
    found = julia.call("evaluate", **julia_arguments.geometry_arrays(structures, student.cutoff))
    largest = dict.fromkeys(TOLERANCES, 0.0)
    first = 0
    for k, atoms in enumerate(structures):
        energy, forces, virial = student.predict(atoms)
        n = len(atoms)
        differences = {
            "energy": abs(energy - found["energies"][k]) / n,
            "forces": np.abs(forces - found["forces"][first : first + n]).max(),
            "virial": np.abs(virial - found["virials"][k]).max() / n,
        }
        # A value that is not finite counts as the largest difference there is.
        for name, value in differences.items():
            largest[name] = max(largest[name], float(value) if np.isfinite(value) else np.inf)
        first += n
    return largest
