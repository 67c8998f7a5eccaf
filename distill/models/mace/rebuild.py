"""MACE models through mace-torch's own classes: other heads, fewer elements, new weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.quantities import FORCES_KEY
from distill.models.mace.adapter import element_table, facts, predictions
from distill.models.mace.config import ArchitectureConfig
from distill.models.mace.torch_tools import import_mace, precision, quiet

if TYPE_CHECKING:
    import torch
    from ase import Atoms

_SAME_ENERGY = 1e-3
# mace-torch's names; it puts the head of the pre-training data first.
REPLAY_HEAD, NEW_HEAD = "pt_head", "Default"
_CUTOFF_POWER = 5


def select_head(
    model: torch.nn.Module, head: str | None, *, option: str = "teacher.head"
) -> torch.nn.Module:
    """A model with one head: the model itself, or one head of a multi-head model.

    Parameters
    ----------
    model
        The model.
    head
        Name of the head; may be None where there is only one.
    option
        Where a head is named, for the message.

    Raises
    ------
    UserError
        If the head does not exist, or the model has several and none is named.
    """
    heads = facts(model).heads
    if head is not None and head not in heads:
        raise UserError(f"{option}: the model has no head '{head}'; it has {', '.join(heads)}")
    if len(heads) == 1:
        return model
    if head is None:
        raise UserError(
            f"the model has several heads ({', '.join(heads)}); name the level of theory closest "
            f"to the data's in {option}"
        )
    from mace.tools.scripts_utils import remove_pt_head

    with precision(facts(model).dtype), quiet():
        return remove_pt_head(model, head)


def restrict_elements(
    model: torch.nn.Module, elements: Sequence[str], example: Atoms
) -> torch.nn.Module:
    """A copy of a single-head model that knows only the given elements, with the same weights.

    The model is rebuilt through mace-torch's own classes, which drops the weights of all other
    elements: it is smaller and faster, and nothing is left in it that fine-tuning did not see.

    Parameters
    ----------
    model
        Single-head model.
    elements
        Chemical symbols, all known to the model.
    example
        A structure on which the copy must agree with the model.

    Raises
    ------
    UserError
        If the copy's energy differs: the model's architecture is not one that mace-torch can cut.
    """
    small = _copied(model, elements, None)
    if not (difference := _difference(model, small, example)) < _SAME_ENERGY:
        raise UserError(
            "the foundation model cannot be cut down to the data's elements: its energy would "
            f"change by {difference:.3g} eV/atom; set teacher.keep_elements to true"
        )
    return small


def with_replay_head(model: torch.nn.Module, example: Atoms) -> torch.nn.Module:
    """A copy of a single-head model with two equal heads, `pt_head` and `Default`.

    Both heads share everything but the readouts, so that pre-training data hold the shared part
    in place while the second head learns the new level of theory (multihead replay, Batatia et
    al., arXiv:2401.00096).

    Parameters
    ----------
    model
        Single-head model.
    example
        A structure on which both heads must agree with the model.

    Raises
    ------
    UserError
        If they do not: the model's architecture is not one that mace-torch can extend.
    """
    double = _copied(model, facts(model).elements, [REPLAY_HEAD, NEW_HEAD])
    apart = [_difference(model, double, example, head) for head in (REPLAY_HEAD, NEW_HEAD)]
    if not (difference := max(apart)) < _SAME_ENERGY:
        raise UserError(
            "the foundation model cannot be given a second head: its energy would change by "
            f"{difference:.3g} eV/atom; set teacher.replay.multihead to false"
        )
    return double


def _copied(
    model: torch.nn.Module, elements: Sequence[str], heads: list[str] | None
) -> torch.nn.Module:
    """A model with the weights of a single-head one, for some of its elements or more heads."""
    from mace.tools.finetuning_utils import load_foundations_elements

    arguments = _arguments(model, elements)
    if heads is not None:
        for name in ("atomic_inter_scale", "atomic_inter_shift"):
            arguments[name] = np.repeat(np.ravel(arguments[name]), len(heads))
        arguments["atomic_energies"] = np.repeat(arguments["atomic_energies"], len(heads), axis=0)
        arguments["heads"] = heads
    with precision(facts(model).dtype), quiet():
        copied = type(model)(**arguments)
        load_foundations_elements(
            copied,
            model,
            element_table(elements),
            load_readout=True,
            max_L=arguments["hidden_irreps"].lmax,
        )
    return copied


def _difference(
    model: torch.nn.Module, other: torch.nn.Module, example: Atoms, head: str | None = None
) -> float:
    """By how much two models' energies of a structure differ, eV/atom; `head` of the second."""
    before = predictions(model, [example], batch_size=1).energies[0]
    after = predictions(other, [example], batch_size=1, head=head).energies[0]
    return float(abs(before - after) / len(example))


