"""What every executor promises; inherit it to test one of your own.

class TestMine(ExecutorContract):
    @pytest.fixture(scope="class")
    def parallel(self):
        return ParallelConfig(backend="mine", workers=2)
"""

from __future__ import annotations

import os
import time

import psutil
import pytest
from executor_units import die_once, process_id, refuse_odd, square

from distill.core.errors import UserError
from distill.core.executors import ParallelConfig, open_pool, run_units

# Helpers of Python and of loky that clean up after processes, until the program ends.
_TRACKERS = ("resource_tracker", "forkserver")


def children() -> list[str]:
    """Command lines of the running processes that this one started, helpers apart."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and not any(t in line for t in _TRACKERS):
                found.append(line)
        except psutil.Error:  # ended since the list was made
            continue
    return found


def until(condition, seconds: float = 60.0) -> bool:
    """Whether a condition came true in time."""
    for _ in range(round(seconds / 0.1)):
        if condition():
            return True
        time.sleep(0.1)
    return False


def running(pid: int) -> bool:
    """Whether a process is there; an orphan that nobody reaps stays as a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class ExecutorContract:
    """Over one `parallel` section; `in_process` where a killed worker would be this process."""

    in_process = False

    @pytest.fixture(scope="class")
    def parallel(self) -> ParallelConfig:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def pool(self, parallel):
        with open_pool(parallel) as executor:
            yield executor

    # The first, since the pool of the others stays open once it is, and would be used here.
    def test_no_process_is_left(self, parallel):
        before = len(children())
        with open_pool(parallel):
            workers = run_units(process_id, range(4), config=parallel, label="x")
        workers = set(workers) - {os.getpid()}
        assert until(lambda: len(children()) <= before and not any(map(running, workers)))

    def test_results_come_in_the_order_of_the_units_call_after_call(self, pool, parallel):
        for count in (1, 5, 2):
            squares = run_units(square, range(count), config=parallel, label="x")
            assert squares == [n * n for n in range(count)]

    def test_places_are_those_of_the_units(self, pool):
        assert dict(pool.map(square, [3, 5, 7])) == {0: 9, 1: 25, 2: 49}

    def test_units_run_with_one_thread(self, pool, parallel):
        import torch
        from many_threads import torch_threads

        before = torch.get_num_threads()
        variables = run_units(os.getenv, ["OMP_NUM_THREADS"] * 2, config=parallel, label="x")
        assert variables == ["1", "1"]
        assert run_units(torch_threads, range(2), config=parallel, label="x") == [1, 1]
        assert torch.get_num_threads() == before

    def test_what_a_unit_raises_reaches_the_caller_and_others_run_after_it(self, pool, parallel):
        with pytest.raises(UserError, match="unit 1 is wrong"):
            run_units(refuse_odd, [0, 1], config=parallel, label="x")
        assert run_units(square, range(3), config=parallel, label="x") == [0, 1, 4]

    def test_the_unit_of_a_killed_worker_runs_again(self, pool, parallel, tmp_path):
        if self.in_process:
            pytest.skip("its worker is this process")
        units = [(str(tmp_path), n) for n in range(4)]
        assert run_units(die_once, units, config=parallel, label="x") == [0, 1, 2, 3]
        assert (tmp_path / "died-1").exists()

    def test_an_unknown_option_is_refused(self, parallel):
        with pytest.raises((ValueError, UserError), match="unknown option"):
            options = {**parallel.options, "nonsense_option": 1}
            with open_pool(ParallelConfig(backend=parallel.backend, options=options)):
                pass
