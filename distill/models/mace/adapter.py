"""The door to mace-torch: models, data and predictions.

The modules named `mace_*` are the only ones that know mace-torch: beside this one, loss and steps
(`mace_steps`), models rebuilt or built (`mace_rebuild`), low-rank layers (`mace_lora`) and features
(`mace_features`).

Energies pass through here as interaction energies: the atomic reference energies are taken off in
double precision before a label reaches the model and put back afterwards, so that float32 training
keeps its accuracy however large the total energies are. Everything follows mace-torch 0.3
(https://github.com/ACEsuit/mace).
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.quantities import ENERGY_KEY, FORCES_KEY, STRESS_KEY, voigt
from distill.data.structures import reference_stress, set_labels
from distill.models.mace.foundation_store import Foundation

if TYPE_CHECKING:
    import torch
    from ase import Atoms

_CLASS = "ScaleShiftMACE"
_E0_BUFFER = "atomic_energies_fn.atomic_energies"


@dataclass(frozen=True)
class ModelFacts:
    """What a MACE model says about itself.

    Attributes
    ----------
    elements
        Chemical symbols, in the model's order.
    e0
        Atomic reference energies by symbol, eV.
    r_max
        Cutoff of one interaction layer, Å.
    interactions
        Number of interaction layers; a model sees `interactions` times `r_max` far.
    heads
        Names of its heads.
    dtype
        float32 or float64.
    parameters
        Number of weights.
    """

    elements: tuple[str, ...]
    e0: dict[str, float]
    r_max: float
    interactions: int
    heads: tuple[str, ...]
    dtype: str
    parameters: int


def import_mace() -> None:
    """Import mace-torch without its remarks on optional accelerators and deprecated calls."""
    # e3nn 0.4 loads its own constants file in a way that torch's default refuses.
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        import mace.calculators
        import mace.modules
        import mace.tools  # noqa: F401


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings that mace-torch and e3nn give while building a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Make float32 or float64 torch's default inside the block."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    """Make torch sum in a fixed order inside the block, so that a run can be repeated exactly.

    Without it, sums over neighbours on several threads differ in the last digit from run to run.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def pick_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is a device.

    Raises
    ------
    UserError
        If CUDA is asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError(
            "teacher.device: 'cuda' was asked for but torch finds no CUDA device; use 'auto' or "
            "'cpu'"
        )
    return "cuda" if available and name != "cpu" else "cpu"


def load_model(foundation: Foundation) -> torch.nn.Module:
    """A foundation model on the CPU, in its own precision.

    Raises
    ------
    UserError
        If the file is damaged or holds something else than a whole energy model of MACE.
    """
    import_mace()
    if foundation.path is None:
        from distill.models.mace.bundled_foundation import load_foundation

        with quiet():
            return load_foundation()
    return read_model(foundation.path)


def read_model(path: Path) -> torch.nn.Module:
    """A MACE model file on the CPU. It is a pickle: loading it runs its code.

    Raises
    ------
    UserError
        If the file is damaged or holds something else than a whole energy model of MACE.
    """
    import torch

    from distill.models.composite import KIND, is_composite

    import_mace()
    try:
        model = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        # Unpickling a damaged file raises almost anything.
        raise UserError(
            f"{path} is not a readable MACE model: {type(error).__name__}: {error}"
        ) from None
    if type(model).__name__ != _CLASS:
        found = type(model).__name__
        if is_composite(model):
            raise UserError(
                f"{path}: expected a MACE energy model ({_CLASS}), found a {model[KIND]} teacher "
                "of several parts; give one model, or the file as delta.base"
            )
        hint = " (a checkpoint or state dict; give the whole model)" if found == "dict" else ""
        raise UserError(f"{path}: expected a MACE energy model ({_CLASS}), found {found}{hint}")
    return model


