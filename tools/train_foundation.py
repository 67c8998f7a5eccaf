"""Pre-train the bundled foundation model, through mace-torch's own training.

    python tools/make_foundation_data.py --output foundation_data
    python tools/train_foundation.py --data foundation_data --work foundation_training

A kill loses at most one epoch: the same command goes on from the last checkpoint in `--work`. At
the end the model is evaluated on the test part and stored in `distill/data/foundation`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.io import read
from bundling import BUNDLED_FOLDER

from distill.core.artifacts import read_json, sha256
from distill.core.progress import progress, say
from distill.core.quantities import CONFIG_TYPE_KEY, ENERGY_KEY, FORCES_KEY, STRESS_KEY
from distill.data.reference_energies import composition_matrix

NAME = "foundation"
ARCHITECTURE = {
    "model": "MACE",
    "r_max": 5.0,
    "num_radial_basis": 8,
    "num_cutoff_basis": 5,
    "max_ell": 2,
    "num_interactions": 2,
    "hidden_irreps": "32x0e",
    "correlation": 3,
    "MLP_irreps": "16x0e",
    "radial_MLP": "[64, 64, 64]",
    "scaling": "rms_forces_scaling",
}


def atomic_energies(path: Path) -> dict[int, float]:
    """E0 by atomic number (eV): least squares on the energies per atom of a labelled set.

    The set holds each element alone and in many mixtures, so the four values are well determined.
    """
    structures = read(path, ":")
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    counts = composition_matrix([list(atoms.symbols) for atoms in structures], elements)
    sizes = counts.sum(axis=1)
    energies = np.array([atoms.info[ENERGY_KEY] for atoms in structures])
    values = np.linalg.lstsq(counts / sizes[:, None], energies / sizes, rcond=None)[0]
    return {
        atomic_numbers[symbol]: round(float(value), 4)
        for symbol, value in zip(elements, values, strict=True)
    }


def training_options(arguments: argparse.Namespace, e0: dict[int, float]) -> dict[str, Any]:
    """Options of `mace_run_train`, without paths."""
    return {
        **ARCHITECTURE,
        "hidden_irreps": arguments.hidden_irreps,
        "max_ell": arguments.max_ell,
        "r_max": arguments.r_max,
        "E0s": str(e0),
        "loss": "stress",
        "energy_weight": 10.0,
        "forces_weight": 100.0,
        "stress_weight": 1000.0,
        "swa_energy_weight": 1000.0,
        "swa_forces_weight": 100.0,
        "swa_stress_weight": 1000.0,
        "start_swa": arguments.stage_two,
        "swa_lr": 0.0005,
        "max_num_epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "valid_batch_size": 32,
        "lr": arguments.learning_rate,
        "weight_decay": 1e-7,
        "scheduler": "ExponentialLR",
        "lr_scheduler_gamma": arguments.decay,
        "ema_decay": 0.995,
        "clip_grad": 10.0,
        "eval_interval": 2,
        "default_dtype": "float32",
        "seed": arguments.seed,
        "energy_key": ENERGY_KEY,
        "forces_key": FORCES_KEY,
        "stress_key": STRESS_KEY,
        "error_table": "PerAtomRMSE",
        "device": "cpu",
    }


def train(data: Path, work: Path, options: dict[str, Any], threads: int) -> Path:
    """Run `mace_run_train` to the end or from its last checkpoint; the second stage's model."""
    command = [sys.executable, "-m", "mace.cli.run_train", "--name", NAME]
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    command += ["--swa", "--ema", "--amsgrad", "--restart_latest", "--save_cpu"]
    command += ["--compute_stress", "True"]
    command += ["--train_file", str((data / "foundation_train.xyz").resolve())]
    command += ["--valid_file", str((data / "foundation_valid.xyz").resolve())]
    command += ["--work_dir", str(work.resolve())]
    work.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, cwd=work, env=environment)
    return work / f"{NAME}_stagetwo.model"


