"""The `parallel` section: which executor, how many workers, and its options."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from distill.core.config import Count, Positive, Section
from distill.core.errors import UserError, nearest_name
from distill.core.executors.executor import EXECUTORS


class ParallelConfig(Section):
    """Where independent units of work run."""

    backend: str = Field("local", description="serial, local, dask or parsl")
    workers: Count | None = Field(None, description="processes; all cores if not given")
    timeout: Positive | None = Field(
        None,
        description="seconds that one unit of work may take; without it, no limit",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="options of the dask cluster or parsl configuration"
    )

    @field_validator("backend")
    @classmethod
    def _check_backend(cls, backend: str) -> str:
        try:
            EXECUTORS.load(backend)
        except UserError as error:
            raise ValueError(str(error)) from None
        return backend

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "backend" in info.data:
            backend = info.data["backend"]
            known = EXECUTORS.load(backend).Options
            try:
                known.model_validate(options)
            except ValidationError as error:
                raise ValueError(_in_words(error, backend, known)) from None
        return options


def _in_words(error: ValidationError, backend: str, known: type[Section]) -> str:
    problems = []
    for item in error.errors():
        name = ".".join(map(str, item["loc"]))
        if item["type"] == "extra_forbidden":
            names = list(known.model_fields)
            hint = nearest_name(name, names) if names else "it has no options"
            problems.append(f"unknown option '{name}' of the executor {backend}; {hint}")
        else:
            problems.append(f"option '{name}' of the executor {backend}: {item['msg']}")
    return "; ".join(problems)
