"""What the diffusion observable returns."""

from __future__ import annotations

from distill.core.results import Interval, Record, Result

# 1 Å²/fs = 1e-16 cm² / 1e-15 s.
CM2_PER_S = 0.1


class DiffusivitySummary(Record):
    """A diffusivity with its interval, or an upper bound where nothing diffused.

    Attributes
    ----------
    value, interval
        Å²/fs; None if there is only a bound.
    upper_bound
        Å²/fs; None if there is a value.
    reason
        Why there is only a bound; empty otherwise.
    late_window
        From the later half of the fit window alone, Å²/fs.
    disagreement
        In words, where `late_window` differs from `value` by more than chance, because jumps
        remember each other within the window; empty otherwise.
    jumps
        Number of jumps that the mean squared displacement amounts to.
    time
        Of all runs together, fs.
    blocks
        Independent pieces that the interval rests on.
    intercept
        Of the fit, per defect, Å².
    lags, msd, msd_interval
        Fitted mean squared displacement per defect with the lower and upper ends of its interval:
        fs and Å², one number for each lag.
    """

    value: float | None
    interval: Interval | None
    upper_bound: float | None
    reason: str
    late_window: float
    jumps: float
    time: float
    blocks: int
    intercept: float
    lags: list[float]
    msd: list[float]
    msd_interval: tuple[list[float], list[float]]
    disagreement: str = ""


class Measured(Record):
    """A number with its interval."""

    value: float
    interval: Interval


class FitWindow(Record):
    """Lags of a fit, the same for all models at a temperature, fs.

    Attributes
    ----------
    start, end
        First and last.
    residence_time
        Mean time between jumps of the model that jumps least; None where too few were seen.
    early
        Whether it starts before two residence times, because the runs are too short for more: it
        may not tell of memory between jumps then.
    """

    start: float
    end: float
    residence_time: float | None
    early: bool


class JumpStatistics(Record):
    """How atoms jump.

    Attributes
    ----------
    jumps
        Of all runs.
    residence_time
        Mean time between jumps of a defect, fs.
    back
        Share of jumps that undo the one before of the same atom.
    correlation_factor
        Of the tracer, from the mean angle between successive jumps of an atom.
    """

    jumps: int
    residence_time: Measured
    back: Measured
    correlation_factor: Measured


class VanHove(Record):
    """Self part of the van Hove function, 4πr² G_s.

    Attributes
    ----------
    lags
        fs.
    distances
        Å.
    densities
        1/Å, by lag and distance.
    """

    lags: list[float]
    distances: list[float]
    densities: list[list[float]]


class KinisiEstimate(Record):
    """The diffusivity by kinisi (median and credible interval, Å²/fs), and kinisi's version."""

    value: float
    interval: Interval
    version: str


class RunReport(Record):
    """One run.

    Attributes
    ----------
    number
        At its model and temperature.
    used, reason
        Whether the diffusivity rests on it, and why it does not.
    time
        Of the production, fs.
    mean_temperature
        Kinetic, K; None if it is left out.
    force_calls
        Of the dynamics.
    """

    number: int
    used: bool
    reason: str
    time: float
    mean_temperature: float | None
    force_calls: int


class DiffusionAt(Record):
    """One model at a temperature (K).

    Attributes
    ----------
    diffusivity
        By the counting asked for; None where every run was left out, as the two that follow.
    collective
        From the square of the sum over atoms.
    kinisi
        None also where kinisi is not installed, or there is only an upper bound.
    runs
        All, those left out among them.
    window
        Of the fits.
    jumps
        None without any.
    haven_ratio
        Tracer over collective diffusivity; None where one of them is only a bound.
    van_hove
        At the first lag of the fit, the last, and one between.
    """

    temperature: float
    diffusivity: DiffusivitySummary | None
    collective: DiffusivitySummary | None
    kinisi: KinisiEstimate | None
    runs: list[RunReport]
    window: FitWindow | None = None
    jumps: JumpStatistics | None = None
    haven_ratio: Measured | None = None
    van_hove: VanHove | None = None

    @property
    def reason(self) -> str:
        """Why there is no diffusivity, or none to rely on; empty if there is one."""
        if self.diffusivity is None:
            return "every run was left out"
        return self.diffusivity.reason or self.diffusivity.disagreement


class ArrheniusSummary(Record):
    """D = D0 exp(−Ea / kT) fitted to diffusivities.

    Attributes
    ----------
    activation_energy, activation_energy_interval
        Ea, eV.
    prefactor, prefactor_interval
        D0, Å²/fs.
    correlation
        Of Ea and ln D0.
    temperatures
        That the fit rests on, K.
    chi_squared, p_value
        Sum of squared deviations over variances, and the probability of a worse fit by chance;
        None for two temperatures.
    scale
        Factor by which the samples were spread because the fit is poor; 1 otherwise.
    confidence
        Of the intervals.
    activation_energy_samples, log_prefactor_samples
        The first joint samples of Ea (eV) and ln(D0 / Å²/fs).
    """

    activation_energy: float
    activation_energy_interval: Interval
    prefactor: float
    prefactor_interval: Interval
    correlation: float
    temperatures: list[float]
    chi_squared: float | None
    p_value: float | None
    scale: float
    confidence: float
    activation_energy_samples: list[float]
    log_prefactor_samples: list[float]


class ModelDiffusion(Record):
    """One model.

    Attributes
    ----------
    lattice_scale
        Lengths of its crystal at 0 K over those of the given one.
    temperatures
        In the order of the config.
    arrhenius, arrhenius_reason
        None where fewer than two temperatures gave a diffusivity, and why.
    nanoseconds_per_day
        Dynamics by one core.
    """

    lattice_scale: float
    temperatures: list[DiffusionAt]
    arrhenius: ArrheniusSummary | None
    arrhenius_reason: str
    nanoseconds_per_day: float


class ArrheniusDifference(Record):
    """Differences of activation energies (eV) and of ln D0 of independent fits, with intervals."""

    activation_energy: float
    activation_energy_interval: Interval
    log_prefactor: float
    log_prefactor_interval: Interval
    confidence: float


class LogRatio(Record):
    """Difference of ln D of two models at a temperature (K), with its interval."""

    temperature: float
    value: float
    interval: Interval


class DiffusionDifference(Record):
    """One model minus another.

    Attributes
    ----------
    to
        Name of the other.
    arrhenius
        None where one of both has no fit.
    log_diffusivity
        At the temperatures where both have a diffusivity.
    """

    to: str
    arrhenius: ArrheniusDifference | None
    log_diffusivity: list[LogRatio]


class DiffusionSettings(Record):
    """What was followed, and how.

    Attributes
    ----------
    defect, element
        Kind of the defect, and the element that diffuses.
    defects, atoms, formula
        In the cell.
    jump_length
        Å.
    ensemble, counting, confidence
        Of the config.
    published
        Activation energy with its interval, eV, that the config gives.
    """

    defect: str
    element: str
    defects: int
    atoms: int
    formula: str
    jump_length: float
    ensemble: str
    counting: str
    confidence: float
    published: tuple[float, Interval | None] | None = None


class DiffusionResult(Result):
    """Diffusivities, Arrhenius fits and their differences.

    Attributes
    ----------
    settings
        Of all models.
    models
        By name.
    differences
        Of each model to the teacher, or to the first, by its name.
    """

    settings: DiffusionSettings
    models: dict[str, ModelDiffusion]
    differences: dict[str, DiffusionDifference]
