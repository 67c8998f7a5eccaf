"""The workflow: stages in order, each skipped when done, resumed when killed, refused when mixed.

A stage's folder holds `started.json`, the fingerprint of its settings and inputs, from its first
moment, and `manifest.json` once it is finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.config.workflow import RunConfig
from distill.core.artifacts import (
    hash_of,
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
from distill.core.run_folder import locked, mark_folder, refuse_foreign_folder
from distill.core.stage_folder import (
    outdated_stages,
    read_started,
    was_refused,
    write_started,
    write_wanted,
)
from distill.core.stage_results import (
    Stopwatch,
    check_outputs,
    differences,
    discard_results,
    made_anything,
    output_names,
    remove_discarded,
)
from distill.stages import STAGES, Stage, training_frames
from distill.student.julia.julia_session import kept_warm

LOGS_NAME = "logs"


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
        said = False
        for stage in STAGES[start:end]:
            if stage.plan and not said:
                _say_plan(STAGES[STAGES.index(stage) : end], config, folder)
                said = True
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


def plan_lines(config: RunConfig) -> list[str]:
    """What every stage will take: trainings, runs, force calls and processor hours.

    A force call of the model that the teacher starts from is timed where it is on this machine;
    else hours are those of a MACE of the published size.

    Raises
    ------
    UserError
        As `run_pipeline`, for what cannot work.
    """
    from distill.teacher.plan import call_seconds

    for stage in STAGES:
        _refuse_what_cannot_work(stage, config)
    atoms = max(training_frames(config), key=len)
    seconds = call_seconds(config.teacher, atoms)
    lines = [_measured_text(seconds, len(atoms))]
    for stage in STAGES:
        if stage.plan:
            lines += [f"{stage.name}: {line}" for line in stage.plan(config, seconds)]
    return lines


def _say_plan(stages: Sequence[Stage], config: RunConfig, folder: Path) -> None:
    """What those stages will take that have no results yet; hours are not measured."""
    for stage in stages:
        if stage.plan and not made_anything(folder / stage.name, stage.keep):
            for line in stage.plan(config, None):
                say(f"{stage.name}, to do: {line}")


def _measured_text(seconds: float | None, atoms: int) -> str:
    if seconds is None:
        return "no call was measured: hours are those of a MACE of the published size"
    milliseconds = f"{1e3 * seconds * atoms:.3g} ms of processor time"
    return f"a force call of the teacher's model on {atoms} atoms takes {milliseconds} here"


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


def _refuse_other_settings(stage: Stage, config: RunConfig, folder: Path) -> None:
    """Refuse a config that a stage's results are not of.

    Raises
    ------
    UserError
        Naming the setting that differs.
    """
    out = folder / stage.name
    begun = read_started(out)
    if begun is None or not _would_be_lost(stage, out):
        return
    try:
        asked = {"settings": plain(stage.settings(config)), "seed": config.seed}
    except UserError:
        return  # A file that is gone is named by the stage that needs it.
    found = {name: begun.get(name) for name in asked}
    if hash_of(found) != hash_of(asked):
        raise _other_settings(out, "; ".join(differences(found, asked)))


def _would_be_lost(stage: Stage, out: Path) -> bool:
    """Whether results of a stage are lost when it is made with other settings."""
    return made_anything(out, stage.keep) and not was_refused(out)


def _other_settings(out: Path, difference: str) -> UserError:
    return UserError(
        f"{out} was made with other settings ({difference}). Give another name or output in the "
        f"config, or redo it and what follows with --from {out.name}, which repeats no unit of "
        "work that the other settings share"
    )


def _bring_up_to_date(stage: Stage, config: RunConfig, folder: Path, *, discard: bool) -> None:
    out = folder / stage.name
    remove_discarded(out)
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
        if discard or not _would_be_lost(stage, out):
            say(f"{stage.name}: discarded earlier results, units of work apart ({difference})")
            discard_results(out, stage.keep)
            begun = None
        else:
            raise _other_settings(out, difference)
    manifest = read_manifest(out) if begun is not None else None
    if manifest is not None:
        check_outputs(out, manifest)
        say(f"{stage.name}: done before in {format_duration(manifest['wall_time_s'])}, skipped")
        Stopwatch(out).forget()  # left where a run was killed after its manifest
        if stage.judge:
            stage.judge(config, out)
        return
    say(f"{stage.name}: {'going on' if begun is not None else 'starting'}")
    write_started(out, fingerprint, inputs)
    clock = Stopwatch(out)
    try:
        with kept_warm():
            stage.run(config, folder, out)
    except UserError:
        write_started(out, fingerprint, inputs, refused=True)
        raise
    finally:
        elapsed = clock.stop()
    write_manifest(
        out,
        stage=stage.name,
        config=settings,
        inputs={**inputs, **{place: resolve_file(name) for place, name in named_files(options)}},
        outputs=output_names(out),
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


def _require_finished(stage: Stage, folder: Path, outdated: str | None) -> None:
    out = folder / stage.name
    manifest = read_manifest(out)
    if manifest is None:
        raise UserError(
            f"{out} is not finished: run the earlier stages first (leave out --from, or give "
            f"--from {stage.name})"
        )
    check_outputs(out, manifest)
    if outdated:
        raise UserError(
            f"{out} is out of date: {outdated}. Redo it and what follows with --from {stage.name}"
        )
