"""Run the teacher stage on tiny data, with a checkpoint after every epoch.

python train_tiny.py FOUNDATION TRAIN TEST OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from distill.config import TeacherConfig
from distill.teacher import training
from distill.teacher.stage import run

training.CHECKPOINT_INTERVAL_S = 0.0
foundation, train, test, out = sys.argv[1:]
config = TeacherConfig(
    foundation=foundation,
    epochs=12,
    patience=100,
    batch_size=4,
    threads=1,
    schedule="cosine",
    stage_two={"start_epoch": 7},
)
run(config, train=Path(train), test=Path(test), out=Path(out), seed=1)
