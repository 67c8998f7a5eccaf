"""Speed against accuracy: students over order, degree and cutoff, measured alike, and the best."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from distill.compare.timing_result import TimingResult
from distill.core.artifacts import hash_of, read_json, refuse_to_overwrite, sha256, write_json
from distill.core.errors import UserError
from distill.core.input_files import named_files
from distill.core.progress import say
from distill.core.quantities import MEV
from distill.core.results import read_result, write_result
from distill.metrics.errors import ErrorTable
from distill.student.julia.julia_session import kept_warm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.config.workflow import RunConfig
    from distill.student.config import StudentConfig

FOLDER = "front"


@dataclass(frozen=True)
class Candidate:
    """One student of the front.

    Attributes
    ----------
    name
        Its folder.
    order
        Correlation order.
    totaldegree
        Degree of each correlation order.
    rcut
        Cutoff, Å.
    functions
        Basis functions.
    force_rmse, force_rmse_low, force_rmse_high
        On the held-out structures with its 95 % interval, eV/Å.
    energy_rmse
        eV/atom.
    us_per_atom
        Time of an energy-and-forces call on one core, µs an atom.
    on_front
        No other student is both faster and more accurate.
    recommended
        The best within the budget.
    """

    name: str
    order: int
    totaldegree: tuple[float, ...]
    rcut: float
    functions: int
    force_rmse: float
    force_rmse_low: float
    force_rmse_high: float
    energy_rmse: float
    us_per_atom: float
    on_front: bool = False
    recommended: bool = False


def front_of_run(config: RunConfig, **choices: Any) -> list[Candidate]:
    """The front on the data of a run whose sampling is done; `choices` as `speed_accuracy_front`.

    Writes RUN/front.

    Raises
    ------
    UserError
        If the run's sampling is not finished, the config names a file in RUN/front, or as
        `speed_accuracy_front`.
    """
    from distill.core.results import read_result
    from distill.core.run_folder import locked
    from distill.models.teacher_model import TeacherRecord
    from distill.pipeline import run_folder

    folder = run_folder(config)
    refuse_to_overwrite(folder / FOLDER, *(name for _, name in named_files(config)))
    train, test = (folder / "sampling" / name for name in ("selected.xyz", "held_out.xyz"))
    teacher = folder / "teacher" / "teacher.json"
    if not (train.is_file() and test.is_file() and teacher.is_file()):
        raise UserError(
            f"{folder} has no finished sampling; run it first: distill run CONFIG --until sampling"
        )
    with locked(folder):
        return speed_accuracy_front(
            config.student,
            train=train,
            test=test,
            out=folder / FOLDER,
            seed=config.seed,
            teacher_e0=read_result(teacher, TeacherRecord).one_body,
            **choices,
        )


@kept_warm()
def speed_accuracy_front(
    base: StudentConfig,
    *,
    train: Path,
    test: Path,
    out: Path,
    seed: int,
    teacher_e0: dict[str, float] | None = None,
    orders: Sequence[int] = (),
    scales: Sequence[float] = (),
    cutoffs: Sequence[float] = (),
    largest_error: float | None = None,
    largest_time: float | None = None,
) -> list[Candidate]:
    """Fit a student for each choice, measure all, and write `front.csv`, `.json` and `.png`.

    Students already there, fitted with the same settings on the same data, are not fitted again.

    Parameters
    ----------
    base
        What is not varied; with `basis: auto` the basis is chosen first.
    train, test
        Structures with labels.
    out
        Folder; each student gets a folder in it.
    seed
        The run's seed.
    teacher_e0
        The teacher's one-body energies, eV.
    orders
        Correlation orders, up to that of `base`; its degrees are cut to the order.
    scales
        Factors on the degrees of `base`.
    cutoffs
        Å, in place of that of `base`.
    largest_error
        Force RMSE allowed, eV/Å: the fastest student within it is recommended.
    largest_time
        Time allowed, µs an atom: the most accurate student within it is recommended; with both
        bounds, the most accurate within both.

    Raises
    ------
    UserError
        If a choice is impossible, the held-out structures have no forces, or the data lie in the
        folder of a student.
    """
    from distill.core.figures import save_figure
    from distill.core.tables import write_table_csv
    from distill.data.structures import read_structures
    from distill.student.search.search import settled
    from distill.student.student_stage import STUDENT_FILE

    if base.basis == "auto":
        structures = read_structures(train, require=())
        base = settled(structures, base, seed=seed, teacher_e0=teacher_e0, folder=out)

    choices = {
        _name(student): student
        for student in (
            _vary(base, *choice)
            for choice in itertools.product(
                orders or (base.order,), scales or (1.0,), cutoffs or (None,)
            )
        )
    }
    for name in choices:
        refuse_to_overwrite(out / name, train, test)
    say(f"front: {len(choices)} students")
    data = {"train": sha256(train), "test": sha256(test), "seed": seed}
    for name, student in choices.items():
        _fit(student, out / name, data, train=train, test=test, seed=seed, teacher_e0=teacher_e0)
    times = _times({name: out / name / STUDENT_FILE for name in choices}, test, out)
    candidates = [_measured(name, choices[name], out / name, times[name]) for name in choices]
    candidates = mark(candidates, largest_error, largest_time)
    write_json(out / "front.json", [asdict(candidate) for candidate in candidates])
    rows = [
        {**asdict(c), "totaldegree": " ".join(f"{d:g}" for d in c.totaldegree)} for c in candidates
    ]
    write_table_csv(out / "front.csv", rows)
    save_figure(front_figure(candidates), out, "front")
    _say(candidates, bounded=largest_error is not None or largest_time is not None)
    return candidates


def mark(
    candidates: Sequence[Candidate], largest_error: float | None, largest_time: float | None
) -> list[Candidate]:
    """The candidates from fastest to slowest, with `on_front` and `recommended` set.

    Parameters
    ----------
    candidates
        Measured students.
    largest_error, largest_time
        As in `speed_accuracy_front`; nothing is recommended without either.
    """
    from dataclasses import replace

    ranked = sorted(candidates, key=lambda c: (c.us_per_atom, c.force_rmse))
    front, best = set(), float("inf")
    for candidate in ranked:
        if candidate.force_rmse < best:
            best = candidate.force_rmse
            front.add(candidate.name)
    allowed = [
        c
        for c in ranked
        if (largest_error is None or c.force_rmse <= largest_error)
        and (largest_time is None or c.us_per_atom <= largest_time)
    ]
    chosen = None
    if allowed and largest_time is not None:
        chosen = min(allowed, key=lambda c: c.force_rmse).name
    elif allowed and largest_error is not None:
        chosen = allowed[0].name
    return [replace(c, on_front=c.name in front, recommended=c.name == chosen) for c in ranked]


def front_figure(candidates: Sequence[Candidate]) -> Figure:
    """Force RMSE over time, the front as a line, the recommended student ringed."""
    from distill.core.figures import figure_style

    with figure_style() as plt:
        figure, axis = plt.subplots(figsize=(5.8, 3.8))
        for order in sorted({c.order for c in candidates}):
            mine = [c for c in candidates if c.order == order]
            axis.plot(
                [c.us_per_atom for c in mine], [MEV * c.force_rmse for c in mine], "o",
                label=f"order {order}", zorder=3,
            )  # fmt: skip
        best = [c for c in candidates if c.on_front]
        axis.plot(
            [c.us_per_atom for c in best], [MEV * c.force_rmse for c in best],
            color="0.6", label="front",
        )  # fmt: skip
        for c in candidates:
            if c.recommended:
                place = (c.us_per_atom, MEV * c.force_rmse)
                axis.plot(*place, "o", ms=14, mfc="none", mec="k", label="recommended")
                axis.annotate(c.name, place, xytext=(10, 8), textcoords="offset points")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.set(
            xlabel="time per atom of an energy-and-forces call [µs], one core",
            ylabel="force RMSE, held out [meV/Å]",
        )
        axis.legend()
        return figure


def _vary(base: StudentConfig, order: int, scale: float, cutoff: float | None) -> StudentConfig:
    if not 1 <= order <= base.order:
        raise UserError(
            f"front: order {order} is not within 1 to {base.order}, the order of the config's "
            "student, whose degrees are varied"
        )
    if scale <= 0 or (cutoff is not None and cutoff <= 0):
        raise UserError("front: scales and cutoffs are above 0")
    values = base.model_dump()
    values["order"] = order
    values["totaldegree"] = [scale * degree for degree in base.degrees[:order]]
    if cutoff is not None:
        values["rcut"] = cutoff
    return type(base).model_validate(values)


def _name(student: StudentConfig) -> str:
    degrees = "-".join(f"{degree:g}" for degree in student.degrees)
    cutoff = student.rcut
    pairs = f"{cutoff:g}" if isinstance(cutoff, (int, float)) else "pairs"
    return f"order{student.order}_degree{degrees}_rcut{pairs}"


class _Errors(TypedDict):
    """What is read of a student's errors."""

    test: ErrorTable


