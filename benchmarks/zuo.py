"""Students on the public sets of six elements, beside the potentials published with them.

    python -P benchmarks/zuo.py FOLDER [--elements Li Mo] [--out FOLDER]

FOLDER is a checkout of materialsvirtuallab/mlearn, or its `data`: `ELEMENT/training.json` and
`ELEMENT/test.json` (Zuo et al., J. Phys. Chem. A 124, 731 (2020), doi:10.1021/acs.jpca.9b08723),
and beside `data`, in `mvl_models`, the published potentials. An element without its files is left
out, which is said; those of an earlier run stay in the table.

Students are fitted to the training file alone, with every setting but the basis as by default:
energies and forces, no virials. The large one is `distill.fit_student(basis="auto")`: the order,
degrees, cutoff, wL and smoothness of least error on thirds of 150 training structures left out,
which are single structures, as the test file is a random tenth of all, of the same runs. The small
one has the same basis with all degrees scaled down. The test file is looked at once, for the table.

SNAP and qSNAP are run here by LAMMPS on the same test file. Their energies count as they are: they
have the zero of the files' (`energy_mean`, the signed mean of the errors, is a few meV/atom). GAP,
NNP and MTP need programs that LAMMPS's Python package is built without, and are not run.

Times are processor times of one core for an energy-and-forces call with new positions and a kept
neighbour list, of models in turn: students through ASE, SNAP within LAMMPS's own dynamics.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

import distill
from distill.core.artifacts import read_json, write_json, write_text
from distill.core.errors import UserError
from distill.core.quantities import MEV
from distill.data.structures import check_structures, set_labels
from distill.deploy.lammps import lammps_class
from distill.metrics.errors import error_table
from distill.student.search.candidates import of_size
from distill.student.student_model import Student

ELEMENTS = ("Ni", "Cu", "Li", "Mo", "Si", "Ge")
# Basis functions at most, and structures that the search looks at.
_LARGE, _SMALL, _SEARCHED = 1200, 300, 150
PUBLISHED = {"SNAP": "snap", "qSNAP": "qsnap"}
_REPEAT, _ROUNDS, _CALLS, _DISPLACEMENT = (2, 2, 1), 7, 10, 0.01


def main() -> None:
    """Fit, measure, print the table and write `zuo.json` and `zuo.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="checkout of materialsvirtuallab/mlearn")
    parser.add_argument("--elements", nargs="+", choices=ELEMENTS, default=list(ELEMENTS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    lammps_class()
    data = options.folder / "data" if (options.folder / "data").is_dir() else options.folder
    kept = options.out / "zuo.json"
    found: dict[str, Any] = read_json(kept, dict[str, Any]) if kept.is_file() else {}
    measured = 0
    for element in options.elements:
        files = [data / element / f"{name}.json" for name in ("training", "test")]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            print(f"{element} is left out: {' and '.join(missing)} not found")
            continue
        train, test = map(read_set, files)
        found[element] = benchmark(element, train, test, data.parent / "mvl_models" / element)
        measured += 1
        write_json(kept, found)
        print(table({element: found[element]}), flush=True)
    if not measured:
        raise SystemExit(
            f"{options.folder}: expected ELEMENT/training.json and test.json in {data}"
        )
    text = table(found)
    print(text)
    write_text(options.out / "zuo.md", f"# The sets of Zuo et al. 2020\n\n{text}\n")


def read_set(path: Path) -> list[Atoms]:
    """Structures of a file of mlearn, with `REF_energy` (eV) and `REF_forces` (eV/Å).

    Each entry has a pymatgen structure as a dict, `structure`, and `outputs`: the total energy in
    eV and the forces in eV/Å, signs as in ASE. Entries' virials are not read.

    Raises
    ------
    UserError
        If the file is not of this kind, a site is not one whole atom, or labels are not finite.
    """
    structures = []
    for index, entry in enumerate(read_json(path, list[dict[str, Any]])):
        try:
            structures.append(_structure(entry))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: entry {index}: expected structure (lattice.matrix, sites with species "
                f"and abc) and outputs (energy, forces), as in mlearn; found {error!r}"
            ) from None
    return check_structures(structures, origin=f"{path}: ")


def _structure(entry: dict[str, Any]) -> Atoms:
    sites = entry["structure"]["sites"]
    symbols = []
    for site in sites:
        (species,) = site["species"]
        if species["occu"] != 1:
            raise ValueError(f"a site with {species['occu']} of an atom")
        symbols.append(species["element"])
    atoms = Atoms(
        symbols,
        scaled_positions=[site["abc"] for site in sites],
        cell=entry["structure"]["lattice"]["matrix"],
        pbc=True,
    )
    forces = np.array(entry["outputs"]["forces"], dtype=float)
    if forces.shape != atoms.positions.shape:
        raise ValueError(f"forces of shape {forces.shape} for {len(atoms)} atoms")
    return set_labels(atoms, energy=float(entry["outputs"]["energy"]), forces=forces)


def benchmark(
    element: str, train: list[Atoms], test: list[Atoms], potentials: Path
) -> dict[str, Any]:
    """Errors and times of the students and of the published potentials in a folder."""
    system = max(test, key=len).repeat(_REPEAT)
    rows: dict[str, dict[str, Any]] = {}
    calls: dict[str, Callable[[], int]] = {}
    for name, student, seconds in students(train):
        rows[name] = {"fit_s": seconds, **_basis(student)}
        rows[name] |= _errors(test, distill.label(test, student))
        calls[name] = _student_calls(student, system)
    for name, folder in PUBLISHED.items():
        if not (potentials / folder).is_dir():
            print(f"{element}: {name} is left out: {potentials / folder} not found")
            continue
        with snap_commands(element, potentials / folder) as (commands, coefficients):
            rows[name] = {"functions": coefficients, **_errors(test, _run(commands, test))}
            calls[name] = _lammps_calls(commands, system)
    for name, value in _times(calls, len(system)).items():
        rows[name]["us_per_atom"] = value
    return {
        "training": len(train),
        "test": len(test),
        "timed_atoms": len(system),
        "load": os.getloadavg()[0],
        "models": rows,
    }


def students(train: list[Atoms]) -> Iterator[tuple[str, Student, float]]:
    """Name, student and processor time of its fit (s), the search for the basis among it."""
    start = time.process_time()
    options = {"functions": _LARGE, "structures": _SEARCHED}
    large = distill.fit_student(train, basis="auto", search=options, threads=1)
    yield "student, large", large, time.process_time() - start
    start = time.process_time()
    spec = large.basis.spec
    small = of_size(spec, np.divide(spec.totaldegree, max(spec.totaldegree)).tolist(), _SMALL)
    assert small is not None
    student = distill.fit_student(
        train,
        order=small.order,
        totaldegree=small.totaldegree,
        rcut=small.rcut,
        wL=small.wL,
        threads=1,
    )
    yield "student, small", student, time.process_time() - start


def _basis(student: Student) -> dict[str, Any]:
    spec = student.basis.spec
    return {
        "functions": student.basis.n_functions,
        "order": spec.order,
        "totaldegree": list(spec.totaldegree),
        "wL": spec.wL,
        "rcut": spec.rcut,
    }


def _errors(test: list[Atoms], predicted: list[Atoms]) -> dict[str, float]:
    """Mean and mean absolute errors: meV/atom, and eV/Å over components."""
    errors = error_table(test, predicted)
    assert errors.energy_per_atom is not None and errors.forces is not None
    return {
        "energy_mae": MEV * errors.energy_per_atom.mae,
        "energy_mean": MEV * errors.energy_per_atom.mean,
        "force_mae": errors.forces.mae,
    }


@contextmanager
def snap_commands(element: str, folder: Path) -> Iterator[tuple[list[str], int]]:
    """LAMMPS commands of a published SNAP, and its number of coefficients.

    Its parameters are taken without `diagonalstyle`, which LAMMPS does not know since only the
    style 3 of these files is left.
    """
    coefficients = folder / "SNAPotential.snapcoeff"
    parameters = (folder / "SNAPotential.snapparam").read_text(encoding="utf-8")
    _, count = coefficients.read_text(encoding="utf-8").splitlines()[0].split()
    with tempfile.TemporaryDirectory() as name:
        kept = Path(name) / "snapparam"
        kept.write_text(re.sub(r"^diagonalstyle.*\n", "", parameters, flags=re.M) + "\n")
        yield (
            ["pair_style snap", f'pair_coeff * * "{coefficients}" "{kept}" {element}'],
            int(count),
        )


def _calculator(commands: list[str], element: str) -> Any:
    from ase.calculators.lammpslib import LAMMPSlib

    mass = atomic_masses[atomic_numbers[element]]
    return LAMMPSlib(
        lmpcmds=commands, atom_types={element: 1}, atom_type_masses={element: mass}, keep_alive=True
    )


def _run(commands: list[str], structures: Sequence[Atoms]) -> list[Atoms]:
    """Structures with LAMMPS's labels, each by an instance of its own."""
    labelled = []
    for atoms in structures:
        with _calculator(commands, atoms.symbols[0]) as calculator:
            bare = atoms.copy()
            bare.calc = calculator
            energy, forces = bare.get_potential_energy(), bare.get_forces()
        labelled.append(set_labels(atoms.copy(), energy=energy, forces=forces))
    return labelled


def _student_calls(student: Student, system: Atoms) -> Callable[[], int]:
    atoms = system.copy()
    atoms.calc = student.calculator()
    moves = _DISPLACEMENT * np.random.default_rng(0).standard_normal((_CALLS, len(atoms), 3))
    positions = itertools.cycle(system.positions + moves)

    def run() -> int:
        for _ in range(_CALLS):
            atoms.positions = next(positions)
            atoms.get_forces()
        return _CALLS

    return run


def _lammps_calls(commands: list[str], system: Atoms) -> Callable[[], int]:
    atoms = system.copy()
    calculator = atoms.calc = _calculator(commands, atoms.symbols[0])
    atoms.get_forces()
    for command in ("fix dynamics all nve", "timestep 0.0005", "run 1 post no"):
        calculator.lmp.command(command)

    def run() -> int:
        calculator.lmp.command(f"run {_CALLS} pre no post no")
        return _CALLS

    return run


def _times(calls: dict[str, Callable[[], int]], atoms: int) -> dict[str, float]:
    """Median over rounds of the processor time of a call, µs an atom."""
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            count = call()
            rounds[name].append(1e6 * (time.process_time() - start) / count / atoms)
    return {name: float(np.median(values)) for name, values in rounds.items()}


def table(found: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| set (training + test) | model | functions | energy MAE [meV/atom] | force MAE [eV/Å] "
        "| time [µs/atom] | fit [s] |",
        "|---|---|---|---|---|---|---|",
    ]
    for element in (name for name in ELEMENTS if name in found):
        result = found[element]
        first = f"{element} ({result['training']} + {result['test']})"
        for name, row in result["models"].items():
            basis = f"order {row['order']}, {row['rcut']:g} Å: " if "order" in row else ""
            fit = f"{row['fit_s']:.0f}" if "fit_s" in row else ""
            lines.append(
                f"| {first} | {name} | {basis}{row['functions']} | {row['energy_mae']:.2f} "
                f"| {row['force_mae']:.4f} | {row['us_per_atom']:.3g} | {fit} |"
            )
            first = ""
    return "\n".join(lines)


if __name__ == "__main__":
    main()
