"""A student checked without a workflow: the comparison and the verdict on given files."""

from __future__ import annotations

from pathlib import Path

from distill.compare.compare_stage import run
from distill.compare.config import CompareBase
from distill.compare.verdict import VERDICT_FILE, judge_student
from distill.core.artifacts import write_text
from distill.core.executors import ParallelConfig
from distill.core.input_files import resolve_file
from distill.core.progress import say

# Of the random numbers of runs and probes.
_SEED = 1


def check_student(
    student: Path, teacher: Path, data: str | Path, config: CompareBase, out: Path
) -> None:
    """Compare a student with its teacher on labelled data, and judge it.

    Parameters
    ----------
    student, teacher
        Model files, or `module:Class`.
    data
        Structures with the reference's labels that the student was not fitted to.
    config
        A `compare` section.
    out
        Folder of the results, `verdict.json` among them; what is finished in it is kept.

    Raises
    ------
    UserError
        For bad input, or a tolerance on something that is not computed.
    ChecksFailed
        If a check did not pass; the verdict has been written by then.
    """
    # There are no sampled structures here, and the data takes their place.
    nothing = out / "held_out.xyz"
    write_text(nothing, "")
    run(
        config,
        teacher=teacher,
        student=student,
        reference_test=resolve_file(data),
        held_out=nothing,
        out=out,
        seed=_SEED,
        parallel=ParallelConfig(),
    )
    say(f"verdict: {out / VERDICT_FILE}")
    judge_student(config, out)
