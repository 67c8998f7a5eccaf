"""The bundled data sets, and the bundled foundation model as plain configuration and tensors.

The foundation model lies in a folder as `config.json` (every hyperparameter, plain JSON values),
`tensors.safetensors` (parameters and buffers) and `provenance.json` (hashes, origin, errors, two
reference results). It is rebuilt through mace-torch's own classes, so loading it runs no code from
the files, and it survives updates of the libraries.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.artifacts import atomic_path, read_json, sha256, write_json
from distill.core.errors import UserError
from distill.core.input_files import BUNDLED_FOLDER
from distill.models.mace.torch_tools import allow_e3nn_constants, precision

if TYPE_CHECKING:
    import torch
    from ase import Atoms

CONFIG_NAME = "config.json"
TENSORS_NAME = "tensors.safetensors"
PROVENANCE_NAME = "provenance.json"
_FIELDS = (
    "r_max",
    "num_bessel",
    "num_polynomial_cutoff",
    "max_ell",
    "interaction_cls",
    "interaction_cls_first",
    "num_interactions",
    "num_elements",
    "hidden_irreps",
    "MLP_irreps",
    "gate",
    "use_reduced_cg",
    "use_so3",
    "use_agnostic_product",
    "use_last_readout_only",
    "use_edge_irreps_first",
    "apply_cutoff",
    "readout_cls",
    "atomic_energies",
    "avg_num_neighbors",
    "atomic_numbers",
    "correlation",
    "radial_type",
    "radial_MLP",
    "pair_repulsion",
    "distance_transform",
    "atomic_inter_scale",
    "atomic_inter_shift",
    "heads",
)


def bundled_foundation_path() -> Path:
    """Folder of the bundled foundation model (elements H, Li, F and Cu)."""
    return BUNDLED_FOLDER / "foundation"


def save_foundation(model: torch.nn.Module, folder: Path, provenance: dict[str, Any]) -> None:
    """Store a ScaleShiftMACE as configuration, tensors and provenance in `folder`.

    The provenance given is completed with the SHA-256 of the two other files, the number of
    parameters, and the energies (eV) and forces (eV/Å) of two structures in float64, by which a
    rebuilt model is checked.

    Parameters
    ----------
    model
        A single-head `mace.modules.ScaleShiftMACE`.
    folder
        Where to store it; made if missing.
    provenance
        JSON-serialisable description of the model's origin, data and errors.

    Raises
    ------
    UserError
        If the model is of another class, or the folder cannot be written.
    """
    import torch
    from safetensors.torch import save_file

    model = model.cpu()
    config = _plain_config(model)
    # A clone of each: safetensors refuses tensors that share memory.
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    with atomic_path(folder / TENSORS_NAME) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone
    write_json(folder / CONFIG_NAME, config)
    references = []
    for atoms in _reference_structures():
        energy, forces = _energy_and_forces(model, atoms)
        references.append(
            {
                "symbols": list(atoms.symbols),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.array.tolist(),
                "pbc": atoms.pbc.tolist(),
                "energy": energy,
                "forces": forces,
            }
        )
    # Written last: a folder without it, or with another one's hashes, is not taken for a model.
    write_json(
        folder / PROVENANCE_NAME,
        {
            **provenance,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "stored_dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
            "versions": {name: metadata.version(name) for name in ("mace-torch", "e3nn")}
            | {"torch": torch.__version__.split("+")[0]},
            "sha256": {name: sha256(folder / name) for name in (CONFIG_NAME, TENSORS_NAME)},
            "reference_results": references,
        },
    )


def load_foundation(path: Path | None = None) -> torch.nn.Module:
    """The foundation model rebuilt in float64 from its configuration and tensors.

    Parameters
    ----------
    path
        Folder made by `save_foundation`; the bundled model by default.

    Returns
    -------
    torch.nn.Module
        A `mace.modules.ScaleShiftMACE` on the CPU.

    Raises
    ------
    UserError
        If a file is missing, or is not the one whose hash the provenance records.
    """
    folder = bundled_foundation_path() if path is None else Path(path)
    _check_hashes(folder)
    allow_e3nn_constants()
    from mace import modules
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / TENSORS_NAME)
        with precision("float64"):
            arguments = _mace_arguments(read_json(folder / CONFIG_NAME))
            model: torch.nn.Module = modules.ScaleShiftMACE(**arguments)
            model.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the foundation model in {folder} does not fit the installed mace-torch "
            f"{metadata.version('mace-torch')}: {error}. Install the version named in its "
            f"{PROVENANCE_NAME}, or give another foundation model by path"
        ) from None
    return model


def _check_hashes(folder: Path) -> None:
    provenance = read_json(folder / PROVENANCE_NAME)
    try:
        recorded = {name: provenance["sha256"][name] for name in (CONFIG_NAME, TENSORS_NAME)}
    except (KeyError, TypeError):
        raise UserError(
            f"{folder / PROVENANCE_NAME} is damaged: expected the SHA-256 of {CONFIG_NAME} and "
            f"{TENSORS_NAME} under 'sha256'. Restore the file, or reinstall distill"
        ) from None
    for name, expected in recorded.items():
        found = sha256(folder / name)
        if found != expected:
            raise UserError(
                f"{folder / name} is damaged: expected SHA-256 {expected[:16]}…, found "
                f"{found[:16]}…. Restore the file, or reinstall distill"
            )


def _plain_config(model: torch.nn.Module) -> dict[str, Any]:
    """The model's constructor arguments as plain JSON values."""
    allow_e3nn_constants()
    from mace import modules
    from mace.tools.scripts_utils import extract_config_mace_model

    found = extract_config_mace_model(model)
    if "error" in found:
        raise UserError(f"cannot store a {type(model).__name__}: expected a ScaleShiftMACE")
    names_of_gates = {gate: name for name, gate in modules.gate_dict.items()}
    config: dict[str, Any] = {"class": "ScaleShiftMACE"}
    for name in _FIELDS:
        value = found[name]
        if name == "gate":
            value = names_of_gates[value]
        elif isinstance(value, type):
            value = value.__name__
        elif name.endswith("irreps"):
            value = str(value)
        elif hasattr(value, "tolist"):
            value = value.tolist()
        config[name] = value
    config["distance_transform"] = config["distance_transform"] or "None"
    return config


