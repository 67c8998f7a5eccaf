"""Student-driven sampling: the student runs the dynamics, the teacher labels what it is unsure of.

Rounds: the student fitted to the labels so far runs every trajectory, path and dynamics of the
section, from new random streams; its uncertainty picks structures; the teacher labels those. It
ends when new trajectories hold nothing uncertain any more, or a limit is reached. The last
trajectories are never learned from: the held-out set is drawn from them.

Source: Cohn, Ghahramani & Jordan, J. Artif. Intell. Res. 4, 129 (1996), for the idea; Podryabinkin
& Shapeev, Comput. Mater. Sci. 140, 171 (2017), and van der Oord et al., npj Comput. Mater. 9, 168
(2023), for linear potentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.executors import ParallelConfig
from distill.core.progress import say
from distill.core.random_streams import stream
from distill.core.results import read_result
from distill.core.sections import asked, map_sections
from distill.core.tables import write_table_csv
from distill.core.work import Unit, WorkFolder, run_waiting
from distill.data.structures import read_structures
from distill.models.labelling import label_units
from distill.models.teacher_model import RECORD_NAME, TeacherRecord
from distill.sampling.config import DrivenConfig, SamplingBase
from distill.sampling.first_structures import seed_structures, with_lattice_constants
from distill.sampling.method import SAMPLING_METHODS, Sampler, Visited
from distill.sampling.round_units import ROUND_KEY, PickUnit, StudentUnit
from distill.sampling.unphysical import without_unphysical
from distill.sampling.visiting import Units, collect, every_unit, in_words, plan_units
from distill.simulation.config import ScatteringConfig
from distill.simulation.trust_bound import DEVIATION_KEY, GRADE_KEY, Trust, judge

if TYPE_CHECKING:
    from ase import Atoms

_QUANTILE = 0.95


@dataclass
class Driven:
    """What student-driven sampling leaves.

    Attributes
    ----------
    selected, held_out
        Labelled by the teacher.
    last
        What the last student visited; nothing was learned from it.
    calls
        Teacher calls by what they were for; those of the held-out set are apart.
    held_out_calls
        Teacher calls for the held-out set.
    rounds
        Numbers of each round.
    """

    selected: list[Atoms] = field(default_factory=list)
    held_out: list[Atoms] = field(default_factory=list)
    last: Visited = field(default_factory=Visited)
    calls: dict[str, int] = field(default_factory=dict)
    held_out_calls: int = 0
    rounds: list[dict[str, Any]] = field(default_factory=list)
    ending: str = ""

    def summary(self) -> dict[str, Any]:
        """Numbers for `sampling.json`."""
        return {
            "ending": self.ending,
            "rounds": self.rounds,
            "student_calls": sum(entry["student_calls"] for entry in self.rounds),
            "held_out_calls": self.held_out_calls,
        }


@dataclass(frozen=True)
class _Attempt(Unit):
    """A unit of the student, which may fail on a path or structure that the student has wrong."""

    unit: Unit

    def settings(self) -> dict[str, Any]:
        return {"unit": self.unit.key}

    def fault(self) -> str | None:
        """Why it is to be tried: its own reasons, or its unit's unless that failed."""
        fault = super().fault()
        if fault is not None or self.failure or self.unit.finished:
            return fault
        return self.unit.fault()

    @property
    def failure(self) -> str:
        """Why the finished unit failed; empty if it did not."""
        return str(self.numbers()["failure"])

    def work(self) -> dict[str, str]:
        try:
            if not self.unit.finished:
                self.unit.run()
        except UserError as error:
            return {"failure": str(error)}
        return {"failure": ""}


@dataclass(frozen=True)
class _Task:
    """What every round needs."""

    config: SamplingBase
    driven: DrivenConfig
    teacher: Path
    seed: int
    parallel: ParallelConfig
    e0: dict[str, float] | None


