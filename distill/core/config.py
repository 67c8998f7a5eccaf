"""What every section of the vocabulary shares: strictness and ranges.

Beyond the ranges lies no simulation, but an array that no machine holds, a loop without end, or a
number that overflows.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST = 10**7
MOST_REPEATS = 100

Signed = Annotated[float, Field(ge=-1e9, le=1e9)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
NonNegative = Annotated[float, Field(ge=0, le=1e9)]
Fraction = Annotated[float, Field(gt=0, le=1)]

Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrNone = Annotated[int, Field(ge=0, le=LARGEST)]
Index = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Repeats = Annotated[int, Field(ge=1, le=MOST_REPEATS)]
Threads = Annotated[int, Field(ge=1, le=4096)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]

# Å
Length = Annotated[float, Field(ge=1e-6, le=1e4)]
Cutoff = Annotated[float, Field(ge=0.5, le=20)]
# fs
Duration = Annotated[float, Field(ge=1e-4, le=1e9)]
TimeStep = Annotated[float, Field(ge=1e-4, le=1e3)]
# K
Temperature = Annotated[float, Field(ge=0.01, le=1e6)]
TemperatureOrZero = Annotated[float, Field(ge=0, le=1e6)]
# eV/Å³
Pressure = Annotated[float, Field(ge=-100, le=100)]
# 1/K
Expansion = Annotated[float, Field(ge=0, le=0.01)]


def _distinct(values: list[float]) -> list[float]:
    texts = [f"{value:g}" for value in values]
    if repeated := sorted({text for text in texts if texts.count(text) > 1}):
        raise ValueError(
            f"{', '.join(repeated)} is given more than once, to six digits: a run would be "
            "counted twice"
        )
    return values


# Of numbers that runs are named by.
DISTINCT = AfterValidator(_distinct)


class Section(BaseModel):
    """A block of the YAML file: unknown keys are refused, values are checked and fixed.

    Infinity and NaN are no values of any option.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def is_plain_name(name: str) -> bool:
    """Whether a name can be that of a file or folder of ours: no slashes, no leading dot."""
    return bool(name) and not any(c in name for c in "/\\\0") and not name.startswith(".")
