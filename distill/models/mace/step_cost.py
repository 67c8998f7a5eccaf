"""What training costs: measured on one step before it begins, and refused if memory is short."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.errors import UserError
from distill.core.progress import format_duration
from distill.models.mace import adapter, steps

if TYPE_CHECKING:
    import torch

    from distill.models.mace.config import MaceConfig

_GB = 1024**3
# Adam's three moments with amsgrad, and the average: as many copies of each weight that learns.
_COPIES = 4
# A validation has no backward pass through the forces.
_VALIDATION = 1 / 3
# Of Linux: writing 5 to the first sets the peak in the second back to the present size.
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class StepCost:
    """Time and memory of a training step on the largest batch that can come up.

    Attributes
    ----------
    structures, atoms
        Of that batch.
    seconds
        Wall time of the step.
    memory, free
        Bytes that it takes beside model and data, and that are there for it; None where the system
        does not tell.
    epoch
        Seconds of an epoch, by the neighbours in all batches.
    """

    structures: int
    atoms: int
    seconds: float
    memory: int | None
    free: int | None
    epoch: float

    def text(self, epochs: int) -> str:
        """In words, with the time of a number of epochs."""
        memory = "" if self.memory is None else f" and {self.memory / _GB:.2g} GB"
        free = "" if self.free is None else f" of {self.free / _GB:.3g} GB free"
        return (
            f"a training step on the largest batch ({self.structures} structures, {self.atoms} "
            f"atoms) takes {format_duration(self.seconds)}{memory}{free}; an epoch about "
            f"{format_duration(self.epoch)}, {epochs} epochs {format_duration(epochs * self.epoch)}"
        )


def step_cost(
    model: torch.nn.Module,
    config: MaceConfig,
    device: str,
    train_data: Sequence[Any],
    valid_data: Sequence[Any],
) -> StepCost:
    """Measure a training step; the weights stay as they are.

    A step on one structure comes first: it compiles, and what it takes says whether the batch fits.

    Parameters
    ----------
    model
        On the device; parameters that are frozen require no gradient.
    config
        Batches and weights of the loss.
    device
        Torch device.
    train_data, valid_data
        Graphs.

    Raises
    ------
    UserError
        If the batch would take more memory than there is.
    """
    neighbours = [int(graph.edge_index.shape[1]) for graph in train_data]
    order = sorted(range(len(train_data)), key=neighbours.__getitem__, reverse=True)
    batch = adapter.chunks(train_data, config.batch_size, order, config.batch_atoms)[0]
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)

    def step(chosen: Sequence[int]) -> tuple[float, int | None]:
        before = reset_peak(device)
        began = time.perf_counter()
        (graphs,) = adapter.make_batches([train_data[i] for i in chosen], len(chosen))
        steps.gradients(model, config, graphs, device)
        peak = peak_memory(device)
        model.zero_grad(set_to_none=True)
        taken = None if peak is None or before is None else max(peak - before, 0)
        return time.perf_counter() - began, taken

    free = free_memory(device)
    _, alone = step(batch[:1])
    whole = max(sum(neighbours[i] for i in batch), 1)
    if alone is not None and free is not None and len(batch) > 1:
        expected = alone * whole / max(neighbours[batch[0]], 1) + _COPIES * weights
        if expected > free:
            fitting = max(int(len(batch) * free / expected), 1)
            raise UserError(
                f"a training step on {len(batch)} structures would take about "
                f"{expected / _GB:.2g} GB, and {free / _GB:.2g} GB are free: set "
                f"teacher.batch_size to {fitting}, or teacher.batch_atoms, or teacher.dtype to "
                "float32"
            )
    seconds, memory = step(batch)
    validated = sum(int(graph.edge_index.shape[1]) for graph in valid_data)
    return StepCost(
        structures=len(batch),
        atoms=sum(int(train_data[i].num_nodes) for i in batch),
        seconds=seconds,
        memory=None if memory is None else memory + _COPIES * weights,
        free=free,
        epoch=seconds * (sum(neighbours) + _VALIDATION * validated) / whole,
    )


def free_memory(device: str) -> int | None:
    """Bytes that a process may still take, on a device or, with its group's limit, of this host."""
    if device != "cpu":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        limit, used = ((_CGROUP / f"memory.{n}").read_text() for n in ("max", "current"))
        free = min(free, int(limit) - int(used))
    return free


def reset_peak(device: str) -> int | None:
    """Begin to measure the peak of the memory; what is used at present, bytes."""
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    with suppress(OSError):
        _CLEAR.write_text("5")
        return _status("VmRSS")
    return None


def peak_memory(device: str) -> int | None:
    """The peak since then, bytes."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated())
    return _status("VmHWM")


def _status(entry: str) -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return 1024 * int(line.split()[1])
    return None
