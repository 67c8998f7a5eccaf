"""A model that Julia exported, as a student."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.student.basis_arrays import basis_from_arrays
from distill.student.parameters import joined_coefficients
from distill.student.student_model import Student
from distill.student.training_record import TrainingRecord

if TYPE_CHECKING:
    from distill.student.basis.basis import BasisSpec


def student_from_arrays(
    arrays: dict[str, Any],
    spec: BasisSpec | None,
    *,
    provenance: Mapping[str, Any] | None = None,
    training: TrainingRecord | None = None,
) -> Student:
    """The student that the arrays of `DistillACE.export_arrays` describe.

    Parameters
    ----------
    arrays
        As exported.
    spec
        The settings of the basis, where distill made it; without a pair term, Julia's is dropped.
    provenance, training
        As in `Student`.

    Raises
    ------
    UserError
        If the native engine cannot evaluate such a model.
    """
    n_many = arrays["WB"].size
    if spec is not None and not spec.pair:
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
        coefficients=joined_coefficients(arrays["WB"], arrays["Wpair"]),
        e0=dict(zip(basis.elements, arrays["E0"].tolist(), strict=True)),
        committee=arrays.get("committee"),
        provenance=provenance or {},
        training=training or TrainingRecord(),
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
