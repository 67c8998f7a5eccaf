"""What a student is made of, and its file: a basis, coefficients, and where they come from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.basis.basis import Basis
from distill.student.engine.evaluate import Potential, make_potential
from distill.student.file_schema import (
    PREFIX,
    basis_from_arrays,
    basis_to_arrays,
    read_arrays,
    write_arrays,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StudentParameters:
    """The numbers of a fitted linear ACE potential.

    Attributes
    ----------
    basis
        Its basis.
    coefficients
        (n_functions,), eV, in ACEpotentials' order: many-body of each element, pair of each.
    e0
        One-body energy of each element, eV.
    committee
        Further coefficient vectors drawn from the posterior, (members, n_functions), or None.
    provenance
        Where it comes from: files with SHA-256, settings, versions; JSON values and NumPy numbers.
    training
        Errors and statistics of the fit, of the same kinds of values.
    """

    basis: Basis
    coefficients: Array
    e0: Mapping[str, float]
    committee: Array | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.basis.n_functions
        if self.coefficients.shape != (n,):
            raise UserError(
                f"a student with {n} functions has coefficients of shape "
                f"{self.coefficients.shape}, expected ({n},)"
            )
        if not np.isfinite(self.coefficients).all():
            raise UserError("the student's coefficients are not finite numbers; fit it again")
        missing = [symbol for symbol in self.basis.elements if symbol not in self.e0]
        if missing:
            raise UserError(f"the student has no one-body energy (e0) for {', '.join(missing)}")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a student file, or any linear model in the schema of ace-jax.

        Raises
        ------
        UserError
            If the file is missing, damaged, foreign or of an unknown version.
        """
        arrays, meta = read_arrays(path)
        basis = basis_from_arrays(arrays, meta, str(path))
        try:
            shapes = arrays["WB"].shape, arrays["Wpair"].shape
            expected = (basis.n_many_body, basis.n_species), (basis.n_pair, basis.n_species)
            if shapes != expected:
                raise ValueError(f"coefficients have shapes {shapes}, expected {expected}")
            coefficients = np.concatenate(
                [np.asarray(arrays[name], float).T.ravel() for name in ("WB", "Wpair")]
            )
            e0 = dict(zip(basis.elements, arrays["E0"].astype(float).tolist(), strict=True))
            extra = json.loads(bytes(arrays.get(PREFIX + "json", np.frombuffer(b"{}", np.uint8))))
        except (KeyError, ValueError) as error:
            raise UserError(f"{path} is damaged: {error}") from None
        return cls(
            basis=basis,
            coefficients=coefficients,
            e0=e0,
            committee=arrays.get(PREFIX + "committee"),
            provenance=extra.get("provenance", {"source": meta.get("source", "unknown")}),
            training=extra.get("training", {}),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the student file; it appears whole or not at all."""
        arrays, meta = basis_to_arrays(self.basis)
        n_species, split = self.basis.n_species, self.basis.n_species * self.basis.n_many_body
        arrays["WB"] = self.coefficients[:split].reshape(n_species, -1).T
        arrays["Wpair"] = self.coefficients[split:].reshape(n_species, self.basis.n_pair).T
        arrays["E0"] = np.array([self.e0[symbol] for symbol in self.basis.elements], float)
        if self.committee is not None:
            arrays[PREFIX + "committee"] = self.committee
        extra = {"provenance": dict(self.provenance), "training": dict(self.training)}
        text = json.dumps(extra, default=lambda value: value.tolist())
        arrays[PREFIX + "json"] = np.frombuffer(text.encode(), np.uint8)
        write_arrays(path, arrays, meta)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols the student knows."""
        return self.basis.elements

    @property
    def cutoff(self) -> float:
        """Largest cutoff, Å."""
        return self.basis.cutoff

    @cached_property
    def potential(self) -> Potential:
        """What the kernels evaluate."""
        return make_potential(self.basis, self.coefficients, self.e0)
