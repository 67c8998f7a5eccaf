"""Options that name a model, and how one labels structures."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from distill.core.config import Count, Section
from distill.core.input_files import ModelFile


class CalculatorConfig(Section):
    """Any ASE calculator: a model file, or a class by import path with its arguments."""

    path: ModelFile = Field(description="MACE .model, student .npz, or 'package.module:Class'")
    args: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class")


class LabelConfig(Section):
    """How the teacher labels structures; a MACE model takes several at once."""

    batch_size: Count = Field(8, description="structures at once")
    device: Literal["cpu", "cuda", "auto"] = Field("cpu", description="auto: CUDA if there is any")
