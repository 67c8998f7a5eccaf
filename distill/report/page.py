"""Pages of HTML: one self-contained file from a template, plain data and figures."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.figures import FIGURE_DPI
from distill.core.number_text import interval_text, number_text

if TYPE_CHECKING:
    from markupsafe import Markup

_UNIT = re.compile(r"\[[^\[\]]*\]")


def page(template: str, **values: Any) -> str:
    """The text of a page; a template of the package, and what it shows.

    Raises
    ------
    jinja2.UndefinedError
        If the template names a value that is not given.
    """
    from jinja2 import ChoiceLoader, Environment, FunctionLoader, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("distill.report", "templates"), FunctionLoader(_packaged)]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template(template).render(**values)


def embedded(file: Path) -> dict[str, Any]:
    """A PNG as base64, with the width at which its text has the size of the page's."""
    data = file.read_bytes()
    pixels = int.from_bytes(data[16:20], "big")
    return {"data": base64.b64encode(data).decode(), "width": round(pixels * 100 / FIGURE_DPI)}


def _duration(seconds: float | None) -> str:
    """A duration in words, or an em dash."""
    from distill.core.progress import format_duration

    return "—" if seconds is None else format_duration(seconds)


def _packaged(name: str) -> str | None:
    """The template `package:file` of an observable."""
    package, _, file = name.partition(":")
    if not file:
        return None
    return (files(package) / file).read_text(encoding="utf-8")


def _cell(value: Any) -> str:
    """A value of any kind in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, (list, tuple)):
        return interval_text(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return str(value)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """The columns of a table, and whether they hold text."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {n: any(isinstance(row.get(n), (str, Mapping)) for row in rows) for n in names}


def _unbroken(text: str) -> Markup:
    """A text whose units in brackets stay on one line."""
    from markupsafe import Markup, escape

    return Markup(_UNIT.sub(r'<span class="whole">\g<0></span>', str(escape(text))))


# What the templates, those of observables too, may apply to a value.
FILTERS = {
    "number": number_text,
    "interval": interval_text,
    "duration": _duration,
    "cell": _cell,
    "columns": _columns,
    "unbroken": _unbroken,
}
