"""The YAML vocabulary: every option of a workflow, with its unit, default and range.

Nothing else in the package reads YAML. Unknown keys are refused with the nearest valid name.
"""

from distill.compare.config import TimingConfig
from distill.config.compare import CompareConfig, Tolerances
from distill.config.curve import CurveConfig, CurveStrategy
from distill.config.sampling import SamplingConfig
from distill.config.workflow import RunConfig, load_config, parse_config, strategy_teacher
from distill.core.config import Section
from distill.core.executors import ParallelConfig
from distill.data.config import DataConfig
from distill.models.config import CalculatorConfig, LabelConfig
from distill.models.mace.config import ArchitectureConfig, StageTwo
from distill.observables.barriers.config import BarrierConfig
from distill.observables.bulk.config import BulkConfig, PhononsConfig, ThermalExpansionConfig
from distill.observables.diffusion.config import DiffusionConfig
from distill.observables.rdf.config import RdfConfig
from distill.observables.sticking.config import StickingConfig
from distill.observables.vdos.config import VdosConfig
from distill.sampling.config import DrivenConfig, SelectionConfig
from distill.sampling.methods.augment import AugmentConfig
from distill.sampling.methods.md_config import MdConfig
from distill.sampling.methods.rattle import RattleConfig
from distill.simulation.config import NebConfig, ScatteringConfig
from distill.student.config import LabelWeights, SolverConfig, StudentConfig
from distill.systems.config import Facet, NptConfig, SlabConfig
from distill.teacher.config import (
    CommitteeConfig,
    DeltaConfig,
    LabelsConfig,
    LoraConfig,
    ReplayConfig,
    TeacherConfig,
)

__all__ = [
    "ArchitectureConfig",
    "AugmentConfig",
    "BarrierConfig",
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
    "RdfConfig",
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
    "VdosConfig",
    "load_config",
    "parse_config",
    "strategy_teacher",
]
