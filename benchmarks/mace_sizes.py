"""Published MACE architectures with random weights: size, memory, time of a step and of a call.

    python -P benchmarks/mace_sizes.py [--out FOLDER] [--only NAME ...]

Weights are counted for all elements, and for two and four, to which a teacher of such data is cut;
the model of two is measured in single and double precision. A step is the gradient of the loss on a
slab of 56 atoms. A call gives energy and forces of the slab, neighbour list included, in torch and,
where it is installed and takes the architecture, in the fast engine. Least processor time of three,
one thread; it does not depend on the weights. Every finished row is kept in `mace_sizes.json`, and
the same command goes on from there. `-P`, because a script of this folder has the name of a package
that Numba looks for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.artifacts import read_json, write_json, write_text
from distill.core.executors.one_thread import one_thread
from distill.core.progress import say
from distill.data.structures import set_labels
from distill.models.fast_mace import EngineRefused, FastCalculator, converted_model
from distill.models.mace import adapter, steps
from distill.models.mace.config import MaceConfig
from distill.models.mace.family import Mace
from distill.models.mace.step_cost import peak_memory, reset_peak
from distill.models.mace.torch_tools import import_mace, precision, quiet
from distill.systems.slabs import timing_slab

PLAIN = "RealAgnosticResidualInteractionBlock"
DENSITY = ("RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock")
NONLINEAR = "RealAgnosticResidualNonLinearInteractionBlock"
# Of the models' cards. All have two layers of 6 Å, harmonics to l = 3, correlation order 3 and ten
# Bessel functions.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "MP-0 small": {"hidden_irreps": "128x0e", "blocks": (PLAIN, PLAIN)},
    "MP-0 medium": {"hidden_irreps": "128x0e+128x1o", "blocks": (PLAIN, PLAIN)},
    "MP-0 large": {"hidden_irreps": "128x0e+128x1o+128x2e", "blocks": (PLAIN, PLAIN)},
    "MPA-0, OMAT-0 medium": {"hidden_irreps": "128x0e+128x1o", "blocks": DENSITY, "zbl": True},
    "mh-1": {
        "hidden_irreps": "512x0e+512x1o",
        "edge_irreps": "128x0e+128x1o+128x2e+128x3o",
        "blocks": (NONLINEAR, NONLINEAR),
        "zbl": True,
    },
}
ALL_ELEMENTS = 89
# The slab's own first.
ELEMENTS = (1, 29, 3, 9)
ROUNDS = 3
# Parts of configs/h2cu.yaml: what is called and how often, on the slab of 56 atoms. The published
# set has 664 structures of 45 atoms; 10 % of them train for 1500 epochs. 600 trajectories sample,
# 11,700 check the sticking, each of 2000 calls.
CALLS = ("torch_call_s", "fast_call_s")
PROTOCOLS: dict[str, tuple[tuple[str, ...], float]] = {
    "an epoch of all 664 structures": (("step_s",), 664 * 45 / 56),
    "fine-tuning on a tenth": (("step_s",), 1500 * 66 * 45 / 56),
    "sampling, torch / fast": (CALLS, 600 * 2000),
    "sticking by the teacher, torch / fast": (CALLS, 11_700 * 2000),
}
MB = 1024**2


def built(architecture: dict[str, Any], numbers: tuple[int, ...], dtype: str) -> Any:
    """A model with random weights."""
    import_mace()
    import torch
    from e3nn import o3
    from mace import modules

    first, other = (modules.interaction_classes[name] for name in architecture["blocks"])
    options: dict[str, Any] = {}
    if edges := architecture.get("edge_irreps"):
        options["edge_irreps"] = o3.Irreps(edges)
    if architecture.get("zbl"):
        options |= {"pair_repulsion": True, "distance_transform": "Agnesi"}
    torch.manual_seed(0)
    with precision(dtype), quiet():
        return modules.ScaleShiftMACE(
            r_max=6.0,
            num_bessel=10,
            num_polynomial_cutoff=5,
            max_ell=3,
            interaction_cls_first=first,
            interaction_cls=other,
            num_interactions=2,
            num_elements=len(numbers),
            hidden_irreps=o3.Irreps(architecture["hidden_irreps"]),
            MLP_irreps=o3.Irreps("16x0e"),
            gate=torch.nn.functional.silu,
            atomic_energies=np.zeros((1, len(numbers))),
            avg_num_neighbors=60.0,
            atomic_numbers=list(numbers),
            correlation=3,
            radial_MLP=[64, 64, 64],
            radial_type="bessel",
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
            heads=["Default"],
            **options,
        )


def parameters(architecture: dict[str, Any], count: int) -> int:
    """Weights of a model of so many elements."""
    numbers = ELEMENTS[:count] if count <= len(ELEMENTS) else tuple(range(1, count + 1))
    return int(adapter.facts(built(architecture, numbers, "float32")).parameters)


def measured(architecture: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Time and memory of a step and of a call, of a model of two elements."""
    atoms = timing_slab("111")
    set_labels(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
    module = built(architecture, ELEMENTS[:2], dtype)
    (batch,) = adapter.make_batches(adapter.make_data([atoms], module, {"H": 0.0, "Cu": 0.0}), 1)
    config = MaceConfig()
    before = reset_peak("cpu")
    step_s = least(lambda: steps.gradients(module, config, batch, "cpu"))
    peak = peak_memory("cpu")
    module.zero_grad(set_to_none=True)
    model = Mace(module)
    row: dict[str, Any] = {
        "step_s": step_s,
        "step_MB": None if peak is None or before is None else (peak - before) / MB,
        "torch_call_s": least(call(model.calculator(), atoms)),
    }
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model.save(folder / "torch.model")
            began = time.process_time()
            fast = converted_model(
                model, folder / "fast.model", folder / "converted.json", folder / "torch.model"
            )
            row["conversion_s"] = time.process_time() - began
            row["converted_MB"] = fast.converted.stat().st_size / MB
            row["fast_call_s"] = least(call(FastCalculator(fast), atoms))
    except EngineRefused as error:
        row["refused"] = str(error)
    return row


def call(calculator: Any, atoms: Any) -> Callable[[], None]:
    """A call as a step of dynamics makes it: new positions, energy and forces."""
    moved = atoms.copy()
    moved.set_constraint()
    moved.calc = calculator
    generator = np.random.default_rng(0)

    def once() -> None:
        moved.positions = atoms.positions + 0.01 * generator.standard_normal(atoms.positions.shape)
        moved.get_forces()

    return once


def least(function: Callable[[], None]) -> float:
    """Least processor time of some calls after one that compiles, s."""
    times = []
    for _ in range(1 + ROUNDS):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times[1:])


