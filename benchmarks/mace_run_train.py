"""Fine-tuning by distill and by mace-torch's own `mace_run_train`, on the same data.

    OMP_NUM_THREADS=1 python benchmarks/mace_run_train.py [--seeds 10] [--epochs 20]

The bundled foundation model with its embeddings frozen (f4), on 100 structures of the bundled H2/Cu
training set: same structures trained on and held out, reference energies, learning rate, batch
size, loss weights, weight average and precision. A seed is the order of the structures. Errors are
on the bundled test set, by one evaluation. Writes benchmarks/results/mace_run_train.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

import distill
from distill.core.artifacts import write_text
from distill.data.isolated_atoms import without_isolated
from distill.data.structures import read_structures, write_structures
from distill.models.base import Job
from distill.models.mace import adapter
from distill.models.mace.config import MaceConfig
from distill.models.mace.fine_tuning import fine_tuned, split
from distill.models.mace.foundation_store import find_foundation

USED = 100
RATE, BATCH, EMA = 0.005, 4, 0.99
RESULTS = Path(__file__).parent / "results" / "mace_run_train.md"
COLUMNS = ("all", "H", "Cu")


def theirs(train, valid, e0: dict[str, float], epochs: int, seed: int, folder: Path) -> Path:
    """The model that `mace_run_train` writes."""
    from ase.data import atomic_numbers

    adapter.save_model(adapter.load_model(find_foundation("bundled")), folder / "foundation.model")
    for name, structures in (("train", train), ("valid", valid)):
        write_structures(folder / f"{name}.xyz", structures)
    numbers = {atomic_numbers[symbol]: energy for symbol, energy in e0.items()}
    options = {
        "name": "theirs", "foundation_model": "foundation.model",
        "multiheads_finetuning": False, "train_file": "train.xyz", "valid_file": "valid.xyz",
        "energy_key": "REF_energy", "forces_key": "REF_forces", "E0s": numbers, "freeze": 4,
        "lr": RATE, "batch_size": BATCH, "max_num_epochs": epochs, "patience": epochs,
        "ema_decay": EMA, "default_dtype": "float32", "device": "cpu", "seed": seed,
        "energy_weight": 1, "forces_weight": 100, "weight_decay": 0, "plot": False,
        "valid_batch_size": BATCH,
    }  # fmt: skip
    command = [Path(sys.executable).parent / "mace_run_train", "--ema", "--amsgrad"]
    command += [f"--{name}={value}" for name, value in options.items()]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"mace_run_train failed:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return folder / "theirs.model"


def errors(model: object, test) -> list[float]:
    """Force RMSE on the test set in all, of H and of Cu, meV/Å."""
    table = distill.evaluate(model, test)
    by_element = table.forces_by_element
    return [1000 * e.rmse for e in (table.forces, by_element["H"], by_element["Cu"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    frames, isolated = without_isolated(read_structures("bundled:h2cu_train"), "the training set")
    test, _ = without_isolated(read_structures("bundled:h2cu_test"), "the test set")
    chosen = [frames[i] for i in np.random.default_rng(0).permutation(len(frames))[:USED]]
    e0 = {a.get_chemical_symbols()[0]: float(a.info["REF_energy"]) for a in isolated}
    config = MaceConfig(
        freeze="f4", e0=e0, epochs=arguments.epochs, patience=arguments.epochs, batch_size=BATCH,
        lr=RATE, schedule="constant", ema=EMA, dtype="float32", device="cpu", threads=1,
    )  # fmt: skip
    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[str, list[list[float]]] = {"distill": [], "mace_run_train": []}
    seconds: dict[str, list[float]] = {"distill": [], "mace_run_train": []}
    for seed in range(1, arguments.seeds + 1):
        parts = split(chosen, config, seed)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            start = time.monotonic()
            with contextlib.redirect_stdout(io.StringIO()):
                model = fine_tuned(chosen, config, Job(folder, seed))
            seconds["distill"].append(time.monotonic() - start)
            adapter.save_model(model, folder / "ours.model")
            found["distill"].append(errors(folder / "ours.model", test))
            start = time.monotonic()
            train, valid = ([chosen[i] for i in part] for part in (parts.kept, parts.held))
            other = theirs(train, valid, e0, arguments.epochs, seed, folder)
            seconds["mace_run_train"].append(time.monotonic() - start)
            found["mace_run_train"].append(errors(other, test))
        print(seed, *(np.round(rows[-1], 1) for rows in found.values()), flush=True)
    ours, others = (np.array(rows) for rows in found.values())
    lines = [
        "# Fine-tuning beside mace_run_train",
        "",
        f"`python benchmarks/mace_run_train.py --seeds {arguments.seeds} --epochs "
        f"{arguments.epochs}`; force RMSE on the test set, meV/Å: median (lowest to highest) over "
        f"{arguments.seeds} orders, and the mean logarithm of the ratio with its paired t test.",
        "",
        "| atoms | distill | mace_run_train | distill / mace_run_train | p |",
        "|---|---|---|---|---|",
    ]
    for column, name in enumerate(COLUMNS):
        a, b = ours[:, column], others[:, column]
        ranges = (f"{np.median(x):.1f} ({x.min():.1f} to {x.max():.1f})" for x in (a, b))
        ratio, p = np.exp(np.mean(np.log(a / b))), ttest_rel(np.log(a), np.log(b)).pvalue
        lines.append(f"| {name} | {' | '.join(ranges)} | {ratio:.3f} | {p:.2f} |")
    medians = {name: np.median(times) for name, times in seconds.items()}
    lines += ["", ", ".join(f"{name}: {s:.0f} s a training" for name, s in medians.items()), ""]
    write_text(RESULTS, "\n".join(lines))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
