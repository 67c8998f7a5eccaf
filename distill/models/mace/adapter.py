"""The door to mace-torch: models, data and predictions.

Only the modules of this folder know mace-torch: beside this one, loss and steps (`steps`), models
rebuilt or built (`rebuild`), low-rank layers (`lora`) and features (`features`).

Energies pass through here as interaction energies: the atomic reference energies are taken off in
double precision before a label reaches the model and put back afterwards, so that float32 training
keeps its accuracy however large the total energies are. Everything follows mace-torch 0.3
(https://github.com/ACEsuit/mace).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.quantities import ENERGY_KEY, FORCES_KEY, STRESS_KEY, has_volume, voigt
from distill.models.base import Predictions, StructureError
from distill.models.mace.foundation_store import Foundation
from distill.models.mace.torch_tools import (
    MARK,
    import_mace,
    precision,
    quiet,
    read_pickle,
    write_pickle,
)

if TYPE_CHECKING:
    import torch
    from ase import Atoms

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
    return checked_model(read_pickle(path), path)


def checked_model(content: Any, origin: Path) -> torch.nn.Module:
    """What a file holds, if it is a whole energy model of MACE.

    Raises
    ------
    UserError
        If it is anything else; the message names the file.
    """
    from mace.modules import MACE

    if isinstance(content, MACE):
        return content
    found = type(content).__name__
    if isinstance(content, dict) and MARK in content:
        raise UserError(
            f"{origin}: expected one MACE energy model, found a {content[MARK]} teacher of several "
            "parts; give one model, or the file as delta.base"
        )
    hint = ""
    if isinstance(content, dict):
        hint = " (a checkpoint or state dict; give the whole model)"
    elif found.endswith("ScriptModule"):
        hint = " (a model compiled by TorchScript, as for LAMMPS; give the one it was made from)"
    raise UserError(f"{origin}: expected a MACE energy model, found {found}{hint}")


def save_model(model: torch.nn.Module, path: Path) -> None:
    """Write the whole model atomically, as mace-torch's calculator and LAMMPS tools read it."""
    write_pickle(model.cpu(), path)


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
                raise StructureError(
                    index,
                    f"element {', '.join(missing)} is not in the model (it knows "
                    f"{', '.join(info.elements)})",
                )
            config = config_from_atoms(atoms, keys, head_name=head or info.heads[0])
            config.weight = weight
            if config.properties["energy"] is not None:
                config.properties["energy"] -= sum(e0[symbol] for symbol in symbols)
            graph = AtomicData.from_config(
                config, z_table=table, cutoff=info.r_max, heads=list(info.heads)
            )
            give_own_cell(graph, atoms)
            graphs.append(graph)
    return graphs


def give_own_cell(graph: Any, atoms: Atoms) -> None:
    """Put the structure's own cell into its graph, whose volume is that of its stress.

    mace-torch widens the cell in directions that are not periodic for its neighbour search, and
    would divide the virial by the volume of that. No neighbour lies across such a direction, so
    the cell serves nothing else there. A structure without a volume keeps the wide cell.
    """
    if not atoms.pbc.all() and has_volume(atoms.cell[:]):
        graph.cell[:3] = graph.cell.new_tensor(atoms.cell[:])


def chunks(
    data: Sequence[Any],
    batch_size: int,
    order: Sequence[int] | None = None,
    batch_atoms: int | None = None,
) -> list[list[int]]:
    """Indices of graphs in batches, in the given order or as they come.

    Parameters
    ----------
    data
        Graphs.
    batch_size
        Structures a batch.
    order
        Which of them, and in what order.
    batch_atoms
        In place of that, atoms a batch at most; a larger structure is one by itself.
    """
    batches: list[list[int]] = []
    atoms = 0
    for index in range(len(data)) if order is None else order:
        size = int(data[index].num_nodes)
        fits = bool(batches) and (
            len(batches[-1]) < batch_size if batch_atoms is None else atoms + size <= batch_atoms
        )
        if not fits:
            batches.append([])
            atoms = 0
        batches[-1].append(index)
        atoms += size
    return batches


def make_batches(
    data: Sequence[Any],
    batch_size: int,
    order: Sequence[int] | None = None,
    batch_atoms: int | None = None,
) -> Any:
    """A loader of batches of graphs; see `chunks`."""
    from mace.tools.torch_geometric.dataloader import DataLoader

    graphs: Any = data
    return DataLoader(graphs, batch_sampler=chunks(data, batch_size, order, batch_atoms))


def predictions(
    model: torch.nn.Module,
    structures: Sequence[Atoms],
    *,
    stress: bool = False,
    batch_size: int,
    e0: Mapping[str, float] | None = None,
    device: str = "cpu",
    head: str | None = None,
) -> Predictions:
    """Energies, forces and, if asked, stresses by a model.

    Parameters
    ----------
    model
        The model.
    structures
        Their labels are not looked at.
    stress
        Of every structure whose cell has a volume.
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
    StructureError
        If a structure has an element that the model does not know.
    """
    info = facts(model)
    one_body = info.e0 if e0 is None else e0
    data = make_data(structures, model, dict.fromkeys(info.elements, 0.0), head=head)
    model = model.to(device)
    energies: list[float] = []
    forces: list[np.ndarray] = []
    stresses: list[np.ndarray | None] = []
    for batch in make_batches(data, batch_size):
        output = model(batch.to(device).to_dict(), compute_force=True, compute_stress=stress)
        numbers = {
            name: output[name].detach().double().cpu().numpy()
            for name in ("interaction_energy", "energy", "forces", "stress")
            if output.get(name) is not None
        }
        if "interaction_energy" not in numbers:
            of_batch = structures[len(energies) : len(energies) + batch.num_graphs]
            own = [_sum_over(info.e0, atoms) for atoms in of_batch]
            numbers["interaction_energy"] = numbers["energy"] - own
        energies += numbers["interaction_energy"].tolist()
        forces += [numbers["forces"][i:j] for i, j in pairwise(batch.ptr.tolist())]
        stresses += list(voigt(numbers["stress"])) if stress else [None] * batch.num_graphs
    stresses = [
        six if has_volume(a.cell[:]) else None for six, a in zip(stresses, structures, strict=True)
    ]
    offsets = [_sum_over(one_body, atoms) for atoms in structures]
    return Predictions(np.array(energies) + offsets, forces, stresses)


def _sum_over(e0: Mapping[str, float], atoms: Atoms) -> float:
    return float(sum(e0[symbol] for symbol in atoms.get_chemical_symbols()))


def _buffer(model: torch.nn.Module, name: str) -> torch.Tensor:
    return model.get_buffer(name)


def element_table(elements: Sequence[str]) -> Any:
    """mace-torch's table of elements, in the given order."""
    from ase.data import atomic_numbers
    from mace.tools import AtomicNumberTable

    return AtomicNumberTable([atomic_numbers[symbol] for symbol in elements])
