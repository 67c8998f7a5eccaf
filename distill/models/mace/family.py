"""MACE as a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from distill.core.config import Section
from distill.models.base import Job, Predictions, TrainableFamily
from distill.models.mace.adapter import checked_model, facts, predictions, save_model
from distill.models.mace.calculator import with_own_cell
from distill.models.mace.config import MaceConfig
from distill.models.mace.rebuild import select_head
from distill.models.mace.torch_tools import (
    import_mace,
    marked_kind,
    pick_device,
    quiet,
    read_pickle,
)

if TYPE_CHECKING:
    from typing import Self

    import torch
    from ase import Atoms
    from ase.calculators.calculator import Calculator

_DEFAULT_HEAD = "default"


@dataclass(frozen=True)
class Mace(TrainableFamily):
    """A MACE energy model.

    Attributes
    ----------
    module
        As mace-torch has it.
    device
        Torch device of its evaluations.
    batch_size
        Structures that it takes at once.
    head
        Of a model of several heads; if None, the one called default in any spelling.
    """

    kind: ClassVar[str] = "mace"
    Config: ClassVar[type[Section]] = MaceConfig
    suffixes: ClassVar[tuple[str, ...]] = (".model", ".pt", ".pth")

    module: torch.nn.Module
    device: str = "cpu"
    batch_size: int = 8
    head: str | None = None

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether it is a model file that does not say that it holds several parts."""
        return super().reads(path) and marked_kind(path) is None

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", dtype: str | None = None) -> Self:
        """The model of a `.model` file of mace-torch. It is a pickle: loading it runs its code."""
        module = checked_model(read_pickle(path, device=device), path)
        return cls.of_module(module, device=device, dtype=dtype)

    @classmethod
    def of_module(
        cls, module: torch.nn.Module, *, device: str = "cpu", dtype: str | None = None
    ) -> Self:
        """The model of a module, which is put into another precision in place if one is asked."""
        if dtype is not None and dtype != facts(module).dtype:
            import torch

            module = module.to(getattr(torch, dtype))
        return cls(module, device)

    def save(self, path: Path) -> None:
        """Write the whole module, as mace-torch's calculator and LAMMPS tools read it."""
        save_model(self.module, path)

    @cached_property
    def single(self) -> torch.nn.Module:
        """The module with the one head that counts.

        Raises
        ------
        UserError
            If it has several heads and none is chosen, or not the one that is.
        """
        heads = facts(self.module).heads
        defaults = [name for name in heads if name.lower() == _DEFAULT_HEAD]
        head = self.head if self.head is not None or len(defaults) != 1 else defaults[0]
        return select_head(self.module, head, option="args: {head: NAME}")

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that it knows."""
        return frozenset(facts(self.module).elements)

    def calculator(self) -> Calculator:
        """mace-torch's calculator in the model's own precision."""
        import_mace()
        from mace.calculators import MACECalculator

        with quiet():
            calculator = MACECalculator(
                models=[self.single], device=self.device, default_dtype=facts(self.single).dtype
            )
        return cast("Calculator", with_own_cell(calculator))

    def predict(self, structures: Sequence[Atoms], *, stress: bool = False) -> Predictions:
        """In batches; energies are put together in double precision."""
        return predictions(
            self.single, structures, stress=stress, batch_size=self.batch_size, device=self.device
        )

    def descriptors(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Invariant features averaged over the atoms of each structure."""
        from distill.models.mace.features import structure_features

        return structure_features(self.single, structures, device=self.device)

    def in_batches(self, size: int) -> Self:
        """The same module, taking `size` structures at once."""
        return replace(self, batch_size=size)

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same module with another `head`."""
        head = options.get("head")
        others = {name: value for name, value in options.items() if name != "head"}
        return super().with_options(others) if others else replace(self, head=head)

    @classmethod
    def fit(cls, frames: Sequence[Atoms], config: Section, job: Job) -> Self:
        """A foundation model fine-tuned on structures; see `distill.models.mace.fine_tuning`."""
        from distill.models.mace.fine_tuning import fine_tuned

        assert isinstance(config, MaceConfig)
        device = pick_device(config.device)
        return cls(fine_tuned(frames, config, job), device, config.batch_size)

    def fingerprint(self) -> str:
        """Hash of its weights and what else its predictions depend on."""
        from distill.core.fingerprint import fingerprint

        state = {name: t.detach().cpu().numpy() for name, t in self.module.state_dict().items()}
        return fingerprint({"state": state, "head": self.head})