def save_model(model: torch.nn.Module, path: Path) -> None:
    """Write the whole model atomically, as mace-torch's calculator and LAMMPS tools read it."""
    import torch

    # Saved to a file, the archive would carry the temporary name, and equal models would differ.
    buffer = io.BytesIO()
    torch.save(model.cpu(), buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def facts(model: torch.nn.Module) -> ModelFacts:
    """What a model says about itself."""
    from ase.data import chemical_symbols

    elements = tuple(chemical_symbols[int(z)] for z in _buffer(model, "atomic_numbers"))
    e0 = np.atleast_2d(_buffer(model, _E0_BUFFER).double().cpu().numpy())
    parameters = list(model.parameters())
    return ModelFacts(
        elements=elements,
        e0={symbol: float(e) for symbol, e in zip(elements, e0[0], strict=True)},
        r_max=float(_buffer(model, "r_max")),
        interactions=int(_buffer(model, "num_interactions")),
        heads=tuple(getattr(model, "heads", None) or ["default"]),
        dtype=str(parameters[0].dtype).removeprefix("torch."),
        parameters=sum(p.numel() for p in parameters),
    )


def parameter_sizes(model: torch.nn.Module) -> dict[str, int]:
    """Number of weights of each parameter, by name."""
    return {name: p.numel() for name, p in model.named_parameters()}


def set_e0(model: torch.nn.Module, e0: Mapping[str, float]) -> None:
    """Set a model's atomic reference energies, eV, in place, the same for each of its heads."""
    import torch

    buffer = _buffer(model, _E0_BUFFER)
    values = [e0[symbol] for symbol in facts(model).elements]
    # In double precision whatever the model's is: total energies can be a million eV.
    tensor = torch.tensor(values, dtype=torch.float64, device=buffer.device)
    model.get_submodule("atomic_energies_fn").register_buffer(
        "atomic_energies", tensor.expand(buffer.shape).clone()
    )


def make_data(
    structures: Sequence[Atoms],
    model: torch.nn.Module,
    e0: Mapping[str, float],
    *,
    head: str | None = None,
    weight: float = 1.0,
) -> list[Any]:
    """Graphs of structures, with labels, in the model's precision.

    Parameters
    ----------
    structures
        With whatever labels they have under the REF_ keys.
    model
        Whose elements, cutoff and precision count.
    e0
        Taken off the energy labels, eV by symbol.
    head
        Head of the model that they belong to; its first if None.
    weight
        Of each structure in the loss.

    Raises
    ------
    UserError
        If a structure has an element that the model does not know; the message names its index.
    """
    from mace.data import AtomicData, KeySpecification, config_from_atoms

    info = facts(model)
    keys = KeySpecification(
        info_keys={"energy": ENERGY_KEY, "stress": STRESS_KEY}, arrays_keys={"forces": FORCES_KEY}
    )
    table = element_table(info.elements)
    graphs = []
    with precision(info.dtype):
        for index, atoms in enumerate(structures):
            symbols = atoms.get_chemical_symbols()
            missing = sorted(set(symbols) - set(info.elements))
            if missing:
                raise UserError(
                    f"structure {index}: element {', '.join(missing)} is not in the model (it "
                    f"knows {', '.join(info.elements)})"
                )
            config = config_from_atoms(atoms, keys, head_name=head or info.heads[0])
            config.weight = weight
            if config.properties["energy"] is not None:
                config.properties["energy"] -= sum(e0[symbol] for symbol in symbols)
            graphs.append(
                AtomicData.from_config(
                    config, z_table=table, cutoff=info.r_max, heads=list(info.heads)
                )
            )
    return graphs


def make_batches(data: Sequence[Any], batch_size: int, order: Sequence[int] | None = None) -> Any:
    """A loader of batches of graphs, in the given order or as they come."""
    from mace.tools.torch_geometric.dataloader import DataLoader

    chosen: Any = data if order is None else [data[i] for i in order]
    return DataLoader(chosen, batch_size=batch_size, shuffle=False, drop_last=False)


def predict(
    model: torch.nn.Module,
    structures: Sequence[Atoms],
    *,
    batch_size: int,
    e0: Mapping[str, float] | None = None,
    device: str = "cpu",
    head: str | None = None,
) -> list[Atoms]:
    """Copies of structures carrying the model's energies, forces and, where labelled, stresses.

    Parameters
    ----------
    model
        The model.
    structures
        Those with a stress label get a predicted one.
    batch_size
        Structures a batch.
    e0
        Atomic reference energies to use, eV by symbol; the model's own if None.
    device
        Torch device.
    head
        Head of the model; its first if None.

    Raises
    ------
    UserError
        If a structure has an element that the model does not know; the message names its index.
    """
    info = facts(model)
    energies = info.e0 if e0 is None else e0
    bare = [atoms.copy() for atoms in structures]
    for atoms in bare:
        for key in (ENERGY_KEY, STRESS_KEY):
            atoms.info.pop(key, None)
        atoms.arrays.pop(FORCES_KEY, None)
    data = make_data(bare, model, energies, head=head)
    stressed = [reference_stress(atoms) is not None for atoms in structures]
    model = model.to(device)
    for wanted in (False, True):
        chosen = [i for i, has in enumerate(stressed) if has == wanted]
        for batch in make_batches(data, batch_size, chosen):
            labels = _labels(model, batch.to(device), wanted)
            for index, label in zip(chosen[: len(labels)], labels, strict=True):
                symbols = bare[index].get_chemical_symbols()
                offset = sum(energies[symbol] for symbol in symbols)
                set_labels(bare[index], **label | {"energy": label["energy"] + offset})
            chosen = chosen[len(labels) :]
    return bare


def _labels(model: torch.nn.Module, batch: Any, stress: bool) -> list[dict[str, Any]]:
    """Interaction energy, forces and, if asked, Voigt stress of each structure of a batch."""
    output = model(batch.to_dict(), compute_force=True, compute_stress=stress)
    energies = output["interaction_energy"].detach().double().cpu().numpy()
    forces = output["forces"].detach().double().cpu().numpy()
    ends = batch.ptr.cpu().numpy()
    labels: list[dict[str, Any]] = [
        {"energy": float(energy), "forces": forces[ends[k] : ends[k + 1]]}
        for k, energy in enumerate(energies)
    ]
    if stress:
        matrices = output["stress"].detach().double().cpu().numpy()
        for label, matrix in zip(labels, matrices, strict=True):
            label["stress"] = voigt(matrix)
    return labels


def _buffer(model: torch.nn.Module, name: str) -> torch.Tensor:
    return model.get_buffer(name)


def element_table(elements: Sequence[str]) -> Any:
    """mace-torch's table of elements, in the given order."""
    from ase.data import atomic_numbers
    from mace.tools import AtomicNumberTable

    return AtomicNumberTable([atomic_numbers[symbol] for symbol in elements])
