"""The other end of `external_calculator`: an ASE calculator in a Python of its own, as a client.

It is run as a script, by a Python that need not have distill: ASE, NumPy and the calculator's own
package are all that it imports. It speaks the i-PI protocol (Kapil et al., Comput. Phys. Commun.
236, 214 (2019); ASE's `IPIProtocol` puts it on the wire) over a Unix socket. What the protocol
leaves to the parties is used for two things: the initialisation string names the atoms, as JSON,
and comes again whenever they change; the extra string of an answer holds what went wrong, or says
that the calculator has no stress.

    python socket_client.py SOCKET SPECIFICATION

SPECIFICATION is JSON: `path` (`package.module:Class`) and `args`.
"""

import importlib
import json
import socket
import sys
from contextlib import suppress
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.socketio import IPIProtocol, SocketClosed


def main() -> None:
    """Serve until the other side says that it is enough, or is gone."""
    place, specification = sys.argv[1:]
    # What cannot be made never connects, and says why as it ends.
    calculator = made(**json.loads(specification))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    with suppress(SocketClosed, BrokenPipeError, ConnectionResetError):
        serve(IPIProtocol(connection), calculator)


def made(path: str, args: "dict[str, Any]") -> Any:
    """The calculator of an import path."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)(**args)


def serve(protocol: IPIProtocol, calculator: Any) -> None:
    """Answer every request on a connection until EXIT."""
    atoms: Atoms | None = None
    answer: tuple[Any, ...] | None = None
    while True:
        request = protocol.recvmsg()
        if request == "EXIT":
            return
        if request == "STATUS":
            state = "NEEDINIT" if atoms is None else "READY" if answer is None else "HAVEDATA"
            protocol.sendmsg(state)
        elif request == "INIT":
            _, text = protocol.recvinit()
            atoms = Atoms(**json.loads(bytes(text.astype(np.uint8)).decode()))
        elif request == "POSDATA":
            cell, _, positions = protocol.recvposdata()
            assert atoms is not None, "positions came before the atoms were named"
            atoms.set_cell(cell)
            atoms.set_positions(positions)
            answer = answered(calculator, atoms)
        elif request == "GETFORCE":
            assert answer is not None, "an answer was asked for before there were positions"
            protocol.sendforce(*answer)
            answer = None
        else:
            raise RuntimeError(f"a request that is none of the i-PI protocol: {request}")


def answered(calculator: Any, atoms: Atoms) -> "tuple[float, np.ndarray, np.ndarray, np.ndarray]":
    """Energy, forces and virial of a structure, and the extra string; or what went wrong."""
    energy, forces, virial = 0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3))
    about: dict[str, Any] = {"stress": False}
    copy = atoms.copy()
    try:
        forces = np.asarray(calculator.get_forces(copy), dtype=float)
        energy = float(calculator.get_potential_energy(copy))
        if atoms.pbc.all() and "stress" in calculator.implemented_properties:
            six = np.asarray(calculator.get_stress(copy), dtype=float)
            virial = -atoms.get_volume() * matrix(six)
            about["stress"] = True
        if not (np.isfinite(forces).all() and np.isfinite([energy, *virial.ravel()]).all()):
            raise ValueError("it returned NaN or infinity")
    except (Exception, SystemExit) as error:
        about = {"error": f"{type(error).__name__}: {error}"}
        energy, forces, virial = 0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3))
    return energy, forces, virial, np.frombuffer(json.dumps(about).encode(), dtype=np.byte)


def matrix(stress: np.ndarray) -> np.ndarray:
    """A stress as a matrix; six components are in Voigt's order, xx yy zz yz xz xy."""
    if stress.shape != (6,):
        return stress.reshape(3, 3)
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


if __name__ == "__main__":
    main()
