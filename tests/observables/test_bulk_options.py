"""Every option of bulk properties changes the result, and repeats only what depends on it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from observable_tests import count_units

from distill.config import BulkConfig, NptConfig, PhononsConfig, ThermalExpansionConfig
from distill.core.errors import UserError
from distill.core.work import WorkFolder
from distill.data.structures import write_structures
from distill.observables.bulk.bulk import run_bulk

CURVE, ELASTIC, PHONONS = "equation_of_state", "elastic_constants", "phonons"
HOT, HOTTER = "lattice_constant_300K", "lattice_constant_400K"
OPTIONS: dict[str, Any] = {
    "formula": "Cu",
    "lattice_constant": 3.6,
    "thermal_expansion": {
        "temperatures": [300.0],
        "supercell": (1, 1, 1),
        "time": 150.0,
        "equilibration_time": 20.0,
        "time_step": 5.0,
        "blocks": 3,
    },
    "phonons": {
        "supercell": (1, 1, 1),
        "mesh": 4,
        "temperatures": [300.0],
        "volume_points": 5,
    },
}
EVERY = {CURVE, ELASTIC, PHONONS, HOT}
# Another value of each option, and the properties that are computed for it where those of OPTIONS
# are there. What lies on the curve's minimum is computed anew where that moves.
CHANGES: dict[str, tuple[Any, set[str]]] = {
    "structure": ("bcc.xyz", EVERY),
    "index": (1, EVERY),
    "formula": ("Ag", EVERY),
    "crystal": ("bcc", EVERY),
    "lattice_constant": (3.5, EVERY),
    "volume_strain": (0.02, EVERY),
    "volume_points": (7, EVERY),
    "elastic": (False, set()),
    "elastic_strain": (0.002, {ELASTIC}),
    "thermal_expansion": (None, set()),
    "phonons": (None, set()),
    "reference": ({"C11": 170.0}, set()),
    "confidence": (0.8, set()),
}
EXPANSION_CHANGES: dict[str, tuple[Any, set[str]]] = {
    "temperatures": ([300.0, 400.0], {HOTTER}),
    "supercell": ((2, 1, 1), {HOT}),
    "time": (200.0, {HOT}),
    "equilibration_time": (40.0, {HOT}),
    "time_step": (4.0, {HOT}),
    "pressure": (0.01, {HOT}),
    "thermostat_time": (50.0, {HOT}),
    "barostat_time": (500.0, {HOT}),
    "blocks": (4, {HOT}),
}
PHONON_CHANGES: dict[str, Any] = {
    "supercell": (2, 1, 1),
    "displacement": 0.02,
    "mesh": 5,
    "temperatures": [400.0],
    "volume_points": 6,
    "volume_strain": 0.02,
}
# They refuse a cell; the result of one that is not refused does not depend on them.
PHONON_LIMITS = {"max_force", "max_stress"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder of finished properties, and what they are."""
    pytest.importorskip("phonopy")
    folder = tmp_path_factory.mktemp("bulk")
    return folder, run(OPTIONS, folder)


def run(options: dict[str, Any], folder: Path) -> Any:
    """The properties, and the figures of merit, of a model by its options."""
    models = {"teacher": "ase.calculators.emt:EMT"}
    result = run_bulk(BulkConfig(**options), models, WorkFolder(folder, seed=2))
    return result.models["teacher"], result.merit


def computed(
    options: dict[str, Any], done: tuple[Path, Any], out: Path, monkeypatch: pytest.MonkeyPatch
) -> set[str]:
    """The properties that are computed for options; the result has to differ."""
    folder = shutil.copytree(done[0], out / "work")
    made = count_units(monkeypatch)
    assert run(options, folder) != done[1]
    return {record.stem.removeprefix("teacher_") for record in made}


@pytest.mark.parametrize("option", BulkConfig.model_fields)
def test_an_option_changes_the_result_and_repeats_only_what_depends_on_it(
    option: str, done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, repeated = CHANGES[option]
    options = {**OPTIONS, option: value}
    if option in {"structure", "index"}:
        file = tmp_path / "bcc.xyz"
        write_structures(file, [bulk("Cu", "bcc", a=2.9, cubic=True), bulk("Ag", cubic=True)])
        options["structure"] = str(file)
    if option in {"structure", "crystal"}:
        # EMT's bcc copper is no minimum.
        options["phonons"], repeated = None, repeated - {PHONONS}
    assert computed(options, done, tmp_path, monkeypatch) == repeated


@pytest.mark.parametrize("option", ThermalExpansionConfig.model_fields)
def test_an_option_of_the_dynamics_changes_the_lattice_constant_alone(
    option: str, done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(NptConfig.model_fields) < set(ThermalExpansionConfig.model_fields)
    value, repeated = EXPANSION_CHANGES[option]
    expansion = {**OPTIONS["thermal_expansion"], option: value}
    options = {**OPTIONS, "thermal_expansion": expansion}
    assert computed(options, done, tmp_path, monkeypatch) == repeated


@pytest.mark.parametrize("option", sorted(set(PhononsConfig.model_fields) - PHONON_LIMITS))
def test_an_option_of_the_phonons_changes_them_alone(
    option: str, done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phonons = {**OPTIONS["phonons"], option: PHONON_CHANGES[option]}
    options = {**OPTIONS, "phonons": phonons}
    assert computed(options, done, tmp_path, monkeypatch) == {PHONONS}


@pytest.mark.parametrize("option", sorted(PHONON_LIMITS))
def test_a_limit_of_the_phonons_is_held_to(option: str, done: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(done[0], tmp_path / "work")
    phonons = {**OPTIONS["phonons"], option: 1e-30}
    with pytest.raises(UserError, match="the cell is not relaxed"):
        run({**OPTIONS, "phonons": phonons}, folder)
