"""Fixtures that more than one part of the tests uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
pytest.register_assert_rewrite("observable_tests", "family_tests", "method_tests", "exporter_tests")
pytest_plugins = [
    "compare_fixtures",
    "graded_fixtures",
    "lammps_fixtures",
    "mace_fixtures",
    "student_fixtures",
    "surface_fixtures",
]

# Processes that tests start find this checkout, and the same helpers and calculators.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(SUPPORT), str(SUPPORT.parents[1]), os.environ.get("PYTHONPATH")])
)

# Tests run side by side: one thread each, and none that spins while it waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


_HERE = Path(__file__).parent
_SLOW_FILES = {
    _HERE / line
    for line in (_HERE / "slow_files.txt").read_text().splitlines()
    if not line.startswith("#")
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in the slow files, so that the quick tests are those without the mark."""
    for item in items:
        if item.path in _SLOW_FILES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def torch_default_stays() -> Iterator[None]:
    """Nothing leaves another default precision of torch behind, whatever error it ends in."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_default_dtype() != torch.float32:
        torch.set_default_dtype(torch.float32)
        pytest.fail("torch's default precision was left changed")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of third-party reference data, outside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DISTILL_REFERENCE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set DISTILL_REFERENCE_DATA to its folder")
    return folder
