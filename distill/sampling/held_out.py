"""Which sampled trajectories are kept apart to test the student."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from distill.core.errors import UserError
from distill.core.random_streams import stream
from distill.metrics.source_intervals import FEWEST_SOURCES
from distill.sampling.config import SelectionConfig


def held_out_trajectories(
    endings: Mapping[str, str], starts: Mapping[str, str], config: SelectionConfig, seed: int
) -> set[str]:
    """Names of whole trajectories whose structures only test the student.

    Their share of all trajectories is about that of held-out structures among those kept; they are
    at least as many as an interval needs, or a third of all. All that share a start, such as a
    thermal surface, are held out together, so that nothing that the student learns from began where
    a test began. They are spread over the ways trajectories ended, at least one of each where that
    many are held out, the rarest first.

    Parameters
    ----------
    endings
        How each trajectory ended, by its name.
    starts
        What each shares its start with; a trajectory that is missing shares it with none.
    config
        Counts of kept and held-out structures.
    seed
        The run's seed.

    Raises
    ------
    UserError
        If structures are to be held out of a single trajectory.
    """
    if config.held_out == 0:
        return set()
    if len(endings) < 2:
        raise UserError(
            "selection.held_out keeps whole trajectories apart, but only one was sampled: sample "
            "more, or set held_out to 0"
        )
    share = config.held_out / (config.held_out + config.count)
    fewest = max(min(FEWEST_SOURCES, len(endings) // 3), 1)
    number = min(max(round(share * len(endings)), fewest), len(endings) - 1)
    groups: dict[str, list[str]] = {}
    for name in sorted(endings):
        groups.setdefault(starts.get(name, name), []).append(name)
    if len(groups) == 1:
        # All began on one surface, and some have to be held out.
        groups = {name: [name] for name in sorted(endings)}
    shuffled = [str(start) for start in stream(seed, "held out").permutation(sorted(groups))]
    counts = Counter(endings.values())
    held: list[str] = []
    for ending, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        wanted = max(round(number * count / len(endings)), 1)
        for start in shuffled:
            have = sum(endings[name] == ending for name in held)
            # The last group stays, and so does the only one with an ending.
            if have >= wanted or len(held) >= number or len(groups) == 1:
                break
            ends = Counter(endings[name] for name in groups.get(start, ()))
            if ends[ending] and all(found < counts[e] for e, found in ends.items()):
                held += groups.pop(start)
    if not held:
        held = groups[shuffled[0]]
    return set(held)
