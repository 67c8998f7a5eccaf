"""What a way of sampling is: the interface of every sampling method.

A method turns its options into units of work, and finished units into structures. It is registered
by name, which is its key in the `sampling` section; another package adds one by an entry point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from distill.core.config import Section
from distill.core.registry import Registry
from distill.core.work import Unit, WorkFolder

if TYPE_CHECKING:
    from ase import Atoms

    from distill.models.cached_calculators import ModelSpec
    from distill.simulation.trust_bound import Trust

SAMPLING_METHODS: Registry[type[SamplingMethod]] = Registry(
    "sampling method",
    "distill.sampling_methods",
    {
        "scattering": "distill.sampling.methods.scattering:Scattering",
        "neb": "distill.sampling.methods.neb:MinimumEnergyPaths",
        "md": "distill.sampling.methods.md:MolecularDynamics",
        "rattle": "distill.sampling.methods.rattle:Rattle",
        "augment": "distill.sampling.methods.augment:Augment",
    },
)


class Planned(NamedTuple):
    """What a method will ask of its model.

    Attributes
    ----------
    what
        Such as `4 runs of 2.2 ps`.
    calls
        Force calls, at most; of trajectories that end by themselves, about.
    atoms
        Atoms of a system, their mean over the calls.
    """

    what: str
    calls: float
    atoms: float


@dataclass(frozen=True)
class Sampler:
    """Who samples.

    Attributes
    ----------
    model
        What `distill.models.calculators.load_calculator` takes.
    work
        Folder of the units' files, seed, and where units run.
    trust
        Cuts runs where the sampling student extrapolates; None for a teacher.
    """

    model: ModelSpec
    work: WorkFolder
    trust: Trust | None = None


@dataclass
class Visited:
    """What a model visited.

    Attributes
    ----------
    pool
        Structures to select from; `info["trajectory"]` says where each is from.
    endings
        How each of those trajectories ended, by its name.
    starts
        What each of them shares its start with, such as a thermal surface, by its name; those that
        are missing share it with none.
    paths
        Structures that are kept as they are, such as those along minimum energy paths.
    calls
        Calls of the model by what they were for.
    cut
        How many runs left the bound of trust.
    tables
        Rows of CSV files by their stem.
    summary
        Further numbers, JSON-serialisable.
    """

    pool: list[Atoms] = field(default_factory=list)
    endings: dict[str, str] = field(default_factory=dict)
    starts: dict[str, str] = field(default_factory=dict)
    paths: list[Atoms] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Visited) -> None:
        """Take in what another method left."""
        self.pool += other.pool
        self.paths += other.paths
        self.cut += other.cut
        self.endings.update(other.endings)
        self.starts.update(other.starts)
        self.calls.update(other.calls)
        self.tables.update(other.tables)
        self.summary.update(other.summary)


class SamplingMethod(ABC):
    """A way of sampling.

    Attributes
    ----------
    Config
        Its options.
    repeated
        Whether its key in the `sampling` section holds a list of them.
    selects
        Whether a selection is made among its structures, rather than keeping them all.
    """

    Config: ClassVar[type[Section]]
    repeated: ClassVar[bool] = True
    selects: ClassVar[bool] = True

    def refuse(self, configs: Sequence[Any]) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse options that cannot work, before anything is computed; raises `UserError`."""

    def plan(self, configs: Sequence[Any]) -> list[Planned]:
        """What its options will take; nothing where that is not known beforehand."""
        return []

    @abstractmethod
    def units(self, configs: Sequence[Any], sampler: Sampler) -> list[Unit]:
        """The units of work of all its options; what they start from is made here."""

    @abstractmethod
    def collect(self, units: Sequence[Any]) -> Visited:
        """Read what finished units left, and say what was set aside."""