def run_driven(
    config: SamplingBase,
    *,
    teacher: Path,
    train: Path,
    out: Path,
    seed: int,
    parallel: ParallelConfig,
) -> Driven:
    """Sample with students of growing sets of teacher labels.

    Parameters
    ----------
    config
        With `driven`.
    teacher
        Anything `distill.models.calculators.load_calculator` takes as a file; one-body energies are
        read from a `teacher.json` beside it, if there is one.
    train
        Reference training structures, some of which are relabelled to begin with.
    out
        Folder of `seed/`, a folder for each round and `held_out/`. What is there is not done again.
    seed
        The run's seed.
    parallel
        Where trajectories and labels run.

    Raises
    ------
    UserError
        If there is nothing to begin with or nothing to sample, the limit of calls does not cover
        the first labels, or a file is damaged.
    """
    driven = config.driven
    assert driven is not None
    config, lattice_calls = with_lattice_constants(config, teacher, out)
    table = teacher.with_name(RECORD_NAME)
    e0 = read_result(table, TeacherRecord).one_body if table.exists() else None
    task = _Task(config, driven, teacher, seed, parallel, e0)
    result = Driven(calls={"lattice constant": lattice_calls})
    structures = seed_structures(config, driven, train, seed)
    _check_limit(driven, lattice_calls + len(structures))
    result.selected, result.calls["seed"] = _labelled(task, structures, out / "seed", "seed")
    for number in range(1, driven.rounds + 2):
        folder = out / f"round_{number:02d}"
        result.last, student, entry = _explore(task, number, result.selected, folder)
        result.rounds.append(entry)
        entry["teacher_calls"] = spent = sum(result.calls.values())
        allowed = driven.labels if driven.max_calls is None else driven.max_calls - spent
        if entry["certain"]:
            result.ending = "the uncertainty of new trajectories is below the target"
        elif number > driven.rounds:
            result.ending = f"{driven.rounds} rounds are done"
        elif allowed <= 0:
            result.ending = f"max_calls of {driven.max_calls} is reached"
        else:
            extra = _extra(task, student)
            picked = _picked(task, result, extra, number, folder, min(allowed, driven.labels))
            if not picked:
                result.ending = "no candidate is uncertain and physical"
        if result.ending:
            break
        new, calls = _labelled(task, picked, folder / "labels", "picked")
        result.calls[f"round {number}"] = calls
        entry["labelled"] = calls
        result.selected += new
    say(f"student-driven sampling ended: {result.ending}")
    drawn = _held_out(task, result.last, number)
    result.held_out, result.held_out_calls = _labelled(task, drawn, out / "held_out", "held_out")
    return result


def _check_limit(driven: DrivenConfig, first: int) -> None:
    if driven.max_calls is not None and driven.max_calls < first:
        raise UserError(
            f"driven.max_calls is {driven.max_calls}, but the first student alone takes {first} "
            "teacher calls: raise it, or lower driven.seed_structures"
        )


def _labelled(
    task: _Task, structures: Sequence[Atoms], folder: Path, name: str
) -> tuple[list[Atoms], int]:
    """The structures with the teacher's labels, without unphysical ones, and the calls made."""
    units = label_units(
        structures,
        model=str(task.teacher),
        folder=folder,
        name=name,
        options=task.config.labels,
    )
    run_waiting(units, parallel=task.parallel, label=f"teacher labels ({name})")
    labelled = [atoms for unit in units for atoms in unit.labelled()]
    kept, dropped = without_unphysical(labelled, task.config.selection)
    if dropped:
        say(f"teacher labels ({name}): left out {in_words(dropped)}")
    return kept, len(labelled)


