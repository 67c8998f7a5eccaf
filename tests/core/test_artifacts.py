"""Atomic writes, hashes and manifests."""

import errno
import os
import stat

import numpy as np
import pytest

from distill.core.artifacts import (
    atomic_path,
    hash_of,
    read_json,
    read_manifest,
    refuse_to_overwrite,
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


def test_errors_of_the_block_on_other_files_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        (tmp_path / "gone.txt").read_text()
    assert caught.value.filename == str(tmp_path / "gone.txt")
    with pytest.raises(ConnectionError), atomic_path(tmp_path / "a.txt"):
        raise ConnectionError("no host")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_file_itself_say_which_it_is(tmp_path):
    with (
        pytest.raises(UserError, match=r"cannot write .*a\.txt: No such file"),
        atomic_path(tmp_path / "a.txt") as temporary,
    ):
        temporary.unlink()
        temporary.read_text()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*b\.txt: (File exists|Not a directory)"):
        write_text(tmp_path / "file" / "b.txt", "x")


def test_a_failing_removal_does_not_hide_why_the_block_failed(tmp_path, monkeypatch):
    def refuse(self, missing_ok=False):
        raise PermissionError(errno.EACCES, "no removal", str(self))

    with pytest.raises(ValueError, match="stop"), atomic_path(tmp_path / "a.txt"):
        monkeypatch.setattr(type(tmp_path), "unlink", refuse)
        raise ValueError("stop")


@pytest.mark.parametrize("name", [".", "folder", "/dev/null"])
def test_what_is_no_file_is_not_replaced(tmp_path, monkeypatch, name):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"cannot write {name}: it is a (folder|device)"):
        write_text(name, "x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UserError, match="nothing was written"), atomic_path(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"
    write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").read_text() == ""


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    for name in ("there.txt", "new.txt"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "there.txt").write_text("old")
    for name in ("there.txt", "new.txt"):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "disk" / name).read_text() == "text"
    assert len(list(tmp_path.rglob("*.txt"))) == 4


def test_temporary_files_are_new_and_their_names_at_random(tmp_path):
    names = set()
    for _ in range(2):
        with atomic_path(tmp_path / "a.npz") as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".npz"
            names.add(temporary.name)
            temporary.write_text("x")
    assert len(names) == 2


def test_a_file_that_lies_where_the_temporary_one_goes_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    trap = tmp_path / "trap"
    trap.write_text("other's")
    temporary.symlink_to(trap)
    with pytest.raises(UserError, match="File exists"):
        write_text(tmp_path / "a.txt", "y")
    assert trap.read_text() == "other's"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    with atomic_path(tmp_path / "deep" / "model.npz") as temporary:
        temporary.write_text("x")
    temporary.touch()
    bare = temporary.with_suffix("")
    bare.touch()
    others = [".notes.partial", ".model.123.partial.npz", "kept.txt", f"{temporary.name}.old.txt"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / temporary.name).symlink_to(tmp_path / "kept.txt")
    remove_partial_files(tmp_path)
    assert not temporary.exists()
    assert not bare.exists()
    assert (tmp_path / temporary.name).is_symlink()
    assert all((tmp_path / name).exists() for name in others)


def test_an_output_that_is_an_input_is_refused(tmp_path):
    data, other = tmp_path / "data.xyz", tmp_path / "other.xyz"
    data.write_text("x")
    refuse_to_overwrite(data, None, "package.module:Class", other, tmp_path / "gone.xyz")
    for name in ("link.xyz", "hard.xyz"):
        refuse_to_overwrite(tmp_path / name, data)
    (tmp_path / "link.xyz").symlink_to(data)
    os.link(data, tmp_path / "hard.xyz")
    for output in (data, tmp_path / "sub" / ".." / "data.xyz", "link.xyz", "hard.xyz"):
        with pytest.raises(UserError, match="is an input of this command: choose another output"):
            refuse_to_overwrite(tmp_path / output, other, data)
    with pytest.raises(UserError, match="is an input"):
        refuse_to_overwrite(data, tmp_path / "link.xyz")


def test_an_input_in_the_folder_that_is_written_is_refused(tmp_path):
    write_text(tmp_path / "run" / "deep" / "data.xyz", "x")
    refuse_to_overwrite(tmp_path / "run" / "other", tmp_path / "run" / "deep" / "data.xyz")
    with pytest.raises(UserError, match=r"run is where the input .*data\.xyz lies"):
        refuse_to_overwrite(tmp_path / "run", tmp_path / "run" / "deep" / "data.xyz")


def test_json_takes_numpy_and_reports_damage(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": np.arange(3), "y": np.float64(2.5)})
    assert read_json(path) == {"x": [0, 1, 2], "y": 2.5}
    path.write_text('{"x": ')
    with pytest.raises(UserError, match="damaged"):
        read_json(path)
    with pytest.raises(TypeError, match="not JSON-serialisable: set"):
        write_json(path, {"x": {1, 2}})


@pytest.mark.parametrize("text", ["null", "{}", "[1]", "3", '{"a": 1}', '{"a": null}', "[" * 9999])
def test_json_of_another_kind_is_refused_by_name(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    if text == "{}":
        assert read_json(path, dict[str, str]) == {}
        return
    with pytest.raises(UserError, match=r"a\.json is damaged: ") as refused:
        read_json(path, dict[str, str])
    assert "\n" not in str(refused.value)


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
