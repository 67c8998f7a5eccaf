"""Options of the student: basis, weights, solver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.core.config import (
    Count,
    Cutoff,
    Length,
    NonNegative,
    Positive,
    Section,
    Signed,
    Threads,
)

# Level up to which the basis functions of an order go.
_Degree = Annotated[float, Field(gt=0, le=100)]


class LabelWeights(Section):
    """Weights of the three kinds of labels; rows are E/√N, F and V/√N as in ACEpotentials."""

    energy: NonNegative = Field(30.0, description="energies")
    forces: NonNegative = Field(1.0, description="forces")
    virial: NonNegative = Field(1.0, description="virials")


class SolverConfig(Section):
    """The linear solver. Options that a solver does not know are refused."""

    kind: Literal["blr", "ridge", "ard", "rrqr", "tsvd", "qr", "lsqr"] = Field(
        "blr",
        description="Bayesian linear regression, ridge, automatic relevance determination, "
        "rank-revealing QR, truncated SVD, or QR and LSQR as in ACEfit",
    )
    strength: NonNegative | None = Field(
        None,
        description="ridge/qr/lsqr: λ of the penalty λ² ‖c‖²; if not given, cross-validated "
        "(ridge) or 0",
    )
    rtol: Positive | None = Field(None, description="rrqr/tsvd: relative tolerance; 1e-9")
    committee: Annotated[int, Field(ge=0, le=10_000)] = Field(
        32, description="posterior draws kept for uncertainties (blr, ard, ridge, qr)"
    )
    factorization: Literal["cholesky", "svd"] | None = Field(
        None, description="blr with acepotentials: svd if a committee is drawn, else cholesky"
    )
    atol: Positive | None = Field(None, description="lsqr with acepotentials: tolerance, 1e-12")
    conlim: Positive | None = Field(
        None, description="lsqr with acepotentials: limit of the condition number, 1e16"
    )
    max_iterations: Count | None = Field(
        None, description="lsqr with acepotentials: iterations at most, 100000"
    )

    @model_validator(mode="after")
    def _check(self) -> SolverConfig:
        for option, kinds in (
            ("strength", ("ridge", "qr", "lsqr")),
            ("rtol", ("rrqr", "tsvd")),
            ("factorization", ("blr",)),
            ("atol", ("lsqr",)),
            ("conlim", ("lsqr",)),
            ("max_iterations", ("lsqr",)),
        ):
            if getattr(self, option) is not None and self.kind not in kinds:
                raise ValueError(f"{option} is an option of {', '.join(kinds)}, not of {self.kind}")
        return self


class StudentConfig(Section):
    """The linear ACE basis and its fit; names as in ACEpotentials.jl."""

    backend: Literal["auto", "native", "acepotentials"] = Field(
        "auto",
        description="native, or acepotentials where an option is set that only that one knows",
    )
    elements: list[str] | None = Field(None, description="order of species; sorted if not given")
    order: Annotated[int, Field(ge=1, le=6)] = Field(4, description="correlation order")
    totaldegree: _Degree | list[_Degree] = Field(
        [18.0, 12.0, 10.0, 8.0], description="one number, or one for each correlation order"
    )
    wL: Annotated[float, Field(ge=0.01, le=1000)] = Field(
        1.5, description="weight of l against n in the degree"
    )
    rcut: Cutoff | dict[str, Cutoff] = Field(6.0, description="Å; or a table over pairs 'Cu-H'")
    r0: Literal["bondlen"] | Length | dict[str, Length] = Field("bondlen", description="Å")
    pair: bool = Field(True, description="add the pair term")
    pair_degree: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="its degree; the largest degree if not given"
    )
    zbl: bool | Literal["auto"] = Field(
        "auto",
        description="ZBL repulsion at close approach (native only); auto: where a pair of elements "
        "would attract each other below the nearest distance in the data",
    )
    e0: Literal["auto", "isolated", "lstsq", "teacher"] | dict[str, Signed] = Field(
        "auto", description="one-body energies, eV"
    )
    weights: dict[str, LabelWeights] = Field(
        default_factory=lambda: {"default": LabelWeights()},
        description="by config_type; 'default' for the rest",
    )
    smoothness: Annotated[float, Field(ge=0, le=20)] | Literal["evidence"] = Field(
        4.0,
        description="power p of the algebraic smoothness prior; evidence: the power that the "
        "labels make most likely (native, blr)",
    )
    solver: SolverConfig = Field(default_factory=SolverConfig)
    repulsion_restraint: bool = Field(
        False, description="ACEpotentials' artificial repulsive dimers (acepotentials only)"
    )
    restraint_weight: Positive = Field(
        0.01, description="weight of such dimers' energies, and of those beside a core by auto"
    )
    threads: Threads | None = Field(None, description="threads for assembly, or Julia's threads")

    @model_validator(mode="after")
    def _check(self) -> StudentConfig:
        degrees = self.totaldegree
        if isinstance(degrees, list) and len(degrees) != self.order:
            raise ValueError(
                f"totaldegree has {len(degrees)} numbers, expected one for each of the "
                f"{self.order} correlation orders"
            )
        if "default" not in self.weights:
            raise ValueError("weights needs an entry 'default'")
        if self.smoothness == "evidence" and self.solver.kind != "blr":
            raise ValueError("smoothness: evidence needs solver.kind blr; else give a number")
        if self.backend == "native" and self.julia_options:
            raise ValueError(
                f"{', '.join(self.julia_options)}: known to the backend acepotentials only"
            )
        return self

    @property
    def julia_options(self) -> tuple[str, ...]:
        """Names of the options in use that only the backend `acepotentials` knows."""
        names = ("factorization", "atol", "conlim", "max_iterations")
        used = tuple(f"solver.{n}" for n in names if getattr(self.solver, n) is not None)
        return used + ("repulsion_restraint",) * self.repulsion_restraint

    @property
    def degrees(self) -> tuple[float, ...]:
        """Total degree of each correlation order, 1 to `order`."""
        if isinstance(self.totaldegree, list):
            return tuple(self.totaldegree)
        return (self.totaldegree,) * self.order
