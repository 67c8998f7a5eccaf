"""Options of MACE models: their size, and how they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from distill.core.config import Count, Cutoff, NonNegative, Positive, Section, Signed, Threads
from distill.core.input_files import FoundationFile


class ArchitectureConfig(Section):
    """Size of a MACE that starts from new weights."""

    hidden_irreps: str = Field("16x0e", description="channels, such as 16x0e or 64x0e+64x1o")
    correlation: Annotated[int, Field(ge=1, le=4)] = Field(2, description="correlation order")
    r_max: Cutoff = Field(4.0, description="cutoff of one layer, Å")
    layers: Annotated[int, Field(ge=1, le=10)] = Field(2, description="interaction layers")
    max_ell: Annotated[int, Field(ge=0, le=6)] = Field(
        3, description="highest order of the spherical harmonics"
    )
    bessel: Annotated[int, Field(ge=1, le=100)] = Field(8, description="radial basis functions")
    radial_mlp: Annotated[list[Count], Field(min_length=1, max_length=10)] = Field(
        [64, 64, 64], description="widths of the radial network"
    )
    readout_irreps: str = Field("16x0e", description="width of the last readout")


class StageTwo(Section):
    """Second training stage with a higher weight on energies, as in the study."""

    start_epoch: Count = Field(description="epoch at which it starts")
    energy_weight: NonNegative = Field(1000.0, description="weight of energies")
    forces_weight: NonNegative = Field(100.0, description="weight of forces")
    stress_weight: NonNegative = Field(0.0, description="weight of stress")
    lr: Annotated[float, Field(gt=0, le=10)] = Field(0.001, description="learning rate")


class MaceConfig(Section):
    """Fine-tuning of a foundation model."""

    foundation: FoundationFile = Field(
        FoundationFile("bundled"),
        description="bundled, a name known to mace-torch (small, medium-mpa-0), or a path",
    )
    head: str | None = Field(None, description="head of a multi-head foundation model")
    keep_elements: bool = Field(
        False, description="keep the foundation's elements that the data do not have"
    )
    freeze: str | list[str] = Field(
        "f4",
        description="f0, f4 (embeddings), f5 (and interactions), f6 (and products), or patterns",
    )
    lr_factors: dict[str, Positive] = Field(
        default_factory=dict,
        description="soft freezing: factor on the learning rate by pattern over parameter names",
    )
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="share of the used structures that steers early stopping"
    )
    e0: Literal["auto", "isolated", "lstsq", "foundation"] | dict[str, Signed] = Field(
        "auto", description="atomic reference energies, eV: isolated, lstsq, foundation, or given"
    )
    epochs: Count = Field(100, description="epochs at most")
    patience: Count = Field(50, description="epochs without improvement before stopping")
    batch_size: Count = Field(8, description="structures a batch")
    batch_atoms: Count | None = Field(
        None,
        description="atoms a batch at most, in place of batch_size: for structures of many sizes",
    )
    lr: Annotated[float, Field(gt=0, le=10)] = Field(0.01, description="learning rate")
    schedule: Literal["plateau", "cosine", "constant"] = Field(
        "plateau", description="learning rate: plateau (times 0.8 when stuck), cosine, constant"
    )
    plateau_patience: Count = Field(
        50, description="epochs without improvement before the plateau schedule lowers the rate"
    )
    weight_decay: NonNegative = Field(0.0, description="L2 penalty of the optimiser")
    energy_weight: NonNegative = Field(1.0, description="weight of energies in the loss")
    forces_weight: NonNegative = Field(100.0, description="weight of forces in the loss")
    stress_weight: NonNegative = Field(0.0, description="weight of stress in the loss")
    stage_two: StageTwo | None = Field(None, description="second stage of the loss weights")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="decay of the weight average"
    )
    clip_grad: Positive = Field(
        1.0, description="norm that the gradient of a step is cut down to, where it is larger"
    )
    dtype: Literal["float32", "float64"] = Field("float64", description="precision")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA if present")
    threads: Threads | None = Field(None, description="torch threads; all cores if not given")

    @property
    def learns_stress(self) -> bool:
        """Whether stresses have a weight in any stage."""
        return bool(self.stress_weight or (self.stage_two and self.stage_two.stress_weight))
