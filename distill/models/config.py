"""Options that name a model, and how one labels structures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from distill.core.config import Count, Positive, Section
from distill.core.input_files import ModelFile


class CalculatorConfig(Section):
    """Any ASE calculator: a model file, a class by import path with its arguments, or a program."""

    # How long to wait changes no answer.
    unkeyed: ClassVar[frozenset[str]] = frozenset({"timeout"})
    # Such as the weights of a model; what has their names is an input with its contents.
    may_name_files: ClassVar[frozenset[str]] = frozenset({"args", "command"})

    path: ModelFile | None = Field(
        None, description="MACE .model, student .npz, or 'package.module:Class'"
    )
    args: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class")
    python: str | None = Field(
        None,
        description="Python of another environment, which makes the class there: "
        "/path/to/env/bin/python; it needs ASE and the class's own package",
    )
    command: str | None = Field(
        None,
        description="program that speaks the i-PI protocol, in place of path; {socket} (a path), "
        "{unixsocket} (NAME of /tmp/ipi_NAME) or {port} on this host, {structure} (an extxyz file) "
        "and {folder} (a scratch folder) are filled in",
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="variables of the python or command"
    )
    timeout: Positive = Field(
        600.0, description="python or command: longest time without an answer, s"
    )

    @field_validator("python")
    @classmethod
    def _check_python(cls, python: str | None) -> str | None:
        # Not resolved: the Python of an environment is a link to another.
        found = None if python is None else Path(python).expanduser()
        if found is not None and len(found.parts) > 1 and not found.is_absolute():
            raise ValueError("expected an absolute path, or the name of a command")
        return None if found is None else str(found)

    @model_validator(mode="after")
    def _check(self) -> CalculatorConfig:
        if (self.path is None) == (self.command is None):
            raise ValueError("expected either path or command")
        if self.python is not None and (self.path is None or self.path.names_a_file):
            raise ValueError("python goes with a path 'package.module:Class'")
        if self.command is not None and self.args:
            raise ValueError("args are those of a class; a command takes none")
        if self.command is not None and not any(
            "{" + name + "}" in self.command for name in ("socket", "unixsocket", "port")
        ):
            raise ValueError("command: expected {socket}, {unixsocket} or {port} in it")
        if self.environment and not self.is_external:
            raise ValueError("environment goes with python or command")
        return self

    @property
    def is_external(self) -> bool:
        """Whether it is a process of its own."""
        return self.python is not None or self.command is not None

    @property
    def name(self) -> str:
        """What messages call it: path, or the program."""
        return str(self.path) if self.command is None else self.command.split()[0]


class LabelConfig(Section):
    """How the teacher labels structures; a MACE model takes several at once."""

    batch_size: Count = Field(8, description="structures at once")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA if there is any")
