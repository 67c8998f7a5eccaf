"""Atomic writes, hashes and manifests."""

import errno
import os

import numpy as np
import pytest

from distill.core.artifacts import (
    atomic_path,
    hash_of,
    read_json,
    read_manifest,
    remove_partial_files,
    sha256,
    write_json,
    write_manifest,
    write_text,
)
from distill.core.errors import UserError


def test_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ValueError, match="stop"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("stop")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_full_disk_is_a_clear_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with (
        pytest.raises(UserError, match=r"a\.txt: No space left.*Free some space"),
        atomic_path(path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"


def test_real_full_device_is_a_clear_error(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with (
        pytest.raises(UserError, match="No space left"),
        atomic_path(tmp_path / "x.txt"),
        open("/dev/full", "w") as full,
    ):
        full.write("x" * 100_000)


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    leftover = tmp_path / "deep" / ".model.123.partial.npz"
    leftover.touch()
    write_text(tmp_path / "kept.txt", "x")
    remove_partial_files(tmp_path)
    assert not leftover.exists()
    assert (tmp_path / "kept.txt").exists()


def test_json_takes_numpy_and_reports_damage(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": np.arange(3), "y": np.float64(2.5)})
    assert read_json(path) == {"x": [0, 1, 2], "y": 2.5}
    path.write_text('{"x": ')
    with pytest.raises(UserError, match="damaged"):
        read_json(path)
    with pytest.raises(TypeError, match="not JSON-serialisable: set"):
        write_json(path, {"x": {1, 2}})


@pytest.mark.parametrize("read", [read_json, sha256])
def test_a_file_that_cannot_be_read_is_named(tmp_path, read):
    with pytest.raises(UserError, match=r"cannot read .*gone\.json: No such file"):
        read(tmp_path / "gone.json")


def test_hash_does_not_depend_on_key_order():
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": [1, 2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})


def test_manifest_records_hashes_of_inputs_and_outputs(tmp_path):
    source = tmp_path / "in.txt"
    source.write_text("input")
    out = tmp_path / "out"
    write_text(out / "result.txt", "result")
    assert read_manifest(out) is None
    write_manifest(
        out,
        stage="x",
        config={"a": 1},
        inputs={"source": source},
        outputs=["result.txt"],
        seed=3,
        wall_time=1.0,
    )
    manifest = read_manifest(out)
    assert manifest["inputs"]["source"]["sha256"] == sha256(source)
    assert manifest["outputs"] == {"result.txt": sha256(out / "result.txt")}
    assert manifest["versions"]["numpy"] == np.__version__
