"""Commands to begin with: a starter workflow, and what is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

PANEL = "Set-up"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def init(
    output: Annotated[Path, typer.Argument(help="YAML file to write.")] = Path("workflow.yaml"),
    train: Annotated[str | None, typer.Option(help="File with reference labels.")] = None,
    foundation: Annotated[str | None, typer.Option(help="Foundation model.")] = None,
    preset: Annotated[str | None, typer.Option(help="surface or bulk.")] = None,
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a commented starter workflow; asks for what is not given."""
    from distill.cli.starter import PRESETS, write_starter

    interactive = sys.stdin.isatty()

    def answer(given: str | None, question: str, default: str) -> str:
        if given is not None:
            return given
        return typer.prompt(question, default=default) if interactive else default

    chosen = answer(preset, f"What do you study ({' or '.join(PRESETS)})?", "surface")
    write_starter(
        output,
        preset=chosen,
        train=answer(train, "File with DFT energies and forces", "bundled:h2cu_train"),
        foundation=answer(foundation, "Foundation model (bundled, a name, or a path)", "bundled"),
        force=force,
    )
    print(f"wrote {output}; run it with: distill run {output}")


@commands.command(rich_help_panel=PANEL)
def doctor() -> None:
    """Say what is installed, what is missing, and which stages can run."""
    from distill.cli.doctor import diagnose

    print(diagnose())
