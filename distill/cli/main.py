"""The command line: thin commands over the same functions that Python users call."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated

import typer

from distill._version import __version__
from distill.cli.julia import julia_app
from distill.core.errors import ChecksFailed, UserError

DONE, CHECKS_FAILED, USER_ERROR, BUG, STOPPED = 0, 1, 2, 3, 130

app = typer.Typer(
    help="Fast, deployable interatomic potentials distilled from foundation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(julia_app, name="julia", rich_help_panel="Set-up")

WORKFLOW, MODELS, SETUP = "Workflow", "Models", "Set-up"
ConfigFile = Annotated[Path, typer.Argument(help="Workflow file (YAML).", metavar="CONFIG")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: key.sub=value; may be repeated."),
]


def main() -> None:
    """Run the command line and exit with 0 done, 1 failed checks, 2 user error, 3 a bug."""
    # Libraries warn about their own insides; workers are told through the variable.
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    # Threads that spin while they wait slow everything down where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.ERROR)
    sys.exit(_exit_code(sys.argv[1:]))


def _exit_code(arguments: list[str]) -> int:
    try:
        result = app(arguments, standalone_mode=False, prog_name="distill")
        if result == STOPPED:
            # Typer turns an interrupt into this code without a word.
            raise KeyboardInterrupt
        return result if isinstance(result, int) else DONE
    except UserError as error:
        return _fail(f"error: {error}", USER_ERROR)
    except ChecksFailed as error:
        return _fail(f"failed: {error}", CHECKS_FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped; run the same command again to go on", STOPPED)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _fail(
                "error: the disk is full; what was finished is kept. Free some space, then run "
                "the same command again",
                USER_ERROR,
            )
        return _report_bug()
    except Exception as error:
        # Typer's usage errors carry their own exit code and print themselves.
        if hasattr(error, "exit_code") and hasattr(error, "show"):
            error.show()
            return int(error.exit_code)
        return _report_bug()


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


def _report_bug() -> int:
    traceback.print_exc()
    return _fail("this is a bug in distill: please report it with the lines above", BUG)


def _show_version(value: bool) -> None:
    if value:
        print(f"distill {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel=WORKFLOW)
def run(
    config: ConfigFile,
    until: Annotated[str | None, typer.Option(help="Last stage to run.")] = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="First stage to run; results from here on with other settings are discarded.",
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Run a whole workflow: data, teacher, sampling, student, compare, report. Resumable."""
    from distill.config.workflow import load_config
    from distill.pipeline import run_pipeline

    run_pipeline(load_config(config, settings), first=first, last=until)


def _one_stage(name: str, config: Path, settings: list[str] | None) -> None:
    from distill.config.workflow import load_config
    from distill.pipeline import run_pipeline

    run_pipeline(load_config(config, settings), first=name, last=name)


@app.command(rich_help_panel=WORKFLOW)
def teacher(config: ConfigFile, settings: Settings = None) -> None:
    """Fine-tune the foundation model: the data and teacher stages."""
    from distill.config.workflow import load_config
    from distill.pipeline import run_pipeline

    run_pipeline(load_config(config, settings), first="data", last="teacher")


@app.command(rich_help_panel=WORKFLOW)
def sample(config: ConfigFile, settings: Settings = None) -> None:
    """Sample and label structures with the finished teacher."""
    _one_stage("sampling", config, settings)


@app.command(rich_help_panel=WORKFLOW)
def student(config: ConfigFile, settings: Settings = None) -> None:
    """Fit the student on the sampled structures."""
    _one_stage("student", config, settings)


@app.command(rich_help_panel=WORKFLOW)
def compare(config: ConfigFile, settings: Settings = None) -> None:
    """Compare student, teacher and reference; exits 1 if the student does not pass."""
    _one_stage("compare", config, settings)


