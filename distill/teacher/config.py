"""Options of the teacher stage."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from distill.core.config import Count, Fraction, Positive, Section
from distill.core.input_files import InputFile
from distill.models.config import CalculatorConfig
from distill.models.mace.config import ArchitectureConfig, MaceConfig


class LoraConfig(Section):
    """Low-rank adaptation: small matrices beside the frozen weights learn, and are merged."""

    rank: Annotated[int, Field(ge=1, le=10000)] = Field(
        4, description="rank of the change of each linear layer's weights"
    )
    alpha: Positive = Field(1.0, description="the change is scaled by alpha / rank")


class ReplayConfig(Section):
    """Pre-training structures that keep the model from forgetting while it is fine-tuned."""

    structures: InputFile | None = Field(
        None,
        description="pre-training structures: a file, or bundled:NAME; if not given, strained and "
        "rattled copies of the training structures",
    )
    count: Count = Field(100, description="number of structures taken")
    choose: Literal["random", "fps"] = Field(
        "random", description="random, or fps: farthest points of the foundation's own features"
    )
    labels: Literal["foundation", "file"] = Field(
        "foundation", description="made by the foundation model itself, or those of the file"
    )
    weight: Positive = Field(1.0, description="weight of a replayed structure in the loss")
    multihead: bool = Field(
        True, description="a head of their own for them; false mixes both sets in one head"
    )


class LabelsConfig(Section):
    """Labels made by a model instead of those of the files."""

    calculator: Literal["foundation"] | CalculatorConfig = Field(
        "foundation", description="foundation: the foundation model itself, or any calculator"
    )
    test: bool = Field(True, description="label the test set too; false keeps its own labels")


class DeltaConfig(Section):
    """What a delta model corrects, and how large it is."""

    base: CalculatorConfig | None = Field(
        None, description="calculator that is corrected; the foundation model if not given"
    )
    architecture: ArchitectureConfig = Field(default_factory=ArchitectureConfig)


class CommitteeConfig(Section):
    """Several teachers, each trained on its own random share (teacher.fraction) of the data."""

    members: Annotated[int, Field(ge=2, le=100)] = Field(5, description="number of teachers")


class TeacherConfig(MaceConfig):
    """Fine-tuning of a foundation model, and the other ways to a teacher."""

    strategy: Literal["finetune", "scratch", "delta", "none"] = Field(
        "finetune",
        description="finetune, scratch (new weights), delta (a small MACE on top of a frozen "
        "model), or none (the foundation model, or the calculator, as it is)",
    )
    calculator: CalculatorConfig | None = Field(
        None, description="any calculator as the teacher itself; its strategy is none"
    )
    fraction: Fraction = Field(1.0, description="share of the training set used, nested by seed")
    lora: LoraConfig | None = Field(
        None, description="low-rank adaptation of the layers that freeze leaves free"
    )
    replay: ReplayConfig | None = Field(None, description="replay of pre-training structures")
    labels: LabelsConfig | None = Field(None, description="train on labels that a model makes")
    architecture: ArchitectureConfig | None = Field(
        None, description="of strategy scratch; the foundation model's if not given"
    )
    delta: DeltaConfig = Field(default_factory=DeltaConfig, description="options of strategy delta")
    committee: CommitteeConfig | None = Field(None, description="several teachers and their spread")
    engine: Literal["auto", "torch", "symmetrix"] = Field(
        "auto",
        description="what runs the finished teacher on a CPU: torch, or symmetrix (extra fast), "
        "several times faster, for a MACE of max_ell 3; auto: symmetrix where it is installed and "
        "agrees",
    )

    @model_validator(mode="before")
    @classmethod
    def _calculator_has_no_strategy(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("calculator") is not None:
            return {"strategy": "none", **values}
        return values

    @model_validator(mode="after")
    def _check_strategy(self) -> TeacherConfig:
        if self.calculator is not None:
            if self.strategy != "none":
                raise ValueError(
                    f"calculator is the teacher itself; it goes with 'strategy: none', not "
                    f"'{self.strategy}' (a calculator that is corrected is delta.base)"
                )
            if self.calculator.path is not None and self.calculator.path.names_a_file:
                raise ValueError(
                    "calculator.path: expected 'package.module:Class'; a model file is named by "
                    "foundation"
                )
        for name in ("lora", "replay"):
            if getattr(self, name) is not None and self.strategy != "finetune":
                raise ValueError(f"{name} goes with 'strategy: finetune', not '{self.strategy}'")
        if self.architecture is not None and self.strategy != "scratch":
            raise ValueError(
                "architecture goes with 'strategy: scratch'; a delta model's is delta.architecture"
            )
        if self.committee is not None and self.strategy == "none":
            raise ValueError("a committee needs a strategy that trains; 'none' does not")
        if self.replay and self.replay.labels == "file" and self.replay.structures is None:
            raise ValueError("replay.labels is 'file', but replay.structures names no file")
        return self

    def calculators(self) -> dict[str, CalculatorConfig]:
        """Calculators that the strategy calls, by what they are for."""
        found: dict[str, CalculatorConfig] = {}
        if self.labels and isinstance(self.labels.calculator, CalculatorConfig):
            found["labels"] = self.labels.calculator
        if self.calculator is not None:
            found["teacher"] = self.calculator
        if self.strategy == "delta" and self.delta.base:
            found["base"] = self.delta.base
        return found
