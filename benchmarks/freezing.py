"""What a training step costs with more and more of the model frozen, on one core.

    OMP_NUM_THREADS=1 python benchmarks/freezing.py [--rounds N]

The bundled foundation model, cut to H and Cu, in single precision; batches of four structures of
the bundled H2/Cu training set. Every round takes one step of each strategy on the same batch, so
that all see the same conditions. The time is the processor time of the step (forward, backward,
optimiser), in ms per structure: median and quartiles over rounds.
"""

from __future__ import annotations

import argparse
import copy
import time

import numpy as np

LEVELS = ("f0", "f4", "f5", "f6")
BATCH = 4
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds

    import torch

    from distill.data.structures import read_structures
    from distill.models.mace import adapter as adapter
    from distill.models.mace.foundation_store import find_foundation
    from distill.models.mace.freezing import freezing
    from distill.models.mace.rebuild import restrict_elements
    from distill.models.mace.steps import loss_function, training_step
    from distill.models.mace.torch_tools import deterministic, precision

    torch.set_num_threads(1)
    structures = [a for a in read_structures("bundled:h2cu_train") if len(a) > 1]
    chosen = np.random.default_rng(0).permutation(len(structures))[: BATCH * (rounds + WARM_UP)]
    times: dict[str, list[float]] = {level: [] for level in LEVELS}
    plans = {}
    with precision("float32"), deterministic():
        model = adapter.load_model(find_foundation("bundled")).float()
        model = restrict_elements(model, ("H", "Cu"), structures[0])
        data = adapter.make_data([structures[i] for i in chosen], model, {"H": 0.0, "Cu": 0.0})
        loss = loss_function(1.0, 100.0, 0.0)
        trained = {}
        for level in LEVELS:
            own = copy.deepcopy(model)
            plans[level] = freezing(adapter.parameter_sizes(own), level)
            for name, parameter in own.named_parameters():
                parameter.requires_grad_(name in plans[level].lr_factors)
            free = [p for p in own.parameters() if p.requires_grad]
            trained[level] = own, torch.optim.Adam(free, lr=1e-4, amsgrad=True)
        for number, batch in enumerate(adapter.make_batches(data, BATCH)):
            for level, (own, optimizer) in trained.items():
                start = time.process_time()
                training_step(own, loss, batch, optimizer, None, "cpu", False)
                if number >= WARM_UP:
                    times[level].append(1000 * (time.process_time() - start) / batch.num_graphs)
    print("strategy  trained    ms/structure (quartiles)   of f0")
    whole = np.median(times["f0"])
    for level in LEVELS:
        low, middle, high = np.percentile(times[level], [25, 50, 75])
        print(
            f"{level:8s} {plans[level].n_trainable:8,d}    {middle:6.1f} ({low:.1f} to {high:.1f})"
            f"       {middle / whole:.2f}"
        )


if __name__ == "__main__":
    main()
