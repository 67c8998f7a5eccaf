"""What sampling methods that make structures of every structure of a file have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator

from distill.core.fingerprint import names_of
from distill.core.quantities import CONFIG_TYPE_KEY
from distill.core.work import Unit
from distill.data.isolated_atoms import is_isolated_atom
from distill.data.structures import read_structures, write_structures
from distill.models.cached_calculators import ModelSpec
from distill.models.labelling import labelled_copy
from distill.sampling.method import Planned, Sampler, SamplingMethod, Visited


@dataclass(frozen=True)
class StructureUnit(Unit):
    """Labelled structures made of one, in one file."""

    model: ModelSpec
    config: Any
    atoms: Atoms
    seed: int

    def settings(self) -> dict[str, Any]:
        """Its model, structure and amounts; not the name of the file that it is from."""
        return {**super().settings(), "config": _amounts(self.config), "stream": self.name}

    def files(self) -> list[Path]:
        """The labelled structures."""
        return [self.folder / f"{self.name}.xyz"]

    def structures(self) -> list[Atoms]:
        """The labelled structures."""
        return read_structures(self.files()[0])

    def write(self, kind: str, made: Sequence[tuple[Atoms, int, dict[str, int]]]) -> None:
        """Write labelled structures, each with the number of its trajectory and further entries."""
        for atoms, number, entries in made:
            trajectory = f"{self.name}_{number:03d}"
            atoms.info.update({CONFIG_TYPE_KEY: kind, "trajectory": trajectory, **entries})
        write_structures(self.files()[0], [atoms for atoms, _, _ in made])

    @property
    @abstractmethod
    def calls(self) -> int:
        """Calls of the model that it took."""


class PerStructure(SamplingMethod):
    """A unit for every structure of a file.

    Attributes
    ----------
    name
        Of its folder, its units and its structures' config type.
    unit_type
        Makes the structures.
    """

    name: ClassVar[str]
    unit_type: ClassVar[type[StructureUnit]]

    @abstractmethod
    def calls_of(self, config: Any) -> int:
        """Calls for one structure, at most."""

    def plan(self, configs: Sequence[Any]) -> list[Planned]:
        """Structures of each entry's file that something is made of, and calls at most."""
        found = []
        for config in configs:
            sizes = [len(atoms) for atoms in _interacting(config)]
            if sizes:
                calls = self.calls_of(config) * len(sizes)
                what = f"children of {len(sizes)} structures"
                found.append(Planned(what, calls, sum(sizes) / len(sizes)))
        return found

    def refuse(self, configs: Sequence[Any]) -> None:
        """Refuse a file that cannot be read."""
        for config in configs:
            read_structures(config.structures, require=())

    def units(self, configs: Sequence[Any], sampler: Sampler) -> list[Unit]:
        """A unit for every structure of a list of options; isolated atoms have nothing to show.

        Raises
        ------
        UserError
            If a file is missing or damaged.
        """
        work = sampler.work.sub(self.name)
        asked = [(config, atoms) for config in configs for atoms in _interacting(config)]
        names = names_of((_amounts(config), atoms) for config, atoms in asked)
        return [
            self.unit_type(
                work.path,
                f"{self.name}_{name}",
                model=sampler.model,
                config=config,
                atoms=atoms,
                seed=work.seed,
            )
            for name, (config, atoms) in zip(names, asked, strict=True)
        ]

    def collect(self, units: Sequence[StructureUnit]) -> Visited:
        """The labelled structures, by their trajectories, and all calls that they took."""
        structures = [atoms for unit in units for atoms in unit.structures()]
        return Visited(
            pool=structures,
            endings={atoms.info["trajectory"]: self.name for atoms in structures},
            calls={self.name: sum(unit.calls for unit in units)},
        )


def _interacting(config: Any) -> list[Atoms]:
    """The structures of a config's file, without isolated atoms."""
    structures = read_structures(config.structures, require=())
    return [atoms for atoms in structures if not is_isolated_atom(atoms)]


def _amounts(config: Any) -> dict[str, Any]:
    """The options of a method, without the file of the structures."""
    return {n: getattr(config, n) for n in type(config).model_fields if n != "structures"}


def labelled_by(calculator: Calculator, atoms: Atoms, index: int) -> Atoms:
    """A copy with a calculator's labels, a stress where the structure is periodic all round."""
    stress = bool(atoms.pbc.all()) and "stress" in calculator.implemented_properties
    return labelled_copy(atoms, calculator, index=index, stress=stress)
