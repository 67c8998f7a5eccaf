"""The sampling method keeps the contract of sampling methods."""

from __future__ import annotations

import pytest
from ase.build import bulk
from ase.io import write
from distill_plugin_example.strain import StrainConfig
from method_tests import SamplingMethodContract


class TestStrain(SamplingMethodContract):
    method = "strain"
    model, other_model = "ase.calculators.emt:EMT", "ase.calculators.lj:LennardJones"
    random = False
    conditions = frozenset({"structures"})

    @pytest.fixture(scope="class")
    @classmethod
    def crystals(cls, tmp_path_factory):
        """Files of two crystals and of three."""
        folder = tmp_path_factory.mktemp("crystals")
        crystals = [bulk("Cu", a=a, cubic=True) for a in (3.55, 3.6, 3.65)]
        for count in (2, 3):
            write(folder / f"{count}.xyz", crystals[:count], format="extxyz")
        return {count: str(folder / f"{count}.xyz") for count in (2, 3)}

    @pytest.fixture(scope="class")
    @classmethod
    def configs(cls, crystals):
        return [StrainConfig(structures=crystals[2], modes=["xx", "xy"])]

    @pytest.fixture(scope="class")
    @classmethod
    def others(cls, crystals):
        return {
            "structures": {"structures": crystals[3]},
            "modes": {"modes": ["volume"]},
            "amounts": {"amounts": [0.015]},
        }
