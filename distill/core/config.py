"""What every section of the vocabulary shares: strictness and ranges."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]


NonNegative = Annotated[float, Field(ge=0)]


Fraction = Annotated[float, Field(gt=0, le=1)]


Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A block of the YAML file: unknown keys are refused, values are checked and fixed.

    Infinity and NaN are no values of any option.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def is_plain_name(name: str) -> bool:
    """Whether a name can be that of a file or folder of ours: no slashes, no leading dot."""
    return bool(name) and not any(c in name for c in "/\\\0") and not name.startswith(".")
