"""Settings of juliapkg and juliacall, as these two read them."""

from __future__ import annotations

import os
import sys


def option(program: str, name: str) -> str | None:
    """Setting of juliapkg or juliacall, from `-X program-name=…` or its environment variable."""
    value = sys._xoptions.get(f"{program}-{name}")
    if isinstance(value, str):
        return value
    return os.environ.get(f"PYTHON_{program.upper()}_{name.upper()}")
