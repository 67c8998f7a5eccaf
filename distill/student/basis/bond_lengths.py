"""Typical bond lengths of the elements: the length scale r0 of the radial basis.

The values of ACEpotentials.jl (`data/length_scales_VASP_auto_length_scales.yaml`, bond lengths
from VASP calculations by N. Bernstein), which its `ace1_model` takes with `r0 = :bondlen`. For
elements that table lacks: the nearest-neighbour distance of the elemental crystal, else twice the
covalent radius (Cordero et al., Dalton Trans. 2008, 2832, as in ASE).
"""

from __future__ import annotations

from distill.core.errors import UserError

# fmt: off
BOND_LENGTHS: dict[str, float] = {
    "H": 1.2, "Li": 3.0, "Be": 2.2, "B": 1.8, "C": 1.4, "N": 1.6, "O": 1.7, "F": 2.1,
    "Na": 3.7, "Mg": 3.2, "Al": 2.9, "Si": 2.4, "P": 2.5, "S": 2.3, "Cl": 2.6,
    "K": 4.6, "Ca": 3.8, "Sc": 3.2, "Ti": 2.9, "V": 2.6, "Cr": 2.5, "Fe": 2.5, "Co": 2.5,
    "Ni": 2.5, "Cu": 2.6, "Zn": 2.8, "Ga": 3.0, "Ge": 2.5, "As": 2.7, "Se": 2.8, "Br": 2.8,
    "Rb": 4.7, "Sr": 4.2, "Y": 3.6, "Zr": 3.2, "Nb": 2.9, "Mo": 2.7, "Tc": 2.7, "Ru": 2.7,
    "Rh": 2.7, "Pd": 2.8, "Ag": 2.9, "Cd": 3.2, "In": 3.4, "Sn": 2.9, "Sb": 3.1, "Te": 3.2,
    "I": 3.2, "Ba": 4.3, "La": 3.7, "Ce": 3.4, "Pr": 3.7, "Nd": 3.7, "Pm": 3.6, "Sm": 3.6,
    "Gd": 3.6, "Tb": 3.6, "Dy": 3.5, "Tm": 3.5, "Yb": 3.8, "Hf": 3.2, "Ta": 2.9, "W": 2.8,
    "Re": 2.8, "Os": 2.7, "Ir": 2.7, "Pt": 2.8, "Au": 2.9, "Hg": 3.3, "Tl": 3.4, "Pb": 3.5,
    "Bi": 3.3, "Po": 3.3, "Ac": 4.0, "Th": 3.6, "Pa": 3.3,
    # nearest neighbours in the elemental crystal
    "He": 3.6, "Ne": 3.1, "Ar": 3.7, "Mn": 2.5, "Kr": 4.0, "Xe": 4.4, "Cs": 5.2, "Eu": 4.0,
    "Ho": 3.5, "Er": 3.5, "Lu": 3.4, "Ra": 4.5, "U": 2.8, "Np": 2.6, "Pu": 2.6, "Am": 3.5,
    "Cm": 3.5, "Bk": 3.4, "Cf": 3.4,
}
# fmt: on


def bond_length(first: str, second: str) -> float:
    """Typical distance of two bonded atoms, Å: the mean of the two elements' own.

    Parameters
    ----------
    first, second
        Chemical symbols.

    Raises
    ------
    UserError
        If a symbol is not an element.
    """
    return (_own_length(first) + _own_length(second)) / 2


def _own_length(symbol: str) -> float:
    from ase.data import atomic_numbers, covalent_radii

    if symbol in BOND_LENGTHS:
        return BOND_LENGTHS[symbol]
    if symbol not in atomic_numbers or symbol == "X":
        raise UserError(f"'{symbol}' is not a chemical element; expected a symbol such as Cu")
    return round(2 * float(covalent_radii[atomic_numbers[symbol]]), 1)
