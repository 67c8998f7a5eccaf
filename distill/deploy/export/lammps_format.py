"""The student as the file that `pair_style distill` and the C interface read: exact, all tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from distill.deploy.export.base import Draft, Exporter
from distill.deploy.export.lammps_arrays import lammps_bytes, read_lammps_file
from distill.deploy.export.parity import PairDistances
from distill.models.base import Predictions

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.engine.evaluate import Potential
    from distill.student.student_model import Student

# The scalars and the arrays of `Layout` that go over; what only the fit needs stays.
_SIZES = ("n_species", "n_one_particle", "n_nodes", "n_rows")
_LAYOUT = (
    "cutoff", "transform", "envelope", "grid", "splines", "spline_first", "row_count",
    "shell_first", "shell_harmonic", "shell_row", "shell_start", "one_particle", "harmonic_norm",
    "pair_transform", "pair_envelope", "pair_grid", "node_parent", "node_factor", "group_parent",
    "group_first", "leaf_factor",
)  # fmt: skip
_WEIGHTS = ("one_body", "node", "leaf", "pair", "core", "entry")


class Lammps(Exporter):
    """Files of `pair_style distill`; they hold every student, and its grades."""

    name: ClassVar[str] = "lammps"
    suffix: ClassVar[str] = ".ace"

    def write(
        self, student: Student, path: Path, *, tolerance: float, inner: PairDistances
    ) -> Iterator[Draft]:
        """Write the tables of the numba engine as they are."""
        arrays = lammps_arrays(student)
        path.write_bytes(lammps_bytes(arrays))
        graded = "largest_energy" in arrays
        notes = [f"LAMMPS: pair_style distill, pair_coeff * * FILE {' '.join(student.elements)}"]
        if not graded:
            notes.append("the student carries no committee or no grades: no extrapolation grades")
        yield Draft("exact", {"graded": graded, "elements": list(student.elements)}, notes)

    def read_back(self, path: Path, structures: Sequence[Atoms]) -> Predictions:
        """The tables that the file holds, evaluated by the engine of the numba kernels."""
        potential = potential_of(read_lammps_file(path))
        found = [potential.evaluate(atoms) for atoms in structures]
        return Predictions(
            energies=np.array([each.energies.sum() for each in found]),
            forces=[each.forces for each in found],
            stresses=[None] * len(found),
        )


def lammps_arrays(student: Student) -> dict[str, NDArray[Any]]:
    """Every array of the file of a student, by name."""
    return arrays_of(student.potential) | _committee_arrays(student)


def arrays_of(potential: Potential) -> dict[str, NDArray[Any]]:
    """Every array of the file of a model without a committee, by name."""
    from ase.data import atomic_numbers

    layout, weights = potential.layout, potential.weights
    numbers = [atomic_numbers[symbol] for symbol in potential.elements]
    # The largest l stands alone, because it may be zero.
    arrays: dict[str, NDArray[Any]] = {
        "elements": np.array(numbers, np.int32),
        "sizes": np.array([getattr(layout, name) for name in _SIZES], np.int32),
        "largest_l": np.array([layout.largest_l], np.int32),
    }
    arrays |= {name: getattr(layout, name) for name in _LAYOUT}
    arrays |= layout.pairs._asdict() | {"n_values": np.array([layout.pairs.n_values], np.int32)}
    return arrays | {name: getattr(weights, name) for name in _WEIGHTS}


def _committee_arrays(student: Student) -> dict[str, NDArray[Any]]:
    from distill.student.engine.tables import evaluator_of, fold_weights, layout_of
    from distill.student.uncertainty.committee import Committee
    from distill.student.uncertainty.uncertainty_model import (
        FORCE_MEMBERS,
        UncertaintyModel,
        is_graded,
    )

    if not is_graded(student):
        return {}
    committee, model = Committee(student, FORCE_MEMBERS), UncertaintyModel(student)
    tables, none = committee.tables, dict.fromkeys(student.elements, 0.0)
    basis = student.basis
    nodes, evaluator = layout_of(basis), evaluator_of(basis)
    members = [
        fold_weights(basis, deviation, none, evaluator)
        for deviation in committee.deviations[: committee.force_members]
    ]
    return {
        "largest_energy": model.largest_site,
        "largest_force": model.largest_force,
        "members": np.array([len(committee.deviations)], np.int32),
        "member_parent": nodes.node_parent,
        "member_factor": nodes.node_factor,
        "function_first": tables.function_first,
        "parent": tables.parent,
        "factor": tables.factor,
        "coefficient": tables.coefficient,
        "member_weights": tables.weights,
        "member_node": np.stack([weights.node for weights in members]),
        "member_leaf": np.stack([weights.leaf for weights in members]),
        "member_pair": np.stack([weights.pair for weights in members]),
        "member_entry": np.stack([weights.entry for weights in members]),
    }


def potential_of(arrays: dict[str, NDArray[Any]]) -> Potential:
    """The potential that a file's arrays say: the inverse of `arrays_of`."""
    from ase.data import chemical_symbols

    from distill.student.engine.evaluate import Potential
    from distill.student.engine.kernels.kernel_arguments import Layout, PairForm, Weights

    none = np.zeros(0, np.int32)
    fields: dict[str, Any] = dict(zip(_SIZES, arrays["sizes"].tolist(), strict=True))
    fields |= {"largest_l": int(arrays["largest_l"][0]), "node_column": none, "leaf_column": none}
    fields |= {name: arrays[name] for name in _LAYOUT}
    pairs: dict[str, Any] = {name: arrays[name] for name in PairForm._fields}
    pairs["n_values"] = int(arrays["n_values"][0])
    layout = Layout(**fields, pairs=PairForm(**pairs))
    weights = Weights(**{name: arrays[name] for name in _WEIGHTS})
    elements = tuple(chemical_symbols[number] for number in arrays["elements"])
    return Potential(elements, float(layout.cutoff.max()), layout, weights)
