"""Commands on model files: predictions, errors, times, what a student is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli.options import whole_numbers
from distill.core.errors import UserError

PANEL = "Models"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def predict(
    model: Annotated[str, typer.Argument(help="MACE .model, student .npz, or module:Class.")],
    structures: Annotated[Path, typer.Argument(help="File that ASE reads.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz to write.")],
    stress: Annotated[bool, typer.Option(help="Also the stress of fully periodic cells.")] = False,
    as_labels: Annotated[
        bool,
        typer.Option(
            "--as-labels",
            help="Write REF_energy, REF_forces and REF_stress, to train on, in place of any labels "
            "of the structures.",
        ),
    ] = False,
) -> None:
    """Predict energies (eV), forces (eV/Å) and stresses (eV/Å³) of structures.

    They are written as predicted_energy, predicted_forces and predicted_stress; labels that the
    structures have stay beside them. A student adds its uncertainties, and warns of structures
    outside its training data.
    """
    from distill.core.artifacts import refuse_to_overwrite
    from distill.core.input_files import resolve_file
    from distill.core.progress import say
    from distill.data.own_images import REACH, say_own_images
    from distill.data.structures import read_structures, with_predictions, write_structures
    from distill.models.calculators import load_calculator
    from distill.models.labelling import label_structures
    from distill.systems.slabs import cutoff_of

    refuse_to_overwrite(output, model, resolve_file(structures))
    calculator = load_calculator(model)
    read = read_structures(structures, require=())
    say_own_images(read, str(structures), cutoff_of(calculator) or REACH)
    labelled = label_structures(read, calculator, stress=stress, label="predict")
    if not as_labels:
        labelled = [with_predictions(*pair) for pair in zip(read, labelled, strict=True)]
    student = getattr(calculator, "student", None)
    if student is not None:
        from distill.student.uncertainty.grading import add_uncertainties

        add_uncertainties(labelled, student)
    write_structures(output, labelled)
    say(f"wrote {len(read)} structures to {output}")


@commands.command("import", rich_help_panel=PANEL)
def import_(
    model: Annotated[Path, typer.Argument(help="JSON that ACEpotentials' save_model wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Student .npz to write.")],
    data: Annotated[
        Path | None,
        typer.Option(help="The model's labelled training structures, for grades of the student."),
    ] = None,
) -> None:
    """Make a student of a model of ACEpotentials.jl: the same numbers, without Julia.

    Julia reads the model once (`distill julia setup`). Without --data the student cannot tell when
    it extrapolates.
    """
    from distill.core.artifacts import refuse_to_overwrite
    from distill.core.input_files import resolve_file
    from distill.core.progress import say
    from distill.data.structures import read_structures
    from distill.student.julia.transfer import import_model

    refuse_to_overwrite(output, model, *([resolve_file(data)] if data else []))
    structures = read_structures(resolve_file(data), require=()) if data else []
    student = import_model(model, structures)
    student.save(output)
    say(f"wrote {output}: {student.basis.summary()}")


@commands.command(rich_help_panel=PANEL)
def errors(
    models: Annotated[list[str], typer.Argument(help="Model files, or module:Class.")],
    data: Annotated[
        list[str], typer.Option(help="Labelled structures, or bundled:NAME; may be repeated.")
    ],
    budget: Annotated[
        bool, typer.Option(help="Error budget: reference to first model, first to second.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON to write.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV to write.")] = None,
) -> None:
    """Accuracy of any models on any data: MAE and RMSE, by element and config type."""
    from distill.compare.accuracy import accuracy, accuracy_rows, accuracy_text
    from distill.core.artifacts import refuse_to_overwrite, write_json
    from distill.core.input_files import resolve_file
    from distill.core.progress import say
    from distill.core.tables import write_table_csv

    for written in filter(None, (output, csv)):
        refuse_to_overwrite(written, *models, *map(resolve_file, data))
    result = accuracy(_named(models), _named(data), budget=budget)
    say(accuracy_text(result))
    if output:
        write_json(output, result)
    if csv:
        write_table_csv(csv, accuracy_rows(result))


@commands.command(rich_help_panel=PANEL)
def check(
    student: Annotated[str, typer.Argument(help="Student .npz, or another fast model.")],
    teacher: Annotated[str, typer.Option(help="What it was made from: a model file.")],
    data: Annotated[str, typer.Option(help="Labelled structures it was not fitted to.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the results; STUDENT_check if not given."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Options of the compare section, as tolerances.student_force_rmse=0.04 or "
            "gates.time=500; may be repeated.",
        ),
    ] = None,
) -> None:
    """Judge a student without a workflow: errors, gates, time; exits 1 if a bar is missed.

    The same numbers and checks as of `distill compare`, with the gates' default bars, go to
    verdict.json and the other files of the folder.
    """
    from distill.compare.standalone import check_student
    from distill.config.workflow import apply_override, parse_config

    asked: dict[str, Any] = {"compare": {"gates": {}, "reference_student": False}}
    for setting in settings or []:
        apply_override(asked, f"compare.{setting}")
    config = parse_config(asked, "--set").compare
    folder = output or Path(f"{Path(student).stem.replace(':', '_')}_check")
    check_student(Path(student), Path(teacher), data, config, folder)


@commands.command(rich_help_panel=PANEL)
def timing(
    models: Annotated[list[str], typer.Argument(help="Model files; ratios are to the first.")],
    structure: Annotated[
        Path | None, typer.Option(help="Structure to time; a 56-atom H2/Cu(111) slab if not given.")
    ] = None,
    index: Annotated[int, typer.Option(help="Which structure of the file.")] = 0,
    repeats: Annotated[int, typer.Option(min=3, help="Timed calls of each model.")] = 15,
    sizes: Annotated[
        str | None, typer.Option(help="Scaling with size: repeats along the axes, as 1x1x1,2x2x1.")
    ] = None,
    cores: Annotated[
        str | None, typer.Option(help="Scaling with cores, on the largest size, as 1,2,4.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON to write.")] = None,
) -> None:
    """Time models on one pinned core, in turn within one run."""
    from distill.compare.timing import time_models, timing_table_text
    from distill.core.artifacts import refuse_to_overwrite, write_json
    from distill.core.progress import say
    from distill.data.structure_files import read_structure
    from distill.systems.slabs import timing_slab

    if output:
        refuse_to_overwrite(output, structure, *models)
    atoms = read_structure(str(structure), index) if structure else timing_slab("111")
    result = time_models(
        _named(models),
        atoms,
        repeats=repeats,
        supercells=_supercells(sizes),
        core_counts=whole_numbers(cores, "--cores"),
    )
    say(timing_table_text(result))
    if output:
        write_json(output, result)


@commands.command(rich_help_panel=PANEL)
def show(model: Annotated[Path, typer.Argument(help="Student .npz.")]) -> None:
    """Print what a student is: elements, cutoff, size, errors, and where it came from."""
    from distill.core.progress import say
    from distill.student.student_model import Student
    from distill.student.summary import summary

    say(summary(Student.load(model)))


def _supercells(text: str | None) -> list[tuple[int, int, int]]:
    found = []
    for part in (text or "").split(",") if text else ():
        sizes = part.strip().split("x")
        if len(sizes) != 3 or not all(size.isdigit() and int(size) > 0 for size in sizes):
            raise UserError(f"--sizes {text}: expected repeats along three axes, such as 2x2x1")
        found.append((int(sizes[0]), int(sizes[1]), int(sizes[2])))
    return found


def _named(models: list[str]) -> dict[str, str]:
    """Files by a short name; the full path where two share theirs."""
    stems = [Path(model).stem.removeprefix("bundled:") for model in models]
    return {
        model if stems.count(stem) > 1 else stem: model
        for stem, model in zip(stems, models, strict=True)
    }
