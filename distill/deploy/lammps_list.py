"""LAMMPS' atoms and neighbour list read, and results handed to it, by compiled code.

Both go through LAMMPS' C library; its Python module would take several times as long.
"""

# numba's decorators change signatures in ways that type checkers cannot follow.
# mypy: disable-error-code="call-arg"

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

# The upper bits of an entry mark special bonds (LAMMPS, src/lmptype.h: NEIGHMASK).
NEIGHMASK = 0x1FFFFFFF
_POINTER, _INTEGER, _VOID = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
# Result and arguments of the functions of LAMMPS' C library that are called (src/library.h).
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "lammps_extract_setting": (_INTEGER, _POINTER, _POINTER),
    "lammps_extract_atom": (_POINTER, _POINTER, _POINTER),
    "lammps_find_pair_neighlist": (_INTEGER, _POINTER, _POINTER, _INTEGER, _INTEGER, _INTEGER),
    "lammps_neighlist_element_neighbors": (
        None, _POINTER, _INTEGER, _INTEGER, _VOID, _VOID, _VOID,
    ),
}  # fmt: skip
_DOUBLE = ctypes.c_double
_WRITER_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "lammps_fix_external_set_energy_global": (None, _POINTER, _POINTER, _DOUBLE),
    "lammps_fix_external_set_energy_peratom": (None, _POINTER, _POINTER, _VOID),
    "lammps_fix_external_set_virial_global": (None, _POINTER, _POINTER, _VOID),
}
# Their arguments, at addresses that compiled code may keep.
_TEXTS = [ctypes.create_string_buffer(text) for text in (b"nall", b"zero", b"x", b"type", b"id")]