def _mace_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments of ScaleShiftMACE from the plain configuration."""
    import numpy as np
    from e3nn import o3
    from mace import modules

    arguments = {name: config[name] for name in _FIELDS}
    for name in ("interaction_cls", "interaction_cls_first"):
        arguments[name] = modules.interaction_classes[config[name]]
    arguments["readout_cls"] = modules.readout_classes[config["readout_cls"]]
    arguments["gate"] = modules.gate_dict[config["gate"]]
    for name in ("hidden_irreps", "MLP_irreps"):
        arguments[name] = o3.Irreps(config[name])
    for name in ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift"):
        arguments[name] = np.array(config[name])
    return arguments


def _reference_structures() -> list[Atoms]:
    """Two fixed structures: H2 close to a thin Cu(111) slab, and distorted LiF."""
    import numpy as np
    from ase.build import add_adsorbate, bulk, fcc111, molecule

    slab = fcc111("Cu", (2, 2, 3), a=3.65, vacuum=6.0)
    add_adsorbate(slab, molecule("H2"), 1.6, "bridge")
    slab.pbc = True
    salt = bulk("LiF", "rocksalt", a=4.05, cubic=True)
    for seed, atoms in enumerate((slab, salt)):
        generator = np.random.default_rng(np.random.SeedSequence([2026, seed]))
        atoms.positions += generator.normal(0, 0.05, atoms.positions.shape)
        atoms.positions = atoms.positions.round(6)
        atoms.set_cell(atoms.cell.array.round(6))
    return [slab, salt]


def _energy_and_forces(model: torch.nn.Module, atoms: Atoms) -> tuple[float, list[list[float]]]:
    """Energy (eV) and forces (eV/Å) of one structure in float64, the model left as it is."""
    from copy import deepcopy

    from mace.calculators import MACECalculator

    atoms = atoms.copy()
    atoms.calc = MACECalculator(
        models=[deepcopy(model).double()], device="cpu", default_dtype="float64"
    )
    return float(atoms.get_potential_energy()), atoms.get_forces().tolist()
