"""Commands that run a workflow or a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.options import ConfigFile, Settings
from distill.core.errors import UserError

PANEL = "Workflow"
STAGES = ("data", "teacher", "sampling", "student", "compare")

commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def run(
    config: ConfigFile,
    until: Annotated[
        str | None, typer.Option(help=f"Last stage to run: {', '.join(STAGES)}.")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="First stage to run; results from here on with other settings are discarded.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say how much there is to compute and what the verdict can tell."
        ),
    ] = False,
    settings: Settings = None,
) -> None:
    """Run a whole workflow: data, teacher, sampling, student, compare, report. Resumable."""
    if dry_run:
        _say_plan(config, settings)
    else:
        _run_stages(config, settings, first, until)


@commands.command(rich_help_panel=PANEL)
def teacher(config: ConfigFile, settings: Settings = None) -> None:
    """Fine-tune the foundation model: the data and teacher stages."""
    _run_stages(config, settings, "data", "teacher")


@commands.command(rich_help_panel=PANEL)
def sample(config: ConfigFile, settings: Settings = None) -> None:
    """Sample and label structures with the finished teacher."""
    _run_stages(config, settings, "sampling", "sampling")


@commands.command(rich_help_panel=PANEL)
def student(config: ConfigFile, settings: Settings = None) -> None:
    """Fit the student on the sampled structures."""
    _run_stages(config, settings, "student", "student")


@commands.command(rich_help_panel=PANEL)
def compare(config: ConfigFile, settings: Settings = None) -> None:
    """Compare student, teacher and reference; exits 1 if the student does not pass."""
    _run_stages(config, settings, "compare", "compare")


@commands.command(rich_help_panel=PANEL)
def report(
    folder: Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")],
) -> None:
    """Write the HTML report of a run, finished or not."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a run folder: expected config.json in it")
    from distill.core.progress import say
    from distill.core.run_folder import refuse_foreign_folder
    from distill.report.report import write_report

    refuse_foreign_folder(folder)
    say(f"report: {write_report(folder)}")


def _run_stages(
    config: Path, settings: list[str] | None, first: str | None, last: str | None
) -> None:
    from distill.config.workflow import load_config
    from distill.pipeline import run_pipeline

    run_pipeline(load_config(config, settings), first=first, last=last)


def _say_plan(config: Path, settings: list[str] | None) -> None:
    from distill.config.workflow import load_config
    from distill.core.progress import say
    from distill.pipeline import plan_lines

    for line in plan_lines(load_config(config, settings)):
        say(line)
