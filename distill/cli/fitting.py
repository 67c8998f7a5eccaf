"""The command that fits a student straight to labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from distill.cli.options import numbers
from distill.core.errors import UserError

PANEL = "Workflow"
commands = typer.Typer()

# Of a student that takes seconds to fit and microseconds an atom to call.
_ORDER, _DEGREES, _CUTOFF = 3, (14.0, 12.0, 9.0), 5.5
_SECTIONS = ("data", "student", "seed")


@commands.command(rich_help_panel=PANEL)
def fit(
    train: Annotated[
        str, typer.Argument(help="Structures with energies and forces, or bundled:NAME.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Student .npz to write.")],
    test: Annotated[
        str | None, typer.Option(help="Test set; a fair share is held out if not given.")
    ] = None,
    order: Annotated[int | None, typer.Option(help=f"Correlation order; {_ORDER}.")] = None,
    degrees: Annotated[
        str | None,
        typer.Option(help="Total degree, one number or one for each order; 14,12,9."),
    ] = None,
    rcut: Annotated[float | None, typer.Option(help=f"Cutoff, Å; {_CUTOFF}.")] = None,
    basis: Annotated[
        Literal["given", "auto"],
        typer.Option(
            help="given: by order, degrees and rcut; auto: chosen from the training set, with "
            "--order as the highest and --rcut as the cutoff."
        ),
    ] = "given",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Weights of energies, forces and virials, as 30,1,1, or of a config type, as "
            "slab=30,1,1; may be repeated."
        ),
    ] = None,
    e0: Annotated[
        str | None,
        typer.Option(help="One-body energies: auto, isolated, lstsq, or H=-13.6,O=-432."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="native, acepotentials (Julia), or auto.")
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Fit other sizes too: speed against accuracy.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and the committee.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any option of the sections data and student: key.sub=value."),
    ] = None,
) -> None:
    """Fit a student to labelled structures, without a teacher; test it; write a page of report.

    The report and all that belongs to it go into the folder NAME_fit beside the student. With
    seconds to spare for each size, --front shows what a smaller or larger student would give.
    """
    from distill.config.workflow import apply_override, parse_config
    from distill.studies.direct_fit import direct_fit

    student: dict[str, Any] = {"backend": backend or "native"}
    if basis == "auto":
        student |= _chosen_basis(order, degrees, rcut)
    else:
        student |= {"rcut": rcut or _CUTOFF, **_basis(order, degrees)}
        if student["backend"] == "native":
            student["smoothness"] = "evidence"
    if weights:
        student["weights"] = _weights(weights)
    if e0 is not None:
        student["e0"] = _energies(e0)
    asked: dict[str, Any] = {"seed": seed, "data": {"train": train}, "student": student}
    if test is not None:
        asked["data"]["test"] = test
    for setting in settings or []:
        if setting.partition(".")[0].partition("=")[0] not in _SECTIONS:
            raise UserError(f"--set {setting}: expected an option of {', '.join(_SECTIONS)}")
        apply_override(asked, setting)
    direct_fit(parse_config(asked, "distill fit"), out=output, front=front)


def _basis(order: int | None, degrees: str | None) -> dict[str, Any]:
    """Order and degrees; what is not given follows from what is."""
    found = numbers(degrees, "--degrees")
    if not found:
        order = order or _ORDER
        if order > len(_DEGREES):
            raise UserError(
                f"--order {order}: give --degrees too, one number for each order, such as "
                "18,14,12,10"
            )
        return {"order": order, "totaldegree": list(_DEGREES[:order])}
    if len(found) == 1:
        return {"order": order or _ORDER, "totaldegree": found[0]}
    return {"order": order or len(found), "totaldegree": found}


def _chosen_basis(order: int | None, degrees: str | None, rcut: float | None) -> dict[str, Any]:
    """What a search for the basis is held to."""
    if degrees is not None:
        raise UserError("--basis auto chooses the degrees: leave --degrees out")
    search: dict[str, Any] = {} if order is None else {"order": order}
    if rcut is not None:
        search["cutoffs"] = [rcut]
    return {"basis": "auto", "search": search}


def _weights(texts: list[str]) -> dict[str, dict[str, float]]:
    """Rows of weights by config type; `default` where none is named."""
    found: dict[str, dict[str, float]] = {"default": {}}
    for text in texts:
        kind, separator, values = text.rpartition("=")
        parts = numbers(values, "--weights")
        if len(parts) != 3 or (separator and not kind):
            raise UserError(
                f"--weights {text}: expected those of energies, forces and virials, as 30,1,1 or "
                "slab=30,1,1"
            )
        row = dict(zip(("energy", "forces", "virial"), parts, strict=True))
        found[kind or "default"] = row
    return found


def _energies(text: str) -> str | dict[str, float]:
    """The name of a method, or a table of values, eV."""
    if "=" not in text:
        return text
    table = {}
    for part in text.split(","):
        symbol, _, value = part.partition("=")
        try:
            table[symbol.strip()] = float(value)
        except ValueError:
            raise UserError(f"--e0 {text}: expected values in eV, as H=-13.6,O=-432") from None
    return table
