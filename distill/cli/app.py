"""The command line: its groups of commands, its exit codes, and the door that errors leave by."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
import warnings
from typing import Annotated

import typer

from distill._version import __version__
from distill.cli import deployment, fitting, julia, models, setup, studies, workflow
from distill.core.errors import ChecksFailed, UserError, left_the_program

DONE, CHECKS_FAILED, USER_ERROR, BUG, STOPPED = 0, 1, 2, 3, 130

app = typer.Typer(
    help="Fast, deployable interatomic potentials distilled from foundation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for group in (workflow, fitting, models, deployment, studies, setup):
    app.add_typer(group.commands)
app.add_typer(julia.commands, name="julia", rich_help_panel=setup.PANEL)


def main() -> None:
    """Run the command line and exit with 0 done, 1 failed checks, 2 user error, 3 a bug."""
    # Libraries warn about their own insides; workers are told through the variable.
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    # Threads that spin while they wait slow everything down where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.ERROR)
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(arguments: list[str]) -> int:
    """Run one command line, say how it failed if it did, and return its exit code."""
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
    except SystemExit as error:
        return _fail(f"error: {left_the_program(error)}", USER_ERROR)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _fail(f"error: a name is too long for a file: {error.filename}", USER_ERROR)
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
