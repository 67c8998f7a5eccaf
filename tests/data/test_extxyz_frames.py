"""Extended XYZ as programs and people leave it: every frame is read, or the file is refused."""

from __future__ import annotations

import gzip
from types import SimpleNamespace

import numpy as np
import pytest
from ase.io import write
from helpers import rattled_copper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.core.errors import UserError
from distill.data import extxyz_frames
from distill.data.extxyz_frames import read_extxyz
from distill.data.structures import read_structures, write_structures

HEADER = 'Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 pbc="T T T"'


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "a.xyz"
    write_structures(path, rattled_copper(3))
    return path.read_text()


def frames_of(text):
    size = int(text.split(maxsplit=1)[0]) + 2
    lines = text.splitlines(keepends=True)
    return ["".join(lines[start : start + size]) for start in range(0, len(lines), size)]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\n".join(frames_of(text)),
        lambda text: "\n\n  \n" + text + "\n\n",
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("Lattice", "lattice").replace("Properties", "PROPERTIES"),
        lambda text: text.replace("pbc", "PBC"),
        lambda text: text.replace("Cu ", "CU "),
        lambda text: text[:-1],
    ],
)
def test_what_does_not_matter_changes_nothing(tmp_path, text, change):
    (tmp_path / "a.xyz").write_bytes(change(text).encode())
    (tmp_path / "plain.xyz").write_text(text)
    expected = read_structures(tmp_path / "plain.xyz")
    for found, atoms in zip(read_structures(tmp_path / "a.xyz"), expected, strict=True):
        np.testing.assert_array_equal(found.positions, atoms.positions)
        np.testing.assert_array_equal(found.cell, atoms.cell)
        np.testing.assert_array_equal(found.pbc, atoms.pbc)
        assert found.info.keys() == atoms.info.keys()


@pytest.mark.parametrize("name", ["zeros.xyz", "zeros.vasp"])
def test_a_file_larger_than_the_memory_is_refused_unread(tmp_path, name):
    with (tmp_path / name).open("wb") as opened:
        opened.truncate(2**43)
    with pytest.raises(UserError, match=r"holds 8.8e\+03 GB or more, which do not fit into"):
        read_structures(tmp_path / name)


