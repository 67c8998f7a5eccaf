"""The `compare` section: its own options, and keys and bounds of each observable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, create_model

from distill.compare.config import CompareBase, ErrorTolerances
from distill.core.errors import UserError
from distill.core.sections import with_members
from distill.observables.base import OBSERVABLES, Observable

_TOLERANCES = "tolerances"


def compare_section() -> tuple[Any, Any]:
    """The classes of `compare.tolerances` and of `compare`, for the observables that there are.

    Raises
    ------
    UserError
        If an observable of another package has a name or a tolerance that is taken.
    """
    members = OBSERVABLES.members()
    _refuse_taken(members)
    bounds: Any = dict.fromkeys(kind.Tolerances for kind in members.values())
    tolerances = create_model(
        "Tolerances", __base__=(ErrorTolerances, *bounds), __module__=__name__
    )
    tolerances.__doc__ = ErrorTolerances.__doc__
    own: Any = {_TOLERANCES: (tolerances, Field(default_factory=tolerances))}
    judged = create_model("JudgedCompare", __base__=CompareBase, __module__=__name__, **own)
    judged.__doc__ = CompareBase.__doc__
    return tolerances, with_members(judged, OBSERVABLES, name="CompareConfig", module=__name__)


def _refuse_taken(members: Mapping[str, type[Observable[Any]]]) -> None:
    keys = dict.fromkeys((*CompareBase.model_fields, _TOLERANCES), "the compare section itself")
    bounds = dict.fromkeys(ErrorTolerances.model_fields, "the compare section itself")
    for name, kind in members.items():
        if name in keys:
            raise UserError(f"no observable can be called {name}: {keys[name]} has that key")
        for bound in kind.Tolerances.model_fields:
            if bound in bounds:
                raise UserError(
                    f"the observable {name} has a tolerance {bound}, as has {bounds[bound]}: "
                    "rename it in the package that adds it"
                )
            bounds[bound] = f"the observable {name}"


Tolerances, CompareConfig = compare_section()
