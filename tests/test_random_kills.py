"""The whole workflow, killed at random moments again and again, against a run left alone.

A kill comes at a change on the disk that a random number picks, at any of the renamed, written and
removed files of a run: no clock decides, so a busy machine kills at the same places.
`DISTILL_KILL_SEED` repeats the kills of a failed test, `DISTILL_KILLS` makes more of them.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from whole_run import assert_same, numbers, write_small_workflow

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DISTILL_KILLS", "20"))
# How a run may end that was killed while it had more to do; an interrupt is obeyed with 130.
ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {-15}, signal.SIGINT: {130, -2}}


class Forks:
    """Runs of workflows of one folder, in forks of a process with everything imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = Path(__file__).parent / "support" / "run_forks.py"
        self.log = folder / "log.txt"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def run(self, name: str, number: int = 0, sign: int = signal.SIGKILL) -> tuple[int, int]:
        """Exit code and changes of a run, sent a signal at one of them."""
        request = {
            "arguments": ["run", str(self.folder / f"{name}.yaml")],
            "folder": str(self.folder / name),
            "log": str(self.log),
            "number": number,
            "signal": sign,
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the forks' process ended with {self.process.wait()}"
        answer = json.loads(line)
        return answer["code"], answer["changes"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def test_a_run_killed_at_random_gives_the_numbers_of_a_run_left_alone(tmp_path):
    seed = int(os.environ.get("DISTILL_KILL_SEED", secrets.randbelow(10**6)))
    print(f"DISTILL_KILL_SEED={seed}")
    generator = random.Random(seed)
    for name in ("alone", "killed"):
        write_small_workflow(tmp_path, name)
    forks = Forks(tmp_path)
    try:
        code, changes = forks.run("alone")
        assert code == 0, forks.log.read_text()[-3000:]
        expected = numbers(tmp_path / "alone")
        kills = 0
        while kills < KILLS:
            number = generator.randint(1, max(changes // 6, 2))
            sign = generator.choice([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT])
            code, _ = forks.run("killed", number, sign)
            said = f"kill {kills} at change {number}, {sign!r}: {forks.log.read_text()[-3000:]}"
            assert code in ENDS[sign] | {0}, said
            if code != 0:
                kills += 1
            else:  # it was over before: the next ones come in a new run
                compare(tmp_path / "killed", expected)
                shutil.rmtree(tmp_path / "killed")
        assert forks.run("killed")[0] == 0, forks.log.read_text()[-3000:]
        compare(tmp_path / "killed", expected)
    finally:
        forks.close()


def compare(run: Path, expected: dict[str, object]) -> None:
    """Every number of a run is that of the run left alone, and nothing is left behind."""
    found = numbers(run)
    assert found.keys() == expected.keys()
    for name in expected:
        if not name.endswith("started.json"):
            assert_same(found[name], expected[name], name)
    assert not [path.name for path in run.rglob("*") if ".partial" in path.name]
    assert not [path.name for path in run.rglob(".discarded-*")]
