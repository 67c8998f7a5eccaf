"""What commands write: predictions beside labels, and never onto what they read."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from ase.io import read
from helpers import SAMPLE_STUDENT, call_distill, rattled_copper

from distill.data.structures import write_structures
from distill.student.student_model import Student


@pytest.fixture
def data(tmp_path):
    """Two labelled copper cells and one without labels."""
    structures = rattled_copper(3)
    for key in ("REF_energy", "REF_stress"):
        del structures[2].info[key]
    del structures[2].arrays["REF_forces"]
    write_structures(tmp_path / "data.xyz", structures)
    return tmp_path / "data.xyz"


def test_predictions_stand_beside_the_labels(data, tmp_path, student):
    out = tmp_path / "out.xyz"
    assert call_distill("predict", SAMPLE_STUDENT, data, "-o", out, "--stress") == 0
    for before, after in zip(read(data, ":"), read(out, ":"), strict=True):
        assert after.info["predicted_energy"] == pytest.approx(student.energy(before), abs=1e-6)
        found = after.arrays["predicted_forces"]
        np.testing.assert_allclose(found, student.forces(before), atol=1e-6)
        assert after.info["predicted_stress"].shape == (6,)
        for key in ("REF_energy", "REF_stress"):
            np.testing.assert_equal(after.info.get(key), before.info.get(key))
        np.testing.assert_equal(after.arrays.get("REF_forces"), before.arrays.get("REF_forces"))


def test_predictions_become_labels_where_asked_for(data, tmp_path, student):
    out = tmp_path / "out.xyz"
    assert call_distill("predict", SAMPLE_STUDENT, data, "-o", out, "--as-labels") == 0
    for before, after in zip(read(data, ":"), read(out, ":"), strict=True):
        assert after.info["REF_energy"] == pytest.approx(student.energy(before), abs=1e-6)
        np.testing.assert_allclose(after.arrays["REF_forces"], student.forces(before), atol=1e-6)
        assert not any(key.startswith("predicted") for key in (*after.info, *after.arrays))


def test_a_report_is_written_into_no_folder_but_a_run_s(tmp_path, capsys):
    """Many programs have a config.json."""
    for name in ("config.json", "report.html", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert call_distill("report", tmp_path) == 2
    assert "holds files that no run of distill made" in capsys.readouterr().err
    assert {path.read_text() for path in tmp_path.iterdir()} == {"{}"}


def test_the_command_that_init_shows_is_quoted(tmp_path, capsys):
    file = tmp_path / "a $(touch PWNED) b.yaml"
    assert call_distill("init", file, "--preset", "surface", "--train", "bundled:h2cu_train") == 0
    said = capsys.readouterr().out
    assert shlex.split(said.split("run it with: ")[1]) == ["distill", "run", str(file)]
    [line] = [line for line in file.read_text().splitlines() if "Run it with" in line]
    assert shlex.split(line.split("with: ")[1]) == ["distill", "run", file.name]


@pytest.fixture(scope="module")
def student():
    return Student.load(SAMPLE_STUDENT)


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "MODEL", "DATA", "-o", "DATA"],
        ["predict", "MODEL", "DATA", "-o", "MODEL"],
        ["predict", "MODEL", "DATA", "-o", "LINK"],
        ["predict", "MODEL", "LINK", "-o", "DATA"],
        ["predict", "MODEL", "DATA", "-o", "SAME"],
        ["predict", "MODEL", "DATA", "-o", "UP"],
        ["errors", "MODEL", "--data", "DATA", "-o", "DATA"],
        ["errors", "MODEL", "--data", "DATA", "--csv", "DATA"],
        ["errors", "MODEL", "--data", "DATA", "--csv", "MODEL"],
        ["timing", "MODEL", "--structure", "DATA", "-o", "DATA"],
        ["timing", "MODEL", "-o", "MODEL"],
        ["init", "DATA", "-o", "DATA", "--force"],
        ["init", "-o", "DATA", "--train", "DATA", "--force"],
        ["init", "-o", "MODEL", "--foundation", "student.npz", "--force"],
        ["export", "MODEL", "-o", "DATA", "--structures", "DATA"],
        ["export", "MODEL", "-o", "MODEL"],
        ["lammps", "DATA", "--student", "MODEL", "--guard", "1", "2", "--guard-file", "DATA"],
        ["lammps", "DATA", "--student", "MODEL", "--guard", "1", "2", "--guard-file", "MODEL"],
        [
            *("lammps", "SCRIPT", "--student", "MODEL", "--guard", "1", "2"),
            *("--teacher", "DATA", "--guard-file", "DATA"),
        ],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_an_output_that_is_an_input_is_refused_and_left_alone(data, tmp_path, capsys, arguments):
    model = tmp_path / "student.npz"
    model.write_bytes(SAMPLE_STUDENT.read_bytes())
    (tmp_path / "in.lammps").write_text("units metal\n")
    names = {"DATA": data, "MODEL": model, "SCRIPT": tmp_path / "in.lammps"}
    names |= {"LINK": tmp_path / "link.xyz", "SAME": tmp_path / "same.xyz"}
    names["LINK"].symlink_to(data.name)
    names["SAME"].hardlink_to(data)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "up").symlink_to("..")
    names["UP"] = tmp_path / "folder" / "up" / data.name
    before = {path: path.read_bytes() for path in names.values()}
    assert call_distill(*(names.get(part, part) for part in arguments)) == 2
    assert "is an input of this command: choose another output" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in names.values()} == before
