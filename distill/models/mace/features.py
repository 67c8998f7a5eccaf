"""What a MACE model sees of structures: its invariant features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from distill.models.mace.adapter import facts, make_batches, make_data

if TYPE_CHECKING:
    import torch
    from ase import Atoms

_FEATURE_BATCH = 16


def structure_features(
    model: torch.nn.Module, structures: Sequence[Atoms], *, device: str = "cpu"
) -> np.ndarray:
    """Invariant features of structures, averaged over atoms, shape (n_structures, n_features).

    Parameters
    ----------
    model
        Single-head model.
    structures
        Labels are not needed.
    device
        Torch device.
    """
    import torch
    from e3nn import o3
    from mace.modules.utils import extract_invariant

    info = facts(model)
    hidden = o3.Irreps(str(model.get_submodule("products.0.linear").irreps_out))
    l_max = hidden.lmax
    channels = hidden.dim // (l_max + 1) ** 2
    data = make_data(structures, model, dict.fromkeys(info.elements, 0.0))
    model = model.to(device)
    rows = []
    for batch in make_batches(data, _FEATURE_BATCH):
        with torch.no_grad():
            output = model(batch.to(device).to_dict(), compute_force=False)
        features = extract_invariant(
            output["node_feats"],
            num_layers=info.interactions,
            num_features=channels,
            l_max=l_max,
        )
        values, ends = features.double().cpu().numpy(), batch.ptr.cpu().numpy()
        rows += [values[i:j].mean(axis=0) for i, j in pairwise(ends)]
    return np.array(rows)
