"""Members of an interface by name: those of the package, and those that other packages add.

Members are named as `module:Class` and imported when they are asked for, so that listing them costs
nothing. Another package adds one by an entry point in the interface's group.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from distill.core.errors import UserError, nearest_name, words_of

Member = TypeVar("Member")


class Registry(Generic[Member]):
    """The members of one interface.

    Parameters
    ----------
    kind
        What a member is called in messages, such as "sampling method".
    group
        Entry-point group of other packages' members.
    own
        The package's members, `module:Class` by name.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, str]) -> None:
        self.kind, self.group, self.own = kind, group, dict(own)

    @cached_property
    def _places(self) -> dict[str, str]:
        added = {point.name: point.value for point in entry_points(group=self.group)}
        taken = sorted(set(added) & set(self.own))
        if taken:
            raise UserError(
                f"the entry points of {self.group} name {', '.join(taken)}, which distill has "
                f"itself: rename that {self.kind} in the package that adds it"
            )
        return {**self.own, **added}

    def names(self) -> list[str]:
        """Names of all members, the package's own first."""
        return list(self._places)

    def load(self, name: str) -> Member:
        """The member of a name.

        Raises
        ------
        UserError
            If there is none of this name, or it cannot be imported.
        """
        place = self._places.get(name)
        if place is None:
            hint = nearest_name(name, self.names())
            raise UserError(f"there is no {self.kind} '{name}': {hint}")
        module, _, attribute = place.partition(":")
        try:
            member: Any = getattr(import_module(module), attribute)
        except (Exception, SystemExit) as error:
            # Importing runs the code of others, except of our own members.
            if name in self.own and not isinstance(error, (ImportError, AttributeError)):
                raise
            raise UserError(
                f"the {self.kind} '{name}' ({place}) cannot be loaded: {words_of(error)}"
            ) from error
        return member

    def members(self) -> dict[str, Member]:
        """All members by name."""
        return {name: self.load(name) for name in self.names()}
