"""Lattice constants of a teacher from runs of a student under another pressure."""

import numpy as np
import pytest
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT

from distill.core.work import WorkFolder
from distill.observables.bulk.config import BulkConfig, ThermalExpansionConfig
from distill.observables.bulk.observable import Bulk

PRESSURE = 0.01  # eV/Å³


class Squeezed(EMT):
    """EMT and a pressure times the volume: EMT under that pressure, whatever the ensemble."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] += PRESSURE * self.atoms.get_volume()

    def fingerprint(self) -> str:
        return "squeezed EMT"


@pytest.mark.physics
def test_the_teachers_crystal_is_as_much_smaller_as_its_modulus_says(tmp_path):
    expansion = ThermalExpansionConfig(
        temperatures=[300.0], supercell=(2, 2, 1), time=8000.0, equilibration_time=500.0,
        time_step=5.0, thermostat_time=50.0, barostat_time=100.0, blocks=8,
    )  # fmt: skip
    config = BulkConfig(formula="Cu", elastic=False, thermal_expansion=expansion)
    [found] = Bulk().teacher_level(
        config, Squeezed(), "ase.calculators.emt:EMT", 200, WorkFolder(tmp_path, 1)
    )
    assert (found.quantity, found.unit, found.calls) == ("lattice constant", "Å", 200)
    # da = -a p / 3B with 134 GPa at 0 K, some per cent less at 300 K.
    exact = found.student * (1 - PRESSURE / (3 * 134 * 0.0062415))
    low, high = found.interval
    assert low <= exact <= high
    assert abs(found.value - exact) < 0.3 * (found.student - exact)


def test_without_thermal_expansion_there_is_none(tmp_path):
    config = BulkConfig(formula="Cu", elastic=False)
    emt = "ase.calculators.emt:EMT"
    assert Bulk().teacher_level(config, emt, emt, 50, WorkFolder(tmp_path, 1)) == []
    assert np.size(list(tmp_path.iterdir())) == 0