def fresh_model(
    model: torch.nn.Module, structures: Sequence[Atoms], elements: Sequence[str], seed: int
) -> torch.nn.Module:
    """A model of the same architecture with new weights, for training from scratch.

    As mace-torch does, the scale of interaction energies is the root mean square of the training
    forces and messages are divided by the mean number of neighbours; the shift is zero.

    Parameters
    ----------
    model
        Single-head model whose architecture is taken.
    structures
        Training structures with forces, eV/Å.
    elements
        Chemical symbols of the new model, whether the other knows them or not.
    seed
        Of the weights.
    """
    info = facts(model)
    arguments = _arguments(model, elements) | _scales(structures, info.r_max)
    return _built(arguments, info.dtype, seed)


def new_model(
    architecture: ArchitectureConfig,
    structures: Sequence[Atoms],
    elements: Sequence[str],
    *,
    dtype: str,
    seed: int,
) -> torch.nn.Module:
    """A MACE of a given size with new weights; scales are set as by `fresh_model`.

    Parameters
    ----------
    architecture
        Channels, correlation order, cutoff [Å], layers.
    structures
        Training structures with forces, eV/Å.
    elements
        Chemical symbols of the model.
    dtype
        float32 or float64.
    seed
        Of the weights.

    Raises
    ------
    UserError
        If the irreps are not valid, or their channels differ, which MACE does not allow.
    """
    import_mace()
    import torch
    from mace import modules

    hidden, readout = (
        _irreps(getattr(architecture, name), name) for name in ("hidden_irreps", "readout_irreps")
    )
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    arguments = {
        "r_max": architecture.r_max,
        "num_bessel": architecture.bessel,
        "num_polynomial_cutoff": _CUTOFF_POWER,
        "max_ell": architecture.max_ell,
        "interaction_cls": block,
        "interaction_cls_first": block,
        "num_interactions": architecture.layers,
        "num_elements": len(elements),
        "hidden_irreps": hidden,
        "MLP_irreps": readout,
        "gate": torch.nn.functional.silu,
        "atomic_energies": np.zeros((1, len(elements))),
        "atomic_numbers": element_table(elements).zs,
        "correlation": architecture.correlation,
        "radial_MLP": list(architecture.radial_mlp),
        "heads": [NEW_HEAD],
        **_scales(structures, architecture.r_max),
    }
    return _built(arguments, dtype, seed)


def shift_interaction(model: torch.nn.Module, shift: float) -> None:
    """Add a constant, eV an atom, to the interaction energies of a model, in place."""
    block: Any = model.scale_shift
    block.shift += shift


def silence_readouts(model: torch.nn.Module) -> None:
    """Set the last weights of every readout to zero, in place: no interaction energy at first.

    A correction that starts from nothing cannot spoil what it corrects; the readouts learn from
    the first step, and the layers before them from the second.
    """
    import torch

    with torch.no_grad():
        for readout in model.readouts:  # type: ignore[union-attr]
            layers = dict(readout.named_children())
            for parameter in (layers.get("linear_2") or layers["linear"]).parameters():
                parameter.zero_()


def _irreps(text: str, field: str) -> Any:
    from e3nn import o3

    try:
        irreps = o3.Irreps(text)
        if len(irreps) == 0 or len({multiplicity for multiplicity, _ in irreps}) != 1:
            raise ValueError("every irrep needs the same number of channels")
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{field}: '{text}' is not usable: {error}; expected such as 16x0e or 64x0e+64x1o"
        ) from None
    return irreps


def _scales(structures: Sequence[Atoms], r_max: float) -> dict[str, float]:
    """Mean number of neighbours within `r_max` [Å]; scale and shift of interaction energies [eV].

    Atoms without neighbours do not count, as in mace-torch.
    """
    from ase.neighborlist import neighbor_list

    counts = np.concatenate(
        [np.bincount(neighbor_list("i", a, r_max), minlength=len(a)) for a in structures]
    )
    forces = np.concatenate([atoms.arrays[FORCES_KEY] for atoms in structures])
    return {
        "avg_num_neighbors": float(counts[counts > 0].mean()) if counts.any() else 1.0,
        "atomic_inter_scale": max(float(np.sqrt(np.mean(forces**2))), 1e-3),
        "atomic_inter_shift": 0.0,
    }


def _built(arguments: dict[str, Any], dtype: str, seed: int) -> torch.nn.Module:
    """A new ScaleShiftMACE whose weights depend on the seed alone."""
    import torch
    from mace.modules import ScaleShiftMACE

    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        with precision(dtype), quiet():
            return ScaleShiftMACE(**arguments)
    finally:
        torch.random.set_rng_state(generator_state)


def _arguments(model: torch.nn.Module, elements: Sequence[str]) -> dict[str, Any]:
    """Constructor arguments of a model like `model` for other elements; E0s it lacks are zero."""
    from mace.tools.scripts_utils import extract_config_mace_model

    info = facts(model)
    arguments = extract_config_mace_model(model)
    numbers = element_table(elements).zs
    e0 = np.array([[info.e0.get(symbol, 0.0) for symbol in elements]])
    return copy.deepcopy(arguments) | {
        "atomic_numbers": numbers,
        "num_elements": len(numbers),
        "atomic_energies": e0,
        "distance_transform": arguments["distance_transform"] or "None",
    }
