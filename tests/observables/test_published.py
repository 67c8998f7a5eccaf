"""Published points: what a good file gives, and what each bad one says."""

import pytest

from distill.core.errors import UserError
from distill.observables.sticking.published_points import read_points
from distill.observables.sticking.result import PublishedPoint


def write(folder, text):
    file = folder / "beam.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_columns_are_read_and_missing_ones_are_none(tmp_path):
    file = write(
        tmp_path,
        "# made up\nenergy, probability, low, high, facet, temperature, v, j, source\n"
        "0.5, 0.10, 0.05, 0.2, 111, 925, 0, 1, a beam\n\n0.7,0.4,,,111,,,,\n",
    )
    first, second = read_points(file)
    assert first == PublishedPoint(
        energy=0.5,
        probability=0.1,
        interval=(0.05, 0.2),
        facet="111",
        temperature=925.0,
        v=0.0,
        j=1.0,
        source="a beam",
    )
    assert second.interval is None and second.temperature is None
    # Without a source, the legend shows the file's name.
    assert second.source == "beam"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("energy,probability\n", "no points below"),
        ("energy\n0.5\n", "lacks column probability"),
        ("energy,probability,angle\n0.5,0.1,3\n", "unknown column angle"),
        ("energy,probability,energy\n0.5,0.1,0.5\n", "repeats column energy"),
        ("energy,probability,low\n0.5,0.1,0.05\n", "low and high belong together"),
        ("energy,probability\n0.5,much\n", "line 2: probability is 'much'"),
        ("energy,probability\n0.5,nan\n", "line 2: probability is 'nan'"),
        ("energy,probability\n0.5,0.1\n0.6,1.2\n", "line 3: probability is 1.2, expected 0 to 1"),
        ("energy,probability\n0.5,\n", "line 2: probability is empty"),
        ("energy,probability\n0.5,0.1,0.2\n", "line 2: expected 2 cells, found 3"),
        ("energy,probability,low,high\n0.5,0.3,0.1,0.2\n", "0.3 is not within 0.1 to 0.2"),
        ("energy,probability,low,high\n0.5,0.3,0.1,\n", "line 2: low and high belong together"),
    ],
)
def test_bad_files_name_file_line_and_column(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_points(write(tmp_path, text))
    assert "beam.csv" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot read the published points"):
        read_points(tmp_path / "none.csv")
