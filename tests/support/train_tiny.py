"""Run the teacher stage on tiny data, with a checkpoint after every epoch.

python train_tiny.py FOUNDATION TRAIN TEST OUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from distill.config import StageTwo, TeacherConfig
from distill.models.mace import training
from distill.teacher.teacher_stage import run

CONFIG = TeacherConfig(
    epochs=12,
    patience=100,
    batch_size=4,
    threads=2,
    schedule="cosine",
    stage_two=StageTwo(start_epoch=7),
)


def train_tiny(foundation: Path, train: Path, test: Path, out: Path) -> None:
    config = CONFIG.model_copy(update={"foundation": str(foundation)})
    with patch.object(training, "CHECKPOINT_INTERVAL_S", 0.0):
        run(config, train=train, test=test, out=out, seed=1)


if __name__ == "__main__":
    train_tiny(*map(Path, sys.argv[1:]))
