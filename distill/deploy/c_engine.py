"""The C++ engine called from Python through its C interface, `lammps/include/distill_ace.h`."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.engine.evaluate import species_indices
from distill.student.engine.neighbours import list_neighbours

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_ABI = 1
_POINTER, _INTEGER, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_PRECISIONS = {"double": 0, "mixed": 1}


class _Input(ctypes.Structure):
    _fields_ = [
        ("n_centres", ctypes.c_int64),
        ("n_all", ctypes.c_int64),
        *((name, _POINTER) for name in ("species", "first", "neighbours", "positions", "vectors")),
    ]


class _Output(ctypes.Structure):
    _fields_ = [
        ("energies", _POINTER),
        ("forces", _POINTER),
        ("virial", ctypes.c_double * 9),
        *((name, _POINTER) for name in ("atom_virial", "centroid_virial", "grades", "owner")),
    ]


class CEvaluation(NamedTuple):
    """What the C++ engine gives.

    Attributes
    ----------
    energies, forces, virial
        As in `distill.student.engine.evaluate.Evaluation`.
    atom_virial, centroid_virial
        (N, 6) xx yy zz xy xz yz and (N, 9) xx yy zz xy xz yz yx zx zy, eV; zero unless asked for.
    grades
        Extrapolation grades, (N,); zero unless asked for.
    """

    energies: Array
    forces: Array
    virial: Array
    atom_virial: Array
    centroid_virial: Array
    grades: Array


class CEngine:
    """A student opened by the C++ engine.

    Parameters
    ----------
    library
        Shared library, of `build_lammps`.
    file
        What `distill export --to lammps` wrote.
    precision
        double or mixed.

    Attributes
    ----------
    elements, cutoff, graded, instructions
        What the student knows; Å; whether it has grades; the instruction set in use.

    Raises
    ------
    UserError
        If the library is of another version, or the file cannot be used.
    """

    def __init__(
        self,
        library: str | os.PathLike[str],
        file: str | os.PathLike[str],
        precision: str = "double",
    ) -> None:
        from ase.data import chemical_symbols

        self._library = _opened(Path(library))
        error = ctypes.create_string_buffer(4096)
        mode = _PRECISIONS[precision]
        handle = self._library.distill_ace_open(os.fsencode(file), mode, error, len(error))
        if not handle:
            raise UserError(error.value.decode(errors="replace"))
        self._handle = ctypes.c_void_p(handle)
        count = self._library.distill_ace_elements(self._handle)
        self.elements = tuple(
            chemical_symbols[self._library.distill_ace_atomic_number(self._handle, k)]
            for k in range(count)
        )
        self.cutoff = float(self._library.distill_ace_cutoff(self._handle))
        self.graded = bool(self._library.distill_ace_graded(self._handle))
        self.instructions = self._library.distill_ace_instructions(self._handle).decode()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.distill_ace_close(self._handle)

    def evaluate(
        self, atoms: Atoms, threads: int = 1, *, grades: bool = False, virials: bool = False
    ) -> CEvaluation:
        """Evaluate a structure.

        Raises
        ------
        UserError
            If an element is unknown, atoms coincide, or there are no grades.
        """
        species = species_indices(self.elements, atoms)
        call, result = self.prepared(species, *list_neighbours(atoms, self.cutoff), grades, virials)
        call(threads)
        return result()

    def prepared(
        self,
        species: Integers,
        first: Integers,
        neighbours: Integers,
        vectors: Array,
        grades: bool = False,
        virials: bool = False,
    ) -> tuple[Callable[[int], None], Callable[[], CEvaluation]]:
        """A function that evaluates a full neighbour list on threads, and one that tells results.

        Parameters are those of `distill.student.engine.evaluate.Potential.evaluate_pairs`.
        """
        n = len(first) - 1
        kept: dict[str, NDArray[Any]] = {
            "species": np.ascontiguousarray(species, np.int32),
            "first": np.ascontiguousarray(first, np.int64),
            "neighbours": np.ascontiguousarray(neighbours, np.int32),
            "vectors": np.ascontiguousarray(vectors, float),
        }
        out: dict[str, NDArray[Any]] = {
            "energies": np.zeros(n),
            "forces": np.zeros((len(species), 3)),
            "atom_virial": np.zeros((len(species), 6)),
            "centroid_virial": np.zeros((len(species), 9)),
            "grades": np.zeros(n),
            "owner": np.arange(len(species), dtype=np.int32),
        }
        wanted = {"energies": True, "forces": True, "atom_virial": virials}
        wanted |= {"centroid_virial": virials, "grades": grades, "owner": grades}
        given = _Input(n_centres=n, n_all=len(species), **_addresses(kept))
        told = _Output(**_addresses({name: out[name] for name in out if wanted[name]}))

        def call(threads: int = 1) -> None:
            # The structures hold addresses alone; the arrays live as long as this function.
            _ = kept, out
            arguments: tuple[Any, ...] = (ctypes.byref(given), ctypes.byref(told), threads)
            if self._library.distill_ace_evaluate(self._handle, *arguments):
                raise UserError(self._library.distill_ace_error(self._handle).decode())

        def result() -> CEvaluation:
            return CEvaluation(
                virial=np.array(told.virial).reshape(3, 3),
                **{name: out[name] for name in CEvaluation._fields if name in out},
            )

        return call, result


def _addresses(arrays: dict[str, NDArray[Any]]) -> dict[str, int]:
    return {name: array.ctypes.data for name, array in arrays.items()}


def _opened(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
        found = library.distill_ace_abi()
    except (OSError, AttributeError) as error:
        raise UserError(
            f"{path} is not the C++ engine ({error}); build it with 'distill lammps --build'"
        ) from None
    if found != _ABI:
        raise UserError(
            f"{path} has interface {found}, expected {_ABI}; build it again with 'distill lammps "
            "--build'"
        )
    library.distill_ace_open.restype = _POINTER
    library.distill_ace_open.argtypes = [_TEXT, _INTEGER, _TEXT, ctypes.c_size_t]
    library.distill_ace_cutoff.restype = ctypes.c_double
    for name in ("distill_ace_error", "distill_ace_instructions"):
        getattr(library, name).restype = _TEXT
    return library