def _fingerprint_of(settings: Path) -> str | None:
    """What a student was fitted for; None where its note is damaged."""
    try:
        found: str = read_json(settings, dict[str, Any]).get("fingerprint")
    except UserError:
        return None
    return found


def _fit(
    student: StudentConfig, out: Path, data: dict[str, Any], *, seed: int, **files: Any
) -> None:
    from distill.student.student_stage import ERRORS_FILE, run

    fingerprint = hash_of({"student": student.model_dump(exclude={"threads"}), **data})
    settings = out / "settings.json"
    same = settings.is_file() and _fingerprint_of(settings) == fingerprint
    if same and (out / ERRORS_FILE).is_file() and (out / "done").is_file():
        say(f"front: {out.name} is there")
        return
    if out.exists() and not same:
        shutil.rmtree(out)
    say(f"front: {out.name}")
    write_json(settings, {"fingerprint": fingerprint, "student": student.model_dump()})
    run(student, out=out, seed=seed, **files)
    write_json(out / "done", {"fingerprint": fingerprint})


def _times(students: dict[str, Path], test: Path, out: Path) -> dict[str, float]:
    """µs an atom of each student, all measured in one run, which is kept."""
    from distill.compare.timing import time_models
    from distill.data.structures import read_structures

    hashes = {name: sha256(path) for name, path in students.items()}
    kept = out / "timing.json"
    made_for = out / "timed_students.json"
    if kept.is_file() and made_for.is_file() and read_json(made_for) == hashes:
        result = read_result(kept, TimingResult)
    else:
        atoms = max(read_structures(test, require=()), key=len)
        result = time_models(students, atoms)
        write_result(kept, result)
        write_json(made_for, hashes)
    return {name: result.models[name].us_per_atom for name in students}


