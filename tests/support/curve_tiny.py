"""Run learning curves with a checkpoint after every epoch.

python curve_tiny.py CONFIG OUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from distill.config import load_config
from distill.models.mace import training
from distill.studies.curve import learning_curves


def curve_tiny(workflow: Path, out: Path) -> None:
    settings = [
        f"output={out}",
        "curve.strategies={new: {teacher: {strategy: scratch}, steps: 24}}",
        "curve.fractions=[1.0]",
        "curve.seeds=[1]",
    ]
    with patch.object(training, "CHECKPOINT_INTERVAL_S", 0.0):
        learning_curves(load_config(workflow, settings))


if __name__ == "__main__":
    curve_tiny(*map(Path, sys.argv[1:]))