def test_a_compressed_file_is_unpacked_as_far_as_memory_reaches(tmp_path, monkeypatch, text):
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(text.encode() + bytes(10_000_000)))
    free = SimpleNamespace(available=8 * 4_000_000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    monkeypatch.setattr(extxyz_frames, "_PIECE", 1_000_000)
    with pytest.raises(UserError, match=r"holds 0\.005 GB or more"):
        read_structures(tmp_path / "a.xyz.gz")


def test_utf_16_compressed_and_other_names_are_read(tmp_path, text):
    (tmp_path / "a.xyz").write_text(text, encoding="utf-16")
    (tmp_path / "b.xyz.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "train.txt").write_text(text)
    for name in ("a.xyz", "b.xyz.gz", "train.txt"):
        assert len(read_structures(tmp_path / name)) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("100000000\n\nCu 0 0 0\n", "structure 0 .line 1.: announces 100000000 atoms, but"),
        ("2147483648\n\nCu 0 0 0\n", "announces 2147483648 atoms"),
        ("9" * 5000 + "\n\nCu 0 0 0\n", "announces 9+ atoms"),
        (f"1\n{HEADER}\nCu 0 0 0\n0\n\n", "structure 1 .line 4.: has no atoms"),
        ("-3\n\nCu 0 0 0\n", "expected a number of atoms, found '-3'"),
        ("2\n\nCu 0 0 0\n\nCu 1 1 1\n", "atom 1 has 0 columns, expected 4"),
        ("1\n\nCu 0 0 0\nCu 1 1 1\n", "line 4.: expected a number of atoms, found 'Cu 1 1 1'"),
        ("3\n\nCu 0 0 0\nCu 2 2 2\n1\n\nCu 0 0 0\n", "atom 2 has 1 columns, expected 4"),
        ("1\nProperties=species:S:1:pos:R:99999999\nCu 0 0 0\n", "no positions, pos:R:3"),
        ("1\nProperties=species:S:1:pos:R:3:f:R:99999999\nCu 0 0 0\n", "expected 100000003"),
        ("1\nProperties=species:S:1:pos:R:-3\nCu 0 0 0\n", "expected NAME:TYPE:COLUMNS"),
        ("1\nProperties=species:S:1:pos:R\nCu 0 0 0\n", "expected NAME:TYPE:COLUMNS"),
        ("1\nProperties=species:S:1:force:R:3\nCu 0 0 0\n", "no positions"),
        ("1\nProperties=pos:R:3\n0 0 0\n", "no elements"),
        ("1\nProperties=species:S:1:pos:R:3:pos:R:3\nCu 0 0 0 0 0 0\n", "pos more than once"),
        (f"1\n{HEADER}\nCu 0 0 0 1 1 1\n", "atom 0 has 7 columns, expected 4"),
        ("1\n\nQq 0 0 0\n", "'Qq' is no chemical element"),
        ("1\n\n1 0 0 0\n", "'1' is no chemical element"),
        ("1\n\nX 0 0 0\n", "no element has the number 0"),
        ("1\nProperties=Z:I:1:pos:R:3\n99999999999999999999 0 0 0\n", "structure 0"),
        ("1\n\nCu 0 0 ********\n", "could not convert"),
        ("1\n\nCu 0 0 1.0D+01\n", "could not convert"),
        ('1\nLattice="5 0 0 0 5 0 0 0 5 Properties=species:S:1:pos:R:3\nCu 0 0 0\n', "Lattice"),
        ('1\nLattice="5 5 5"\nCu 0 0 0\n', "Lattice"),
        ('1\ncell="5 0 0 0 5 0 0 0 5" pbc="T T T"\nCu 0 0 0\n', "'cell' but no 'Lattice'"),
        (f"1\n{HEADER.replace('T T T', 'T T')}\nCu 0 0 0\n", "pbc has 2 values"),
        ("1\nenergy=\nCu 0 0 0 1\n=\n", "expected a number of atoms"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(UserError, match=words) as refused:
        read_extxyz(tmp_path / "a.xyz")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\n\nCu 0 0 1e400\n", "positions is not finite"),
        ("2\n\nCu 0 0 0\nCu 0 0 1e200\n", "a coordinate or cell vector is 1e.200 Å long"),
        ('1\nLattice="1e-5 0 0 0 5 0 0 0 5"\nCu 0 0 0\n', "cell is only 1e-05 Å thick"),
        ('1\nLattice="5 0 0 5 0 0 0 0 5"\nCu 0 0 0\n', "lie in one plane or line"),
    ],
)
def test_sizes_that_no_structure_has_are_refused(tmp_path, text, words):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(UserError, match=words):
        read_structures(tmp_path / "a.xyz", require=(), min_distance=0.3)


def test_columns_that_nothing_describes_are_mentioned(tmp_path, capsys):
    (tmp_path / "a.xyz").write_text("1\n\nCu 0 0 0 0.1 0.2 0.3\n")
    assert len(read_extxyz(tmp_path / "a.xyz")) == 1
    assert "columns after the positions that are not read" in capsys.readouterr().out


def test_everything_that_ase_writes_is_read_as_ase_reads_it(tmp_path):
    from ase.constraints import FixAtoms
    from ase.io import read

    atoms = rattled_copper(1)[0]
    atoms.set_constraint(FixAtoms([0, 2]))
    atoms.set_initial_magnetic_moments(np.linspace(0, 1, len(atoms)))
    atoms.info.update(name="a b", flags=[True, False], table=np.eye(2), nested={"a": [1]})
    write(tmp_path / "a.xyz", [atoms, atoms], format="extxyz")
    expected = read(tmp_path / "a.xyz", 1)
    found = read_extxyz(tmp_path / "a.xyz")[1].atoms
    assert found.arrays.keys() == expected.arrays.keys()
    assert found.info.keys() == expected.info.keys()
    np.testing.assert_array_equal(found.constraints[0].index, [0, 2])


@settings(
    max_examples=800, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_files_are_read_whole_or_refused(tmp_path, text, data):
    """Characters and lines are exchanged, put in and taken out; no frame vanishes silently."""
    lines = text.splitlines()
    size = len(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "blank", "cut", "character", "number"]))
        if kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "blank":
            lines.insert(at, data.draw(st.sampled_from(["", " ", "\t"])))
        elif kind == "cut":
            del lines[max(at, 2) :]
        elif kind == "number":
            number = data.draw(st.sampled_from(["0", "1", "3", "17", "99999999", "1e400", "nan"]))
            lines[at] = lines[at].replace(lines[at].split(" ")[-1], number)
        else:
            place = data.draw(st.integers(0, len(lines[at])))
            letter = data.draw(st.characters(codec="utf-8", exclude_characters="\r\n"))
            lines[at] = lines[at][:place] + letter + lines[at][place:]
    path = tmp_path / "mutated.xyz"
    path.write_text("\n".join(lines) + "\n")
    try:
        found = read_structures(path, require=(), min_distance=0.3)
    except UserError as refused:
        assert "\n" not in str(refused)
        return
    # Frames that were read account for every line that is not blank.
    rows = sum(len(atoms) for atoms in found)
    assert rows + 2 * len(found) >= sum(bool(line.strip()) for line in lines)
    assert size


