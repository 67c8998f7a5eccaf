"""Averages at the teacher's level from a student's trajectory and a few calls of the teacher.

The student's ensemble is sampled at length, and the teacher is called on m of its structures. With
Δ = U_teacher − U_student and weights w = exp(−Δ/kT),

    <A>_teacher = <A>_student + (<w A> / <w> − <A>) of the m structures,

in which the first term has the student's statistics and the second, the correction, little variance
where the models are alike (reweighting; Zwanzig, J. Chem. Phys. 22, 1420 (1954)). Where Δ varies by
more than some kT, as it does in a large cell, a few structures carry all the weight. Then

    <A>_teacher = <A>_student − cov(A, Δ) / kT,

the first order in Δ, is taken. It is exact where A and Δ are jointly normal, which sums over a
large cell come near to; the term after it, half of the third joint cumulant κ(A, Δ, Δ) / (kT)², is
given with its standard error to say whether it is missed.

Where some of Δ follows from what is known on all frames, such as the student's energy, a linear fit
Δ' of Δ to that takes its part from the whole trajectory: the first term is the student's with
weights exp(−Δ'/kT), and so are the averages that the calls' are held against. However good the fit,
the result is the same in the mean; the better, the less there is left to the calls.

Errors and the bias of ratios are by the jackknife over blocks of time, which leaves out the frames
and the calls of a block together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.units import kB
from numpy.typing import NDArray
from scipy.stats import t

from distill.core.errors import UserError
from distill.metrics.autocorrelation import block_length, block_means
from distill.metrics.jackknife import Jackknife, jackknife

Array = NDArray[np.float64]
Form = Literal["reweighting", "first order"]

# Deviation of Δ in kT up to which calls are weighted, a tenth of normal ones having the weight
# then; and the effective number that has to be left of them. Few calls show too large a number.
_WIDEST, _LEAST_EFFECTIVE = 1.5, 10.0
_SKEW = 7.0
# Calls that a fit of the differences asks for, for each feature.
_CALLS_A_FEATURE = 10
_MOST_BLOCKS = 40
# Blocks with calls, below which no interval is given.
FEWEST_BLOCKS = 4


@dataclass(frozen=True)
class TeacherMean:
    """An average in the teacher's ensemble; arrays have the shape of the observable.

    Attributes
    ----------
    value
        Without the bias that few weights have in the mean.
    low, high
        Ends of its interval.
    student
        The average over the student's trajectory.
    form
        How the correction was made.
    calls
        Of the teacher.
    effective_samples
        How many calls of equal weight would say as much, (Σw)²/Σw².
    bias
        What was taken off.
    next_term, next_term_error
        What the first order leaves out, with its standard error; None of reweighting.
    """

    value: Array
    low: Array
    high: Array
    student: Array
    form: Form
    calls: int
    effective_samples: float
    bias: Array
    next_term: Array | None = None
    next_term_error: Array | None = None

    @property
    def missed(self) -> bool:
        """Whether the first order is seen to leave something out, by two standard errors.

        Of many numbers, whether more than a twentieth of them are.
        """
        if self.next_term is None or self.next_term_error is None:
            return False
        return bool(np.mean(np.abs(self.next_term) > 2 * self.next_term_error) > 0.05)


@dataclass(frozen=True)
class FreeEnergyDifference:
    """Free energy of the teacher minus that of the student, eV.

    Attributes
    ----------
    value, low, high
        Without the bias of the exponential average, and the ends of its interval.
    form
        Zwanzig's average, or the mean and half the variance over kT.
    calls, effective_samples, bias
        As in `TeacherMean`.
    """

    value: float
    low: float
    high: float
    form: Form
    calls: int
    effective_samples: float
    bias: float


def teacher_mean(
    values: Array,
    differences: Array,
    temperature: float,
    *,
    corrections: Array | None = None,
    features: Array | None = None,
    confidence: float = 0.95,
) -> TeacherMean:
    """The average of an observable in the teacher's ensemble.

    Parameters
    ----------
    values
        Along equal independent runs of the student at constant temperature, shape (runs, frames,
        ...).
    differences
        Energy of the teacher minus the student's, eV, shape (runs, frames); not a number where the
        teacher was not called. Calls should be so far apart that they are independent.
    temperature
        K.
    corrections
        What the teacher adds to the values where it was called, for observables that depend on the
        model, such as the energy; shape of `values`, not looked at elsewhere.
    features
        Of every frame, that the differences may follow from, shape (runs, frames, k).
    confidence
        Of the interval.

    Raises
    ------
    UserError
        If the calls are in too few blocks of the trajectory for an interval.
    """
    shape, called = values.shape[2:], np.isfinite(differences)
    flat = values.reshape(*values.shape[:2], -1)
    length = _block(flat)
    _require_blocks(called, length)
    centre = flat.mean(axis=(0, 1))
    changed = flat - centre
    if corrections is not None:
        changed = changed + np.where(called[..., None], corrections.reshape(flat.shape), 0.0)
    delta, weights, effective = _weights(differences, called, temperature)
    fitted, by_fit = _fitted(differences, called, features, temperature)
    on = called[..., None]

    def means(array: Array) -> Array:
        return block_means(array, length)

    share, old = means(on.astype(float)), flat - centre
    if _carried(differences[called], effective, temperature):
        found = jackknife(
            lambda a, fit, here, fit_here, new, w: a / fit - here / fit_here + new / w,
            means(by_fit * old),
            means(by_fit),
            means(on * by_fit * old),
            means(on * by_fit),
            means(weights * changed),
            means(weights),
        )
        influences = _influences(weights[called], changed[called])
        influences -= _influences(by_fit[called], old[called])
        freedom = _freedom_of_weights(influences, effective)
        low, high = _ends(found, freedom, confidence)
        return TeacherMean(
            value=_shaped(found.corrected + centre, shape),
            low=_shaped(low + centre, shape),
            high=_shaped(high + centre, shape),
            student=_shaped(centre, shape),
            form="reweighting",
            calls=int(called.sum()),
            effective_samples=effective,
            bias=_shaped(found.bias, shape),
        )
    beta = 1 / (kB * temperature)

    def orders(a: Array, f: Array, af: Array, c: Array, *moments: Array) -> Array:
        new, d, dd, nd, ndd, here, f_here, af_here = (moment / c for moment in moments)
        first = a - beta * (af - a * f) - here + beta * (af_here - here * f_here)
        first = first + new - beta * (nd - new * d)
        third = ndd - 2 * nd * d - new * dd + 2 * new * d**2
        return np.array([first, 0.5 * beta**2 * third])

    powers = (changed, delta, delta**2, delta * changed, delta**2 * changed, old, fitted)
    found = jackknife(
        orders,
        means(old),
        means(fitted),
        means(fitted * old),
        share,
        *(means(on * power) for power in (*powers, fitted * old)),
    )
    freedom = _freedom_of_covariance(changed[called], (delta - fitted)[called])
    low, high = _ends(found, np.array([freedom, freedom]), confidence)
    return TeacherMean(
        value=_shaped(found.corrected[0] + centre, shape),
        low=_shaped(low[0] + centre, shape),
        high=_shaped(high[0] + centre, shape),
        student=_shaped(centre, shape),
        form="first order",
        calls=int(called.sum()),
        effective_samples=effective,
        bias=_shaped(found.bias[0], shape),
        next_term=_shaped(found.corrected[1], shape),
        next_term_error=_shaped(found.standard_error[1], shape),
    )


def free_energy_difference(
    differences: Array, temperature: float, *, confidence: float = 0.95
) -> FreeEnergyDifference:
    """Free energy from the student to the teacher.

    Zwanzig's exponential average, without its bias (Zuckerman and Woolf, Phys. Rev. Lett. 89,
    180602 (2002)); where the weights degenerate, the cumulants up to the second, which are exact
    for a difference that is normal.

    Parameters
    ----------
    differences, temperature, confidence
        As in `teacher_mean`.

    Raises
    ------
    UserError
        If there are calls in too few blocks for an interval.
    """
    called = np.isfinite(differences)
    _require_blocks(called, 1)
    delta, weights, effective = _weights(differences, called, temperature)
    kt = kB * temperature
    here = called.ravel()
    d, w = delta[..., 0].ravel()[here], weights[..., 0].ravel()[here]
    form: Form
    if _carried(differences[called], effective, temperature):
        form = "reweighting"
        found = jackknife(lambda mean: -kt * np.log(mean), w)
        # The weights are relative to the largest.
        offset = float(np.nanmin(differences))
    else:
        form = "first order"
        found = jackknife(lambda a, b: a - (b - a**2) / (2 * kt), d, d**2)
        offset = float(np.nanmean(differences))
    freedom = np.asarray(len(d) / _SKEW)
    if form == "reweighting":
        freedom = _freedom_of_weights((w - w.mean())[:, None], effective)[0]
    low, high = _ends(found, freedom, confidence)
    return FreeEnergyDifference(
        value=float(found.corrected) + offset,
        low=float(low) + offset,
        high=float(high) + offset,
        form=form,
        calls=int(called.sum()),
        effective_samples=effective,
        bias=float(found.bias),
    )


def _weights(differences: Array, called: Array, temperature: float) -> tuple[Array, Array, float]:
    """Differences about their mean and weights, (runs, frames, 1), 0 without a call; and (Σw)²/Σw².

    The largest weight is 1.
    """
    known = np.where(called, differences, 0.0)
    mean, least = float(known[called].mean()), float(known[called].min())
    weights = np.where(called, np.exp(-(known - least) / (kB * temperature)), 0.0)
    effective = float(weights.sum() ** 2 / np.sum(weights**2))
    return np.where(called, known - mean, 0.0)[..., None], weights[..., None], effective


def _fitted(
    differences: Array, called: Array, features: Array | None, temperature: float
) -> tuple[Array, Array]:
    """What of the differences follows from features, eV, and weights by it, (runs, frames, 1).

    Nothing, with weights of 1, where there are not ten calls for each feature.
    """
    if features is None or called.sum() < _CALLS_A_FEATURE * features.shape[-1]:
        return np.zeros((*called.shape, 1)), np.ones((*called.shape, 1))
    scaled = features - features.mean(axis=(0, 1))
    scaled = scaled / np.maximum(scaled.std(axis=(0, 1)), np.finfo(float).tiny)
    here, known = scaled[called], differences[called]
    slopes = np.linalg.lstsq(here - here.mean(axis=0), known - known.mean(), rcond=None)[0]
    fitted = (scaled @ slopes)[..., None]
    return fitted, np.exp(-(fitted - fitted.min()) / (kB * temperature))


def _influences(weights: Array, values: Array) -> Array:
    """How far each sample pulls a weighted mean, shape of `values`."""
    pull: Array = (
        weights / weights.mean() * (values - np.sum(weights * values, axis=0) / weights.sum())
    )
    return pull


def _carried(differences: Array, effective: float, temperature: float) -> bool:
    """Whether enough calls carry the weight for an average with weights."""
    spread = float(differences.std()) / (kB * temperature)
    return spread <= _WIDEST and effective >= _LEAST_EFFECTIVE


def _block(values: Array) -> int:
    """Frames in a block: long ones, as means over just five correlation times vary too little."""
    runs, frames = values.shape[:2]
    return min(max(block_length(values), runs * frames // _MOST_BLOCKS), frames)


def _freedom_of_weights(influences: Array, effective: float) -> Array:
    """Degrees of freedom of the error of a weighted mean that samples pull by so much, (m, k).

    Twice the square of a variance over the variance that it is known with, by the kurtosis
    (Satterthwaite, Biometrics Bull. 2, 110 (1946)). Half of the effective samples at most: few
    weights are skew, and show too small a kurtosis.
    """
    fourth, square = np.mean(influences**4, axis=0), np.mean(influences**2, axis=0) ** 2
    kurtosis = np.divide(fourth, square, out=np.full_like(square, 3.0), where=square > 0)
    return np.minimum(effective / 2, 2 * len(influences) / np.maximum(kurtosis - 1, 1e-9))


def _freedom_of_covariance(values: Array, delta: Array) -> Array:
    """Degrees of freedom of the error of a covariance.

    Products of correlated deviates are skew: those of equal normal ones have a kurtosis of 15, so
    that their variance is known as well as from a seventh of as many that are normal.
    """
    a, d = values - values.mean(axis=0), delta - delta.mean()
    both = np.mean(a * d, axis=0) ** 2
    apart = np.mean(a**2, axis=0) * np.mean(d**2)
    correlation = np.divide(both, apart, out=np.zeros_like(both), where=apart > 0)
    return len(delta) / (1 + (_SKEW - 1) * correlation)


def _ends(found: Jackknife, freedom: Array, confidence: float) -> tuple[Array, Array]:
    """Ends of Student's interval, with the degrees of freedom of the blocks if those are fewer."""
    fewest = np.maximum(np.minimum(found.blocks - 1, freedom), 1)
    quantile = t.ppf((1 + confidence) / 2, fewest)
    half = quantile * found.standard_error
    return found.corrected - half, found.corrected + half


def _require_blocks(called: Array, length: int) -> None:
    with_calls = int((block_means(called.astype(float), length) > 0).sum())
    if with_calls < FEWEST_BLOCKS:
        raise UserError(
            f"the teacher's {int(called.sum())} calls are in {with_calls} independent blocks of "
            f"the student's trajectory, expected {FEWEST_BLOCKS} or more for an interval: raise "
            "the budget of calls or the time of the runs"
        )


def _shaped(values: Array, shape: tuple[int, ...]) -> Array:
    return np.asarray(values).reshape(shape)
