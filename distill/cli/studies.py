"""Commands that run a workflow's parts many times."""

from __future__ import annotations

from typing import Annotated

import typer

from distill.cli.options import ConfigFile, Settings, numbers, whole_numbers

PANEL = "Studies"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
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


@commands.command(rich_help_panel=PANEL)
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
        orders=whole_numbers(orders, "--orders"),
        scales=numbers(scales, "--scales"),
        cutoffs=numbers(cutoffs, "--cutoffs"),
        largest_error=error,
        largest_time=time,
    )
