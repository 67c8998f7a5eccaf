"""Write docs/config.md, the reference of every option of a workflow, from the config's models.

    python tools/config_reference.py

Keys of members that other packages add by entry points are left out, so that the page is the same
everywhere.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from distill.config import RunConfig
from distill.core.artifacts import write_text
from distill.core.config import Section
from distill.core.input_files import FoundationFile, InputFile, ModelFile
from distill.observables.base import OBSERVABLES
from distill.sampling.method import SAMPLING_METHODS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"
INTRODUCTION = """# Config reference

Every option of a workflow file, with its type, range and default (– for none). Unknown keys are
refused with the nearest valid name. Paths of files are relative to the workflow's folder;
`bundled:NAME` is a file of the package. Units are eV, Å, fs, K, amu; of stress eV/Å³. The models
that check a workflow write this page: `python tools/config_reference.py`.
"""
_WORDS = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    InputFile: "file",
    ModelFile: "model",
    FoundationFile: "foundation model",
    Any: "any value",
}
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
Homes = dict[type[Section], str]


def page() -> str:
    """The page in Markdown."""
    homes = section_homes(RunConfig)
    blocks = [INTRODUCTION]
    for kind, path in homes.items():
        rows = [row(name, field, homes) for name, field in options(kind)]
        blocks += [
            f"## {_code(path)}" if path else "## Top level",
            _first_paragraph(kind),
            "\n".join(["| option | type | default | |", "|---|---|---|---|", *rows]),
        ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def options(kind: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    """The options of a section that come with the package."""
    added = {n for r in (OBSERVABLES, SAMPLING_METHODS) for n in r.names() if n not in r.own}
    yield from ((name, field) for name, field in kind.model_fields.items() if name not in added)


def section_homes(top: type[Section]) -> Homes:
    """Every kind of section with the outermost place where it stands, in the order of a file."""
    homes: Homes = {top: ""}
    positions: dict[type[Section], tuple[int, ...]] = {top: ()}
    waiting = [top]
    while waiting:
        outer = waiting.pop(0)
        for position, (name, field) in enumerate(options(outer)):
            for kind in sections_in(field.annotation):
                if kind not in homes:
                    homes[kind] = f"{homes[outer]}.{name}".lstrip(".")
                    positions[kind] = (*positions[outer], position)
                    waiting.append(kind)
    return dict(sorted(homes.items(), key=lambda entry: positions[entry[0]]))


def sections_in(annotation: Any) -> list[type[Section]]:
    """The kinds of sections in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for inner in get_args(annotation) for found in sections_in(inner)]


def _first_paragraph(kind: type[Section]) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def row(name: str, field: FieldInfo, homes: Homes) -> str:
    """The row of an option."""
    sections = sections_in(field.annotation)
    about = field.description or (_first_paragraph(sections[0]) if sections else "")
    kind = _type(field.annotation, field.metadata, homes)
    cells = [_code(name), kind, _default(field), about]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(annotation: Any, metadata: Any, homes: Homes) -> str:
    """A type in words, with the range that its metadata give."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0], inner[1:], homes)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not types.NoneType]
        return " or ".join(_type(kind, metadata, homes) for kind in kinds)
    if origin is Literal:
        return ", ".join(_code(value) for value in inner)
    if origin is tuple:
        return f"[{', '.join(_type(part, (), homes) for part in inner)}]"
    if origin is list:
        return f"list of {_type(inner[0], (), homes)}"
    if origin is dict:
        return f"names with {_type(inner[1], (), homes)}"
    if annotation in homes:
        path = homes[annotation]
        return f"[{_code(path)}](#{path.replace('.', '').lower()})"
    return f"{_WORDS[annotation]} {_range(metadata)}".strip()


def _range(metadata: Any) -> str:
    """The bounds among metadata, those inside pydantic's `Field` too."""
    entries = [inner for entry in metadata for inner in getattr(entry, "metadata", [entry])]
    bounds = [
        f"{sign} {getattr(entry, key):g}"
        for entry in entries
        for key, sign in _BOUNDS.items()
        if hasattr(entry, key)
    ]
    return " and ".join(bounds)


def _default(field: FieldInfo) -> str:
    """A default as YAML; of a section, what differs from the section's own defaults."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return "–" if value is None else _code(_yaml(_plain(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, str) else value


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _code(text: Any) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    write_text(PAGE, page())
