"""A tiny comparison: labelled crystals, models that differ by a factor, and an added observable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from distill.config import ParallelConfig
from distill.data.structures import write_structures
from distill.models.calculators import load_calculator
from distill.models.labelling import label_structures
from distill.observables.base import OBSERVABLES


@pytest.fixture
def inputs(tmp_path):
    """Arguments of the compare stage but for its config: six crystals, toys for models."""
    rng = np.random.default_rng(5)
    structures = []
    for _ in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, rng=rng)
        atoms.info["config_type"] = "bulk"
        structures.append(atoms)
    reference, teacher = (
        label_structures(structures, load_calculator(f"compare_toys:{name}"))
        for name in ("Scaled", "Teacher")
    )
    write_structures(tmp_path / "test.xyz", reference)
    write_structures(tmp_path / "held_out.xyz", teacher)
    return {
        "teacher": Path("compare_toys:Teacher"),
        "student": Path("compare_toys:Student"),
        "reference_test": tmp_path / "test.xyz",
        "held_out": tmp_path / "held_out.xyz",
        "out": tmp_path / "compare",
        "seed": 1,
        "parallel": ParallelConfig(backend="serial"),
    }


@pytest.fixture
def no_figures(monkeypatch):
    """No figures: they take longer than all else, and have their own tests."""
    for module in ("error_tables", "structure_map", "timing_stage"):
        place = f"distill.compare.{module}.save_figure"
        monkeypatch.setattr(place, lambda figure, folder, name: None)
    for name in ("parity_figure", "error_histogram_figure"):
        monkeypatch.setattr(f"distill.compare.error_tables.{name}", lambda *arguments: None)
    monkeypatch.setattr("distill.compare.structure_map.map_figure", lambda found: None)
    for name in ("timing_figure", "cost_figure"):
        monkeypatch.setattr(f"distill.compare.timing_stage.{name}", lambda *arguments: None)


@pytest.fixture
def with_toy(monkeypatch):
    """The registry with a toy, and the sections of the config that follow: bounds, compare."""
    from distill.config.compare import compare_section

    add_observable(monkeypatch, "toy", "toy_observable:Toy")
    return compare_section()


def add_observable(monkeypatch, name, place):
    """Put one more member into the registry, as the entry point of a package would."""
    places = {**{key: OBSERVABLES._places[key] for key in OBSERVABLES.names()}, name: place}
    monkeypatch.setitem(OBSERVABLES.__dict__, "_places", places)
