"""Where what can be made again is kept for the user, across projects."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache_folder() -> Path:
    """`distill` in the user's cache folder: that of XDG_CACHE_HOME, or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distill"
