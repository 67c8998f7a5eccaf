"""The workflow: stages in order, each skipped when done, resumed when killed, refused when mixed.

Every stage is a function of (its config, its input files, its folder). A stage's folder holds
`started.json`, the fingerprint of its settings and inputs, from its first moment, and
`manifest.json` once it is finished.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config.workflow import RunConfig
from distill.core.artifacts import (
    MANIFEST_NAME,
    hash_of,
    is_partial,
    read_json,
    read_manifest,
    remove_partial_files,
    sha256,
    write_json,
    write_manifest,
)
from distill.core.errors import ChecksFailed, UserError
from distill.core.executors import open_pool
from distill.core.fingerprint import plain
from distill.core.input_files import BUNDLED_PREFIX, named_files, resolve_file
from distill.core.progress import format_duration, say
from distill.core.stage_folder import (
    STARTED_NAME,
    outdated_stages,
    read_started,
    write_started,
    write_wanted,
)
from distill.core.work import keep_units

LOCK_NAME = ".lock"
LOGS_NAME = "logs"
MARKER_NAME = ".distill"
_MARKER = {"distill_run": 1}
_DISCARDED = ".discarded-"
# The verdict and the teacher's curves follow from the other files and the config as it is now, and
# may be made again at any time.
_NOT_OUTPUTS = {MANIFEST_NAME, STARTED_NAME, "verdict.json", "curves.json", "curves"}


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
    """

    name: str
    settings: Callable[[RunConfig], dict[str, Any]]
    inputs: Callable[[RunConfig, Path], dict[str, Path]]
    run: Callable[[RunConfig, Path, Path], None]
    judge: Callable[[RunConfig, Path], None] | None = None
    refuse: Callable[[RunConfig], None] | None = None


def run_folder(config: RunConfig) -> Path:
    """Folder of a run: `output`, or `runs/NAME` under the current folder."""
    return Path(config.output) if config.output else Path("runs") / config.name


def run_pipeline(
    config: RunConfig,
    *,
    first: str | None = None,
    last: str | None = None,
) -> Path:
    """Run the stages from `first` to `last`, skipping what is done, and write the report.

    Parameters
    ----------
    config
        The workflow.
    first
        Take the stages before this one as they are, and discard results of this and later stages
        that were made with other settings. All stages, and no discarding, if None. The stages
        before have to be made from each other's present files.
    last
        The last stage to run; all if None.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    UserError
        If the folder holds results of other settings, a finished file was changed, an input is
        missing, or another run is using the folder.
    ChecksFailed
        If the student did not pass; the report is written all the same.
    """
    names = [stage.name for stage in STAGES]
    for option, name in (("--from", first), ("--until", last)):
        if name is not None and name not in names:
            raise UserError(f"{option} {name}: expected one of {', '.join(names)}")
    start = names.index(first) if first else 0
    end = names.index(last) + 1 if last else len(names)
    if start >= end:
        raise UserError(f"--from {first} comes after --until {last}")
    folder = run_folder(config)
    refuse_foreign_folder(folder)
    _refuse_inputs_inside(config, folder)
    for stage in STAGES[start:end]:
        _refuse_what_cannot_work(stage, config)
    failure: ChecksFailed | None = None
    with locked(folder), open_pool(config.parallel, folder / LOGS_NAME):
        remove_partial_files(folder)
        mark_folder(folder)
        for stage in STAGES[: start if first else end]:
            _refuse_other_settings(stage, config, folder)
        # The report reads it, so it is that of the results.
        write_json(folder / "config.json", config.model_dump(mode="json"))
        write_wanted(folder, _wanted(config))
        outdated = outdated_stages(folder, names[:start])
        for stage in STAGES[:start]:
            _require_finished(stage, folder, outdated.get(stage.name))
        for stage in STAGES[start:end]:
            try:
                _bring_up_to_date(stage, config, folder, discard=first is not None)
            except ChecksFailed as error:
                failure = error
        from distill.report.report import write_report

        report = write_report(folder)
    say(f"report: {report}")
    if failure:
        raise failure
    return report


def refuse_foreign_folder(folder: Path) -> None:
    """Take a run folder only where it is new, empty, or that of a run.

    Raises
    ------
    UserError
        If it holds files that no run made.
    """
    if not folder.is_dir():
        return
    # A run killed in its first moment leaves its lock and the unfinished marker.
    others = [
        path.name for path in folder.iterdir() if path.name != LOCK_NAME and not is_partial(path)
    ]
    if others and not _is_marked(folder):
        shown = ", ".join(sorted(others)[:3])
        raise UserError(
            f"the run folder {folder} holds files that no run of distill made ({shown}, ...): "
            "give another name or output in the config, so that nothing of yours is overwritten"
        )


def mark_folder(folder: Path) -> None:
    """Mark a folder as that of a run, which a later run may write into."""
    write_json(folder / MARKER_NAME, _MARKER)


