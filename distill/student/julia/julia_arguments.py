"""What goes over to Julia: options and structures as plain numbers and arrays, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import listed
from distill.core.quantities import full_matrix, has_volume, virial_from_stress
from distill.data.structures import (
    config_type,
    reference_energy,
    reference_forces,
    reference_stress,
)
from distill.student.basis.basis import LARGEST_BASIS, BasisSpec
from distill.student.basis.coupling import list_bodies
from distill.student.fit.solvers import DEFAULT_RTOL

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.config import LabelWeights, SolverConfig, StudentConfig

VALIDATION_FRACTION = 0.1
# Elements that ACEpotentials 0.10.1 has no bond length for (its file
# `data/length_scales_VASP_auto_length_scales.yaml`): asked for one, it fails. Ours go over instead.
_NO_BOND_LENGTH = frozenset(
    "He Ne Ar Mn Kr Xe Cs Eu Ho Er Lu At Rn Fr Ra U Np Pu Am Cm Bk Cf Es Fm Md No Lr".split()  # noqa: SIM905 - a table
)
_SOLVERS = ("blr", "qr", "rrqr", "lsqr", "tsvd")
# LSQR's own limits: looser ones end long before the solution of these ill-conditioned systems.
LSQR_TOLERANCE = 1e-12
LSQR_CONDITION_LIMIT = 1e16
LSQR_ITERATIONS = 100_000


def check_options(config: StudentConfig) -> None:
    """Refuse what ACEpotentials cannot do.

    Raises
    ------
    UserError
        For ZBL, a smoothness or weights left to the evidence, a solver that ACEfit does not have
        or cannot run, or an option that it has no use for.
    """
    if config.zbl is True:
        raise UserError(
            "student.zbl: forces of ACEpotentials 0.10.1 fail with ZBL = true (an assertion in "
            "its evaluate_ed); choose backend native for ZBL"
        )
    if config.smoothness == "evidence":
        raise UserError(
            "student.smoothness: ACEfit takes a number, 4 unless given; choose backend native for "
            "evidence"
        )
    if config.weighting == "evidence":
        raise UserError(
            "student.weighting: ACEfit takes weights as they are given; choose backend native for "
            "evidence"
        )
    solver = config.solver
    if solver.kind == "ard":
        raise UserError(
            "student.solver.kind: ard of ACEfit meets matrices that are not positive definite and "
            "takes no threshold; choose blr, or backend native for ard"
        )
    if solver.kind not in _SOLVERS:
        raise UserError(
            f"student.solver.kind is {solver.kind}, which ACEfit does not have: choose qr with a "
            f"strength for a ridge of known strength, one of {', '.join(_SOLVERS)}, or backend "
            "native"
        )
    if solver.kind != "blr" and solver.committee and "committee" in solver.model_fields_set:
        raise UserError(
            f"student.solver: {solver.kind} of ACEfit draws no committee (of {solver.committee}); "
            "set committee to 0, choose kind blr, or backend native"
        )
    if solver.kind == "tsvd" and solver.rtol is not None:
        raise UserError(
            "student.solver: rtol has no meaning for kind tsvd with ACEfit, which chooses the "
            "truncation on structures held out; leave it out, or choose rrqr or backend native"
        )
    if solver.factorization == "cholesky" and config.assembly == "native":
        raise UserError(
            "student.solver.factorization: cholesky is of the matrix of all rows; leave it out, as "
            "the triangular factor of the native assembly takes an svd, or set assembly: julia"
        )
    if solver.kind == "blr" and solver.factorization == "cholesky" and solver.committee:
        raise UserError(
            f"student.solver: a committee (of {solver.committee}) needs factorization svd in "
            "ACEfit; set committee to 0, or leave factorization out"
        )


def refuse_absent_elements(structures: Sequence[Atoms], elements: Sequence[str]) -> None:
    """Refuse elements of the model that no structure has: ACEfit would fit them to nothing.

    Raises
    ------
    UserError
        Naming them.
    """
    found = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    absent = [symbol for symbol in elements if symbol not in found]
    if absent:
        raise UserError(
            f"student.elements names {', '.join(absent)}, which no training structure contains; "
            "its coefficients would mean nothing. Remove it, or add structures"
        )


def model_arguments(spec: BasisSpec, e0: Mapping[str, float]) -> dict[str, Any]:
    """Arguments of `DistillACE.build_model`.

    Parameters
    ----------
    spec
        The basis.
    e0
        One-body energies by element, eV.

    Raises
    ------
    UserError
        If a correlation order gets no functions, none of them depends on directions, an r0 is
        not below its cutoff, or a one-body energy is missing.
    """
    n_species = len(spec.elements)
    for order, degree in enumerate(spec.totaldegree, 1):
        if degree < order / n_species:
            raise UserError(
                f"student.totaldegree of order {order} is {degree:g}: no function has a level "
                f"that low (the least is {order / n_species:g}); raise it, or lower student.order"
            )
    bodies = list_bodies(n_species, spec.totaldegree, spec.wL, LARGEST_BASIS)
    if not any(ell for body in bodies for _, ell in body):
        raise UserError(
            "student: a basis whose functions all have l = 0 (order 1, or a low totaldegree) fails "
            "in ACEpotentials 0.10.1, whose spherical harmonics have no gradient then; raise "
            "student.order or totaldegree, or choose backend native"
        )
    missing = [symbol for symbol in spec.elements if symbol not in e0]
    if missing:
        raise UserError(f"student.e0 has no energy for {', '.join(missing)}; found {sorted(e0)}")
    cutoffs = _by_pair(spec, spec.cutoff)
    lengths = _by_pair(spec, spec.length_scale)
    for i, first in enumerate(spec.elements):
        for j, second in enumerate(spec.elements):
            if not 0 < lengths[i, j] < cutoffs[i, j]:
                raise UserError(
                    f"student.r0 of {first}-{second} is {lengths[i, j]:g} Å: expected less than "
                    f"its cutoff of {cutoffs[i, j]:g} Å"
                )
    own_table = spec.r0 == "bondlen" and not _NO_BOND_LENGTH.intersection(spec.elements)
    return {
        "elements": list(spec.elements),
        "order": spec.order,
        "totaldegree": np.array(spec.totaldegree),
        "wL": float(spec.wL),
        "rcut": cutoffs,
        "r0": None if own_table else lengths,
        "pair_degree": spec.pair_degree,
        "e0": np.array([e0[symbol] for symbol in spec.elements]),
    }


def solver_arguments(config: SolverConfig, n_structures: int, seed: int) -> dict[str, Any]:
    """Arguments of `DistillACE.solve!`; what the config leaves open is as in the native fit."""
    stream = np.random.SeedSequence([seed, 1])
    common = {"kind": config.kind, "seed": int(stream.generate_state(1)[0])}
    if config.kind == "blr":
        name = config.factorization or ("svd" if config.committee else "cholesky")
        return {**common, "factorization": name, "committee": config.committee}
    if config.kind == "qr":
        return {**common, "lambda": config.strength or 0.0}
    if config.kind == "rrqr":
        return {**common, "rtol": config.rtol or DEFAULT_RTOL}
    if config.kind == "lsqr":
        return {
            **common,
            "damp": config.strength or 0.0,
            "atol": config.atol or LSQR_TOLERANCE,
            "conlim": config.conlim or LSQR_CONDITION_LIMIT,
            "maxiter": config.max_iterations or LSQR_ITERATIONS,
        }
    rng = np.random.default_rng(stream)
    held_out = max(1, round(VALIDATION_FRACTION * n_structures))
    chosen = rng.choice(n_structures, held_out, replace=False)
    return {**common, "validation": np.sort(chosen) + 1}


def of_factors(solver: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `solver_arguments` for triangular factors, the last of what is held out."""
    changed = {"factorization": "svd", "validation": np.array([2])}
    return {name: changed.get(name, value) for name, value in solver.items()}


