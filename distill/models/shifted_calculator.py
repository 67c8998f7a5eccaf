"""A calculator on another energy scale: a constant for each atom of an element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distill.models.answering import AnsweringCalculator

if TYPE_CHECKING:
    from ase import Atoms


class ShiftedCalculator(AnsweringCalculator):
    """Another calculator's results, with its energies moved; forces and stress are its own.

    Parameters
    ----------
    calculator
        Any ASE calculator.
    shifts
        eV by symbol, for each atom; none for elements that are not in it.
    """

    def __init__(self, calculator: Any, shifts: Mapping[str, float]) -> None:
        super().__init__()
        self.calculator, self.shifts = calculator, dict(shifts)
        own = getattr(calculator, "implemented_properties", ("energy", "forces"))
        self.implemented_properties = [n for n in own if n in ("energy", "forces", "stress")]

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Energy [eV] and forces [eV/Å]; the stress [eV/Å³] where it is asked for."""
        symbols: list[str] = atoms.get_chemical_symbols()
        moved = sum(self.shifts.get(symbol, 0.0) for symbol in symbols)
        # Forces first: asked for them, most calculators have the energy as well.
        found = {"forces": self.calculator.get_forces(atoms)}
        found["energy"] = float(self.calculator.get_potential_energy(atoms)) + moved
        if "stress" in properties:
            found["stress"] = self.calculator.get_stress(atoms)
        return found