COUNTS = [
    "1", "1", "2", "2", "3", "0", "-1", " 2 ", "2.0", "02", "2 2", "٢", "2e0", "", "9" * 30, "1_0",
]  # fmt: skip
KEYS = [
    'Lattice="5 0 0 0 5 0 0 0 5"', "Lattice=5", 'Lattice="5 0 0 0 5 0 0 0 nan"', 'lattice="5 5 5"',
    'Lattice="0 0 0 0 0 0 0 0 0"', 'Lattice="1e200 0 0 0 5 0 0 0 5"', 'Lattice="', "Lattice={5}",
    "Properties=species:S:1:pos:R:3", "Properties=species:S:1:pos:R:3:forces:R:3",
    "Properties=pos:R:3:species:S:1", "Properties=species:S:1:pos:I:3", "Properties=species:S:1",
    "Properties=species:S:1:pos:R:3:numbers:I:1", "Properties=species:S:1:pos:R:3:masses:R:1",
    "Properties=species:S:1:pos:R:3:move_mask:L:1", "Properties=species:S:2:pos:R:3", "Properties=",
    "Properties=species:S:1:pos:R:3:cell:R:1", "Properties=species:S:1:pos:R:3:info:S:1",
    'pbc="T T F"', "pbc=T", "pbc=maybe", 'pbc="1 0 1"', 'pbc="T T T T"', "pbc=[true, 7, null]",
    "energy=-1.5", "energy=text", "energy=", "energy=1e999", 'energy="1 2"', "free_energy=nan",
    'stress="1 2 3 4 5 6"', 'stress="1 2 3"', 'virial="a b"', "charge=1", "dipole=2", "magmom=x",
    "config_type=", "config_type=bulk", 'config_type="a b"', "positions=1", "numbers=5", "cell=5",
    "=", "==", "a=b=c", '"', "'", "{", "}", "_JSON", "a=_JSON [", 'a="[[1, 2]]"', "é=ü", "\0=1",
    "a=" + "[" * 3000, "momenta=1", "constraints=1", "calc=EMT", "arrays=1", "name='x", "a=\\",
]  # fmt: skip
CELLS = ["0", "1.5", "-2", "1e308", "-1e400", "nan", "0x1", "1_0", "1,5", "T", "∞", "0" * 300, "H"]
FIRST = ["Cu", "H", "X", "cu", "Qq", "29", "0", "-1", "", "Cu1", "Æ"]


