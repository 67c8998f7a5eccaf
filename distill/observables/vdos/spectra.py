"""Spectra of velocities: power in each frequency, as a density of vibrational states.

By the theorem of Wiener and Khinchin the Fourier transform of the mass-weighted velocity
autocorrelation function is the power spectrum of the velocities times √mass. In classical
equilibrium each vibration carries the same kinetic energy, so that spectrum counts vibrations.
Sources: Dickey & Paskin, Phys. Rev. 188, 1407 (1969); Allen & Tildesley, Computer Simulation of
Liquids, 2nd ed. (2017), sec. 8.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.observables.vdos.config import FS_THZ

Array = NDArray[np.float64]


def power_spectra(
    velocities: Array, masses: Array, interval: float, segment: int
) -> tuple[Array, Array]:
    """Mass-weighted power spectrum of each atom, averaged over segments.

    Segments overlap by a half and are weighted by Hann's window (Welch, IEEE Trans. Audio
    Electroacoust. 15, 70 (1967)).

    Parameters
    ----------
    velocities
        Å/fs, shape (frames, N, 3).
    masses
        amu, shape (N,).
    interval
        Time between frames, fs.
    segment
        Frames in a segment, at most all.

    Returns
    -------
    frequencies
        THz, shape (segment // 2 + 1,), from 0.
    spectra
        amu Å²/fs² per THz, shape (N, frequencies). The sum over frequencies times their spacing is
        the mean of mass × velocity².
    """
    from scipy.signal import welch

    weighted = np.asarray(velocities, dtype=float) * np.sqrt(masses)[:, None]
    frequencies, spectra = welch(
        weighted,
        fs=FS_THZ / interval,
        window="hann",
        nperseg=segment,
        noverlap=segment // 2,
        detrend=False,
        axis=0,
    )
    return frequencies, spectra.sum(axis=2).T


def without_drift(velocities: Array, masses: Array) -> Array:
    """Velocities less that of the centre of mass in each frame, shape (frames, N, 3)."""
    velocities = np.asarray(velocities, dtype=float)
    centre = np.einsum("fic,i->fc", velocities, masses) / masses.sum()
    return np.asarray(velocities - centre[:, None])


def density_of_states(spectra: Array, spacing: float, degrees: int) -> Array:
    """Spectra scaled so that all of them together integrate to a number of degrees of freedom.

    Parameters
    ----------
    spectra
        Power by element or atom, shape (parts, frequencies).
    spacing
        Between frequencies, THz.
    degrees
        Of freedom.

    Returns
    -------
    Array
        States per THz, shape (parts, frequencies).
    """
    return np.asarray(spectra * (degrees / (spectra.sum() * spacing)))


def mean_frequency(density: Array, frequencies: Array) -> Array:
    """First moment of densities of states, shape (...), THz.

    Parameters
    ----------
    density
        Shape (..., frequencies).
    frequencies
        THz.
    """
    return np.asarray((density * frequencies).sum(axis=-1) / density.sum(axis=-1))
