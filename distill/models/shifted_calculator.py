"""A calculator on another energy scale: a constant for each atom of an element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes

if TYPE_CHECKING:
    from ase import Atoms


class ShiftedCalculator(Calculator):
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

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy [eV] and forces [eV/Å]; the stress [eV/Å³] where it is asked for."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        symbols: list[str] = self.atoms.get_chemical_symbols()
        moved = sum(self.shifts.get(symbol, 0.0) for symbol in symbols)
        # Forces first: asked for them, most calculators have the energy as well.
        self.results["forces"] = self.calculator.get_forces(self.atoms)
        self.results["energy"] = float(self.calculator.get_potential_energy(self.atoms)) + moved
        if "stress" in properties:
            self.results["stress"] = self.calculator.get_stress(self.atoms)
