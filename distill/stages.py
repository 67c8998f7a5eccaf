"""The stages of the workflow, in their order: settings, inputs and work of each.

Every stage is a function of (its config, its input files, its folder).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config.workflow import RunConfig
from distill.core.artifacts import sha256
from distill.core.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Stage:
    """One step of the workflow.

    Attributes
    ----------
    name
        Also the name of its folder.
    settings
        The part of the config that its result depends on, as `fingerprint` takes them.
    inputs
        Input files by role, given the config and the run folder.
    run
        Does the work: (config, run folder, output folder).
    judge
        Judges the finished stage, or adds what follows from it, by the config as it is now:
        (config, output folder). Cheap where nothing changed, and done anew every time; may raise
        `ChecksFailed`.
    refuse
        Refuses, before the first stage, what the config and its files decide; raises `UserError`.
    plan
        Lines on what it will take, given the processor time of a teacher's call and atom (s) where
        that was measured.
    keep
        Files that say of themselves what they are of, and stay when the results are discarded.
    """

    name: str
    settings: Callable[[RunConfig], dict[str, Any]]
    inputs: Callable[[RunConfig, Path], dict[str, Path]]
    run: Callable[[RunConfig, Path, Path], None]
    judge: Callable[[RunConfig, Path], None] | None = None
    refuse: Callable[[RunConfig], None] | None = None
    plan: Callable[[RunConfig, float | None], list[str]] | None = None
    keep: tuple[str, ...] = ()


def _artifacts(*names: str) -> Callable[[RunConfig, Path], dict[str, Path]]:
    """Input files of a stage that earlier stages made, by their names without suffix."""

    def inputs(config: RunConfig, folder: Path) -> dict[str, Path]:
        return {Path(name).stem: folder / name for name in names}

    return inputs


def _data_run(config: RunConfig, folder: Path, out: Path) -> None:
    from distill.data.data_stage import run

    run(config.data, out=out, seed=config.seed)


def _teacher_inputs(config: RunConfig, folder: Path) -> dict[str, Path]:
    from distill.models.mace.bundled_foundation import TENSORS_NAME, bundled_foundation_path
    from distill.models.mace.foundation_store import find_foundation

    if config.teacher.calculator is not None:
        return _teacher_data(folder)
    foundation = find_foundation(config.teacher.foundation).path
    return {
        **_teacher_data(folder),
        "foundation": foundation or bundled_foundation_path() / TENSORS_NAME,
    }


def _teacher_run(config: RunConfig, folder: Path, out: Path) -> None:
    from distill.teacher import calculator_teacher, teacher_stage
    from distill.teacher.engine import choose_engine

    data = _teacher_data(folder)
    if config.teacher.calculator is not None:
        calculator_teacher.run(
            config.teacher, **data, out=out, seed=config.seed, parallel=config.parallel
        )
    else:
        teacher_stage.run(config.teacher, **data, out=out, seed=config.seed)
        choose_engine(config.teacher, train=data["train"], out=out, seed=config.seed)


def _teacher_refuse(config: RunConfig) -> None:
    from distill.teacher.engine import refuse_engine

    refuse_engine(config.teacher)


def _teacher_curves(config: RunConfig, out: Path) -> None:
    from distill.teacher.simple_systems import write_curves

    calculator = config.teacher.calculator
    if calculator is not None and calculator.command is not None:
        return  # A call of a program may take hours.
    data = _teacher_data(out.parent)
    write_curves(config.teacher, **data, out=out, reference=config.reference)


def _teacher_data(folder: Path) -> dict[str, Path]:
    return {name: folder / "data" / f"{name}.xyz" for name in ("train", "test")}


def _teacher_plan(config: RunConfig, seconds: float | None) -> list[str]:
    from distill.teacher.plan import teacher_plan

    share = 1.0 if config.data.test is not None else 1 - config.data.test_fraction
    return teacher_plan(config.teacher, round(share * len(training_frames(config))))


def training_frames(config: RunConfig) -> list[Atoms]:
    """The structures of the training file, as they are."""
    from distill.data.structures import read_structures

    return read_structures(config.data.train, require=())


def _sampling_plan(config: RunConfig, seconds: float | None) -> list[str]:
    from distill.sampling.plan import sampling_plan

    return sampling_plan(config.sampling, seconds)


def _compare_plan(config: RunConfig, seconds: float | None) -> list[str]:
    from distill.compare.plan import comparison_plan
    from distill.observables.call_times import published_share

    lines = comparison_plan(config.compare)
    if seconds is not None:
        share = published_share(seconds)
        lines.append(f"hours of the teacher are of the published size: take {share:.2g} of them")
    return lines


def _sampling_refuse(config: RunConfig) -> None:
    from distill.sampling.visiting import refuse_what_cannot_work

    refuse_what_cannot_work(config.sampling)


def _running_teacher(folder: Path) -> Path:
    from distill.models.teacher_model import running_model

    return running_model(folder / "teacher")


def _sampling_inputs(config: RunConfig, folder: Path) -> dict[str, Path]:
    return {"teacher": _running_teacher(folder), "train": folder / "data" / "train.xyz"}


def _sampling_run(config: RunConfig, folder: Path, out: Path) -> None:
    from distill.sampling.sampling_stage import run

    run(
        config.sampling,
        **_sampling_inputs(config, folder),
        out=out,
        seed=config.seed,
        parallel=config.parallel,
    )


def _student_inputs(config: RunConfig, folder: Path) -> dict[str, Path]:
    sampling = folder / "sampling"
    return {
        "train": sampling / "selected.xyz",
        "test": sampling / "held_out.xyz",
        "teacher": folder / "teacher" / "teacher.json",
    }


def _student_run(config: RunConfig, folder: Path, out: Path) -> None:
    from distill.core.results import read_result
    from distill.models.teacher_model import TeacherRecord
    from distill.student.student_stage import run

    inputs = _student_inputs(config, folder)
    teacher = read_result(inputs["teacher"], TeacherRecord)
    run(
        config.student,
        train=inputs["train"],
        test=inputs["test"],
        out=out,
        seed=config.seed,
        teacher_e0=teacher.one_body,
        provenance={
            "run": config.name,
            "teacher_sha256": sha256(folder / "teacher" / "teacher.model"),
            "foundation": {"name": teacher.foundation.name, "sha256": teacher.foundation.sha256},
        },
    )


def _compare_refuse(config: RunConfig) -> None:
    from distill.compare.timing_stage import refuse_timing
    from distill.compare.verdict import refuse_what_cannot_work

    refuse_what_cannot_work(config.compare)
    if config.compare.reference_calls and config.reference is None:
        raise UserError(
            "compare.reference_calls: there is no reference that can be called: give its "
            "calculator as reference, or leave the calls out"
        )
    if config.compare.timing is not None:
        refuse_timing(config.compare.timing)


def _compare_inputs(config: RunConfig, folder: Path) -> dict[str, Path]:
    labels = config.teacher.labels
    # Where a model labelled the test set, that model is the reference.
    labelled = folder / "teacher" / "labels" if labels and labels.test else folder / "data"
    inputs = {
        "teacher": _running_teacher(folder),
        "student": folder / "student" / "student.npz",
        "reference_test": labelled / "test.xyz",
        "held_out": folder / "sampling" / "held_out.xyz",
        "training": folder / "sampling" / "selected.xyz",
    }
    if config.compare.reference_student:
        inputs["reference_train"] = labelled / "train.xyz"
    return inputs


def _compare_run(config: RunConfig, folder: Path, out: Path) -> None:
    from distill.compare.compare_stage import run

    run(
        config.compare,
        **_compare_inputs(config, folder),
        out=out,
        seed=config.seed,
        parallel=config.parallel,
        reference=config.reference,
        student_config=config.student,
    )


def _section(name: str, *leave_out: str) -> Callable[[RunConfig], dict[str, Any]]:
    """A section's options; the files that they name count by their contents."""

    def settings(config: RunConfig) -> dict[str, Any]:
        section = getattr(config, name)
        names = (key for key in type(section).model_fields if key not in leave_out)
        return {key: getattr(section, key) for key in names}

    return settings