def errors(model: Any, path: Path) -> dict[str, Any]:
    """Errors on a labelled set, over all structures and by family."""
    from mace.calculators import MACECalculator

    calculator = MACECalculator(models=[model], device="cpu", default_dtype="float64")
    energy: dict[str, list[float]] = {}
    forces: dict[str, list[np.ndarray]] = {}
    stress: dict[str, list[np.ndarray]] = {}
    for atoms in progress(read(path, ":"), "test"):
        calculator.calculate(atoms)
        results = calculator.results
        for family in ("all", atoms.info[CONFIG_TYPE_KEY]):
            difference = (results["energy"] - atoms.info[ENERGY_KEY]) / len(atoms)
            energy.setdefault(family, []).append(difference)
            forces.setdefault(family, []).append(
                (results["forces"] - atoms.arrays[FORCES_KEY]).ravel()
            )
            stress.setdefault(family, []).append(results["stress"] - atoms.info[STRESS_KEY])
    return {
        family: {
            "structures": len(energy[family]),
            "energy_rmse_meV_per_atom": _milli(np.array(energy[family])),
            "forces_rmse_meV_per_A": _milli(np.concatenate(forces[family])),
            "forces_mae_meV_per_A": round(
                1e3 * float(np.abs(np.concatenate(forces[family])).mean()), 1
            ),
            "stress_rmse_meV_per_A3": _milli(np.array(stress[family])),
        }
        for family in energy
    }


def _milli(differences: np.ndarray) -> float:
    return round(1e3 * float(np.sqrt(np.mean(differences**2))), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled set")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints and logs")
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER / "foundation")
    parser.add_argument("--hidden-irreps", default=ARCHITECTURE["hidden_irreps"])
    parser.add_argument(
        "--max-ell", type=int, default=ARCHITECTURE["max_ell"], help="3 for the fast engine"
    )
    parser.add_argument("--r-max", type=float, default=ARCHITECTURE["r_max"], help="Å")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--stage-two", type=int, default=48, help="first epoch of stage two")
    parser.add_argument("--batch-size", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--decay", type=float, default=0.955, help="of the rate, per epoch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()

    e0 = atomic_energies(arguments.data / "foundation_train.xyz")
    options = training_options(arguments, e0)
    model_path = train(arguments.data, arguments.work, options, arguments.threads)

    import mace  # noqa: F401  before torch.load: e3nn needs mace-torch's own preparation
    import torch

    from distill.models.mace.bundled_foundation import save_foundation

    # The file was written by the training above, so unpickling it runs nothing foreign.
    model = torch.load(model_path, map_location="cpu", weights_only=False)
    made = read_json(arguments.data / "foundation_train.provenance.json")
    tested = read_json(arguments.data / "foundation_test.provenance.json")
    labels, elements = made["reference_method"], made["contents"]["elements"]
    provenance = {
        "name": f"distill small foundation model for {', '.join(elements)}",
        "made_by": ["tools/make_foundation_data.py", "tools/train_foundation.py"],
        "licence": f"MIT, as this project; labels by {labels['name']} ({labels['licence']})",
        "reference_method": labels,
        "training_options": options,
        "training_data": {
            "options": made["options"],
            "sha256": {
                part: sha256(arguments.data / f"foundation_{part}.xyz")
                for part in ("train", "valid", "test")
            },
            "contents": made["contents"],
        },
        "atomic_energies_eV": {"method": "least squares on the training set", "values": e0},
        "test_errors": errors(model.double(), arguments.data / "foundation_test.xyz"),
        "test_structures": tested["contents"]["structures"],
        "limits": [
            f"Trained on {made['contents']['structures']} small structures of {len(elements)} "
            "elements: a foundation model of demonstration size, not a substitute for MACE-MP or "
            "MACE-MPA.",
            f"It learns {labels['name']}, itself a fit to PBE and PBE+U, so both models' errors "
            "add up; such universal models are known to be too soft away from equilibrium.",
            "Energies of free molecules and loose packings weighed little in the training and are "
            "wrong by up to several eV; their forces are useful near equilibrium only.",
            "The atomic reference energies are a least-squares fit, so energies relative to free "
            "atoms mean nothing; fine-tuning sets them anew.",
            "Structures with forces above 25 eV/Å were left out; no dispersion, charges or spin.",
        ],
    }
    save_foundation(model.float(), arguments.output, provenance)
    all_errors = provenance["test_errors"]["all"]
    say(f"stored in {arguments.output}; test errors against {labels['name']}: {all_errors}")


if __name__ == "__main__":
    main()
