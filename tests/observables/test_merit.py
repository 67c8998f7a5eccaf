"""Figures of merit: known deviations, any number of models, given numbers."""

import pytest

from distill.core.errors import UserError
from distill.observables.bulk.figure_of_merit import figures_of_merit
from distill.observables.bulk.result import BulkProperties, EquationOfState


def properties(scale, *, elastic=True, phonons=True):
    """All properties of a crystal off by a factor."""
    curve = dict.fromkeys(EquationOfState.model_fields, 1.0)
    for name in curve:
        if name.endswith("_interval"):
            curve[name] = (1.0, 1.0)
    curve |= {"lattice_constant": 4.0 * scale, "bulk_modulus_GPa": 100.0 * scale}
    curve |= {"volumes": [], "energies": [], "cell": None, "scaled_positions": None}
    curve |= {"lattice_constant_b": None, "lattice_constant_c": None}
    constants = {
        name: {"value": value * scale, "interval": (0.0, 0.0)}
        for name, value in {"C11": 200.0, "C12": 50.0}.items()
    }
    moduli = {"bulk_modulus": 1.0, "shear_modulus": 1.0, "stable": True, "confidence": 0.95}
    frequencies = [[1.0 * scale, 2.0 * scale], [3.0 * scale, 4.0 * scale]]
    vibrations = {
        "dispersion": {"labels": [], "positions": [], "distance": [], "frequencies": frequencies},
        "density_of_states": {"frequency": [], "density": []},
        "free_energy": [{"temperature": 0.0, "value": 0.05 * scale}],
        "lowest_frequency": 0.0,
        "stable": True,
        "quasi_harmonic": None,
    }
    return BulkProperties(
        equation_of_state=curve,
        elastic_constants={"constants": constants, **moduli} if elastic else None,
        thermal_expansion=[],
        phonons=vibrations if phonons else None,
    )


def test_the_same_relative_error_everywhere_is_the_merit():
    models = {"teacher": properties(1.0), "student": properties(1.02), "other": properties(0.9)}
    found = figures_of_merit(models, reference="teacher")
    assert found.reference == "teacher"
    assert list(found.models) == ["student", "other"]
    assert found.models["student"].merit == pytest.approx(2.0)
    assert found.models["other"].merit == pytest.approx(10.0)
    groups = found.models["student"].groups
    assert set(groups) == {"lattice", "elasticity", "phonons", "free energy"}


def test_only_shared_groups_count():
    models = {"teacher": properties(1.0), "student": properties(1.05, elastic=False, phonons=False)}
    groups = figures_of_merit(models, reference="teacher").models["student"].groups
    assert groups == pytest.approx({"lattice": 5.0, "elasticity": 5.0})


def test_measured_numbers_judge_every_model():
    models = {"teacher": properties(1.0), "student": properties(1.1)}
    found = figures_of_merit(models, reference="teacher", given={"C11": 200.0})
    assert found.models["teacher"].merit == pytest.approx(0.0)
    assert found.models["student"].merit == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("given", "message"), [({"C99": 1.0}, "C99 is unknown"), ({"C11": 0.0}, "C11 is 0")]
)
def test_numbers_that_cannot_be_held_against_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        figures_of_merit({"teacher": properties(1.0)}, reference="teacher", given=given)
