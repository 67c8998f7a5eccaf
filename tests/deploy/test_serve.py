"""The student behind a socket, driven by ASE's server of the i-PI protocol."""

from __future__ import annotations

import socket
import threading
import uuid
from contextlib import closing

import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator
from ase.io import write
from lammps_fixtures import alloys

from distill.cli.app import exit_code
from distill.core.errors import UserError
from distill.deploy.serve import serve


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("way", ["unix", "port"])
def test_a_driver_gets_the_students_energies_forces_and_stresses(
    knowing_student, tmp_path, way
) -> None:
    knowing_student.save(tmp_path / "student.npz")
    first = alloys()["slab"]
    write(tmp_path / "slab.xyz", first)
    name, port = f"distill-{uuid.uuid4().hex[:8]}", _free_port()
    where = {"unixsocket": name} if way == "unix" else {"port": port}
    option = ["--unix", name] if way == "unix" else ["--port", str(port)]
    codes = []
    command = ["serve", str(tmp_path / "student.npz"), str(tmp_path / "slab.xyz"), *option]
    with SocketIOCalculator(timeout=120, **where) as driver:
        client = threading.Thread(target=lambda: codes.append(exit_code(command)))
        client.start()
        for strain in (1.0, 1.02, 0.98):
            atoms = first.copy()
            atoms.set_cell(strain * atoms.cell.array, scale_atoms=True)
            expected = knowing_student.evaluate(atoms)
            atoms.calc = driver
            assert atoms.get_potential_energy() == pytest.approx(expected.energies.sum(), abs=1e-8)
            np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-8)
            virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
            np.testing.assert_allclose(virial, expected.virial, atol=1e-6)
    client.join(60)
    assert codes == [0]


def test_a_driver_that_is_not_there_or_named_twice_is_said(knowing_student, tmp_path) -> None:
    knowing_student.save(tmp_path / "student.npz")
    atoms = alloys()["slab"]
    with pytest.raises(UserError, match="nobody listens at /tmp/ipi_none-of-mine"):
        serve(tmp_path / "student.npz", atoms, unix="none-of-mine")
    for both in ({}, {"unix": "a", "port": 1}):
        with pytest.raises(UserError, match="one of them"):
            serve(tmp_path / "student.npz", atoms, **both)
    atoms.symbols[0] = "Pt"
    with pytest.raises(UserError, match="knows Cu, H"):
        serve(tmp_path / "student.npz", atoms, unix="none-of-mine")