def _compare_settings(config: RunConfig) -> dict[str, Any]:
    settings = {**_section("compare", "tolerances")(config), "reference": config.reference}
    if config.compare.reference_student:
        settings["student"] = _section("student", "threads")(config)
    return settings


def _compare_judge(config: RunConfig, out: Path) -> None:
    from distill.compare.verdict import judge_student

    judge_student(config.compare, out, out.parent / "teacher" / "errors.json")


# The foundation model is among the inputs. Thread counts change how long a stage takes, not what it
# is. Tolerances only judge.
STAGES: tuple[Stage, ...] = (
    Stage("data", _section("data"), _artifacts(), _data_run),
    Stage(
        "teacher",
        _section("teacher", "foundation", "threads"),
        _teacher_inputs,
        _teacher_run,
        _teacher_curves,
        _teacher_refuse,
        plan=_teacher_plan,
    ),
    Stage(
        "sampling",
        _section("sampling"),
        _sampling_inputs,
        _sampling_run,
        refuse=_sampling_refuse,
        plan=_sampling_plan,
    ),
    Stage(
        "student",
        _section("student", "threads"),
        _student_inputs,
        _student_run,
        keep=("factor.npz", "factor_zbl.npz"),
    ),
    Stage(
        "compare",
        _compare_settings,
        _compare_inputs,
        _compare_run,
        _compare_judge,
        _compare_refuse,
        _compare_plan,
    ),
)
