"""Sections of a config whose keys are the members of a registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pydantic import Field, ValidationError, create_model

from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.registry import Registry

Base = TypeVar("Base", bound=Section)


class Configured(Protocol):
    """What a member of such a registry says of its key.

    Attributes
    ----------
    Config
        Its options.
    repeated
        Whether the key holds a list of them.
    """

    Config: type[Section]
    repeated: bool


def with_members(
    base: type[Base], registry: Registry[Any], *, name: str, module: str
) -> type[Base]:
    """A section with one more key for each member of a registry.

    A member that is not asked for is None, or an empty list where its key is repeated.

    Parameters
    ----------
    base
        The section's own keys.
    registry
        Members as `Configured`.
    name, module
        Of the class, where it will be found.
    """
    keys: dict[str, Any] = {}
    for key, member in registry.members().items():
        about = (member.Config.__doc__ or "").strip().partition("\n")[0]
        if member.repeated:
            many: Any = Field(default_factory=list, description=about)
            keys[key] = (list[member.Config], many)  # type: ignore[name-defined]
        else:
            keys[key] = (member.Config | None, Field(None, description=about))
    full = create_model(name, __base__=base, __module__=module, **keys)
    full.__doc__ = base.__doc__
    return full


def asked(section: Section, registry: Registry[Any]) -> dict[str, list[Any]]:
    """The options of each member that a section asks for, by its key, in the registry's order."""
    found: dict[str, list[Any]] = {}
    for key in registry.names():
        value = getattr(section, key)
        options = value if isinstance(value, list) else [] if value is None else [value]
        if options:
            found[key] = options
    return found


def sections_in(value: Any, kind: type[Base]) -> list[Base]:
    """Every section of a kind in a section, list or mapping."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, Section):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [found for entry in value for found in sections_in(entry, kind)]
    return []


def map_sections(value: Any, kind: type[Base], change: Callable[[Base], Base]) -> Any:
    """A copy with every section of a kind put through a function."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, Section):
        names = type(value).model_fields
        return value.model_copy(
            update={name: map_sections(getattr(value, name), kind, change) for name in names}
        )
    if isinstance(value, (list, tuple)):
        return type(value)(map_sections(entry, kind, change) for entry in value)
    if isinstance(value, dict):
        return {key: map_sections(entry, kind, change) for key, entry in value.items()}
    return value


def section_from(kind: type[Base], **options: Any) -> Base:
    """A section made in Python; what is wrong with the options is said in one line each.

    Raises
    ------
    UserError
        For an unknown option or a value out of range.
    """
    try:
        return kind(**options)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        raise UserError(f"{kind.__name__}: {'; '.join(faults)}") from None
