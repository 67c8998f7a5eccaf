"""Everything that a model visits: units of work of every method, and what they left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from distill.core.errors import UserError
from distill.core.progress import listed, say
from distill.core.sections import asked
from distill.core.work import Unit
from distill.sampling.config import SamplingBase, SelectionConfig
from distill.sampling.method import SAMPLING_METHODS, Sampler, Visited
from distill.sampling.unphysical import without_unphysical

Units = Mapping[str, Sequence[Unit]]


def refuse_what_cannot_work(config: SamplingBase) -> None:
    """Refuse what the section and its files decide.

    Raises
    ------
    UserError
        If nothing is asked for, or what the methods refuse.
    """
    wanted = asked(config, SAMPLING_METHODS)
    if not wanted and not config.include_training:
        raise UserError(
            "the sampling section asks for nothing: give "
            f"{' or '.join(SAMPLING_METHODS.names())}, or set include_training"
        )
    for name, configs in wanted.items():
        SAMPLING_METHODS.load(name)().refuse(configs)


def plan_units(config: SamplingBase, sampler: Sampler) -> dict[str, list[Unit]]:
    """The units of a sampling section by method, those of long units first.

    Raises
    ------
    UserError
        If two units of a method would write the same files.
    """
    planned = {
        name: SAMPLING_METHODS.load(name)().units(configs, sampler)
        for name, configs in asked(config, SAMPLING_METHODS).items()
    }
    for name, units in planned.items():
        counts = Counter(unit.record for unit in units)
        twice = [record.stem for record, count in counts.items() if count > 1]
        if twice:
            raise UserError(
                f"sampling.{name} asks for {listed(twice)} more than once: values of a list have "
                "to differ, in their first six digits"
            )
    return planned


def every_unit(units: Units) -> list[Unit]:
    """All units of all methods."""
    return [unit for of_method in units.values() for unit in of_method]


def collect(units: Units, config: SelectionConfig) -> Visited:
    """What finished units left, without unphysical structures along paths.

    Parameters
    ----------
    units
        Finished units by method.
    config
        Filters of structures that are kept as they are.
    """
    visited = Visited()
    for name, of_method in units.items():
        if of_method:
            visited.add(SAMPLING_METHODS.load(name)().collect(of_method))
    visited.paths, dropped = without_unphysical(visited.paths, config)
    if dropped:
        say(f"minimum energy paths: left out {in_words(dropped)}")
    return visited


def in_words(dropped: Mapping[str, int]) -> str:
    """Reasons and their counts, as part of a sentence."""
    return ", ".join(f"{count} with {reason}" for reason, count in dropped.items())
