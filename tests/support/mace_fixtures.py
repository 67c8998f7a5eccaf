"""Files that several tests of the teacher read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_mace import aluminium_and_copper, rattled_structures, tiny_model

from distill.data.structures import write_structures


@pytest.fixture(scope="session")
def foundation_file(tmp_path_factory) -> Path:
    from distill.models.mace.adapter import save_model

    path = tmp_path_factory.mktemp("foundation") / "tiny.model"
    save_model(tiny_model(), path)
    return path


@pytest.fixture(scope="session")
def fitting_foundation_file(tmp_path_factory) -> Path:
    """A foundation model of the data's elements alone: cutting others away takes a second."""
    from distill.models.mace.adapter import save_model

    path = tmp_path_factory.mktemp("foundation") / "fitting.model"
    save_model(tiny_model((1, 29)), path)
    return path


@pytest.fixture(scope="session")
def fast_file(tmp_path_factory) -> Path:
    """A tiny model converted for the fast engine; beside it `tiny.model` and `converted.json`."""
    import torch

    from distill.models.fast_mace import converted_model
    from distill.models.mace.family import Mace

    folder = tmp_path_factory.mktemp("fast")
    path, model = folder / "fast.model", tiny_model((1, 29), max_ell=3)
    with torch.no_grad():
        for parameter in model.readouts.parameters():
            parameter *= 10
    Mace(model).save(folder / "tiny.model")
    converted_model(Mace(model), path, folder / "converted.json", folder / "tiny.model")
    return path


@pytest.fixture(scope="session")
def labelled_files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("labelled")
    train, test = folder / "train.xyz", folder / "test.xyz"
    write_structures(train, rattled_structures(18))
    write_structures(test, rattled_structures(6, seed=1))
    return train, test


@pytest.fixture(scope="session")
def foreign_files(tmp_path_factory) -> tuple[Path, Path]:
    """Training and test set with an element that the foundation models here do not know."""
    folder = tmp_path_factory.mktemp("foreign")
    train, test = folder / "train.xyz", folder / "test.xyz"
    write_structures(train, aluminium_and_copper(12))
    write_structures(test, aluminium_and_copper(6, seed=1))
    return train, test
