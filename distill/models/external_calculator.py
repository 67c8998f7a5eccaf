"""A calculator in another Python environment, or another program, behind the i-PI protocol.

Packages of this field exclude each other, and DFT codes are programs: neither can be imported. Such
a calculator is a process that this one starts, watches and ends. They talk over a Unix socket in
the i-PI protocol (Kapil et al., Comput. Phys. Commun. 236, 214 (2019)), which many codes speak; for
another Python, `socket_client` is the other end. Each process of distill has its own, so that
several run at once where units of work do.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.socketio import IPIProtocol

from distill.core.errors import UserError
from distill.core.quantities import stress_from_virial, voigt
from distill.models import socket_client
from distill.models.answering import AnsweringCalculator

if TYPE_CHECKING:
    from ase import Atoms

    from distill.models.config import CalculatorConfig

_TAIL = 5
# Seconds in which a process may end by itself before it is ended, and between looks at it.
_GRACE_S, _LOOK_S = 5.0, 0.2
_STRUCTURE, _LOG = "structure.xyz", "output.log"
# Where programs that speak the protocol look for a Unix socket that they are given the name of.
_IPI_PREFIX = "/tmp/ipi_"


class ExternalCalculator(AnsweringCalculator):
    """Energy [eV], forces [eV/Å] and stress [eV/Å³] from a process of its own.

    The process starts with the first structure, and again after it died: a structure on which it
    dies twice is an error. It is ended with this object or this process.

    Parameters
    ----------
    config
        Import path and `python`, or `command`; and `timeout`, in which an answer has to come.
    """

    def __init__(self, config: CalculatorConfig) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "free_energy", "forces", "stress"]
        self.config = config
        self._process: _Process | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A process stays where it is; whoever gets a copy starts its own.
        return {**self.__dict__, "_process": None}

    def answer(self, atoms: Atoms, properties: list[str]) -> dict[str, Any]:
        """Ask the process.

        Raises
        ------
        UserError
            If it cannot be started, dies on the structure, gives no answer in time, or says that
            it failed.
        """
        try:
            answer = self._answer(atoms)
        except _Died:
            # Perhaps of something that has passed, such as memory that others took.
            self.close()
            try:
                answer = self._answer(atoms)
            except _Died as error:
                self.close()
                raise UserError(str(error)) from None
        except TimeoutError:
            said = self._process.said() if self._process else ""
            self.close()
            raise UserError(
                f"{self.config.name} gave no answer in {self.config.timeout:g} s and was ended; "
                f"raise its timeout if it needs longer{said}"
            ) from None
        energy, forces, virial, about = answer
        if "error" in about:
            raise UserError(f"{self.config.name} failed: {about['error']}")
        found = {"energy": energy, "free_energy": energy, "forces": forces}
        # A program has to send a virial; one that computes none sends zeros.
        if about.get("stress", bool(np.any(virial))) and atoms.pbc.all():
            found["stress"] = stress_from_virial(voigt(virial), atoms.get_volume())
        return found

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _answer(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray, dict[str, Any]]:
        process = self._process
        if process is not None and not process.takes(atoms):
            self.close()
            process = None
        if process is None:
            process = self._process = _Process(self.config, atoms)
        return process.answer(atoms)


class _Died(Exception):
    """The process ended, or closed its socket."""


class _Process:
    """One process, its socket and its folder."""

    def __init__(self, config: CalculatorConfig, atoms: Atoms) -> None:
        self.config = config
        self.atoms = _named(atoms)
        self.folder = Path(tempfile.mkdtemp(prefix="distill-external-"))
        self._end = weakref.finalize(self, _remove, self.folder)
        with _listener(config) as listener:
            self.child = self._start(listener, atoms)
            self._ends(self.child)
            connection = self._accepted(listener)
        connection.settimeout(config.timeout)
        self._ends(self.child, connection)
        self.protocol = _Protocol(connection, self.atoms)

    def _ends(self, *parts: Any) -> None:
        """Say what is to be ended with this object, or with this process."""
        self._end.detach()
        self._end = weakref.finalize(self, _remove, self.folder, *parts)

    def takes(self, atoms: Atoms) -> bool:
        """Whether it can be asked for these atoms: a program reads once which they are."""
        return self.config.python is not None or _named(atoms) == self.atoms

    def answer(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray, dict[str, Any]]:
        """Energy, forces, virial (3, 3) and what else was said.

        Raises
        ------
        _Died
            If the process is gone.
        TimeoutError
            If it is silent.
        """
        named = _named(atoms)
        try:
            if named != self.atoms:
                self.atoms = self.protocol.atoms = named
                self.protocol.sendinit()
            found = self.protocol.calculate(atoms.positions, _full_cell(atoms))
        except TimeoutError:
            raise
        except (OSError, AssertionError) as error:
            raise _Died(self._end_of(error)) from None
        return float(found["energy"]), found["forces"], found["virial"], _json(found["morebytes"])

    def end(self) -> None:
        """Say that it is enough, and end what does not end."""
        self._end()

    def said(self) -> str:
        """The last lines that it wrote, for messages."""
        try:
            text = (self.folder / _LOG).read_text(errors="replace")
        except OSError:
            return ""
        lines = text.strip().splitlines()[-_TAIL:]
        return "; it wrote last:\n  " + "\n  ".join(lines) if lines else ""

    def _start(self, listener: _Listener, atoms: Atoms) -> subprocess.Popen[bytes]:
        if self.config.python is not None:
            spec = {"path": str(self.config.path), "args": self.config.args}
            command = [self.config.python, socket_client.__file__, listener.path, json.dumps(spec)]
        else:
            from distill.data.structures import without_labels, write_structures

            structure = self.folder / _STRUCTURE
            write_structures(structure, [without_labels(atoms)])
            values = {
                "socket": listener.path,
                "unixsocket": listener.path.removeprefix(_IPI_PREFIX),
                "port": str(listener.port),
                "structure": str(structure),
                "folder": str(self.folder),
            }
            command = [_filled(word, values) for word in shlex.split(self.config.command or "")]
        # A Python of another environment must not take this one's packages.
        hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} if self.config.python else set()
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        try:
            with (self.folder / _LOG).open("wb") as log:
                self.command = command
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment | self.config.environment,
                    start_new_session=True,
                )
        except OSError as error:
            self._end()
            raise UserError(
                f"cannot start {self.config.name}: {command[0]}: {error.strerror}"
            ) from None

    def _accepted(self, listener: _Listener) -> socket.socket:
        """The connection that the process makes."""
        listener.socket.settimeout(_LOOK_S)
        looks = max(int(self.config.timeout / _LOOK_S), 1)
        for _ in range(looks):
            try:
                return listener.socket.accept()[0]
            except TimeoutError:
                if self.child.poll() is not None:
                    break
        problem = self._end_of(None)
        command = shlex.join(self.command)
        self._end()
        raise UserError(f"{problem}\nIt never connected; it was started as: {command}")

    def _end_of(self, error: BaseException | None) -> str:
        """What became of it, in a sentence."""
        try:
            code = self.child.wait(_GRACE_S if error is not None else 0)
        except subprocess.TimeoutExpired:
            if error is None:
                name, limit = self.config.name, self.config.timeout
                return f"{name} did not connect in {limit:g} s{self.said()}"
            detail = f" ({error})" if str(error) else ""
            what = f"did not answer as the i-PI protocol asks{detail}"
        else:
            what = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{self.config.name} {what}{self.said()}"


class _Protocol(IPIProtocol):
    """The protocol, with the atoms named in the initialisation string."""

    def __init__(self, connection: socket.socket, atoms: dict[str, Any]) -> None:
        super().__init__(connection)
        self.atoms = atoms

    def sendinit(self) -> None:
        """Name the atoms; programs that know theirs take no notice of it."""
        text = json.dumps(self.atoms).encode()
        self.sendmsg("INIT")
        self.send(0, np.int32)
        self.send(len(text), np.int32)
        self.send(np.frombuffer(text, dtype=np.byte), np.byte)


@dataclass(frozen=True)
class _Listener:
    """A socket that waits for one process: on a port of this host, or at a path."""

    socket: socket.socket
    path: str = ""
    port: int = 0


@contextmanager
def _listener(config: CalculatorConfig) -> Iterator[_Listener]:
    if "{port}" in (config.command or ""):
        with socket.socket(socket.AF_INET) as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen(1)
            yield _Listener(bound, port=bound.getsockname()[1])
        return
    path = f"{_IPI_PREFIX}distill_{uuid.uuid4().hex[:16]}"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        try:
            bound.listen(1)
            yield _Listener(bound, path)
        finally:
            os.unlink(path)


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace("{" + name + "}", value)
    return word


def _named(atoms: Atoms) -> dict[str, Any]:
    """What the protocol does not send with every structure."""
    return {"numbers": atoms.numbers.tolist(), "pbc": atoms.pbc.tolist()}


def _full_cell(atoms: Atoms) -> np.ndarray:
    """The cell as it is: a missing vector is zero, as the other side gets it back."""
    return np.asarray(atoms.cell[:], dtype=float)


def _json(raw: np.ndarray) -> dict[str, Any]:
    """What our own clients say beside the numbers; programs may say anything, or nothing."""
    try:
        found = json.loads(bytes(np.asarray(raw).astype(np.uint8)).decode())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _remove(
    folder: Path,
    child: subprocess.Popen[bytes] | None = None,
    connection: socket.socket | None = None,
) -> None:
    """End a process and all that it started, and remove its folder."""
    if connection is not None:
        with suppress(OSError):
            connection.settimeout(_LOOK_S)
            IPIProtocol(connection).end()
        connection.close()
    if child is not None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_LOOK_S if connection is None else _GRACE_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    shutil.rmtree(folder, ignore_errors=True)
