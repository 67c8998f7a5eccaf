"""mace-torch's ASE calculator, wherever it is made, with stresses by the structure's own volume."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from distill.models.mace.adapter import give_own_cell

if TYPE_CHECKING:
    from ase import Atoms

_MODULE = "mace.calculators.mace"


def with_own_cell(calculator: Any) -> Any:
    """The same calculator; one of mace-torch divides virials by the volume of the given cell.

    Without it the stress of a slab whose normal is not periodic is that of a far larger cell (see
    `give_own_cell`). Calculators of other programs are left as they are.
    """
    module = sys.modules.get(_MODULE)
    if module is not None and isinstance(calculator, module.MACECalculator):
        plain = type(calculator)._atoms_to_batch
        calculator._atoms_to_batch = partial(_to_batch, plain, calculator)
    return calculator


def _to_batch(plain: Callable[..., Any], calculator: Any, atoms: Atoms) -> Any:
    batch = plain(calculator, atoms)
    give_own_cell(batch, atoms)
    return batch