def _measured(name: str, student: StudentConfig, folder: Path, us_per_atom: float) -> Candidate:
    from distill.student.student_model import Student
    from distill.student.student_stage import ERRORS_FILE, STUDENT_FILE

    table = read_json(folder / ERRORS_FILE, _Errors)["test"]
    forces, energy = table.forces, table.energy_per_atom
    if not forces:
        raise UserError("front: the held-out structures have no forces to measure errors with")
    low, high = forces.rmse_interval or (forces.rmse, forces.rmse)
    model = Student.load(folder / STUDENT_FILE)
    return Candidate(
        name=name,
        order=student.order,
        totaldegree=student.degrees,
        rcut=model.cutoff,
        functions=model.basis.n_functions,
        force_rmse=forces.rmse,
        force_rmse_low=low,
        force_rmse_high=high,
        energy_rmse=energy.rmse if energy else float("nan"),
        us_per_atom=us_per_atom,
    )


def _say(candidates: Sequence[Candidate], *, bounded: bool) -> None:
    for c in candidates:
        notes = ["front"] * c.on_front + ["recommended"] * c.recommended
        say(
            f"  {c.us_per_atom:8.3g} µs/atom  {MEV * c.force_rmse:8.3g} meV/Å  "
            f"{c.functions:6d} functions  {c.name}  {', '.join(notes)}".rstrip()
        )
    if bounded and not any(c.recommended for c in candidates):
        say("front: no student is within the bounds")
