"""The map of structures: its numbers, its lists, its files."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from helpers import rattled_copper

from distill.compare.map_result import HELD_OUT, MAP, TEST, TRAINING
from distill.compare.predictions import label_test_sets
from distill.compare.structure_map import compare_structures
from distill.config import StudentConfig
from distill.data.structures import read_structures, reference_forces, write_structures
from distill.student.fit.native_fit import fit


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A student with its map; the last test structure is far from the training data."""
    folder = tmp_path_factory.mktemp("map")
    config = StudentConfig(order=2, totaldegree=[6, 4], rcut=4.5, zbl=False, threads=1)
    train = rattled_copper(12)
    student = fit(train, config, seed=0).student
    student.save(folder / "student.npz")
    better = replace(student, coefficients=1.01 * student.coefficients)
    better.save(folder / "teacher.npz")
    sets = {
        "train": train,
        "held_out": rattled_copper(3, seed=1),
        "test": [*rattled_copper(7, seed=2), *rattled_copper(1, seed=3, amplitude=0.5)],
    }
    for name, structures in sets.items():
        write_structures(folder / f"{name}.xyz", structures)
    paths = [folder / name for name in ("teacher.npz", "student.npz", "test.xyz", "held_out.xyz")]
    labels = label_test_sets(*paths, folder / "predictions")
    found = compare_structures(labels, folder / "student.npz", folder / "train.xyz", folder)
    return folder, student, sets, labels, found


def test_points_are_the_structures_of_all_sets_with_their_errors(mapped) -> None:
    _, student, sets, labels, found = mapped
    assert [p.source for p in found.points] == [TRAINING] * 12 + [HELD_OUT] * 3 + [TEST] * 8
    assert found.training == 12
    last, atoms = found.points[-1], sets["test"][-1]
    forces = student.evaluate(atoms).forces
    assert last.error == pytest.approx(np.sqrt(np.mean((forces - reference_forces(atoms)) ** 2)))
    by_teacher = reference_forces(read_structures(labels.teacher)[-1])
    assert last.disagreement == pytest.approx(np.sqrt(np.mean((forces - by_teacher) ** 2)))
    assert found.points[0].error is None and found.points[0].disagreement is not None
    assert last.grade > 1 > found.points[0].grade
    assert last.expected == max(point.expected for point in found.points)
    plane = np.array([(p.x, p.y) for p in found.points])
    assert plane[:, 0].std() > plane[:, 1].std() > 0


def test_the_largest_are_listed_with_files_that_open(mapped) -> None:
    folder, student, sets, _, found = mapped
    for reason in ("error", "disagreement", "grade"):
        listed = [one for one in found.listed if one.reason == reason]
        points = [found.points[one.point] for one in listed]
        values = [getattr(point, reason) for point in points]
        assert len(values) == 5 and values == sorted(values, reverse=True)
        assert TRAINING not in {point.source for point in points}
        others = [getattr(p, reason) for p in found.points if p not in points and p.source == TEST]
        assert all(value is None or value <= values[-1] for value in others)
        for one, point in zip(listed, points, strict=True):
            atoms = read(folder / MAP / one.file)
            source = sets[{HELD_OUT: "held_out", TEST: "test"}[point.source]][point.index]
            np.testing.assert_allclose(atoms.positions, source.positions, atol=1e-6)
            forces = student.evaluate(source).forces
            np.testing.assert_allclose(atoms.arrays["predicted_forces"], forces, atol=1e-6)
            np.testing.assert_allclose(
                atoms.arrays["REF_forces"], reference_forces(source), atol=1e-6
            )


def test_chemiscope_file_holds_every_structure_and_property(mapped) -> None:
    """What chemiscope's own reader asks of a file: see its module `input`."""
    folder, _, _, _, found = mapped
    data = json.loads(gzip.decompress((folder / MAP / found.chemiscope).read_bytes()))
    assert set(data) == {"meta", "structures", "properties", "settings"}
    assert len(data["structures"]) == len(found.points)
    for structure in data["structures"]:
        assert {"size", "names", "x", "y", "z", "cell"} == set(structure)
        assert len(structure["cell"]) == 9
        lengths = {len(structure[key]) for key in ("names", "x", "y", "z")}
        assert lengths == {structure["size"]}
    for entry in data["properties"].values():
        assert entry["target"] == "structure" and len(entry["values"]) == len(found.points)
        assert len({type(value) for value in entry["values"]}) == 1
    shown = data["settings"]["map"]
    names = [shown[axis]["property"] for axis in ("x", "y", "color")] + [shown["symbol"]]
    assert set(names) <= set(data["properties"])


def test_chemiscope_reads_the_file(mapped, tmp_path) -> None:
    """The library puts together the same structures and properties as its own input."""
    chemiscope = pytest.importorskip("chemiscope")
    folder, _, sets, _, found = mapped
    data = json.loads(gzip.decompress((folder / MAP / found.chemiscope).read_bytes()))
    structures = [*sets["train"], *sets["held_out"], *sets["test"]]
    made = chemiscope.create_input(
        structures,
        properties=data["properties"],
        metadata=data["meta"],
        settings=data["settings"],
    )
    for ours, theirs in zip(data["structures"], made["structures"], strict=True):
        assert ours["names"] == list(theirs["names"]) and ours["size"] == theirs["size"]
        for key in ("x", "y", "z", "cell"):
            np.testing.assert_allclose(ours[key], theirs[key], atol=1e-4)
    for name, entry in data["properties"].items():
        assert made["properties"][name]["values"] == entry["values"]


def test_a_molecule_has_no_cell_and_a_missing_number_is_marked() -> None:
    from distill.compare.chemiscope import chemiscope_input
    from distill.compare.map_result import MapPoint

    def point(error: float | None) -> MapPoint:
        return MapPoint(
            source=TEST, index=0, formula="H2", config_type="h2", atoms=2, x=0.0, y=0.0,
            error=error, disagreement=None, expected=None, grade=None,
        )  # fmt: skip

    structures = [Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), bulk("Cu")]
    data = chemiscope_input(structures, [point(0.1), point(None)], "two")
    assert "cell" not in data["structures"][0] and "cell" in data["structures"][1]
    assert data["properties"]["force error"]["values"] == [0.1, -1.0]
    assert "grade" not in data["properties"]
    assert data["settings"]["map"]["color"]["property"] == "force error"
