"""Loss, optimiser step and validation of a MACE model, by mace-torch's own functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MAX_GRAD_NORM = 10.0


def loss_function(
    energy_weight: float, forces_weight: float, stress_weight: float
) -> torch.nn.Module:
    """mace-torch's weighted squared loss: energies per atom [eV], forces [eV/Å], stress [eV/Å³]."""
    from mace.modules import WeightedEnergyForcesLoss, WeightedEnergyForcesStressLoss

    if stress_weight > 0:
        return WeightedEnergyForcesStressLoss(
            energy_weight=energy_weight, forces_weight=forces_weight, stress_weight=stress_weight
        )
    return WeightedEnergyForcesLoss(energy_weight=energy_weight, forces_weight=forces_weight)


def training_step(
    model: torch.nn.Module,
    loss: torch.nn.Module,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    ema: Any,
    device: str,
    stress: bool,
) -> float:
    """One optimiser step on one batch; returns its loss."""
    import torch
    from mace.tools.train import take_step

    _, step = take_step(
        model=model,
        loss_fn=loss,
        batch=batch,
        optimizer=optimizer,
        ema=ema,
        output_args=_outputs(stress),
        max_grad_norm=_MAX_GRAD_NORM,
        device=torch.device(device),
    )
    return float(step["loss"])


def validation_errors(
    model: torch.nn.Module, loss: torch.nn.Module, batches: Any, device: str, stress: bool
) -> dict[str, float]:
    """Loss, energy RMSE [eV/atom] and force RMSE [eV/Å] over batches."""
    import torch
    from mace.tools.train import evaluate

    value, metrics = evaluate(
        model=model,
        loss_fn=loss,
        data_loader=batches,
        output_args=_outputs(stress),
        device=torch.device(device),
    )
    return {
        "loss": float(value),
        "energy_rmse": float(metrics["rmse_e_per_atom"]),
        "forces_rmse": float(metrics["rmse_f"]),
    }


def _outputs(stress: bool) -> dict[str, bool]:
    return {"forces": True, "virials": False, "stress": stress}
