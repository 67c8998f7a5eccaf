"""Where independent units of work run: in this process, on its cores, on a cluster.

`run_units` is what others call. The executors are members of a registry; another package adds one
by an entry point in the group `distill.executors`.
"""

from distill.core.executors.executor import EXECUTORS, Executor, GaveUp, NoOptions, WorkersLost
from distill.core.executors.one_thread import THREAD_VARIABLES, available_cores
from distill.core.executors.parallel_config import ParallelConfig
from distill.core.executors.pool import open_pool, run_units

__all__ = [
    "EXECUTORS",
    "THREAD_VARIABLES",
    "Executor",
    "GaveUp",
    "NoOptions",
    "ParallelConfig",
    "WorkersLost",
    "available_cores",
    "open_pool",
    "run_units",
]