@st.composite
def files(draw) -> str:
    """Frames with counts, keys and rows of all kinds, most of them as they should be."""
    lines = []
    for _ in range(draw(st.integers(1, 2))):
        count = draw(st.sampled_from(COUNTS))
        lines += [count, " ".join(draw(st.lists(st.sampled_from(KEYS), max_size=4)))]
        rows = int(count) if count in ("1", "2", "3") and draw(st.integers(0, 5)) else 2
        for row in range(rows):
            columns = draw(st.sampled_from([3, 3, 3, 3, 2, 4, 6, 0]))
            usual = [f"{row}", "0.5", "0.25", "1", "1", "1"][:columns]
            if columns and not draw(st.integers(0, 3)):
                usual[draw(st.integers(0, columns - 1))] = draw(st.sampled_from(CELLS))
            first = draw(st.sampled_from(FIRST)) if not draw(st.integers(0, 4)) else "Cu"
            lines.append(" ".join([first, *usual]))
    return "\n".join(lines)


@settings(
    max_examples=2200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=files())
def test_any_frames_are_refused_in_words_or_read_and_written_the_same(tmp_path, text):
    path, copy = tmp_path / "any.xyz", tmp_path / "copy.xyz"
    path.write_text(text, encoding="utf-8")
    try:
        found = read_structures(path, require=())
    except UserError as refused:
        assert str(refused).startswith(str(path)) and "\n" not in str(refused)
        return
    rows = sum(len(atoms) for atoms in found)
    assert rows + 2 * len(found) >= sum(bool(line.strip()) for line in text.split("\n"))
    write_structures(copy, found)
    for one, again in zip(found, read_structures(copy, require=()), strict=True):
        assert np.isfinite(one.positions).all() and np.isfinite(one.cell.array).all()
        np.testing.assert_allclose(again.positions, one.positions, atol=1e-7)
        np.testing.assert_array_equal(again.numbers, one.numbers)
        np.testing.assert_array_equal(again.pbc, one.pbc)
        assert again.arrays.keys() == one.arrays.keys()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("REF_energy=-3.0 REF_energy=-5.0", "names REF_energy twice, with -3.0 and -5.0"),
        ('REF_energy=-3.0 config_type="a b" config_type=a', "names config_type twice"),
        ('REF_energy=-3.0 PBC="F F F"', "names PBC twice"),
        ("REF_energy=-3.0 ref_energy=-5.0", "REF_energy and ref_energy differ in case only"),
    ],
)
def test_two_values_of_one_key_are_refused(tmp_path, keys, words):
    (tmp_path / "a.xyz").write_text(f"1\n{HEADER} {keys}\nCu 0 0 0\n")
    with pytest.raises(UserError, match=words):
        read_structures(tmp_path / "a.xyz", require=("energy",))


def test_one_value_given_twice_and_keys_inside_quotes_are_no_repetition(tmp_path):
    notes = r'REF_energy=-3 ref_energy=-3 note="REF_energy=-5 \"REF_energy=7\"" REF_energy=-3'
    (tmp_path / "a.xyz").write_text(f"1\n{HEADER} {notes}\nCu 0 0 0\n")
    (atoms,) = read_structures(tmp_path / "a.xyz", require=("energy",))
    assert atoms.info["REF_energy"] == -3


def test_deuterium_is_told_to_be_hydrogen(tmp_path):
    (tmp_path / "a.xyz").write_text("1\n\nD 0 0 0\n")
    with pytest.raises(UserError, match="'D' is no chemical element; write H"):
        read_structures(tmp_path / "a.xyz", require=())