def _is_marked(folder: Path) -> bool:
    """Whether a folder is that of a run: by its marker, or in older ones by what the data left."""
    with suppress(UserError):
        return bool(read_json(folder / MARKER_NAME) == _MARKER)
    with suppress(UserError):
        manifest = read_manifest(folder / "data")
        return manifest is not None and manifest["stage"] == "data"
    return False


def _refuse_inputs_inside(config: RunConfig, folder: Path) -> None:
    """Refuse input files inside the folders of the stages, which would replace or delete them."""
    for place, name in named_files(config):
        if name.startswith(BUNDLED_PREFIX):
            continue
        for stage in STAGES:
            if Path(name).resolve().is_relative_to((folder / stage.name).resolve()):
                raise UserError(
                    f"{place}: {name} lies inside {folder / stage.name}, which the run writes: "
                    "copy the file elsewhere, or give another output"
                )


def _refuse_what_cannot_work(stage: Stage, config: RunConfig) -> None:
    """Refuse files that are missing, and what a stage refuses, before hours are spent."""
    for place, name in named_files(stage.settings(config)):
        try:
            resolve_file(name)
        except UserError as error:
            raise UserError(f"{stage.name}.{place}: {error}") from None
    if stage.refuse:
        stage.refuse(config)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; a second process is refused.

    Raises
    ------
    UserError
        If another process holds the folder or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A link is not followed: what it points to is none of ours.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        handle = os.fdopen(os.open(folder / LOCK_NAME, flags, 0o666), "r+")
    except OSError as error:
        raise UserError(f"cannot write the run folder {folder}: {error.strerror}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is working in {folder}; wait for it") from None
        yield


def _refuse_other_settings(stage: Stage, config: RunConfig, folder: Path) -> None:
    """Refuse a config that a stage's results are not of.

    Raises
    ------
    UserError
        Naming the setting that differs.
    """
    out = folder / stage.name
    begun = read_started(out)
    if begun is None or not _made_anything(out):
        return
    try:
        asked = {"settings": plain(stage.settings(config)), "seed": config.seed}
    except UserError:
        return  # A file that is gone is named by the stage that needs it.
    found = {name: begun.get(name) for name in asked}
    if hash_of(found) != hash_of(asked):
        raise _other_settings(out, "; ".join(differences(found, asked)))


def _other_settings(out: Path, difference: str) -> UserError:
    return UserError(
        f"{out} was made with other settings ({difference}). Give another name or output in the "
        f"config, or redo it and what follows with --from {out.name}"
    )


def _bring_up_to_date(stage: Stage, config: RunConfig, folder: Path, *, discard: bool) -> None:
    out = folder / stage.name
    _remove_discarded(out)
    inputs = stage.inputs(config, folder)
    options = stage.settings(config)
    settings = plain(options)
    fingerprint = {
        "settings": settings,
        "seed": config.seed,
        "inputs": {role: sha256(path) for role, path in inputs.items()},
    }
    begun = read_started(out)
    if begun is not None and hash_of(begun) != hash_of(fingerprint):
        difference = "; ".join(differences(begun, fingerprint))
        if discard or not _made_anything(out):
            say(f"{stage.name}: discarded earlier results ({difference})")
            _discard(out)
            begun = None
        else:
            raise _other_settings(out, difference)
    manifest = read_manifest(out) if begun is not None else None
    if manifest is not None:
        _check_outputs(out, manifest)
        say(f"{stage.name}: done before in {format_duration(manifest['wall_time_s'])}, skipped")
        if stage.judge:
            stage.judge(config, out)
        return
    say(f"{stage.name}: {'going on' if begun is not None else 'starting'}")
    write_started(out, fingerprint, inputs)
    clock = _Stopwatch(out)
    try:
        stage.run(config, folder, out)
    finally:
        elapsed = clock.stop()
    write_manifest(
        out,
        stage=stage.name,
        config=settings,
        inputs={**inputs, **{place: resolve_file(name) for place, name in named_files(options)}},
        outputs=_output_names(out),
        seed=config.seed,
        wall_time=elapsed,
    )
    clock.forget()
    say(f"{stage.name}: done in {format_duration(elapsed)}")
    if stage.judge:
        stage.judge(config, out)


