"""Any command line ends in an exit code that says how, never in a traceback, and spares inputs."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import SAMPLE_STUDENT, call_distill, rattled_copper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.data.structures import write_structures

FILES = ["student.npz", "data.xyz", "broken.yaml", "text.txt", "empty", "cut.npz", "run", "folder"]
NAMES = [
    *FILES, "missing", "", ".", "..", "/", "/dev/null", "folder/new.xyz", "data.xyz/x", "a\0b",
    "é" * 300, "-", "--", "~", "$HOME", "nothing:Here", "os:getcwd", "math:pi", "bundled:h2cu_test",
    "bundled:", "bundled:../x", ":", "\n",
]  # fmt: skip
NUMBERS = [
    "0",
    "1",
    "-1",
    "3",
    "1e9",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 40,
    "",
    "x",
    "1,2",
    "2,",
]
SETTINGS = ["a", "=", "=1", "a=1", "name=x", "seed=.inf", "data.train=missing", "data=[", "\0=\0"]
OPTIONS = {
    "predict": {"-o": NAMES, "--stress": None, "--as-labels": None},
    "errors": {"--data": NAMES, "-o": NAMES, "--csv": NAMES, "--budget": None},
    "timing": {"--repeats": NUMBERS, "--sizes": NUMBERS, "--cores": NUMBERS},
    "show": {},
    "export": {"-o": NAMES, "--to": ["", "yace", "x"], "--tolerance": NUMBERS, "--set": SETTINGS},
    "init": {"--train": NAMES, "--foundation": NAMES, "--preset": ["bulk", "x"], "--force": None},
    "run": {"--until": ["data", "", "x"], "--from": ["teacher", "x"], "--set": SETTINGS},
    "sample": {"--set": SETTINGS},
    "curve": {"--draw-only": None, "--set": SETTINGS},
    "front": {"--orders": NUMBERS, "--scales": NUMBERS, "--cutoffs": NUMBERS, "--error": NUMBERS},
    "report": {},
    "nonsense": {"--help": None, "--version": None},
}


@st.composite
def command_lines(draw) -> list[str]:
    """A command with some of its options, files that are none, and stray words."""
    command = draw(st.sampled_from([*OPTIONS] * 9 + [""]))
    arguments = draw(st.lists(st.sampled_from(NAMES), max_size=3))
    for option in draw(st.lists(st.sampled_from([*OPTIONS.get(command, {}), "--x"]), max_size=3)):
        values = OPTIONS.get(command, {}).get(option)
        arguments.append(option)
        if values is not None and draw(st.integers(0, 9)):
            arguments.append(draw(st.sampled_from(values)))
    # Nothing is timed, which takes its time.
    return [command, *arguments, *(["--structure", "text.txt"] if command == "timing" else [])]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder of the files that the commands are given."""
    folder = tmp_path_factory.mktemp("arguments")
    shutil.copy(SAMPLE_STUDENT, folder / "student.npz")
    write_structures(folder / "data.xyz", rattled_copper(1))
    (folder / "cut.npz").write_bytes(SAMPLE_STUDENT.read_bytes()[:900])
    (folder / "broken.yaml").write_text("data: {train: missing.xyz}\noutput: run\n")
    (folder / "text.txt").write_text("no structures\n")
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text("{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}


def outputs_alone(arguments: list[str]) -> set[str]:
    """Files that a command line names as what it writes, and nowhere as anything else.

    `init` replaces the YAML file that it names with `--force`.
    """
    written, named = set(), set()
    for before, argument in pairwise(["", *arguments]):
        (written if before in ("-o", "--csv") else named).add(os.path.normpath(argument))
    forced = {
        a
        for a in named
        if arguments[:1] == ["init"] and "--force" in arguments and a.endswith(".yaml")
    }
    return (written - named) | forced


@given(arguments=command_lines())
@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_command_line_ends_well_or_in_words(place, arguments, capsys, monkeypatch):
    monkeypatch.chdir(place)
    before = contents(place)
    code = call_distill(*arguments)
    said = capsys.readouterr()
    assert code in (0, 1, 2), (arguments, said.err)
    assert "Traceback" not in said.err, arguments
    assert code == 0 or (said.err + said.out).strip(), arguments
    kept = before.keys() - outputs_alone(arguments)
    after = contents(place)
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}, (
        arguments
    )
    restore(place, before)


def restore(folder: Path, before: dict[str, bytes]) -> None:
    for path in folder.iterdir():
        if path.name not in FILES:
            shutil.rmtree(path) if path.is_dir() else os.unlink(path)
    for name, text in before.items():
        (folder / name).write_bytes(text)
