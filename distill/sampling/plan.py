"""What the sampling stage will take, before any of it is done."""

from __future__ import annotations

from distill.core.sections import asked
from distill.observables.base import STUDENT, TEACHER
from distill.observables.call_times import work_text
from distill.sampling.config import SamplingBase
from distill.sampling.method import SAMPLING_METHODS


def sampling_plan(config: SamplingBase, seconds: float | None) -> list[str]:
    """Lines on the work of each method.

    Parameters
    ----------
    config
        The section.
    seconds
        Processor time of a teacher's call and atom, where it was measured.
    """
    driven = config.driven
    role = TEACHER if driven is None else STUDENT
    lines = []
    for name, configs in asked(config, SAMPLING_METHODS).items():
        found = SAMPLING_METHODS.load(name)().plan(configs)
        lines += [f"{name}: {work_text(role, *planned, seconds)}" for planned in found]
        if not found:
            lines.append(f"{name}: its calls are not known beforehand")
    if driven is not None:
        most = driven.max_calls or driven.rounds * driven.labels
        lines.append(
            f"driven: the above in each of {driven.rounds} rounds at most; the teacher labels "
            f"{most:,} structures at most"
        )
    return lines
