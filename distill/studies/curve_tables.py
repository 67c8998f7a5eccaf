"""Learning curves as files: JSON, CSV, figures, and the table that is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.core.artifacts import write_json
from distill.core.progress import say
from distill.core.quantities import MEV, quantity_title, quantity_unit
from distill.core.tables import write_table_csv
from distill.studies.curve_results import Row, data_needed, summarise


def write_results(out: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write `curve.json`, `curve.csv`, `curve_summary.csv` and the figures; print the summary."""
    from distill.core.figures import save_figure
    from distill.studies.curve_plots import cost_figure, curve_figure

    summary = summarise(rows)
    needed = data_needed(summary)
    write_json(
        out / "curve.json",
        {**about, "summary": summary, "data_needed": needed, "trainings": list(rows)},
    )
    write_table_csv(out / "curve.csv", _flat_rows(rows))
    write_table_csv(out / "curve_summary.csv", _flat_summary(summary))
    save_figure(curve_figure(summary), out, "learning_curves")
    save_figure(cost_figure(summary), out, "curve_cost")
    say(summary_text(summary))
    for row in needed:
        share = "none" if row["fraction"] is None else f"{100 * row['fraction']:g} %"
        say(
            f"smallest share tried with which {row['strategy']} is as good as {row['baseline']} on "
            f"{100 * row['target_fraction']:g} %, {quantity_title(row['quantity'])} "
            f"({MEV * row['target']:.1f} {quantity_unit(row['quantity'])}): {share}"
        )
    if about["missing"]:
        say(f"not finished: {len(about['missing'])} trainings: {'; '.join(about['missing'])}")


def summary_text(summary: Sequence[Row]) -> str:
    """The summary as aligned plain text: mean RMSE (smallest to largest over seeds)."""
    quantities = list(dict.fromkeys(key for row in summary for key in row["errors"]))
    header = ["strategy", "data", "trained", "s/epoch"]
    header += [f"{quantity_title(key)} [{quantity_unit(key)}]" for key in quantities]
    lines = [header]
    for row in summary:
        cells = [
            row["strategy"],
            f"{100 * row['fraction']:g} %",
            _or_dash(row["trainable_parameters"], "{:,.0f}"),
            _or_dash(row["seconds_per_epoch"], "{:.3g}"),
        ]
        for key in quantities:
            error = row["errors"].get(key)
            cells.append(
                f"{MEV * error['mean']:.1f} ({MEV * error['low']:.1f}-{MEV * error['high']:.1f})"
                if error
                else "—"
            )
        lines.append(cells)
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _flat_rows(rows: Sequence[Row]) -> list[Row]:
    columns = ["strategy", "fraction", "seed", "structures"]
    costs = [
        "parameters",
        "trainable_parameters",
        "epochs",
        "best_epoch",
        "steps",
        "seconds_per_epoch",
        "fastest_epoch_s",
        "training_s",
    ]
    return [
        {
            **{key: row[key] for key in columns},
            "quantity": quantity_title(key),
            "unit": quantity_unit(key).removeprefix("m"),
            **error,
            **{cost: row.get(cost) for cost in costs},
        }
        for row in rows
        for key, error in row["errors"].items()
    ]


def _flat_summary(summary: Sequence[Row]) -> list[Row]:
    return [
        {
            "strategy": row["strategy"],
            "fraction": row["fraction"],
            "structures": row["structures"],
            "seeds": " ".join(map(str, row["seeds"])),
            "quantity": quantity_title(key),
            "unit": quantity_unit(key).removeprefix("m"),
            **{f"rmse_{name}": value for name, value in error.items()},
            **{
                cost: row[cost]
                for cost in ("trainable_parameters", "seconds_per_epoch", "fastest_epoch_s")
            },
        }
        for row in summary
        for key, error in row["errors"].items()
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "—" if value is None else form.format(value)
