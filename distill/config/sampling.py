"""The `sampling` section: its own options, and a key for each method."""

from __future__ import annotations

from distill.core.sections import with_members
from distill.sampling.config import SamplingBase
from distill.sampling.method import SAMPLING_METHODS

SamplingConfig = with_members(
    SamplingBase, SAMPLING_METHODS, name="SamplingConfig", module=__name__
)
