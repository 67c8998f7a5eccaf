"""The epoch loop of training: two loss stages, weight average, early stopping, exact resume.

Every epoch draws its own random stream from the seed, and a checkpoint holds all that the next
epoch depends on, so a killed run that is started again gives the numbers of an uninterrupted one.
The weights that training began with are validated as epoch 0: if no epoch is better, they stay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import atomic_path
from distill.core.errors import UserError
from distill.core.progress import format_duration, say
from distill.core.quantities import MEV
from distill.models.mace import adapter, steps
from distill.models.mace.config import MaceConfig
from distill.models.mace.freezing import Freezing

if TYPE_CHECKING:
    import torch

# Least time between two checkpoints; what is lost to a kill is trained again, to the same numbers.
CHECKPOINT_INTERVAL_S = 10.0
_REPORT_INTERVAL_S = 15.0
_PLATEAU_FACTOR = 0.8
_COSINE_FLOOR = 0.01
_EPOCH_ORDER = 3
# Smaller relative gains of the validation loss do not count as progress.
_LEAST_GAIN = 1e-4

Errors = dict[str, float]


@dataclass(frozen=True)
class Place:
    """Where and for whom a training runs.

    Attributes
    ----------
    checkpoint
        File to continue from if it is there and was written with the same `settings`, and to keep
        up to date.
    settings
        Hash of everything that the result depends on.
    seed
        Of the order of structures in each epoch.
    device
        Torch device.
    """

    checkpoint: Path
    settings: str
    seed: int
    device: str


@dataclass(frozen=True)
class Training:
    """How a training went.

    Attributes
    ----------
    history
        One row an epoch: epoch, stage, lr, train_loss, loss (validation), energy_rmse [eV/atom],
        forces_rmse [eV/Å], seconds.
    best_epoch
        Epoch whose averaged weights the model now has; 0 where they are those it began with.
    stopped_early
        True if the validation loss stopped improving before the last epoch.
    before, after
        Validation errors of the weights that it began with, and of those it now has: energy_rmse
        [eV/atom], forces_rmse [eV/Å], and loss, in the weights of the last stage that began.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    stopped_early: bool
    before: Errors
    after: Errors


def train(
    model: torch.nn.Module,
    freezing: Freezing,
    config: MaceConfig,
    place: Place,
    *,
    train_data: Sequence[Any],
    valid_data: Sequence[Any],
) -> Training:
    """Train a model in place; its best validated weights are in it at the end.

    Parameters
    ----------
    model
        On the device, energies relative to zero atomic reference energies.
    freezing
        Which parameters learn, and how fast.
    config
        Epochs, weights, rates.
    place
        Checkpoint, seed, device.
    train_data, valid_data
        Graphs made by `adapter.make_data`.

    Raises
    ------
    UserError
        If the loss becomes infinite or not a number.
    """
    batches = adapter.make_batches(valid_data, config.batch_size, None, config.batch_atoms)
    run = _Run(model, freezing, config, place.device, batches)
    run.restore(place.checkpoint, place.settings)
    written = reported = time.monotonic()
    while not run.finished:
        start = time.monotonic()
        rng = np.random.default_rng(np.random.SeedSequence([place.seed, _EPOCH_ORDER, run.epoch]))
        order = rng.permutation(len(train_data)).tolist()
        run.advance(adapter.make_batches(train_data, config.batch_size, order, config.batch_atoms))
        now = time.monotonic()
        run.history[-1]["seconds"] = now - start
        if run.finished or now - written >= CHECKPOINT_INTERVAL_S:
            run.save(place.checkpoint, place.settings)
            written = time.monotonic()
        if run.finished or run.epoch == 1 or now - reported >= _REPORT_INTERVAL_S:
            reported = now
            say(run.line())
    run.take_best()
    return Training(run.history, run.best_epoch, run.stopped_early, run.before, run.best_errors)


