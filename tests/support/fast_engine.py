"""What tests of the fast engine share: whether it is there, and code compiled in seconds."""

from __future__ import annotations

import os

import pytest

from distill.models.fast_mace import EngineRefused, require_engine

# In place of -O3 for the processor at hand; read whenever an architecture is compiled.
os.environ.setdefault("SYMMETRIX_JIT_HOST_FLAGS", "-O0")

try:
    require_engine()
    MISSING = ""
except EngineRefused as error:
    MISSING = str(error)

needs_engine = pytest.mark.skipif(bool(MISSING), reason=MISSING)
