"""The student behind a socket, driven by ASE's server of the i-PI protocol."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import fcc111
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


I_PI = """
import sys
from ipi.engine.simulation import Simulation
Simulation.load_from_xml(open(sys.argv[1])).run()
"""
RING_POLYMER = """<simulation verbosity='low'>
  <output prefix='run'>
    <properties stride='1' filename='out'> [step, conserved, potential] </properties>
  </output>
  <total_steps> 4 </total_steps>
  <ffsocket mode='unix' name='student' pbc='false'>
    <address> {name} </address> <timeout> 100 </timeout>
  </ffsocket>
  <system>
    <initialize nbeads='8'>
      <file mode='ase' units='angstrom'> start.xyz </file>
      <velocities mode='thermal' units='kelvin'> 300 </velocities>
    </initialize>
    <forces> <force forcefield='student'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nve'> <timestep units='femtosecond'> 0.1 </timestep> </dynamics>
    </motion>
    <ensemble> <temperature units='kelvin'> 300 </temperature> </ensemble>
  </system>
</simulation>
"""


def test_i_pi_runs_h2_on_copper_as_ring_polymers(knowing_student, tmp_path) -> None:
    pytest.importorskip("ipi", reason="i-PI is not installed (the extra [test])")
    knowing_student.save(tmp_path / "student.npz")
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0, periodic=True)
    x, y, z = atoms.positions[-1]
    atoms += Atoms("H2", [[x, y, z + 1.6], [x + 0.8, y, z + 1.6]])
    atoms = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
    write(tmp_path / "start.xyz", atoms)
    name = f"distill-{uuid.uuid4().hex[:8]}"
    (tmp_path / "input.xml").write_text(RING_POLYMER.format(name=name))
    command = [sys.executable, "-c", I_PI, "input.xml"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        try:
            while not Path(f"/tmp/ipi_{name}").exists():
                assert driver.poll() is None, driver.stdout.read()
                time.sleep(0.1)
            count = serve(tmp_path / "student.npz", atoms, unix=name)
        finally:
            driver.terminate()
    rows = np.loadtxt(tmp_path / "run.out")
    assert count == 8 * len(rows)
    conserved = units.Hartree * rows[:, 1]
    assert len(rows) == 5
    assert np.ptp(conserved) < 0.02 * np.ptp(units.Hartree * rows[:, 2])
    # At the start all beads lie on the classical atoms.
    start = 8 * knowing_student.evaluate(atoms).energies.sum()
    assert units.Hartree * rows[0, 2] * 8 == pytest.approx(start, rel=1e-5)
