"""How commands end: exit codes of what foreign code does, and of Ctrl-C."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers import call_distill, rattled_copper, run_distill

from distill.data.structures import write_structures


@pytest.fixture
def predict(tmp_path):
    """Arguments of a prediction by a calculator of `rude_calculators`."""
    write_structures(tmp_path / "data.xyz", rattled_copper(1))

    def arguments(name: str) -> list[str]:
        files = [str(tmp_path / "data.xyz"), "-o", str(tmp_path / "out.xyz")]
        return ["predict", f"rude_calculators:{name}", *files]

    return arguments


@pytest.mark.parametrize("name", ["Exits", "Quits"])
def test_foreign_code_that_leaves_the_program_is_an_error(predict, tmp_path, capsys, name):
    assert call_distill(*predict(name)) == 2
    said = capsys.readouterr().err
    assert "rude_calculators.py, line" in said
    assert "ended the program by itself" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.xyz").exists()


def test_two_interrupts_end_with_130_and_without_a_traceback(predict, tmp_path):
    result = run_distill(*predict("Interrupts"))
    assert result.returncode == 130
    assert "stopped; run the same command again" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out.xyz").exists()


@pytest.mark.parametrize("place", ["the imports", "the last words"])
def test_an_interrupt_at_any_time_ends_with_130(predict, place):
    code = {
        "the imports": (
            "class Finder:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'distill.cli.app': kill()\n"
            "sys.meta_path.insert(0, Finder())\n"
        ),
        "the last words": (
            "class Mouth:\n"
            "    def write(self, text): kill()\n"
            "    def flush(self): pass\n"
            "sys.stderr = Mouth()\n"
        ),
    }[place]
    code = (
        "import os, signal, sys\n"
        "def kill(): os.kill(os.getpid(), signal.SIGINT)\n"
        f"{code}from distill.__main__ import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *predict("Interrupts")], capture_output=True, text=True
    )
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_of_distill_itself_says_so(tmp_path, monkeypatch, capsys):
    def broken(*arguments, **options):
        raise ZeroDivisionError("of our own")

    monkeypatch.setattr("distill.config.workflow.load_config", broken)
    assert call_distill("run", tmp_path / "workflow.yaml") == 3
    said = capsys.readouterr().err
    assert "ZeroDivisionError: of our own" in said
    assert "this is a bug in distill" in said