class _Run:
    """All that changes from epoch to epoch."""

    def __init__(
        self,
        model: torch.nn.Module,
        freezing: Freezing,
        config: MaceConfig,
        device: str,
        valid_batches: Any,
    ) -> None:
        import torch
        from torch_ema import ExponentialMovingAverage

        self.model, self.config, self.device = model, config, device
        self.valid_batches = valid_batches
        self.stress = max(_loss_weights(config, stage)[2] for stage in (1, 2)) > 0
        self.factors = sorted(set(freezing.lr_factors.values()), reverse=True)
        named = dict(model.named_parameters())
        for name, parameter in named.items():
            parameter.requires_grad_(name in freezing.lr_factors)
        groups = [
            [named[n] for n in freezing.trainable if freezing.lr_factors[n] == factor]
            for factor in self.factors
        ]
        self.trainable = {name: named[name] for name in freezing.trainable}
        self.optimizer = torch.optim.Adam(
            [{"params": group} for group in groups],
            lr=config.lr,
            amsgrad=True,
            weight_decay=config.weight_decay,
        )
        self.ema = (
            ExponentialMovingAverage(self.trainable.values(), decay=config.ema)
            if config.ema > 0
            else None
        )
        self.epoch = 0
        self.stage_two_start = (
            config.stage_two.start_epoch if config.stage_two else config.epochs + 1
        )
        self.history: list[dict[str, Any]] = []
        self.initial = self._weights()
        self.best, self.best_epoch, self.best_loss = self.initial, 0, math.inf
        self.before: Errors = {}
        self.best_errors: Errors = {}
        # The stage by whose loss the best weights were chosen, and the lowest loss of its epochs.
        self.judged_stage, self.lowest = 0, math.inf
        self.waited, self.plateau_waited = 0, 0
        self.rate = config.lr
        self.stopped_early = False

    @property
    def stage(self) -> int:
        return 2 if self.epoch >= self.stage_two_start else 1

    @property
    def last_epoch(self) -> int:
        """Number of epochs, counting stage two from where it really started."""
        if self.config.stage_two is None:
            return self.config.epochs
        planned = self.config.stage_two.start_epoch
        return self.config.epochs - planned + min(self.stage_two_start, planned)

    @property
    def finished(self) -> bool:
        return self.stopped_early or self.epoch >= self.last_epoch

    def advance(self, train_batches: Any) -> None:
        """One epoch of training and the validation after it."""
        stage = self.stage
        if self.judged_stage != stage:
            self._enter(stage)
        rate = self._learning_rate()
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = rate * factor
        loss = steps.loss_function(*_loss_weights(self.config, stage)).to(self.device)
        total = count = 0.0
        for batch in train_batches:
            value = steps.training_step(
                self.model,
                loss,
                batch,
                self.optimizer,
                self.ema,
                self.device,
                self.stress,
                self.config.clip_grad,
            )
            total, count = total + value * batch.num_graphs, count + batch.num_graphs
        with self.ema.average_parameters() if self.ema else nullcontext():
            errors = self._errors(stage)
            if not math.isfinite(total + errors["loss"]):
                raise UserError(
                    f"training diverged in epoch {self.epoch + 1}: the loss is not finite; lower "
                    f"teacher.lr (now {self.config.lr:g}) or raise teacher.batch_size"
                )
            self._judge(errors)
        self.epoch += 1
        self.history.append(
            {"epoch": self.epoch, "stage": stage, "lr": rate, "train_loss": total / count, **errors}
        )

    def _enter(self, stage: int) -> None:
        """Choose the best weights so far by the loss of a stage that begins.

        Losses of two stages cannot be compared, so those of the first stage say nothing here.
        """
        candidates = {0: self.initial, self.best_epoch: self.best}
        errors = {epoch: self._errors_with(weights, stage) for epoch, weights in candidates.items()}
        self.before = errors[0]
        losses = {e: found["loss"] for e, found in errors.items() if math.isfinite(found["loss"])}
        best = min(losses, key=losses.__getitem__, default=0)
        self.best, self.best_epoch, self.best_errors = candidates[best], best, errors[best]
        self.best_loss = losses.get(best, math.inf)
        self.judged_stage, self.lowest, self.waited = stage, math.inf, 0

    def _judge(self, errors: Errors) -> None:
        """Keep the best weights; end a stage that no longer improves."""
        loss = errors["loss"]
        progressed = loss < (1 - _LEAST_GAIN) * self.lowest
        self.lowest = min(self.lowest, loss)
        if loss < self.best_loss:
            self.best, self.best_epoch, self.best_errors = self._weights(), self.epoch + 1, errors
            self.best_loss = loss
        if progressed:
            self.waited = self.plateau_waited = 0
        else:
            self.waited += 1
            self.plateau_waited += 1
        if self.plateau_waited > self.config.plateau_patience:
            self.rate *= _PLATEAU_FACTOR
            self.plateau_waited = 0
        out_of_patience = self.waited >= self.config.patience
        if self.stage == 1 and (out_of_patience or self.epoch + 1 == self.stage_two_start):
            if self.config.stage_two is None:
                self.stopped_early = out_of_patience
                return
            self.stage_two_start = self.epoch + 1
        elif out_of_patience:
            self.stopped_early = self.epoch + 1 < self.last_epoch

    def _errors(self, stage: int) -> Errors:
        """Validation errors of the weights that the model has, with the loss of a stage."""
        loss = steps.loss_function(*_loss_weights(self.config, stage)).to(self.device)
        return steps.validation_errors(
            self.model, loss, self.valid_batches, self.device, self.stress
        )

    def _errors_with(self, weights: Mapping[str, torch.Tensor], stage: int) -> Errors:
        """Validation errors of other weights; the model keeps its own."""
        own = self._weights()
        self._put(weights)
        try:
            return self._errors(stage)
        finally:
            self._put(own)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.trainable.items()}

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])

    def _learning_rate(self) -> float:
        config = self.config
        two = config.stage_two
        if config.schedule == "constant":
            return two.lr if two and self.stage == 2 else config.lr
        if config.schedule == "plateau":
            return two.lr if two and self.stage == 2 else self.rate
        if two is None:
            high, low, done, length = config.lr, 0.0, self.epoch, config.epochs
        elif self.stage == 1:
            high, low, done, length = config.lr, two.lr, self.epoch, self.stage_two_start
        else:
            done, length = self.epoch - self.stage_two_start, self.last_epoch - self.stage_two_start
            high, low = two.lr, 0.0
        low = max(low, _COSINE_FLOOR * high)
        return low + (high - low) * 0.5 * (1 + math.cos(math.pi * done / length))

    def take_best(self) -> None:
        """Put the best validated weights into the model."""
        self._put(self.best)
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)

    def line(self) -> str:
        """The latest epoch in one line, with the time left."""
        row = self.history[-1]
        recent = [r["seconds"] for r in self.history[-20:]]
        pace = sum(recent) / len(recent)
        left = format_duration(pace * (self.last_epoch - self.epoch))
        return (
            f"epoch {row['epoch']}/{self.last_epoch}: loss {row['train_loss']:.4g}, validation "
            f"{row['loss']:.4g}, energies {MEV * row['energy_rmse']:.1f} meV/atom, forces "
            f"{MEV * row['forces_rmse']:.1f} meV/Å; {format_duration(pace)} an epoch"
            f"{'' if self.finished else f', {left} left'}"
        )

    _PLAIN = (
        "epoch",
        "stage_two_start",
        "history",
        "best_epoch",
        "best_loss",
        "best_errors",
        "before",
        "judged_stage",
        "lowest",
        "waited",
        "plateau_waited",
        "rate",
        "stopped_early",
    )

    def save(self, path: Path, settings: str) -> None:
        """Write all that the next epoch, or the end, depends on, atomically."""
        import torch

        state: dict[str, Any] = {
            "settings": settings,
            "best": self.best,
            "plain": {name: getattr(self, name) for name in self._PLAIN},
        }
        if not self.finished:
            state |= {
                "weights": self._weights(),
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema.state_dict() if self.ema else None,
            }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def restore(self, path: Path, settings: str) -> None:
        """Continue from a checkpoint of the same settings; say so, or why it is not used."""
        import torch

        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:
            # Unpickling a damaged file raises almost anything.
            say(f"{path} is damaged ({type(error).__name__}); training starts anew")
            return
        if state.get("settings") != settings:
            say(f"{path} belongs to other settings or data; training starts anew")
            return
        self.best = state["best"]
        for name, value in state["plain"].items():
            setattr(self, name, value)
        if self.finished:
            say(f"trained before, for {self.epoch} epochs")
            return
        self._put(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        say(f"continuing after epoch {self.epoch}")


def _loss_weights(config: MaceConfig, stage: int) -> tuple[float, float, float]:
    """Loss weights of energies, forces and stress in a stage."""
    part = config.stage_two if stage == 2 and config.stage_two else config
    return part.energy_weight, part.forces_weight, part.stress_weight
