"""The student: a linear ACE model with its coefficients, as users load, evaluate and keep it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.basis.basis import Basis
from distill.student.file_schema import (
    PREFIX,
    basis_from_arrays,
    basis_to_arrays,
    read_arrays,
    write_arrays,
)

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.basis.tables import Weights
    from distill.student.calculator import StudentCalculator
    from distill.student.engine.evaluate import Evaluation
    from distill.student.uncertainty.grading import ExtrapolationWatch

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Student:
    """A fitted linear ACE potential.

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
    def load(cls, path: str | os.PathLike[str]) -> Student:
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
    def weights(self) -> Weights:
        """Coefficients folded into the kernels' tables."""
        return self.fold(self.coefficients)

    def fold(self, coefficients: Array) -> Weights:
        """Kernel tables for another coefficient vector on this basis, such as a committee's."""
        from distill.student.basis.tables import fold_weights

        return fold_weights(self.basis, coefficients, self.e0)

    def evaluate(self, atoms: Atoms, threads: int = 1) -> Evaluation:
        """Atomic energies (N,), forces (N, 3) and virial (3, 3) of a structure; eV, Å.

        Parameters
        ----------
        atoms
            The structure; cells smaller than the cutoff are handled by images.
        threads
            Threads to share the atoms among; worth it from some hundred atoms.

        Raises
        ------
        UserError
            If an element is unknown, a position is not finite or atoms coincide.
        """
        from distill.student.engine.evaluate import evaluate_pairs, species_indices
        from distill.student.engine.neighbours import list_neighbours

        species = species_indices(self.elements, atoms)
        neighbours = list_neighbours(atoms, self.cutoff)
        return evaluate_pairs(self.basis.layout, self.weights, species, *neighbours, threads)

    def predict(self, atoms: Atoms, threads: int = 1) -> tuple[float, Array, Array]:
        """Energy (eV), forces (N, 3) (eV/Å) and virial (3, 3) (eV); see `evaluate` and `watch`."""
        result = self.evaluate(atoms, threads)
        self.watch.look(atoms)
        return float(result.energies.sum()), result.forces, result.virial

    def energy(self, atoms: Atoms) -> float:
        """Energy of a structure, eV."""
        return self.predict(atoms)[0]

    def energies(self, atoms: Atoms) -> Array:
        """Energy of each atom with its one-body part, (N,), eV."""
        return self.evaluate(atoms).energies

    def forces(self, atoms: Atoms) -> Array:
        """Forces, (N, 3), eV/Å."""
        return self.predict(atoms)[1]

    def predict_many(
        self, structures: Sequence[Atoms], threads: int = 1
    ) -> list[tuple[float, Array, Array]]:
        """`predict` of many structures, shared among threads, in their order.

        Raises
        ------
        UserError
            As `evaluate`, naming the structure's index.
        """
        from distill.student.engine.evaluate import thread_pool

        def predict(numbered: tuple[int, Atoms]) -> tuple[float, Array, Array]:
            index, atoms = numbered
            try:
                return self.predict(atoms)
            except UserError as error:
                raise UserError(f"structure {index}: {error}") from None

        if threads == 1:
            return [predict(item) for item in enumerate(structures)]
        return list(thread_pool(threads).map(predict, enumerate(structures)))

    def descriptors(self, atoms: Atoms) -> Array:
        """Site basis: the value of each basis function at each atom, (N, n_functions).

        Its sum over atoms times the coefficients is the energy without its one-body part.
        """
        from distill.student.engine.assembly import site_descriptors

        return site_descriptors(self.basis, atoms)

    @cached_property
    def watch(self) -> ExtrapolationWatch:
        """Grades one structure in a hundred and warns of the first far outside the training."""
        from distill.student.uncertainty.grading import ExtrapolationWatch

        return ExtrapolationWatch(self)

    def calculator(self, skin: float = 0.5, threads: int = 1) -> StudentCalculator:
        """An ASE calculator with energy, energies, forces and stress.

        It warns when a structure far outside the training data comes before `watch`.

        Parameters
        ----------
        skin
            Distance beyond the cutoff that the neighbour list reaches, Å, so that it is made
            again only when an atom has moved by half of it.
        threads
            Threads to share the atoms among.
        """
        from distill.student.calculator import StudentCalculator

        return StudentCalculator(self, skin=skin, threads=threads)
