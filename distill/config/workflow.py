"""A whole workflow: reading YAML, overrides, and messages that name the nearest valid key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from distill.config.compare import CompareConfig
from distill.config.curve import CurveConfig, CurveStrategy
from distill.config.sampling import SamplingConfig
from distill.core.config import Section, Seed, is_plain_name
from distill.core.errors import UserError, nearest_name
from distill.core.executors import ParallelConfig
from distill.core.input_files import with_absolute_files
from distill.data.config import DataConfig
from distill.models.config import CalculatorConfig
from distill.student.config import StudentConfig
from distill.teacher.config import TeacherConfig

_DEEPEST, _MOST_VALUES = 50, 100_000
_WAYS_OF_TRAINING = {
    "strategy",
    "calculator",
    "lora",
    "replay",
    "architecture",
    "delta",
    "committee",
}


class RunConfig(Section):
    """One workflow: from a foundation model and labels to a checked student."""

    name: str = Field("run", description="title of the report and name of the run folder")
    seed: Seed = Field(1, description="the one seed of the whole run")
    output: str | None = Field(None, description="run folder; runs/NAME if not given")
    data: DataConfig = Field(default_factory=DataConfig)
    reference: CalculatorConfig | None = Field(
        None, description="calculator of the reference level, where one can be run"
    )
    teacher: TeacherConfig = Field(default_factory=TeacherConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)  # type: ignore[valid-type]
    student: StudentConfig = Field(default_factory=StudentConfig)
    compare: CompareConfig = Field(default_factory=CompareConfig)
    curve: CurveConfig = Field(default_factory=CurveConfig)
    parallel: ParallelConfig = Field(default_factory=ParallelConfig)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not is_plain_name(name):
            raise ValueError("expected a plain name without slashes or a leading dot")
        return name

    @field_validator("output")
    @classmethod
    def _check_output(cls, output: str | None) -> str | None:
        if output is not None and (not output or "\0" in output):
            raise ValueError("expected the name of a folder")
        return output


def load_config(path: str | os.PathLike[str], overrides: list[str] | None = None) -> RunConfig:
    """Read a YAML workflow, apply `key.sub=value` overrides, and check it.

    Parameters
    ----------
    path
        YAML file. Relative file names inside it are taken from its folder.
    overrides
        Settings such as `teacher.epochs=20`; values are YAML, later ones win.

    Raises
    ------
    UserError
        If the file is missing or not YAML, a key is unknown, or a value is out of range.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the config {path} is not text: expected YAML in UTF-8") from None
    try:
        data = _from_yaml(text)
    except ValueError as error:
        raise UserError(f"the config {path} is not valid YAML: {error}") from None
    if data is None:
        raise UserError(f"the config {path} is empty: `distill init` writes a starter config")
    if not isinstance(data, dict):
        raise UserError(
            f"the config {path} must be a mapping of sections, found {type(data).__name__}"
        )
    for override in overrides or []:
        apply_override(data, override)
    try:
        _check_size(data)
    except ValueError as error:
        raise UserError(f"the config {path} is no workflow: {error}") from None
    return _with_absolute_files(parse_config(data, str(path)), path.parent)


def parse_config(data: dict[str, Any], origin: str) -> RunConfig:
    """Check a mapping against the vocabulary; `origin` names it in messages.

    Raises
    ------
    UserError
        With one line for each wrong field, and the nearest valid key for a misspelt one.
    """
    try:
        return RunConfig.model_validate(_upgraded(data))
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
        raise UserError(
            f"{origin} has {len(lines)} wrong setting(s):\n  " + "\n  ".join(lines)
        ) from None


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """The data with keys of older versions put where they belong."""
    compare = data.get("compare")
    if not isinstance(compare, dict) or not isinstance(compare.get("barriers") or [], list):
        return data
    compare = dict(compare)
    files: dict[str, Any] = {}
    if isinstance(compare.get("reference_barriers"), dict):
        files = {str(f): file for f, file in compare.pop("reference_barriers").items()}
    if compare.get("barriers"):
        compare["barriers"] = [_upgraded_barrier(entry, files) for entry in compare["barriers"]]
    return {**data, "compare": compare}