def _pointer_to(kind: Any) -> Any:
    """An intrinsic that turns an address into a pointer that `carray` takes."""

    @intrinsic
    def pointer(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(address), codegen

    return pointer


_int32, _int64, _float64 = (_pointer_to(kind) for kind in (types.int32, types.int64, types.float64))


class NeighbourReader:
    """The full neighbour list of `pair_style zero` as `evaluate_pairs` takes it.

    Periodic images are named by the atom they are images of, so that forces need no folding.

    Parameters
    ----------
    lammps
        A `lammps.lammps` instance with `pair_style zero ... full`.
    species_of_type
        Element index of each LAMMPS atom type, from entry 1.
    cutoff
        Pairs beyond it are left out, Å.
    """

    def __init__(self, lammps: Any, species_of_type: np.ndarray, cutoff: float) -> None:
        self._handle = lammps.lmp.value
        self._species_of_type = species_of_type
        self._cutoff = cutoff
        addresses = _addresses(lammps, _PROTOTYPES)
        self._read = _compiled_reader(addresses, lammps.extract_setting("tagint"))
        self._resize(1024)

    def _resize(self, pairs: int) -> None:
        self._neighbours = np.empty(pairs, np.int64)
        self._vectors = np.empty((pairs, 3))

    def read(self, n_local: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Species (n_local,), first (n_local + 1,), neighbours and vectors (pairs, 3), Å.

        The arrays of pairs are reused by the next call.
        """
        species, first = np.empty(n_local, np.int64), np.empty(n_local + 1, np.int64)
        arguments = (self._handle, self._species_of_type, self._cutoff, species, first)
        pairs = self._read(*arguments, self._neighbours, self._vectors)
        if pairs < 0:
            # A quarter more than needed, so that a fluctuating number seldom grows it again.
            self._resize(-pairs * 5 // 4)
            pairs = self._read(*arguments, self._neighbours, self._vectors)
        return species, first, self._neighbours[:pairs], self._vectors[:pairs]


class ResultWriter:
    """Hands energy, energies of atoms, forces and virial to a `fix external`.

    Parameters
    ----------
    lammps
        A `lammps.lammps` instance.
    fix
        ID of the fix.
    """

    def __init__(self, lammps: Any, fix: str) -> None:
        self._handle = lammps.lmp.value
        self._name = ctypes.create_string_buffer(fix.encode())
        self._address = ctypes.addressof(self._name)
        self._write = _compiled_writer(_addresses(lammps, _WRITER_PROTOTYPES))

    def write(
        self, energies: np.ndarray, forces: np.ndarray, virial: np.ndarray, target: np.ndarray
    ) -> float:
        """Hand over a result; return the energy, eV.

        Parameters
        ----------
        energies
            Of the local atoms, (n_local,), eV.
        forces, virial
            (n_local, 3), eV/Å, and (3, 3), eV.
        target
            The fix's array of forces, (n_local, 3).
        """
        return self._write(self._handle, self._address, energies, forces, virial, target)


def _addresses(lammps: Any, names: Iterable[str]) -> tuple[int, ...]:
    """Where the functions of LAMMPS' C library are."""
    return tuple(
        ctypes.cast(getattr(lammps.lib, name), ctypes.c_void_p).value or 0 for name in names
    )


@cache
def _compiled_writer(addresses: tuple[int, ...]) -> Any:
    """The compiled hand-over, for LAMMPS' functions at these addresses."""
    set_energy, set_energies, set_virial = (
        ctypes.CFUNCTYPE(*prototype)(address)
        for prototype, address in zip(_WRITER_PROTOTYPES.values(), addresses, strict=True)
    )

    @njit(nogil=True)
    def write(
        handle: int,
        fix: int,
        energies: np.ndarray,
        forces: np.ndarray,
        virial: np.ndarray,
        target: np.ndarray,
    ) -> float:
        energy, voigt = 0.0, np.empty(6)
        for i in range(len(energies)):
            energy += energies[i]
            for axis in range(3):
                target[i, axis] = forces[i, axis]
        for axis in range(3):
            voigt[axis] = virial[axis, axis]
        voigt[3] = 0.5 * (virial[0, 1] + virial[1, 0])
        voigt[4] = 0.5 * (virial[0, 2] + virial[2, 0])
        voigt[5] = 0.5 * (virial[1, 2] + virial[2, 1])
        set_energy(handle, fix, energy)
        set_energies(handle, fix, energies.ctypes)
        set_virial(handle, fix, voigt.ctypes)
        return energy

    return write


@cache
def _compiled_reader(addresses: tuple[int, ...], tag_bytes: int) -> Any:
    """The compiled loop over atoms and list, for LAMMPS' functions at these addresses."""
    setting, extract, find, element = (
        ctypes.CFUNCTYPE(*prototype)(address)
        for prototype, address in zip(_PROTOTYPES.values(), addresses, strict=True)
    )
    tag_pointer = _int32 if tag_bytes == 4 else _int64
    nall, style, x_name, type_name, tag_name = (ctypes.addressof(text) for text in _TEXTS)

    @njit(nogil=True)
    def read(
        handle: int,
        species_of_type: np.ndarray,
        cutoff: float,
        species: np.ndarray,
        first: np.ndarray,
        neighbours: np.ndarray,
        vectors: np.ndarray,
    ) -> int:
        n_local, n_all = len(species), setting(handle, nall)
        first[0] = 0
        if n_local == 0:
            return 0
        rows = carray(_int64(extract(handle, x_name)), (1,))
        x = carray(_float64(rows[0]), (n_all, 3))
        kinds = carray(_int32(extract(handle, type_name)), (n_all,))
        tags = carray(tag_pointer(extract(handle, tag_name)), (n_all,))
        owner_of_tag = np.zeros(tags.max() + 1, np.int64)
        owner = np.empty(n_all, np.int64)
        for i in range(n_local):
            species[i] = species_of_type[kinds[i]]
            owner_of_tag[tags[i]] = i
        for i in range(n_all):
            owner[i] = owner_of_tag[tags[i]]
        index = find(handle, style, 1, 0, 0)
        atom, count = np.zeros(1, np.int32), np.zeros(1, np.int32)
        address = np.zeros(1, np.int64)
        counts, lists = np.zeros(n_local, np.int64), np.zeros(n_local, np.int64)
        for k in range(n_local):
            element(handle, index, k, atom.ctypes, count.ctypes, address.ctypes)
            if 0 <= atom[0] < n_local:
                counts[atom[0]] = count[0]
                lists[atom[0]] = address[0]
        if counts.sum() > len(neighbours):
            return -counts.sum()
        filled, squared = 0, cutoff * cutoff
        for i in range(n_local):
            if counts[i]:
                entries = carray(_int32(lists[i]), (counts[i],))
                xi, yi, zi = x[i, 0], x[i, 1], x[i, 2]
                for k in range(counts[i]):
                    # Unsigned, so that no check for negative indices is compiled.
                    j = np.uint64(entries[k] & NEIGHMASK)
                    dx, dy, dz = x[j, 0] - xi, x[j, 1] - yi, x[j, 2] - zi
                    place = np.uint64(filled)
                    neighbours[place] = owner[j]
                    vectors[place, 0] = dx
                    vectors[place, 1] = dy
                    vectors[place, 2] = dz
                    # Written always and counted if near: a branch here would cost more.
                    filled += int(dx * dx + dy * dy + dz * dz < squared)
            first[i + 1] = filled
        return filled

    return read
