"""A function whose module sets torch to three threads when a worker loads it."""

from __future__ import annotations

import re

import torch

torch.set_num_threads(3)


def torch_threads(_: object) -> int:
    """Threads that torch computes with, those of the linear algebra built into it included."""
    about = torch.__config__.parallel_info()
    return max(int(n) for n in re.findall(r"(?:::get_num|_get_max)_threads\(\) : (\d+)", about))
