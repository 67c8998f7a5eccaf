"""Loss, optimiser step and validation of a MACE model, by mace-torch's own functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from distill.models.mace.config import MaceConfig


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
    clip_grad: float,
) -> float:
    """One optimiser step on one batch, its gradient cut down to a norm; returns its loss."""
    import torch
    from mace.tools.train import take_step

    _, step = take_step(
        model=model,
        loss_fn=loss,
        batch=batch,
        optimizer=optimizer,
        ema=ema,
        output_args=_outputs(stress),
        max_grad_norm=clip_grad,
        device=torch.device(device),
    )
    return float(step["loss"])


def gradients(model: torch.nn.Module, config: MaceConfig, batch: Any, device: str) -> None:
    """What a step does before the optimiser's part: the first stage's loss and its gradients."""
    loss = loss_function(config.energy_weight, config.forces_weight, config.stress_weight)
    batch = batch.to(device)
    output = model(
        batch.to_dict(),
        training=True,
        compute_force=True,
        compute_virials=False,
        compute_stress=config.learns_stress,
    )
    loss.to(device)(pred=output, ref=batch).backward()


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
