"""The `compare` section: its own options, and keys and bounds of each observable."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from distill.compare.config import CompareBase, ErrorTolerances
from distill.core.sections import with_members
from distill.observables.base import OBSERVABLES

_bounds: Any = dict.fromkeys(o.Tolerances for o in OBSERVABLES.members().values())
Tolerances: Any = create_model(
    "Tolerances", __base__=(ErrorTolerances, *_bounds), __module__=__name__
)
Tolerances.__doc__ = ErrorTolerances.__doc__


class _Judged(CompareBase):
    tolerances: Tolerances = Field(default_factory=Tolerances)


_Judged.__doc__ = CompareBase.__doc__
CompareConfig = with_members(_Judged, OBSERVABLES, name="CompareConfig", module=__name__)
