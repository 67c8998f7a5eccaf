"""Speed against accuracy: who is on the front, who is recommended, and what is fitted again."""

from __future__ import annotations

import pytest
from helpers import ROOT, rattled_copper

from distill.config import SolverConfig, StudentConfig, load_config
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.data.structures import write_structures
from distill.studies.front import Candidate, front_of_run, mark, speed_accuracy_front

QUICKSTART = ROOT / "configs" / "quickstart.yaml"
BASE = StudentConfig(
    order=2, totaldegree=[6.0, 5.0], rcut=4.0, backend="native", threads=1,
    solver=SolverConfig(committee=0),
)  # fmt: skip


def _candidate(name: str, time: float, error: float) -> Candidate:
    return Candidate(name, 2, (5.0, 4.0), 5.0, 10, error, error, error, 0.0, time)


CANDIDATES = [
    _candidate("slow and poor", 9.0, 0.5),
    _candidate("best", 8.0, 0.1),
    _candidate("middle", 4.0, 0.2),
    _candidate("fast", 1.0, 0.4),
    _candidate("beaten", 2.0, 0.4),
]


def test_the_front_holds_what_nothing_beats() -> None:
    marked = mark(CANDIDATES, None, None)
    assert [c.name for c in marked if c.on_front] == ["fast", "middle", "best"]
    assert not any(c.recommended for c in marked)


@pytest.mark.parametrize(
    ("error", "time", "expected"),
    [
        (0.3, None, ["middle"]),
        (None, 5.0, ["middle"]),
        (None, 1.5, ["fast"]),
        (0.45, 20.0, ["best"]),
        (0.05, None, []),
        (0.1, 4.0, []),
    ],
)
def test_the_recommended_student_keeps_to_the_budget(error, time, expected) -> None:
    assert [c.name for c in mark(CANDIDATES, error, time) if c.recommended] == expected


def test_students_are_fitted_once_and_measured_alike(tmp_path, capsys) -> None:
    structures = rattled_copper(10)
    train, test = tmp_path / "train.xyz", tmp_path / "test.xyz"
    write_structures(train, structures[:7])
    write_structures(test, structures[7:])
    files = {"train": train, "test": test, "out": tmp_path / "front", "seed": 0}
    found = speed_accuracy_front(BASE, **files, orders=[1, 2], largest_error=1e3)
    assert {c.order for c in found} == {1, 2}
    assert [c.recommended for c in found] == [True, False]
    small, large = sorted(found, key=lambda c: c.order)
    assert small.functions < large.functions
    assert large.force_rmse < small.force_rmse
    assert (tmp_path / "front" / "front.png").stat().st_size > 1000
    assert len(read_json(tmp_path / "front" / "front.json")) == 2
    capsys.readouterr()
    assert speed_accuracy_front(BASE, **files, orders=[1, 2], largest_error=1e3) == found
    assert "assembly" not in capsys.readouterr().out


@pytest.mark.parametrize("choice", [{"orders": [3]}, {"scales": [0.0]}, {"cutoffs": [-1.0]}])
def test_choices_that_cannot_be(tmp_path, choice) -> None:
    with pytest.raises(UserError, match="front:"):
        speed_accuracy_front(
            BASE, train=tmp_path, test=tmp_path, out=tmp_path / "f", seed=0, **choice
        )


def test_a_run_without_samples_says_what_to_run_first(tmp_path) -> None:
    config = load_config(QUICKSTART, [f"output={tmp_path / 'run'}"])
    with pytest.raises(UserError, match="no finished sampling; run it first"):
        front_of_run(config)


def test_data_in_a_folder_that_is_written_are_refused(tmp_path) -> None:
    data = tmp_path / "run" / "front" / "train.xyz"
    write_structures(data, rattled_copper(2))
    config = load_config(QUICKSTART, [f"output={tmp_path / 'run'}", f"data.train={data}"])
    with pytest.raises(UserError, match=r"front is where the input .*xyz lies"):
        front_of_run(config)
    name = "order2_degree6-5_rcut4"
    inside = tmp_path / "front" / name / "train.xyz"
    write_structures(inside, rattled_copper(2))
    with pytest.raises(UserError, match=rf"{name} is where the input .*xyz lies"):
        speed_accuracy_front(BASE, train=inside, test=data, out=tmp_path / "front", seed=0)
    assert inside.is_file()