@app.command(rich_help_panel=WORKFLOW)
def report(
    folder: Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")],
) -> None:
    """Write the HTML report of a run, finished or not."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a run folder: expected config.json in it")
    from distill.core.progress import say
    from distill.report.report import write_report

    say(f"report: {write_report(folder)}")


@app.command(rich_help_panel=MODELS)
def predict(
    model: Annotated[str, typer.Argument(help="MACE .model, student .npz, or module:Class.")],
    structures: Annotated[Path, typer.Argument(help="File that ASE reads.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz to write.")],
    stress: Annotated[bool, typer.Option(help="Also the stress of fully periodic cells.")] = False,
) -> None:
    """Label structures with a model: energies (eV), forces (eV/Å), stress (eV/Å³).

    A student adds its uncertainties, and warns of structures outside its training data.
    """
    from distill.core.progress import say
    from distill.data.structures import read_structures, write_structures
    from distill.models.calculators import load_calculator
    from distill.models.labelling import label_structures

    calculator = load_calculator(model)
    read = read_structures(structures, require=())
    labelled = label_structures(read, calculator, stress=stress, label="predict")
    student = getattr(calculator, "student", None)
    if student is not None:
        from distill.student.uncertainty.grading import add_uncertainties

        add_uncertainties(labelled, student)
    write_structures(output, labelled)
    say(f"wrote {len(read)} structures to {output}")


@app.command(rich_help_panel=MODELS)
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
    from distill.core.artifacts import write_json
    from distill.core.progress import say
    from distill.metrics.errors import write_table_csv

    result = accuracy(_named(models), _named(data), budget=budget)
    say(accuracy_text(result))
    if output:
        write_json(output, result)
    if csv:
        write_table_csv(csv, accuracy_rows(result))


@app.command(rich_help_panel=MODELS)
def timing(
    models: Annotated[list[str], typer.Argument(help="Model files; ratios are to the first.")],
    structure: Annotated[
        Path | None, typer.Option(help="Structure to time; a 56-atom H2/Cu(111) slab if not given.")
    ] = None,
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
    from distill.core.artifacts import write_json
    from distill.core.progress import say
    from distill.data.structures import read_structures
    from distill.systems.slabs import timing_slab

    atoms = read_structures(structure, require=())[0] if structure else timing_slab("111")
    result = time_models(
        _named(models),
        atoms,
        repeats=repeats,
        supercells=_supercells(sizes),
        core_counts=[round(count) for count in _numbers(cores, "--cores")],
    )
    say(timing_table_text(result))
    if output:
        write_json(output, result)


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


@app.command(rich_help_panel=MODELS)
def show(model: Annotated[Path, typer.Argument(help="Student .npz.")]) -> None:
    """Print what a student is: elements, cutoff, size, errors, and where it came from."""
    from distill.core.progress import say
    from distill.student.student_model import Student
    from distill.student.summary import summary

    say(summary(Student.load(model)))


@app.command(rich_help_panel=MODELS)
def export(
    student: Annotated[Path, typer.Argument(help="Student .npz.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    to: Annotated[str, typer.Option(help="Format: yace, for LAMMPS' pair_style pace.")] = "yace",
    structures: Annotated[
        Path | None, typer.Option(help="Training structures, to compare the file on.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference of forces that is accepted, eV/Å.")
    ] = 1e-5,
) -> None:
    """Write a student for another engine; the file is read back and compared before it is kept."""
    from distill.data.structures import read_structures
    from distill.deploy.export.yace import export_yace

    if to != "yace":
        raise UserError(f"--to: expected yace, found '{to}'")
    read = read_structures(structures, require=()) if structures else []
    export_yace(student, output, structures=read, tolerance=tolerance)


@app.command(
    rich_help_panel=MODELS,
    context_settings={"allow_extra_args": True, "allow_interspersed_args": True},
)
def lammps(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="LAMMPS input.", metavar="IN.LAMMPS")],
    student: Annotated[Path, typer.Option(help="Student .npz.")],
    elements: Annotated[
        str | None,
        typer.Option(help="Elements of the atom types, as Li,F, where pair_coeff lists none."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the student.")] = 1,
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
    from distill.deploy.lammps import GuardBounds, run_lammps

    if teacher and guard is None:
        raise UserError("--teacher takes over where --guard says so: give --guard KEEP STOP too")
    bounds = GuardBounds(*guard, guard_file, guard_every, teacher) if guard else None
    symbols = elements.replace(",", " ").split() if elements else None
    result = run_lammps(
        script, student, elements=symbols, threads=threads, guard=bounds, arguments=context.args
    )
    if result.stopped:
        raise ChecksFailed(result.stopped)


@app.command(rich_help_panel=MODELS)
def front(
    config: ConfigFile,
    orders: Annotated[str | None, typer.Option(help="Correlation orders, as 2,3,4.")] = None,
    scales: Annotated[
        str | None, typer.Option(help="Factors on the config's degrees, as 0.6,0.8,1.")
    ] = None,
    cutoffs: Annotated[str | None, typer.Option(help="Cutoffs, Å, as 5,6.")] = None,
    error: Annotated[
        float | None, typer.Option(help="Recommend the fastest within this force RMSE, eV/Å.")
    ] = None,
    time: Annotated[
        float | None, typer.Option(help="Recommend the best within this time, µs an atom.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Fit students of several sizes on a run's data: speed against accuracy. Resumable."""
    from distill.config.workflow import load_config
    from distill.studies.front import front_of_run

    front_of_run(
        load_config(config, settings),
        orders=[int(number) for number in _numbers(orders, "--orders")],
        scales=_numbers(scales, "--scales"),
        cutoffs=_numbers(cutoffs, "--cutoffs"),
        largest_error=error,
        largest_time=time,
    )


def _numbers(text: str | None, option: str) -> list[float]:
    try:
        return [float(part) for part in (text or "").replace(",", " ").split()]
    except ValueError:
        raise UserError(f"{option}: expected numbers, as 5,6; found '{text}'") from None


@app.command(rich_help_panel=MODELS)
def curve(
    config: ConfigFile,
    draw_only: Annotated[
        bool, typer.Option("--draw-only", help="Draw what is finished; train nothing.")
    ] = False,
    settings: Settings = None,
) -> None:
    """Learning curves: teachers of several strategies on growing shares of the data. Resumable."""
    from distill.config.workflow import load_config
    from distill.core.progress import say
    from distill.studies.curve import learning_curves

    say(f"curve: {learning_curves(load_config(config, settings), train=not draw_only)}")


@app.command(rich_help_panel=SETUP)
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


@app.command(rich_help_panel=SETUP)
def doctor() -> None:
    """Say what is installed, what is missing, and which stages can run."""
    from distill.cli.doctor import diagnose

    print(diagnose())