def _upgraded_barrier(entry: Any, files: Mapping[str, Any]) -> Any:
    """A path of `compare.barriers`; nothing was ever done with the structures it kept."""
    if not isinstance(entry, dict):
        return entry
    facet = str(entry.get("facet", "111"))
    stored = {"reference": files[facet]} if facet in files else {}
    return {**stored, **{key: value for key, value in entry.items() if key != "keep"}}


def apply_override(data: dict[str, Any], override: str) -> None:
    """Put a setting such as `teacher.epochs=20` into a mapping of sections; its value is YAML.

    Raises
    ------
    UserError
        If it is not of that form, or a part of the key is no section.
    """
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected key=value, such as teacher.epochs=20")
    node: Any = data
    *parents, last = key.split(".")
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        node = node[parent]
        if not isinstance(node, dict):
            raise UserError(f"--set {override}: '{parent}' is not a section")
    try:
        node[last] = _from_yaml(value)
    except ValueError:
        raise UserError(f"--set {override}: '{value}' is not a YAML value") from None


def _from_yaml(text: str) -> Any:
    """What a text says; a ValueError whatever is wrong with it."""
    import yaml

    try:
        return yaml.safe_load(text)
    except Exception as error:
        # Beside errors of its own, the reader raises whatever dates and deep nesting lead to.
        reason = str(error) if isinstance(error, yaml.YAMLError) else type(error).__name__
        raise ValueError(reason) from None


def _check_size(data: Any) -> None:
    """Refuse what aliases make endless, and what is nested beyond any section."""
    seen, waiting = 0, [(data, 0)]
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_VALUES:
            raise ValueError(
                f"it is nested more than {_DEEPEST} deep, or has more than {_MOST_VALUES} values"
            )
        inner = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list, tuple)):
            waiting += [(part, depth + 1) for part in inner]


def _explain(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *parents, key = error["loc"]
        return f"{place}: unknown key; {nearest_name(str(key), _keys_at(parents))}"
    message = error["msg"].removeprefix("Value error, ")
    found = error.get("input")
    shown = "" if isinstance(found, dict) else f", found {found!r}"
    return f"{place}: {message[0].lower()}{message[1:]}{shown}"


def _keys_at(location: list[Any]) -> list[str]:
    """Keys of the section at a location, walking through optional and list fields."""
    section: type[BaseModel] = RunConfig
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            continue
        found = _section_in(field.annotation)
        if found is None:
            return []
        section = found
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _section_in(argument)
        if found is not None:
            return found
    return None


def _with_absolute_files(config: RunConfig, folder: Path) -> RunConfig:
    """Make the file names of a config relative to its folder absolute."""
    full: RunConfig = with_absolute_files(config, folder)
    curves = {
        name: _absolute_strategy(config.teacher, name, strategy, folder)
        for name, strategy in config.curve.strategies.items()
    }
    return full.model_copy(update={"curve": full.curve.model_copy(update={"strategies": curves})})


def strategy_teacher(teacher: TeacherConfig, name: str, strategy: CurveStrategy) -> TeacherConfig:
    """The teacher section as a strategy of the learning curves changes it.

    What makes up a way of training (low-rank adaptation, replay, ...) is the strategy's own: it is
    not taken over from the section.

    Raises
    ------
    UserError
        If the strategy's options are not those of a teacher.
    """
    values = {**teacher.model_dump(exclude=_WAYS_OF_TRAINING), **strategy.teacher}
    return parse_config({"teacher": values}, f"curve.strategies.{name}").teacher


def _absolute_strategy(
    teacher: TeacherConfig, name: str, strategy: CurveStrategy, folder: Path
) -> CurveStrategy:
    """A strategy with checked options and absolute file names."""
    full = with_absolute_files(strategy_teacher(teacher, name, strategy), folder)
    values = full.model_dump(mode="json")
    return strategy.model_copy(update={"teacher": {key: values[key] for key in strategy.teacher}})
