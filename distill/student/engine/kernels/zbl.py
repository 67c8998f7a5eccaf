"""The screened nuclear repulsion that keeps atoms apart where no training data reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (1985): screening function
# as pairs of amplitude and decay, and screening length 0.8854 a0 / (Z1^0.23 + Z2^0.23).
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
SCREENING_LENGTH, SCREENING_EXPONENT = 0.8854, 0.23


def core_parameters(elements: Sequence[str]) -> Array:
    """Parameters of the repulsion of each pair of elements.

    V(r) = prefactor / r phi(r / a) f(r / end), where f = 1 - 28 x^6 + 48 x^7 - 21 x^8 takes it to
    zero, twice smoothly, at the sum of the covalent radii (the cutoff of MACE's pair repulsion:
    Batatia et al., arXiv:2401.00096).

    Parameters
    ----------
    elements
        Chemical symbols.

    Returns
    -------
    Array
        (pairs, 3): prefactor Z1 Z2 e² / (4 pi eps0), eV Å; a, Å; end, Å.
    """
    from ase import units
    from ase.data import atomic_numbers, covalent_radii

    rows = []
    for first in elements:
        for second in elements:
            z1, z2 = atomic_numbers[first], atomic_numbers[second]
            length = SCREENING_LENGTH * units.Bohr
            length /= z1**SCREENING_EXPONENT + z2**SCREENING_EXPONENT
            end = covalent_radii[z1] + covalent_radii[z2]
            rows.append([z1 * z2 * units.Hartree * units.Bohr, length, end])
    return np.array(rows)
