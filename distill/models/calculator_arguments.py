"""Arguments that users name for a calculator of other people's code."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

# Share of letters in common from which a name counts as a misspelt one.
_ALIKE = 0.8


def signature(factory: Any) -> str:
    """What a class or function takes."""
    try:
        return str(inspect.signature(factory))
    except (TypeError, ValueError):
        return "unknown arguments"


def misspelt(factory: Any, arguments: Iterable[str]) -> dict[str, str]:
    """Arguments that a class does not name but one much like them, and that one.

    ASE's calculators take any keyword and leave unknown ones unused, without a word. Others that
    are like no known name pass: some classes use keywords that they do not list.
    """
    if not isinstance(factory, type):
        return {}
    known = set(getattr(factory, "default_parameters", None) or ())
    for base in factory.__mro__[:-1]:
        try:
            known |= set(inspect.signature(base).parameters)
        except (TypeError, ValueError):
            continue
    near = {name: get_close_matches(name, known, 1, _ALIKE) for name in set(arguments) - known}
    return {name: found[0] for name, found in near.items() if found}