def geometry_arrays(structures: Sequence[Atoms], cutoff: float) -> dict[str, np.ndarray]:
    """Arguments of `DistillACE.Geometry`.

    Parameters
    ----------
    structures
        Any structures; periodic ones with their atoms anywhere.
    cutoff
        Largest cutoff of the model, Å: open directions get a cell that leaves it free.
    """
    boxed = [_boxed(atoms, cutoff) for atoms in structures]
    return {
        "positions": np.concatenate([positions for positions, _ in boxed]),
        "cells": np.array([cell for _, cell in boxed]),
        "periodic": np.array([atoms.pbc for atoms in structures]),
        "numbers": np.concatenate([atoms.numbers for atoms in structures]).astype(np.int64),
        "offsets": np.cumsum([0, *(len(atoms) for atoms in structures)]),
    }


def label_arrays(
    structures: Sequence[Atoms], weights: Mapping[str, LabelWeights]
) -> dict[str, np.ndarray]:
    """Arguments of `DistillACE.Labels`; a stress that is not there gets weight 0.

    Parameters
    ----------
    structures
        With labels under the REF_ keys.
    weights
        By config_type, with an entry `default`.

    Raises
    ------
    UserError
        If weights name a config_type that no structure has, or an energy or forces are missing
        where their weight is not 0. (ACEpotentials would leave such labels out without a word.)
    """
    _check_config_types(structures, weights)
    chosen = [weights.get(config_type(a), weights["default"]) for a in structures]
    table = np.array([[w.energy, w.forces, w.virial] for w in chosen], dtype=float)
    energies = [reference_energy(atoms) for atoms in structures]
    forces = [reference_forces(atoms) for atoms in structures]
    stresses = [reference_stress(atoms) for atoms in structures]
    for column, name, values in ((0, "energy", energies), (1, "forces", forces)):
        missing = [k for k, v in enumerate(values) if v is None and table[k, column] > 0]
        if missing:
            raise UserError(
                f"training structures {listed(missing)} have no label REF_{name}, though its "
                "weight is not 0: label them, or set that weight of their config_type to 0 in "
                "student.weights"
            )
    flat = [
        k
        for k, stress in enumerate(stresses)
        if stress is not None and not has_volume(structures[k].cell[:])
    ]
    if flat:
        raise UserError(
            f"training structures {listed(flat)} have a stress but no volume: their cell has no "
            "three independent vectors. Remove the label REF_stress, or give the cell"
        )
    table[[stress is None for stress in stresses], 2] = 0.0
    if not table.any():
        raise UserError("no label of the training set has a weight: nothing to fit")
    full = [
        np.zeros((3, 3)) if s is None else full_matrix(virial_from_stress(s, a.get_volume()))
        for a, s in zip(structures, stresses, strict=True)
    ]
    return {
        "energies": np.array([0.0 if e is None else e for e in energies]),
        "forces": np.concatenate(
            [
                np.zeros((len(a), 3)) if f is None else f
                for a, f in zip(structures, forces, strict=True)
            ]
        ),
        "virials": np.array(full),
        "weights": table,
    }


