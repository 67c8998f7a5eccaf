"""What the observable of radial distribution functions returns."""

from __future__ import annotations

from distill.core.results import Interval, Record, Result


class PairCurve(Record):
    """A pair of elements by one model.

    Attributes
    ----------
    g, g_interval
        Radial distribution function in each bin.
    running
        Mean number of the second element around an atom of the first, up to the end of each bin.
    coordination, coordination_interval
        The same within the pair's radius.
    """

    g: list[float]
    g_interval: list[Interval]
    running: list[float]
    coordination: float
    coordination_interval: Interval


class ModelRdf(Record):
    """One model at one temperature.

    Attributes
    ----------
    pairs
        By pair, such as `Li-F`.
    mean_temperature
        Kinetic, K.
    blocks
        Independent blocks of time that the intervals rest on.
    runs
        Good ones.
    """

    pairs: dict[str, PairCurve]
    mean_temperature: float
    blocks: int
    runs: int


class PairDifference(Record):
    """A pair of elements by one model against the baseline.

    Attributes
    ----------
    divergence
        Jensen-Shannon divergence of the distributions of distances, bits.
    noise_floor
        What finite sampling adds to it in the mean, where both models are the same.
    excess, excess_interval
        The divergence above the floor.
    coordination, coordination_interval
        Coordination number minus the baseline's.
    """

    divergence: float
    noise_floor: float
    excess: float
    excess_interval: Interval
    coordination: float
    coordination_interval: Interval


class TemperatureRdf(Record):
    """All models at one temperature.

    Attributes
    ----------
    temperature
        K.
    block_time
        Length of a block, fs.
    radii
        Within which neighbours are counted, by pair, Å.
    models
        By name; None where fewer than two runs were good.
    differences
        To the baseline, by the other model's name, then by pair.
    """

    temperature: float
    block_time: float
    radii: dict[str, float]
    models: dict[str, ModelRdf | None]
    differences: dict[str, dict[str, PairDifference]]


class RdfResult(Result):
    """Radial distribution functions at every temperature.

    Attributes
    ----------
    structure
        Chemical formula of the cell.
    distances
        Middle of each bin, Å.
    confidence
        Of the intervals.
    baseline
        Model that the others are compared to.
    calls
        Force calls by model.
    """

    structure: str
    distances: list[float]
    confidence: float
    baseline: str
    temperatures: list[TemperatureRdf]
    calls: dict[str, int]
