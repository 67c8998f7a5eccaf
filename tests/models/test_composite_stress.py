"""A delta model adds stresses in either of the two forms that calculators give."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.stress import voigt_6_to_full_3x3_stress

from distill.models.composite import DeltaCalculator


class FullStress(EMT):
    """EMT whose stress is a matrix, as CHGNet's is."""

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results["stress"] = voigt_6_to_full_3x3_stress(self.results["stress"])


@pytest.mark.parametrize("base", [EMT, FullStress])
def test_stresses_of_base_and_correction_add_in_voigt_order(base):
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EMT()
    alone = atoms.get_stress()
    atoms.calc = DeltaCalculator(base(), EMT())
    assert atoms.get_stress() == pytest.approx(2 * alone)
    assert np.allclose(atoms.get_stress(voigt=False), voigt_6_to_full_3x3_stress(2 * alone))
