"""The student as a force engine behind a socket, in the protocol of i-PI.

Source: Kapil et al., Comput. Phys. Commun. 236, 214 (2019); ASE's client speaks it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from distill.core.errors import UserError
from distill.core.progress import say

if TYPE_CHECKING:
    from ase import Atoms


def serve(
    student: str | os.PathLike[str],
    atoms: Atoms,
    *,
    unix: str | None = None,
    host: str = "localhost",
    port: int | None = None,
    threads: int = 1,
) -> int:
    """Answer a driver such as i-PI with energies, forces and virials until it ends.

    Parameters
    ----------
    student
        Student file.
    atoms
        The structure that the driver has, with its atoms in the same order: the protocol carries
        positions and cells, but no elements.
    unix
        Name of a UNIX socket (`/tmp/ipi_NAME`).
    host, port
        Of a TCP socket, in place of it.
    threads
        Threads of the student.

    Returns
    -------
    int
        Structures that were evaluated.

    Raises
    ------
    UserError
        If neither or both sockets are named, nobody listens, or a structure cannot be evaluated.
    """
    from ase.calculators.socketio import SocketClient, SocketClosed

    from distill.student.student_model import Student

    if (unix is None) == (port is None):
        raise UserError("serve: expected a UNIX socket or a port, one of them")
    where = f"/tmp/ipi_{unix}" if unix is not None else f"{host}:{port}"
    model = Student.load(student)
    atoms = atoms.copy()
    atoms.calc = model.calculator(threads=threads)
    # Whatever cannot be evaluated is known before a driver waits for it.
    atoms.get_potential_energy()
    try:
        client = SocketClient(host=host, port=port, unixsocket=unix)
    except OSError as error:
        raise UserError(
            f"serve: nobody listens at {where} ({error.strerror or error}); start i-PI first, with "
            "a socket of this name"
        ) from None
    say(f"serve: {len(atoms)} atoms, connected to {where}")
    count = 0
    try:
        for _ in client.irun(atoms, use_stress=bool(atoms.cell.rank == 3)):
            count += 1
    except (SocketClosed, BrokenPipeError, ConnectionResetError):
        pass
    except ValueError as error:
        raise UserError(
            f"serve: the driver's structure is not the one given, which has {len(atoms)} atoms: "
            f"{error}"
        ) from None
    finally:
        client.close()
    say(f"serve: the driver ended the run after {count} structures")
    return count