def _check_config_types(structures: Sequence[Atoms], weights: Mapping[str, LabelWeights]) -> None:
    found = {config_type(atoms) for atoms in structures}
    unknown = sorted(set(weights) - found - {"default"})
    if unknown:
        raise UserError(
            f"student.weights names config_type {', '.join(unknown)}, which no training structure "
            f"has; they have {', '.join(sorted(found))}"
        )


def _boxed(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions and a cell of full rank: periodic directions are wrapped, open ones enclosed."""
    from ase.geometry import complete_cell

    open_directions = ~atoms.pbc
    cell = np.array(atoms.cell)
    cell[open_directions] = 0.0
    cell = complete_cell(cell)
    scaled = atoms.positions @ np.linalg.inv(cell)
    for k in np.flatnonzero(open_directions):
        # The new vector has length 1 Å, so its scaled coordinate is a length.
        low, high = scaled[:, k].min(), scaled[:, k].max()
        length = high - low + 2 * cutoff
        scaled[:, k] = (scaled[:, k] - low + cutoff) / length
        cell[k] *= length
    wrapped = scaled[:, atoms.pbc] - np.floor(scaled[:, atoms.pbc])
    # A coordinate just below zero is rounded up to one.
    scaled[:, atoms.pbc] = np.where(wrapped < 1.0, wrapped, 0.0)
    return scaled @ cell, cell


def _by_pair(spec: BasisSpec, value: Any) -> np.ndarray:
    return np.array([[value(a, b) for b in spec.elements] for a in spec.elements], dtype=float)
