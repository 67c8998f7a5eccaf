"""What the observable of vibrational densities of states returns."""

from __future__ import annotations

from distill.core.results import Interval, Record, Result


class PartDensity(Record):
    """Of all atoms or of one element by one model.

    Attributes
    ----------
    density, density_interval
        States per THz at each frequency.
    mean_frequency, mean_frequency_interval
        First moment, THz.
    """

    density: list[float]
    density_interval: list[Interval]
    mean_frequency: float
    mean_frequency_interval: Interval


class ModelVdos(Record):
    """One model at one temperature.

    Attributes
    ----------
    parts
        `all`, and each element where there are several.
    mean_temperature
        Kinetic, K.
    runs
        Good ones.
    """

    parts: dict[str, PartDensity]
    mean_temperature: float
    runs: int


class PartDifference(Record):
    """Of all atoms or of one element by one model against the baseline.

    Attributes
    ----------
    mean_frequency, mean_frequency_interval
        Difference over the baseline's.
    overlap, overlap_interval
        Of the two densities, 1 for equal ones, without the bias of finite runs.
    """

    mean_frequency: float
    mean_frequency_interval: Interval
    overlap: float
    overlap_interval: Interval


class TemperatureVdos(Record):
    """All models at one temperature.

    Attributes
    ----------
    temperature
        K.
    models
        By name; None where fewer than two runs were good.
    differences
        To the baseline, by the other model's name, then by part.
    """

    temperature: float
    models: dict[str, ModelVdos | None]
    differences: dict[str, dict[str, PartDifference]]


class VdosResult(Result):
    """Vibrational densities of states at every temperature.

    Attributes
    ----------
    structure
        Chemical formula of the cell.
    frequencies
        THz.
    degrees_of_freedom
        That the densities of all atoms integrate to.
    confidence
        Of the intervals.
    baseline
        Model that the others are compared to.
    calls
        Force calls by model.
    """

    structure: str
    frequencies: list[float]
    degrees_of_freedom: int
    confidence: float
    baseline: str
    temperatures: list[TemperatureVdos]
    calls: dict[str, int]