def table(rows: dict[str, Any]) -> str:
    """The rows in Markdown."""
    head = [
        "architecture", "weights, all elements", "four", "two", "precision", "step, s", "step, MB",
        "call in torch, s", "call in the fast engine, s", "times faster",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in rows.items():
        counts = [f"{row['parameters'][str(n)]:,}" for n in (ALL_ELEMENTS, 4, 2)]
        for dtype in ("float32", "float64"):
            if (found := row.get(dtype)) is None:
                continue
            fast = found.get("fast_call_s")
            memory = found["step_MB"]
            cells = [
                *([name, *counts] if dtype == "float32" else [""] * 4),
                dtype,
                f"{found['step_s']:.2f}",
                "" if memory is None else f"{memory:.0f}",
                f"{found['torch_call_s']:.3f}",
                "refused" if fast is None else f"{fast:.3f}",
                "" if fast is None else f"{found['torch_call_s'] / fast:.1f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def protocols(rows: dict[str, Any]) -> str:
    """Hours of one core for parts of the published protocol, in single precision."""
    lines = [
        "| architecture | " + " | ".join(PROTOCOLS) + " |",
        "|---|" + "---|" * len(PROTOCOLS),
    ]
    for name, row in rows.items():
        if (found := row.get("float32")) is None:
            continue
        cells = [name]
        for kinds, count in PROTOCOLS.values():
            hours = [f"{found[k] * count / 3600:,.3g}" for k in kinds if k in found]
            cells.append(" / ".join(hours))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not measured yet, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    arguments = parser.parse_args()
    kept = arguments.out / "mace_sizes.json"
    rows: dict[str, Any] = read_json(kept) if kept.is_file() else {}
    with one_thread():
        for name in arguments.only:
            architecture, row = ARCHITECTURES[name], rows.setdefault(name, {})
            if "parameters" not in row:
                counts = {str(n): parameters(architecture, n) for n in (2, 4, ALL_ELEMENTS)}
                row["parameters"] = counts
            for dtype in ("float32", "float64"):
                if dtype not in row:
                    say(f"{name}, {dtype}")
                    row[dtype] = measured(architecture, dtype)
                    write_json(kept, rows)
    ordered = {name: rows[name] for name in ARCHITECTURES if name in rows}
    text = f"{table(ordered)}\n\nHours of one core:\n\n{protocols(ordered)}"
    print(text)
    write_text(arguments.out / "mace_sizes.md", f"# Published MACE architectures\n\n{text}\n")


if __name__ == "__main__":
    main()
