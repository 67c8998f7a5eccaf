"""A starter workflow file, with every option, its default and its meaning as a comment."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from distill.config.workflow import parse_config
from distill.core.artifacts import refuse_to_overwrite, write_text
from distill.core.errors import UserError
from distill.core.progress import argument

PRESETS = ("surface", "bulk", "molecule")


def write_starter(
    path: str | os.PathLike[str],
    *,
    preset: str,
    train: str,
    foundation: str,
    force: bool = False,
) -> None:
    """Write a commented workflow: chosen values live, every other option as a comment.

    Parameters
    ----------
    path
        YAML file to write.
    preset
        `surface` (scattering and a minimum energy path), `bulk` (molecular dynamics), or
        `molecule` (molecules or clusters without a cell: dynamics, vibrations, gates).
    train
        File with reference labels, or `bundled:NAME`.
    foundation
        `bundled`, a name known to mace-torch, or a path.
    force
        Replace an existing file.

    Raises
    ------
    UserError
        If the preset is unknown, or the file exists or is one of those that are named.
    """
    if preset not in PRESETS:
        raise UserError(f"preset '{preset}': expected one of {', '.join(PRESETS)}")
    write_workflow(path, _chosen(preset, train, foundation), (), (train, foundation), force=force)


def write_workflow(
    path: str | os.PathLike[str],
    chosen: dict[str, Any],
    reasons: Sequence[str],
    named: Sequence[str],
    *,
    force: bool = False,
) -> None:
    """Write a commented workflow of chosen options.

    Parameters
    ----------
    path
        YAML file to write.
    chosen
        Options by section; every other one becomes a comment.
    reasons
        Why they were chosen, in sentences; they become comments at its top.
    named
        Files that the options name, relative to the workflow or to the current folder.
    force
        Replace an existing file.

    Raises
    ------
    UserError
        If the file exists or is one of those named, or the options do not make a workflow.
    """
    path = Path(path)
    if path.exists() and not force:
        raise UserError(f"{path} exists: give another name, or --force to replace it")
    refuse_to_overwrite(path, *named, *(path.parent / name for name in named))
    config = parse_config(chosen, "the proposed workflow")
    lines = [
        f"# A distill workflow. Run it with: distill run {argument(path.name)}",
        *(f"# {reason}" for reason in reasons),
        "# Lines that begin with '#' show the other options with their defaults.",
        "",
        *_render(config, chosen, ""),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _chosen(preset: str, train: str, foundation: str) -> dict[str, Any]:
    common: dict[str, Any] = {
        "name": preset,
        "seed": 1,
        "data": {"train": train, "test_fraction": 0.2},
        "teacher": {"foundation": foundation, "freeze": "f4", "epochs": 100},
        "student": {"basis": "auto"},
    }
    if preset == "surface":
        neb = {"facet": "111", "images": 9}
        return {
            **common,
            "sampling": {
                "scattering": {"facets": ["111", "100"], "collision_energies": [0.3, 0.6, 0.9]},
                "neb": [neb],
                "selection": {"count": 500, "held_out": 100},
            },
            "compare": {"barriers": [neb], "tolerances": {"student_force_rmse": 0.04}},
        }
    dynamics: dict[str, Any] = {
        "structure": train,
        "temperatures": [300, 600],
        "runs": 8,
        "time": 250,
        "equilibration_time": 100,
    }
    selection = {"count": 500, "held_out": 100}
    tolerances = {"student_force_rmse": 0.04}
    if preset == "molecule":
        # Molecules have hydrogen more often than not, and no pressure or strain.
        step = {"time_step": 0.5}
        vdos = {"structure": train, "runs": 4, "time": 2000, "resolution": 1.0, **step}
        return {
            **common,
            "sampling": {
                "md": [dynamics | step],
                "rattle": [{"structures": train, "copies": 5, "strain": 0.0}],
                "selection": selection,
            },
            "compare": {
                "vdos": vdos,
                "gates": {"temperature": 300.0},
                "tolerances": {**tolerances, "vdos": 0.02},
            },
        }
    return {
        **common,
        "sampling": {"md": [dynamics], "selection": selection},
        "compare": {"tolerances": tolerances},
    }


def _render(section: BaseModel, chosen: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        note = field.description or ""
        if name not in chosen:
            lines += _commented(name, field, value, f"{indent}# ")
            continue
        if isinstance(value, BaseModel):
            lines += [f"{indent}{name}:", *_render(value, chosen[name], indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            lines.append(f"{indent}{name}:")
            for item, item_chosen in zip(value, chosen[name], strict=True):
                inner = _render(item, item_chosen, indent + "    ")
                lines += _as_list_item(inner, indent)
        else:
            lines.append(_entry(indent, name, chosen[name], note))
        if not indent:
            lines.append("")
    return lines


def _commented(name: str, field: FieldInfo, value: Any, start: str) -> list[str]:
    """An option that is not chosen, with its default; and the options inside it, if it has any."""
    note = field.description or ""
    kind = _section_of(field.annotation)
    if kind is None:
        return [_entry(start, name, _plain(value), note)]
    # An option that is off by default, or a list that is empty, shows what it would hold.
    shown = "" if isinstance(value, BaseModel) else f" {json.dumps(_plain(value))}"
    lines = [f"{start}{name}:{shown}" + (f"  # {note}" if note else "")]
    for inner, inner_field in kind.model_fields.items():
        default = getattr(value, inner) if isinstance(value, kind) else _default(inner_field)
        lines += _commented(inner, inner_field, default, start + "  ")
    return lines


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that an option holds, alone, in a list or where it is asked for."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is dict:
        return None
    parts = (_section_of(part) for part in get_args(annotation))
    return next((part for part in parts if part is not None), None)


def _default(field: FieldInfo) -> Any:
    return "..." if field.is_required() else field.get_default(call_default_factory=True)


def _plain(value: Any) -> Any:
    return TypeAdapter(Any).dump_python(value, mode="json")


def _as_list_item(lines: list[str], indent: str) -> list[str]:
    """Put the dash of a list item before its first live line, which must come first."""
    live = next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
    first = lines.pop(live)
    return [f"{indent}  - {first.lstrip()}", *lines]


def _entry(indent: str, name: str, value: Any, note: str) -> str:
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    text = text.removesuffix("...").strip()
    line = f"{indent}{name}: {text}"
    return f"{line}  # {note}" if note else line
