"""The band that a minimum energy path is sought from.

The image-dependent pair potential's interpolation (Smidstrup et al., J. Chem. Phys. 140, 214106
(2014)), or another model's path. A molecule that dissociates on a surface comes down whole first:
interpolated straight to its atoms in their hollows it would break in the vacuum, and such a band
can converge there. And every first band is bent a little: where end points lie on a mirror plane so
do all images between them, and forces never leave the plane, however steep the way down beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.mep import NEB

from distill.core.errors import UserError
from distill.core.random_streams import stream
from distill.simulation.config import PathConfig
from distill.simulation.neb_band import image_step
from distill.simulation.neb_endpoints import molecule_near

_SAME_END_POINT = 0.1  # Å
# How far the reacting atoms of the middle image are put aside, Å each.
_BEND = 0.1


def interpolated(config: PathConfig, first: Atoms, last: Atoms, above: Atoms) -> list[Atoms]:
    """A first band of `config.images` images between relaxed end points.

    Parameters
    ----------
    config
        The path: end points of the user's are joined directly, those of the preset by way of the
        whole molecule on the site.
    first, last
        End points.
    above
        The first end point before it was relaxed; in the preset its molecule is over the site.

    Raises
    ------
    UserError
        If both end points are the same minimum.
    """
    if np.abs(image_step(first, last)).max() < _SAME_END_POINT:
        raise UserError(
            f"both end points of the path on {config.facet} relax to the same minimum: choose "
            "another site, give end point files, or set neb.relax_ends to false"
        )
    if config.initial is not None:
        return _idpp(first, last, config.images)
    near = molecule_near(above, first)
    lengths = [np.linalg.norm(image_step(*pair)) for pair in ((first, near), (near, last))]
    between = config.images - 3
    before = round(between * float(lengths[0] / sum(lengths)))
    down = _idpp(first, near, before + 2)
    return [*down, *_idpp(near, last, between - before + 2)[1:]]


def bent(images: Sequence[Atoms], reacting: Sequence[int]) -> list[Atoms]:
    """A band whose reacting atoms are put aside between its ends, each in a direction of its own.

    The directions are drawn once for all, so that every model begins with the same band.
    """
    aside = stream(0, "first band").normal(size=(len(reacting), 3))
    aside *= _BEND / np.linalg.norm(aside, axis=1, keepdims=True)
    found = [image.copy() for image in images]
    for share, image in zip(np.linspace(0, 1, len(found)), found, strict=True):
        image.positions[list(reacting)] += np.sin(np.pi * share) * aside
    return found


def fitted_to_cell(images: Sequence[Atoms], cell: Atoms) -> list[Atoms]:
    """Another model's images, with its lattice constant, on the cell of `cell`.

    Raises
    ------
    UserError
        If the atoms are not the same.
    """
    found = []
    for image in images:
        if image.get_chemical_symbols() != cell.get_chemical_symbols():
            raise UserError(
                f"a first band of {image.get_chemical_formula()} was given for a path of "
                f"{cell.get_chemical_formula()}"
            )
        atoms = cell.copy()
        # Without the constraint, which would keep the fixed layers where they are.
        atoms.set_scaled_positions(image.get_scaled_positions(wrap=False))
        found.append(atoms)
    return found


def _idpp(first: Atoms, last: Atoms, count: int) -> list[Atoms]:
    images = [first.copy() for _ in range(count - 1)] + [last.copy()]
    if count > 2:
        neb = NEB(images, method="improvedtangent")
        neb.interpolate(method="idpp", mic=True, apply_constraint=True)
    return images