def _explore(
    task: _Task, number: int, labelled: Sequence[Atoms], folder: Path
) -> tuple[Visited, Path, dict[str, Any]]:
    """Fit a student, let it visit, judge what it visited; that, its file, and the numbers."""
    config, driven = task.config, task.driven
    fit = StudentUnit(folder, "student", driven.student, tuple(labelled), task.seed, task.e0)
    student = fit.student()
    seed = int(stream(task.seed, "driven", number).integers(2**31))
    work = WorkFolder(folder, seed, task.parallel)
    units = plan_units(
        _as_driven(config), Sampler(str(student), work, Trust(student, driven.bound))
    )
    planned = every_unit(units)
    if not planned and driven.extra_structures is None:
        raise UserError(
            "sampling.driven has nothing to sample: give "
            f"{' or '.join(SAMPLING_METHODS.names())}, or driven.extra_structures"
        )
    attempts = [
        _Attempt(folder / "attempts", f"{index:06d}", unit) for index, unit in enumerate(planned)
    ]
    work.run(attempts, f"round {number}: the student samples")
    failures = [attempt.failure for attempt in attempts if attempt.failure]
    for reason in failures[:3]:
        say(f"round {number}: a unit of the student failed: {reason}")
    visited = collect(_finished(units), config.selection)
    judge([a for a in [*visited.pool, *visited.paths] if DEVIATION_KEY not in a.info], student)
    for name, rows in visited.tables.items():
        write_table_csv(folder / f"{name}.csv", rows)
    deviations = np.array([a.info[DEVIATION_KEY] for a in [*visited.pool, *visited.paths]])
    cut = visited.cut
    if planned and not len(deviations):
        raise UserError(
            f"nothing that the student visited in round {number} is left: every trajectory was set "
            "aside; see the reasons above, or give the first student more structures "
            "(driven.seed_structures)"
        )
    high = float(np.quantile(deviations, _QUANTILE)) if len(deviations) else None
    entry = {
        "round": number,
        "training_structures": len(labelled),
        "structures": len(deviations),
        "force_deviation_95": high,
        "largest_grade": max(
            (a.info[GRADE_KEY] for a in [*visited.pool, *visited.paths]), default=None
        ),
        "cut": cut,
        "failed": len(failures),
        "outcomes": visited.summary.get("outcomes", {}),
        "student_calls": sum(visited.calls.values()),
        "certain": high is not None and high <= driven.target and cut == 0 and not failures,
        "labelled": 0,
    }
    shown = "nothing visited" if high is None else f"95 % of force deviations below {high:.3g} eV/Å"
    say(f"round {number}: {len(labelled)} labels, {len(deviations)} structures, {cut} cut; {shown}")
    return visited, student, entry


def _as_driven(config: SamplingBase) -> SamplingBase:
    """The section with the trajectories of each scattering condition that a round runs."""
    assert config.driven is not None
    count = config.driven.trajectories
    if count is None:
        return config
    options = asked(config, SAMPLING_METHODS)
    changed = {
        name: map_sections(
            getattr(config, name),
            ScatteringConfig,
            lambda scattering: scattering.model_copy(update={"trajectories": count}),
        )
        for name in options
    }
    return config.model_copy(update=changed)


def _finished(units: Units) -> Units:
    return {name: [unit for unit in some if unit.finished] for name, some in units.items()}


def _picked(
    task: _Task, result: Driven, extra: list[Atoms], number: int, folder: Path, count: int
) -> list[Atoms]:
    """The candidates of a round that the teacher will label."""
    candidates = [*result.last.pool, *result.last.paths, *extra]
    physical, dropped = without_unphysical(candidates, task.config.selection)
    if dropped:
        say(f"candidates: left out {in_words(dropped)}")
    candidates = uncertain(physical, task.driven.target)
    if not candidates:
        return []
    before = [atoms for atoms in result.selected if ROUND_KEY in atoms.info]
    tolerance = task.config.selection.duplicate_tolerance
    return PickUnit(
        folder, "picked", tuple(candidates), tuple(before), count, number, tolerance
    ).picked()


def _extra(task: _Task, file: Path) -> list[Atoms]:
    """The user's further candidates with the labels and the judgement of a student's file."""
    from distill.student.student_model import Student
    from distill.student.student_stage import predicted_structures

    if task.driven.extra_structures is None:
        return []
    structures = read_structures(task.driven.extra_structures, require=())
    student = Student.load(file)
    unknown = {s for atoms in structures for s in atoms.symbols} - set(student.elements)
    if unknown:
        raise UserError(
            f"driven.extra_structures holds {', '.join(sorted(unknown))}, which no training "
            f"structure has; expected {', '.join(student.elements)}"
        )
    predicted = predicted_structures(student, structures, 1)
    judge(predicted, file)
    return predicted


def uncertain(structures: Sequence[Atoms], target: float) -> list[Atoms]:
    """Those of judged structures whose force deviation is above a target (eV/Å), or grade above 1.

    They are the ones from which the student learns something.
    """
    return [a for a in structures if a.info[DEVIATION_KEY] > target or a.info[GRADE_KEY] > 1.0]


def _held_out(task: _Task, visited: Visited, number: int) -> list[Atoms]:
    """Structures of the last trajectories, drawn evenly at random."""
    pool, _ = without_unphysical(visited.pool, task.config.selection)
    count = min(task.config.selection.held_out, len(pool))
    chosen = stream(task.seed, "held out structures").choice(len(pool), size=count, replace=False)
    drawn = [pool[index] for index in np.sort(chosen)]
    for atoms in drawn:
        atoms.info[ROUND_KEY] = number
    return drawn
