"""Fine-tuning by distill and by mace-torch's own `mace_run_train`, on the same data.

    OMP_NUM_THREADS=1 python benchmarks/mace_run_train.py [--seeds 5] [--clip-grad 1 10]

The bundled foundation model with its embeddings frozen (f4), on 100 structures of the bundled H2/Cu
training set: same structures trained on and held out, reference energies, learning rate, batch
size, loss weights, weight average and precision; the norm of gradients cut at each of --clip-grad.
A seed is the order of the structures. Errors are on the bundled test set, by one evaluation. Writes
benchmarks/results/mace_run_train.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
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
THEIRS = "mace_run_train"


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
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--clip-grad", type=float, nargs="+", default=[1.0, 10.0])
    arguments = parser.parse_args()
    frames, isolated = without_isolated(read_structures("bundled:h2cu_train"), "the training set")
    test, _ = without_isolated(read_structures("bundled:h2cu_test"), "the test set")
    chosen = [frames[i] for i in np.random.default_rng(0).permutation(len(frames))[:USED]]
    e0 = {a.get_chemical_symbols()[0]: float(a.info["REF_energy"]) for a in isolated}
    configs = {
        f"distill, norm cut at {clip:g}": MaceConfig(
            freeze="f4", e0=e0, epochs=arguments.epochs, patience=arguments.epochs, lr=RATE,
            batch_size=BATCH, schedule="constant", ema=EMA, dtype="float32", device="cpu",
            threads=1, clip_grad=clip,
        )
        for clip in arguments.clip_grad
    }  # fmt: skip
    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[str, list[list[float]]] = {name: [] for name in (*configs, THEIRS)}
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for k, (contender, config) in enumerate(configs.items()):
                (folder / str(k)).mkdir()
                with contextlib.redirect_stdout(io.StringIO()):
                    model = fine_tuned(chosen, config, Job(folder / str(k), seed))
                adapter.save_model(model, folder / "ours.model")
                found[contender].append(errors(folder / "ours.model", test))
            parts = split(chosen, config, seed)
            train, valid = ([chosen[i] for i in part] for part in (parts.kept, parts.held))
            other = theirs(train, valid, e0, arguments.epochs, seed, folder)
            found[THEIRS].append(errors(other, test))
        print(seed, *(np.round(rows[-1], 1) for rows in found.values()), flush=True)
    lines = [
        "# Fine-tuning beside mace_run_train",
        "",
        f"`python benchmarks/mace_run_train.py --seeds {arguments.seeds} --epochs "
        f"{arguments.epochs}`; force RMSE on the test set, meV/Å, of every order of the data; the "
        "geometric mean of its ratios to mace_run_train, with their paired t test.",
        "",
        "| fine-tuning | atoms | force RMSE, order by order | ratio | p |",
        "|---|---|---|---|---|",
    ]
    against = np.log(found[THEIRS])
    for contender, rows in found.items():
        for column, atoms in enumerate(COLUMNS):
            values = [row[column] for row in rows]
            shown = ", ".join(f"{value:.1f}" for value in values)
            ratio, p = "", ""
            if contender != THEIRS and arguments.seeds > 1:
                logs = np.log(values)
                ratio = f"{np.exp(np.mean(logs - against[:, column])):.3f}"
                p = f"{ttest_rel(logs, against[:, column]).pvalue:.2f}"
            lines.append(f"| {contender} | {atoms} | {shown} | {ratio} | {p} |")
    write_text(RESULTS, "\n".join([*lines, ""]))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
