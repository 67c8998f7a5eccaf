"""Commands to begin with: a starter workflow, and what is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from distill.core.errors import UserError
from distill.core.progress import argument

PANEL = "Set-up"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def init(
    data: Annotated[
        str | None,
        typer.Argument(
            help="Structures to look at, labelled or not; or the YAML file to write.",
            metavar="[DATA]",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="YAML file to write; workflow.yaml.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="File with reference labels.")] = None,
    foundation: Annotated[str | None, typer.Option(help="Foundation model.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="surface, bulk or molecule, without DATA.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a commented workflow: one that fits DATA, or a preset.

    Of DATA it says elements, kinds of systems, labels and their keys, isolated atoms, repeated
    structures and outliers, and why it proposes what it does. Without DATA it asks for what is not
    given.
    """
    if data is not None and Path(data).suffix.lower() not in (".yaml", ".yml"):
        if preset is not None or train is not None:
            raise UserError(f"give {data}, or --preset and --train, not both")
        _propose(data, output or Path("workflow.yaml"), foundation, force)
        return
    from distill.cli.starter import PRESETS, write_starter

    if data is not None and output is not None:
        raise UserError(f"two files to write were given: {data} and {output}")
    written = output or Path(data or "workflow.yaml")
    interactive = sys.stdin.isatty()

    def answer(given: str | None, question: str, default: str | None) -> str:
        if given is not None:
            return given
        if interactive:
            return typer.prompt(question, default=default)
        if default is None:
            raise UserError(f"--preset {preset} needs --train: no molecules are bundled")
        return default

    chosen = answer(preset, f"What do you study ({', '.join(PRESETS)})?", "surface")
    bundled = None if chosen == "molecule" else "bundled:h2cu_train"
    write_starter(
        written,
        preset=chosen,
        train=answer(train, "File with DFT energies and forces", bundled),
        foundation=answer(foundation, "Foundation model (bundled, a name, or a path)", "bundled"),
        force=force,
    )
    print(f"wrote {written}; run it with: distill run {argument(written)}")


def _propose(data: str, output: Path, foundation: str | None, force: bool) -> None:
    from distill.cli.starter import write_workflow
    from distill.core.artifacts import refuse_to_overwrite
    from distill.core.input_files import BUNDLED_PREFIX
    from distill.data.structures import write_structures
    from distill.data.survey import survey, survey_text
    from distill.studies.proposal import proposed, seed_structures

    # The workflow's files are relative to its own folder.
    named = data if data.startswith(BUNDLED_PREFIX) else os.path.abspath(data)
    refuse_to_overwrite(output, named)
    found, structures = survey(named)
    print(survey_text(found))
    config, reasons = proposed(found, structures, foundation)
    made = None if found.is_labelled else seed_structures(structures)
    if made is not None:
        file = output.with_name(f"{output.stem}_structures.xyz")
        refuse_to_overwrite(file, data)
        if file.exists() and not force:
            raise UserError(f"{file} exists: give another name, or --force to replace it")
        write_structures(file, made)
        config["data"]["train"] = file.name
        reasons.append(
            f"{file}: {len(made)} rattled copies, written beside the workflow, because "
            f"{found.structures} structure(s) cannot be parted in a training and a test set"
        )
    for reason in reasons:
        print(reason)
    files = [named] if foundation is None else [named, foundation]
    write_workflow(output, config, reasons, files, force=force)
    print(f"wrote {output}; run it with: distill run {argument(output)}")


@commands.command(rich_help_panel=PANEL)
def doctor() -> None:
    """Say what is installed, what is missing, and which stages can run."""
    from distill.cli.doctor import diagnose

    print(diagnose())
