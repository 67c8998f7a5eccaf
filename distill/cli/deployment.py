"""Commands that take a student into other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.errors import ChecksFailed, UserError

PANEL = "Deployment"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def export(
    student: Annotated[Path, typer.Argument(help="Student .npz.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    to: Annotated[
        str,
        typer.Option(
            help="Format: lammps, for pair_style distill and the C interface; yace, for pair_style "
            "pace; acepotentials, for Julia; or one that another package adds."
        ),
    ] = "yace",
    structures: Annotated[
        Path | None, typer.Option(help="Training structures, to compare the file on.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            help="Largest difference that is accepted, of forces in eV/Å and of energies in "
            "eV/atom."
        ),
    ] = 1e-5,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the format: key=value; may be repeated."),
    ] = None,
) -> None:
    """Write a student for another engine; the file is read back and compared before it is kept."""
    from distill.config.workflow import apply_override
    from distill.core.artifacts import refuse_to_overwrite
    from distill.data.structures import read_structures
    from distill.deploy.export.base import export_student

    options: dict[str, Any] = {}
    for setting in settings or ():
        apply_override(options, setting)
    refuse_to_overwrite(output, structures)
    read = read_structures(structures, require=()) if structures else []
    export_student(student, output, to=to, structures=read, tolerance=tolerance, options=options)


@commands.command(
    rich_help_panel=PANEL,
    context_settings={"allow_extra_args": True, "allow_interspersed_args": True},
)
def lammps(
    context: typer.Context,
    script: Annotated[
        Path | None, typer.Argument(help="LAMMPS input.", metavar="IN.LAMMPS")
    ] = None,
    student: Annotated[Path | None, typer.Option(help="Student .npz.")] = None,
    elements: Annotated[
        str | None,
        typer.Option(help="Elements of the atom types, as Li,F, where pair_coeff lists none."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the student.")] = 1,
    mpi: Annotated[
        int | None,
        typer.Option(min=1, help="MPI processes: the compiled pair style, built where it is not."),
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build the compiled pair style and say what was found.")
    ] = False,
    guard: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Extrapolation grades above which to keep structures, and to stop."),
    ] = None,
    guard_every: Annotated[int, typer.Option(min=1, help="Steps between two looks.")] = 10,
    guard_file: Annotated[Path, typer.Option(help="extxyz of what is kept.")] = Path("kept.xyz"),
    teacher: Annotated[
        str | None, typer.Option(help="Model that takes the steps above the second grade.")
    ] = None,
) -> None:
    """Run a LAMMPS input with a student: pair_style distill, pair_coeff * * Li F.

    LAMMPS' own arguments follow after --, such as -- -var T 600.
    """
    if build:
        from distill.deploy.lammps_build import build_lammps

        build_lammps(again=True)
        if script is None:
            return
    if script is None or student is None:
        raise UserError("expected a LAMMPS input and --student STUDENT.npz, or --build alone")
    if teacher and guard is None:
        raise UserError("--teacher takes over where --guard says so: give --guard KEEP STOP too")
    symbols = elements.replace(",", " ").split() if elements else None
    if mpi is not None:
        from distill.deploy.lammps_mpi import run_lammps_mpi

        if guard is not None:
            raise UserError(
                "--guard works on one process; with --mpi let the input stop or dump by 'compute "
                "ID all distill/grade/atom', or leave out --mpi"
            )
        run_lammps_mpi(
            script, student, mpi, elements=symbols, threads=threads, arguments=context.args
        )
        return
    from distill.deploy.lammps import GuardBounds, run_lammps

    bounds = GuardBounds(*guard, guard_file, guard_every, teacher) if guard else None
    result = run_lammps(
        script, student, elements=symbols, threads=threads, guard=bounds, arguments=context.args
    )
    if result.stopped:
        raise ChecksFailed(result.stopped)


@commands.command(rich_help_panel=PANEL)
def serve(
    student: Annotated[Path, typer.Argument(help="Student .npz.")],
    structure: Annotated[
        Path, typer.Argument(help="The driver's structure, its atoms in the same order.")
    ],
    unix: Annotated[str | None, typer.Option(help="Name of i-PI's UNIX socket.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of i-PI's socket.")] = None,
    host: Annotated[str, typer.Option(help="Machine of the port.")] = "localhost",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the student.")] = 1,
) -> None:
    """Answer i-PI, or another driver of its protocol, with a student's energies and forces."""
    from distill.data.structures import read_structures
    from distill.deploy.serve import serve as answer

    atoms = read_structures(structure, require=())[0]
    answer(student, atoms, unix=unix, host=host, port=port, threads=threads)
