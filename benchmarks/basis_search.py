"""The basis that `basis: auto` takes for a run, and errors of its student beside a given basis.

    python benchmarks/basis_search.py runs/quickstart [--order 3 --degrees 14 12 9 --rcut 5.5]

Both students are fitted to RUN/sampling/selected.xyz and measured on RUN/sampling/held_out.xyz,
which the search does not see.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from distill.config import StudentConfig
from distill.core.quantities import MEV
from distill.core.results import read_result
from distill.data.structures import read_structures
from distill.metrics.errors import error_table
from distill.models.teacher_model import TeacherRecord
from distill.student.fit_backends import fit_student
from distill.student.search.search import given, search
from distill.student.student_stage import predicted_structures


def main() -> None:
    """Search, fit both, print errors, times and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder whose sampling is done")
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--degrees", type=float, nargs="+", default=[14, 12, 9])
    parser.add_argument("--rcut", type=float, default=5.5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    train, test = (
        read_structures(options.run / "sampling" / name, require=())
        for name in ("selected.xyz", "held_out.xyz")
    )
    e0 = read_result(options.run / "teacher" / "teacher.json", TeacherRecord).one_body
    auto = StudentConfig(basis="auto", threads=options.threads)
    start, busy = time.monotonic(), time.process_time()
    choice = search(train, auto, seed=1, teacher_e0=e0)
    wall, processor = time.monotonic() - start, time.process_time() - busy
    print(f"search: {wall:.0f} s, {processor:.0f} s of processor")
    for trial in choice.trials:
        print(trial.model_dump_json(exclude_none=True))
    print(f"{choice.reason}\n{choice.limits}")
    fixed = StudentConfig(
        order=options.order,
        totaldegree=options.degrees,
        rcut=options.rcut,
        smoothness="evidence",
        threads=options.threads,
    )
    print(f"{'':8s}{'functions':>10s}{'forces, meV/Å':>16s}{'energy, meV/atom':>18s}{'fit, s':>8s}")
    for name, config in {"given": fixed, "auto": given(auto, choice)}.items():
        start = time.monotonic()
        student = fit_student(train, config, seed=1, teacher_e0=e0).student
        seconds = time.monotonic() - start
        table = error_table(test, predicted_structures(student, test, options.threads))
        assert table.forces is not None and table.energy_per_atom is not None
        print(
            f"{name:8s}{student.basis.n_functions:10d}{MEV * table.forces.rmse:16.3g}"
            f"{MEV * table.energy_per_atom.rmse:18.3g}{seconds:8.0f}"
        )
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2g} GB")


if __name__ == "__main__":
    main()