def _wanted(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Settings and seed of every stage; not of one whose files are gone, which is left as it is."""
    wanted = {}
    for stage in STAGES:
        with suppress(UserError):
            wanted[stage.name] = {"settings": plain(stage.settings(config)), "seed": config.seed}
    return wanted


class _Stopwatch:
    """Seconds spent on a stage, summed over the sessions that worked on it."""

    NAME = ".elapsed.json"

    def __init__(self, out: Path) -> None:
        self.file = out / self.NAME
        self.before = read_json(self.file, float) if self.file.exists() else 0.0
        self.start = time.monotonic()

    def stop(self) -> float:
        """Total seconds so far, kept for a session that goes on."""
        total = self.before + time.monotonic() - self.start
        write_json(self.file, total)
        return total

    def forget(self) -> None:
        """Remove the note: the manifest has the number now."""
        self.file.unlink(missing_ok=True)


def _made_anything(out: Path) -> bool:
    """Whether a stage that began left more than the note that it began."""
    own = {STARTED_NAME, _Stopwatch.NAME}
    return any(path.is_file() and path.name not in own for path in out.rglob("*"))


def _discard(out: Path) -> None:
    """Remove a stage's results, but not finished units of work: those say what they are of.

    Everything is moved aside first, the note of what it was made with last, so that a run that is
    killed meanwhile still knows that these results are to go. A folder that is a link stays one.
    """
    aside = Path(tempfile.mkdtemp(prefix=_DISCARDED, dir=out))
    names = {path.name for path in out.iterdir() if not path.name.startswith(_DISCARDED)}
    last = [name for name in (MANIFEST_NAME, STARTED_NAME) if name in names]
    for name in [*sorted(names - set(last)), *last]:
        os.rename(out / name, aside / name)
    keep_units(aside, out)
    shutil.rmtree(aside)


def _remove_discarded(out: Path) -> None:
    """Finish what a killed run had begun to discard."""
    for aside in out.glob(f"{_DISCARDED}*"):
        shutil.rmtree(aside)


def _require_finished(stage: Stage, folder: Path, outdated: str | None) -> None:
    out = folder / stage.name
    manifest = read_manifest(out)
    if manifest is None:
        raise UserError(
            f"{out} is not finished: run the earlier stages first (leave out --from, or give "
            f"--from {stage.name})"
        )
    _check_outputs(out, manifest)
    if outdated:
        raise UserError(
            f"{out} is out of date: {outdated}. Redo it and what follows with --from {stage.name}"
        )


def _check_outputs(out: Path, manifest: dict[str, Any]) -> None:
    for name, digest in manifest["outputs"].items():
        path = out / name
        if not path.exists():
            raise UserError(f"{path} is missing; restore it, or delete {out} to make it again")
        if sha256(path) != digest:
            raise UserError(
                f"{path} was changed after it was made (its SHA-256 differs from the manifest's); "
                f"restore it, or delete {out} to make it again"
            )


def _output_names(out: Path) -> list[str]:
    names = []
    for root, _, files in os.walk(out):
        for file in files:
            relative = str((Path(root) / file).relative_to(out))
            if not file.startswith(".") and Path(relative).parts[0] not in _NOT_OUTPUTS:
                names.append(relative)
    return sorted(names)


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Where two nested mappings differ, as 'place: old -> new'."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            inner = f"{place}.{key}" if place else str(key)
            found += differences(old.get(key), new.get(key), inner)
        return found
    if old == new:
        return []
    if place.startswith("inputs."):
        return [f"the input file {place.removeprefix('inputs.')} changed"]
    if place.endswith(".sha256"):
        option = place.removeprefix("settings.").removesuffix(".sha256")
        return [f"the file of {option} changed"]
    return [f"{place.removeprefix('settings.')}: {old!r} -> {new!r}"]


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

    data = _teacher_data(folder)
    if config.teacher.calculator is not None:
        calculator_teacher.run(
            config.teacher, **data, out=out, seed=config.seed, parallel=config.parallel
        )
    else:
        teacher_stage.run(config.teacher, **data, out=out, seed=config.seed)


def _teacher_curves(config: RunConfig, out: Path) -> None:
    from distill.teacher.simple_systems import write_curves

    calculator = config.teacher.calculator
    if calculator is not None and calculator.command is not None:
        return  # A call of a program may take hours.
    data = _teacher_data(out.parent)
    write_curves(config.teacher, **data, out=out, reference=config.reference)


def _teacher_data(folder: Path) -> dict[str, Path]:
    return {name: folder / "data" / f"{name}.xyz" for name in ("train", "test")}


def _sampling_refuse(config: RunConfig) -> None:
    from distill.sampling.visiting import refuse_what_cannot_work

    refuse_what_cannot_work(config.sampling)


_sampling_inputs = _artifacts("teacher/teacher.model", "data/train.xyz")


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
    if config.compare.timing is not None:
        refuse_timing(config.compare.timing)


def _compare_inputs(config: RunConfig, folder: Path) -> dict[str, Path]:
    labels = config.teacher.labels
    # Where a model labelled the test set, that model is the reference.
    labelled = folder / "teacher" / "labels" if labels and labels.test else folder / "data"
    inputs = {
        "teacher": folder / "teacher" / "teacher.model",
        "student": folder / "student" / "student.npz",
        "reference_test": labelled / "test.xyz",
        "held_out": folder / "sampling" / "held_out.xyz",
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
    ),
    Stage(
        "sampling",
        _section("sampling"),
        _sampling_inputs,
        _sampling_run,
        refuse=_sampling_refuse,
    ),
    Stage("student", _section("student", "threads"), _student_inputs, _student_run),
    Stage(
        "compare",
        _compare_settings,
        _compare_inputs,
        _compare_run,
        _compare_judge,
        _compare_refuse,
    ),
)
