"""The example configs for clusters are read, and say what they seem to say."""

import sys

import pytest
import yaml
from helpers import ROOT

from distill.config import ParallelConfig

CLUSTERS = ROOT / "configs" / "clusters"


def parallel_section(name: str) -> ParallelConfig:
    content = yaml.safe_load((CLUSTERS / name).read_text())
    assert list(content) == ["parallel"]
    return ParallelConfig.model_validate(content["parallel"])


def test_dask_jobqueue_writes_the_job_of_the_example():
    dask_jobqueue = pytest.importorskip("dask_jobqueue", reason="the extra [dask] is missing")
    options = dict(parallel_section("dask_slurm.yaml").options)
    with getattr(dask_jobqueue, options.pop("cluster"))(**options) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p compute" in script
    assert "#SBATCH --cpus-per-task=16" in script
    assert "--nthreads 1" in script
    assert "source .venv/bin/activate" in script


def test_parsl_takes_the_example(monkeypatch):
    parsl = pytest.importorskip("parsl", reason="the extra [parsl] is missing")
    name = parallel_section("parsl_slurm.yaml").options["config"]
    module, _, attribute = name.partition(":")
    monkeypatch.setattr(sys, "path", [str(CLUSTERS), *sys.path])
    config = getattr(__import__(module), attribute)
    assert isinstance(config, parsl.Config)
    [executor] = config.executors
    assert executor.provider.partition == "compute"
    assert executor.max_workers_per_node == 16
