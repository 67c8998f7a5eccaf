"""The whole workflow on an adatom whose barrier is known, from labels to the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS

from distill.config import RunConfig
from distill.core.artifacts import read_json
from distill.core.results import read_result
from distill.data.structures import set_labels, write_structures
from distill.observables.barriers.result import BarriersResult
from distill.pipeline import run_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.physics]

LATTICE_CONSTANT = 3.61


def adatom(site: str) -> Atoms:
    """Gold on the (100) surface of copper, the lowest layer fixed."""
    atoms = fcc100("Cu", (2, 2, 3), a=LATTICE_CONSTANT, vacuum=8.0, periodic=True)
    add_adsorbate(atoms, "Au", 1.7, site)
    atoms.set_constraint(FixAtoms([atom.index for atom in atoms if atom.tag == 3]))
    return atoms


def known_barrier() -> float:
    """Energy over the bridge, where symmetry holds the adatom, less that in the hollow; eV."""
    energies = []
    for site in ("bridge", "hollow"):
        atoms = adatom(site)
        atoms.calc = EMT()
        BFGS(atoms, logfile=None).run(fmax=2e-3)
        energies.append(atoms.get_potential_energy())
    return energies[0] - energies[1]


def labelled(count: int, seed: int) -> list[Atoms]:
    """Rattled surfaces and the free atoms, with EMT's labels."""
    generator = np.random.default_rng(seed)
    structures = [adatom("hollow" if number % 2 else "bridge") for number in range(count)]
    for atoms in structures:
        atoms.set_constraint()
        atoms.positions += generator.normal(scale=0.08, size=atoms.positions.shape)
    structures += [Atoms(symbol, cell=[12] * 3, pbc=True) for symbol in ("Cu", "Au")]
    for atoms in structures:
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        set_labels(atoms, energy=energy, forces=forces)
        atoms.info["config_type"] = "surface"
    return structures


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A finished run with EMT as reference and teacher."""
    folder = tmp_path_factory.mktemp("adatom")
    start = adatom("hollow")
    end = start.copy()
    end.positions[-1, 0] += LATTICE_CONSTANT / np.sqrt(2)
    files = {"train": labelled(12, 0), "test": labelled(6, 1)[:-2], "start": [start], "end": [end]}
    paths = {name: str(folder / f"{name}.xyz") for name in files}
    for name, structures in files.items():
        write_structures(paths[name], structures)
    hop = {"initial": paths["start"], "final": paths["end"], "images": 5, "fmax": 0.02}
    dynamics = {
        "structure": paths["start"],
        "temperatures": [400.0, 800.0],
        "runs": 2,
        "time": 300.0,
        "equilibration_time": 80.0,
        "time_step": 4.0,
        "save_every": 12.0,
    }
    emt = {"path": "ase.calculators.emt:EMT"}
    config = {
        "output": str(folder / "run"),
        "data": {"train": paths["train"], "test": paths["test"]},
        "reference": emt,
        "teacher": {"calculator": emt},
        "sampling": {
            "md": [dynamics],
            "neb": [{**hop, "keep": 30}],
            "selection": {"count": 40, "held_out": 8},
        },
        "student": {"backend": "native", "order": 3, "totaldegree": [10, 8, 6], "rcut": 5.0},
        "compare": {
            "timing": None,
            "reference_student": False,
            "barriers": [hop],
            "tolerances": {"teacher_barrier": 0.002, "purpose_barrier": 0.05},
        },
        "parallel": {"backend": "serial"},
    }
    run_pipeline(RunConfig.model_validate(config))
    return folder


def test_every_model_finds_the_barrier_that_symmetry_gives(project) -> None:
    result = read_result(project / "run" / "compare" / "barriers.json", BarriersResult)
    [models] = result.paths.values()
    truth = known_barrier()
    assert 0.1 < truth < 1.0
    for name, within in (("reference", 0.003), ("teacher", 0.003), ("student", 0.05)):
        assert models[name].barrier == pytest.approx(truth, abs=within), name


def test_the_verdict_says_so(project) -> None:
    verdict = read_json(project / "run" / "compare" / "verdict.json")
    answers = {found["question"]: found["answer"] for found in verdict["answers"]}
    assert answers["teacher"] == answers["purpose"] == "yes"
    judged = {check["tolerance"] for check in verdict["checks"] if check["passed"]}
    assert judged == {"teacher_barrier", "purpose_barrier"}
