"""The YAML vocabulary: every option of a workflow, with its unit, default and range.

Nothing else in the package reads YAML. Unknown keys are refused with the nearest valid name.
"""

from distill.config.base import Section
from distill.config.compare import CompareConfig, StickingConfig, TimingConfig, Tolerances
from distill.config.curve import CurveConfig, CurveStrategy
from distill.config.data import CalculatorConfig, DataConfig, ParallelConfig
from distill.config.properties import (
    BulkConfig,
    DiffusionConfig,
    NptConfig,
    PhononsConfig,
    ThermalExpansionConfig,
)
from distill.config.sampling import (
    DrivenConfig,
    Facet,
    LabelConfig,
    MdConfig,
    NebConfig,
    RattleConfig,
    SamplingConfig,
    ScatteringConfig,
    SelectionConfig,
    SlabConfig,
)
from distill.config.student import LabelWeights, SolverConfig, StudentConfig
from distill.config.teacher import (
    ArchitectureConfig,
    CommitteeConfig,
    DeltaConfig,
    LabelsConfig,
    LoraConfig,
    ReplayConfig,
    StageTwo,
    TeacherConfig,
)
from distill.config.workflow import RunConfig, load_config, parse_config, strategy_teacher

__all__ = [
    "ArchitectureConfig",
    "BulkConfig",
    "CalculatorConfig",
    "CommitteeConfig",
    "CompareConfig",
    "CurveConfig",
    "CurveStrategy",
    "DataConfig",
    "DeltaConfig",
    "DiffusionConfig",
    "DrivenConfig",
    "Facet",
    "LabelConfig",
    "LabelWeights",
    "LabelsConfig",
    "LoraConfig",
    "MdConfig",
    "NebConfig",
    "NptConfig",
    "ParallelConfig",
    "PhononsConfig",
    "RattleConfig",
    "ReplayConfig",
    "RunConfig",
    "SamplingConfig",
    "ScatteringConfig",
    "Section",
    "SelectionConfig",
    "SlabConfig",
    "SolverConfig",
    "StageTwo",
    "StickingConfig",
    "StudentConfig",
    "TeacherConfig",
    "ThermalExpansionConfig",
    "TimingConfig",
    "Tolerances",
    "load_config",
    "parse_config",
    "strategy_teacher",
]
