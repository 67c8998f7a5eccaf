"""Student files with something wrong in them: refused in one line, or as good as before."""

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers import SAMPLE_STUDENT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.core.errors import UserError
from distill.student.npz import read_npz
from distill.student.student_file import write_arrays
from distill.student.student_model import Student

ATOMS = Atoms("CuHCu", [[0, 0, 0], [1.4, 0.3, 0.2], [0.2, 2.3, 0.4]])
WHOLE = [-(2**31), -2, -1, 0, 1, 2, 5, 100, 2**31 - 1]
REAL = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1.5, 1e9, -1e12, 1e300, 1e-300]
JSON = [None, True, -1, 0, 3, 1e400, 2**70, "text", [], {}, [[1]], [None], {"Cu": -1}]
settings.register_profile(
    "mutations",
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MUTATIONS = settings.get_profile("mutations")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A file of the present version, its contents, and what it predicts."""
    path = tmp_path_factory.mktemp("sound") / "student.npz"
    Student.load(SAMPLE_STUDENT).save(path)
    return path.read_bytes(), read_npz(path), Student.load(path).energy(ATOMS)


def outcome(path: Path) -> float | None:
    """Energy of the file's student, or None where it is refused as it should be."""
    try:
        return Student.load(path).energy(ATOMS)
    except UserError as error:
        assert path.name in str(error)
        assert "\n" not in str(error)
        return None


def changed_numbers(draw, array):
    values = REAL if array.dtype.kind == "f" else WHOLE
    if array.dtype == np.uint8:
        values = [0, 32, 34, 48, 91, 123, 255]
    changed = array.copy()
    for _ in range(draw(st.integers(1, 3))):
        changed.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(values))
    return changed


def changed_type(draw, array):
    kinds = ["i1", "i4", "i8", "u8", "f2", "f4", "f8", "c16", "U3", "?", ">f8", ">i4"]
    with np.errstate(all="ignore"):
        return array.astype(draw(st.sampled_from(kinds)), casting="unsafe")


def changed_shape(draw, array):
    ways = [
        lambda a: a[:-1], lambda a: a[:0], lambda a: np.concatenate([a, a]), np.ravel, np.transpose,
        lambda a: a[None], lambda a: a[..., None], lambda a: np.array(a.flat[0]),
        lambda a: a[..., :-1], lambda a: np.repeat(a, 2, axis=-1), lambda a: a[::-1].copy(),
    ]  # fmt: skip
    return draw(st.sampled_from(ways))(array)


def changed_json(draw, array):
    """Another value somewhere in a JSON text, or a key that is gone."""
    data = json.loads(bytes(array))
    place = data
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or draw(st.booleans()):
            break
        place = inner
    if draw(st.booleans()):
        del place[key]
    else:
        place[key] = draw(st.sampled_from(JSON))
    return np.frombuffer(json.dumps(data).encode(), np.uint8)


@st.composite
def mutations(draw, names):
    """One entry of a file changed, or gone: a name and a function of its array."""
    name = draw(st.sampled_from(names))
    ways = [changed_numbers, changed_type, changed_shape, None]
    if name.endswith("_json"):
        ways += [changed_json] * 8
    way = draw(st.sampled_from(ways))
    return name, None if way is None else (lambda array: way(draw, array))


def mutated(data, contents):
    name, change = data.draw(mutations(sorted(contents)))
    rest = {key: array for key, array in contents.items() if key != name}
    return rest if change is None else {**rest, name: change(contents[name])}


@given(data=st.data())
@settings(MUTATIONS, max_examples=2000)
def test_a_changed_entry_is_refused_or_harmless(data, sound, tmp_path):
    """The checksum tells whatever the table of entries lets pass."""
    path = tmp_path / "changed.npz"
    np.savez(path, **mutated(data, sound[1]))
    assert outcome(path) in (None, sound[2])


@given(data=st.data())
@settings(MUTATIONS, max_examples=1400)
def test_a_changed_entry_does_no_harm_where_there_is_no_checksum(data, sound, tmp_path):
    """As in a file of another program: what the table lets pass, the kernels can evaluate."""
    path = tmp_path / "changed.npz"
    contents = mutated(data, {k: v for k, v in sound[1].items() if k != "distill_sha256"})
    np.savez(path, **{k: v for k, v in contents.items() if k != "distill_json"})
    energy = outcome(path)
    assert energy is None or np.isfinite(energy)


@given(data=st.data())
@settings(MUTATIONS, max_examples=1200)
def test_changed_bytes_are_refused_or_harmless(data, sound, tmp_path):
    """Bits flipped, a piece that is missing, an end that is cut off."""
    whole = bytearray(sound[0])
    place = data.draw(st.integers(0, len(whole) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "gap"])):
        case "flip":
            whole[place] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del whole[place:]
        case "gap":
            del whole[place : place + data.draw(st.integers(1, 50))]
    path = tmp_path / "bytes.npz"
    path.write_bytes(whole)
    assert outcome(path) in (None, sound[2])


HEADERS = [
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }",
    b"{'descr': '<f8', 'fortran_order': True, 'shape': (2, %d), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (%d,), }",
    b"{'descr': [('a', '<f8'), ('b', '<i4')], 'fortran_order': False, 'shape': (%d,), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (-%d,), }",
    b"{'descr': '<f8', 'fortran_order': 1, 'shape': %d, }",
    b"{'descr': 'nonsense%d', 'fortran_order': False, 'shape': (), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), 'more': __import__('os')}",
    b"[[[[%d",
]


@given(
    header=st.sampled_from(HEADERS),
    length=st.sampled_from([0, 1, 2, 10, 2**31, 2**40, 10**12, 2**63, 10**30]),
    version=st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"]),
    name=st.sampled_from(["WB", "E0", "aspec_y", "meta_json", "distill_json", "extra"]),
)
@settings(MUTATIONS, max_examples=400)
def test_a_crafted_header_is_refused_unread(header, length, version, name, sound, tmp_path):
    path = tmp_path / "crafted.npz"
    text = header % length if b"%d" in header else header
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    with zipfile.ZipFile(path, "w") as file:
        for key, array in sound[1].items():
            if key != name:
                buffer = io.BytesIO()
                np.save(buffer, array)
                file.writestr(f"{key}.npy", buffer.getvalue())
        file.writestr(f"{name}.npy", b"\x93NUMPY" + version + size + text + bytes(16))
    assert outcome(path) in (None, sound[2])


def test_a_file_with_its_contents_changed_and_its_checksum_too_is_another_students(sound, tmp_path):
    """The checksum is for accidents: who writes a file anew may write another one."""
    arrays = {k: v for k, v in sound[1].items() if k != "distill_sha256"}
    meta = json.loads(bytes(arrays.pop("meta_json")))
    arrays["E0"] = arrays["E0"] + 1.0
    write_arrays(tmp_path / "other.npz", arrays, meta)
    assert outcome(tmp_path / "other.npz") == pytest.approx(sound[2] + 3.0)
