"""A function whose module sets torch to three threads when a worker loads it."""

from __future__ import annotations

import torch

torch.set_num_threads(3)


def torch_threads(_: object) -> int:
    return torch.get_num_threads()
