"""The commands under `distill julia`."""

from __future__ import annotations

from typing import Any

import typer

commands = typer.Typer(help="Julia and ACEpotentials.jl, for the reference student fit.")


@commands.command("setup")
def julia_setup() -> None:
    """Install Julia and ACEpotentials.jl ahead of the first fit."""
    _julia_door().setup()


@commands.command("status")
def julia_status() -> None:
    """Say what of Julia is there."""
    for key, value in _julia_door().status().items():
        print(f"{key}: {value}")


def _julia_door() -> Any:
    from distill.student.julia import acepotentials

    return acepotentials
