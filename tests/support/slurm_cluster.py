"""A SLURM cluster of one node on this machine, started and ended by the tests.

Nothing of it needs systemd or a configuration in /etc: its daemons run on free ports, with a key of
their own, in one folder. Debian's packages `slurmctld slurmd slurm-client munge` and root are all
that is needed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

_ALL = "running,pending,completing"
# Seconds that a command of SLURM may take, and that the cluster may take to get somewhere.
_COMMAND_S, _WAIT_S = 30.0, 60.0
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue")
# More processors than this machine may have: jobs of the tests hardly compute.
_CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
KillWait=1
MessageTimeout=2
UnkillableStepTimeout=60
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=65536 State=UNKNOWN
PartitionName=compute Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why there can be no SLURM here; None where there can."""
    try:
        # As SLURM asks; there is no answer without a network but the loopback.
        for name in ("127.0.0.1", socket.gethostname()):
            socket.getaddrinfo(name, None, socket.AF_INET, flags=socket.AI_ADDRCONFIG)
    except OSError as error:
        return f"SLURM finds no address of this machine: {error}"
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if missing := [name for name in _PROGRAMS if shutil.which(name, path=path) is None]:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    return None


class OneNode:
    """The daemons in a folder; `environment` tells SLURM's commands of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        (folder / "state").mkdir(parents=True)
        (folder / "spool").mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        text = _CONFIG.format(
            host=socket.gethostname().split(".")[0], folder=folder, ports=_free_ports(2)
        )
        (folder / "slurm.conf").write_text(text)
        files = {
            "socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log",
            "seed-file": "seed",
        }  # fmt: skip
        options = [f"--{option}={folder}/munge.{ending}" for option, ending in files.items()]
        self._start("munged", "--force", *options)
        self.controller_comes_back()
        self._start("slurmd")
        self._wait(lambda: "idle" in self.run("sinfo", "--noheader").stdout)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of SLURM."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_COMMAND_S
        )

    def jobs(self, state: str = _ALL) -> list[str]:
        """Numbers of the jobs in some states."""
        return self.run("squeue", "--noheader", "--format=%i", f"--states={state}").stdout.split()

    def wait_for_the_end_of(self, job: str) -> None:
        """Wait until a job and its processes are gone."""
        self._wait(lambda: job not in self.jobs())

    def cancel(self, *jobs: str) -> None:
        """End jobs, all that there are if none is named."""
        self.run("scancel", *(jobs or self.jobs()))

    def lose_the_node(self) -> None:
        """End all that runs on the node, which is no longer there."""
        done = self._set_node("DOWN", "Reason=lost")
        assert done.returncode == 0, done.stderr

    def find_the_node(self) -> None:
        """Have the node back; jobs that wait may take it at once."""
        # It is refused where the node has come back by itself.
        self._set_node("RESUME")
        self._wait(lambda: "down" not in self.run("sinfo", "--noheader").stdout)

    def _set_node(self, state: str, *more: str) -> subprocess.CompletedProcess[str]:
        host = socket.gethostname().split(".")[0]
        return self.run("scontrol", "update", f"NodeName={host}", f"State={state}", *more)

    def controller_goes_away(self) -> None:
        """End the scheduler; jobs that run go on."""
        self._end("slurmctld")

    def controller_comes_back(self) -> None:
        """Start the scheduler."""
        self._start("slurmctld")
        self._wait(lambda: self.run("scontrol", "ping").returncode == 0)

    def end(self) -> None:
        """End the jobs and the daemons."""
        self.cancel()
        for name in ("slurmd", "slurmctld", "munge"):
            self._end(name)

    def _start(self, program: str, *options: str) -> None:
        environment = {**os.environ, **self.environment}
        path = os.pathsep.join([environment.get("PATH", ""), "/usr/sbin", "/sbin"])
        subprocess.run([shutil.which(program, path=path), *options], env=environment, check=True)

    def _end(self, name: str) -> None:
        """End a daemon, by force where it waits for a job that does not end."""
        file = self.folder / f"{name}.pid"
        if not file.exists():
            return
        number = int(file.read_text())
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, sign)
            for _ in range(100):
                if not psutil.pid_exists(number):
                    return
                time.sleep(0.1)

    def _wait(self, condition) -> None:
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.1)
        logs = [path.read_text()[-1000:] for path in self.folder.glob("*.log")]
        raise AssertionError("SLURM does not get there:\n" + "\n".join(logs))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
