"""A parsl configuration for SLURM: blocks of one node with sixteen workers each."""

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SrunLauncher
from parsl.providers import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="nodes",
            max_workers_per_node=16,
            provider=SlurmProvider(
                partition="compute",
                account="my-project",
                nodes_per_block=1,
                cores_per_node=16,
                init_blocks=0,
                max_blocks=4,
                walltime="04:00:00",
                worker_init="source .venv/bin/activate",
                launcher=SrunLauncher(),
            ),
        )
    ],
    retries=2,
)
