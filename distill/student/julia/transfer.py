"""Models between ACEpotentials and distill: its JSON as a student, a student as its JSON."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk

from distill._version import __version__
from distill.core.artifacts import sha256
from distill.core.errors import UserError
from distill.core.progress import say
from distill.student.config import StudentConfig
from distill.student.engine.assembly import design_rows
from distill.student.fit.posterior import with_posterior
from distill.student.julia import julia_arguments, parity
from distill.student.julia.acepotentials import refuse_other_numbers, start
from distill.student.julia.exported import student_from_arrays
from distill.student.julia.julia_calculator import refuse_other_files
from distill.student.julia.julia_session import JuliaSession
from distill.student.julia.julia_setup import require
from distill.student.uncertainty.uncertainty_model import with_training_deviations

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.basis import Basis
    from distill.student.student_model import Student

# Functions of the two bases are equal, up to sign, to this share of their size.
_SAME_FUNCTION = 1e-9


def import_model(path: str | os.PathLike[str], structures: Sequence[Atoms] = ()) -> Student:
    """The student that evaluates as a model saved by ACEpotentials does.

    Parameters
    ----------
    path
        File of ACEpotentials' `save_model`, or `ace_model.json` of a fit.
    structures
        The model's training structures with their labels, by which the student is graded; without
        them it cannot tell when it extrapolates. A model without a committee gets one, from the
        posterior of these with the weights, the prior and the size that are the defaults of a fit.

    Raises
    ------
    UserError
        If the file is no such model, Julia cannot start, the model uses what the native engine
        does not have, the two engines do not agree on it, or the structures have no labels.
    """
    refuse_other_files(path)
    with _julia("importing") as julia:
        versions = start(julia)
        julia.call("load", path=os.fspath(path))
        student = student_from_arrays(
            julia.call("export_arrays"),
            None,
            provenance={
                "backend": "acepotentials",
                "distill": __version__,
                "julia": versions,
                "imported": {"file": Path(path).name, "sha256": sha256(path)},
            },
        )
        compared = parity.compare(julia, student, probe_structures(student.elements))
    say(f"import: native engine against Julia: {compared.largest_differences}")
    refuse_other_numbers(compared, "nothing was written")
    if not structures:
        return student
    if student.committee is None:
        # ACEpotentials saves none, and without one there are no grades.
        settings = StudentConfig()
        student = with_posterior(
            student,
            structures,
            settings.weights,
            power=StudentConfig.model_fields["smoothness"].default,
            members=settings.solver.committee,
            seed=0,
        )
    return with_training_deviations(student, structures)


def export_model(student: Student, path: str | os.PathLike[str]) -> parity.Parity:
    """Write a student as a model that ACEpotentials' `load_model` reads.

    The functions of the two bases are the same up to the signs of the couplings, which Julia is
    asked for.

    Parameters
    ----------
    student
        With a basis that distill built, without ZBL.
    path
        JSON to write.

    Raises
    ------
    UserError
        If ACEpotentials has no such model, Julia cannot start, or the two engines do not agree.
    """
    spec = student.basis.spec
    if spec is None or spec.zbl:
        why = "a ZBL core" if spec else "a basis that another program built"
        raise UserError(f"a student with {why} cannot be written as a model of ACEpotentials")
    arguments = julia_arguments.model_arguments(spec, student.e0)
    with _julia("exporting") as julia:
        start(julia)
        julia.call("build_model", **arguments)
        theirs = student_from_arrays(julia.call("export_arrays"), spec).basis
        signs = signs_between(student.basis, theirs)
        committee = student.committee
        julia.call(
            "set_parameters",
            parameters=_with_pair_term(signs * student.coefficients, spec.pair, julia),
            committee=None
            if committee is None
            else np.array([_with_pair_term(signs * c, spec.pair, julia) for c in committee]),
        )
        compared = parity.compare(julia, student, probe_structures(student.elements))
        refuse_other_numbers(compared, "nothing was written")
        julia.call("save", path=os.fspath(path))
    return compared


def signs_between(ours: Basis, theirs: Basis) -> np.ndarray:
    """The signs (n_functions,) by which functions of one basis become those of the other.

    Couplings are normalised, but their signs depend on the program that made them.

    Raises
    ------
    UserError
        If the bases differ by more than signs.
    """
    problem = "ACEpotentials builds another basis than distill from the same settings"
    if ours.coupling.bodies != theirs.coupling.bodies or ours.n_pair != theirs.n_pair:
        raise UserError(f"{problem}: its functions are others")
    rows = [
        np.vstack([np.vstack(_rows(basis, atoms)) for atoms in probe_structures(ours.elements)])
        for basis in (ours, theirs)
    ]
    signs = np.where(np.sum(rows[0] * rows[1], axis=0) < 0, -1.0, 1.0)
    sizes = np.linalg.norm(rows[0], axis=0)
    off = np.linalg.norm(rows[0] - signs * rows[1], axis=0)
    wrong = np.flatnonzero(off > _SAME_FUNCTION * np.maximum(sizes, np.finfo(float).tiny))
    if len(wrong):
        raise UserError(f"{problem}: {len(wrong)} of {len(signs)} functions differ")
    return signs


def probe_structures(elements: Sequence[str]) -> list[Atoms]:
    """Rattled crystals of all elements in turn, by which two engines are compared.

    Nearest neighbours are at the mean of the elements' bond lengths.
    """
    from distill.student.basis.bond_lengths import bond_length

    rng = np.random.default_rng(0)
    structures = []
    for number in range(3):
        length = np.mean([bond_length(a, b) for a in elements for b in elements])
        atoms = bulk("Cu", "fcc", a=float(length) * np.sqrt(2.0), cubic=True).repeat((2, 1, 1))
        atoms.symbols = [elements[(k + number) % len(elements)] for k in range(len(atoms))]
        atoms.rattle(0.08 * float(length), rng=rng)
        structures.append(atoms)
    return structures


def _rows(basis: Basis, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    energy, forces, _ = design_rows(basis, atoms, virial=False)
    assert energy is not None and forces is not None
    return energy[None], forces


def _with_pair_term(coefficients: np.ndarray, pair: bool, julia: JuliaSession) -> np.ndarray:
    """Coefficients with zeros for the pair term that every model of ACEpotentials has."""
    if pair:
        return coefficients
    described = julia.call("describe")
    return np.concatenate([coefficients, np.zeros(described["functions"] - len(coefficients))])


@contextmanager
def _julia(doing: str) -> Iterator[JuliaSession]:
    require()
    say(f"{doing} a model of ACEpotentials")
    handle, log = tempfile.mkstemp(prefix="distill-julia-", suffix=".log")
    os.close(handle)
    with JuliaSession(log=log, threads=1, keep_log=False) as julia:
        yield julia
