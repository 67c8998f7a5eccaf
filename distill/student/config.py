"""Options of the student: basis, weights, solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

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
_LevelWeight = Annotated[float, Field(ge=0.01, le=1000)]
# Options that `basis: auto` chooses, and what holds it to a value, if anything.
_CHOSEN = {
    "order": "search.order",
    "totaldegree": None,
    "wL": "search.wL",
    "rcut": "search.cutoffs",
    "smoothness": None,
    "pair_degree": None,
}


class LabelWeights(Section):
    """Weights of the three kinds of labels; rows are E/√N, F and V/√N as in ACEpotentials."""

    energy: NonNegative = Field(30.0, description="energies")
    forces: NonNegative = Field(1.0, description="forces")
    virial: NonNegative = Field(1.0, description="virials")

    def times(self, factors: Mapping[str, float]) -> LabelWeights:
        """With factors on some of them, by name."""
        return self.model_copy(update={k: f * getattr(self, k) for k, f in factors.items()})


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
        None,
        description="blr with assembly: julia: svd if a committee is drawn, else cholesky",
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


class BasisSearch(Section):
    """What `basis: auto` may choose; see docs/basis_search.md."""

    time: Positive | None = Field(
        None, description="µs an atom of an energy-and-forces call on one core, at most"
    )
    error: Positive | None = Field(
        None,
        description="typical force error on trajectories left out, eV/Å: the smallest basis within "
        "it is taken; if not given, the most accurate one",
    )
    order: Annotated[int, Field(ge=1, le=4)] = Field(4, description="correlation order at most")
    cutoffs: Annotated[list[Cutoff], Field(min_length=1, max_length=8)] = Field(
        [5.0, 5.5, 6.0], description="Å"
    )
    wL: Annotated[list[_LevelWeight], Field(min_length=1, max_length=8)] = Field(
        [1.0, 1.5, 2.0], description="weights of l against n in the degree"
    )
    functions: Annotated[int, Field(ge=20, le=20_000)] = Field(
        4000, description="basis functions at most"
    )
    structures: Annotated[int, Field(ge=4, le=100_000)] = Field(
        800, description="structures that the search looks at, at most"
    )


class StudentConfig(Section):
    """The linear ACE basis and its fit; names as in ACEpotentials.jl."""

    backend: Literal["auto", "native", "acepotentials"] = Field(
        "auto",
        description="native, or acepotentials where an option is set that only that one knows",
    )
    assembly: Literal["native", "julia"] = Field(
        "native",
        description="of the backend acepotentials. native: rows and their triangular factor by the "
        "native kernels, compared with some of Julia's own, solved by ACEfit; julia: all rows by "
        "ACEpotentials, in a hundred times the time",
    )
    elements: list[str] | None = Field(None, description="order of species; sorted if not given")
    basis: Literal["given", "auto"] = Field(
        "auto",
        description="auto: chosen from the training set by errors on trajectories left out; given: "
        "by order, totaldegree, wL, rcut, smoothness and pair_degree, and so where one of them is",
    )
    search: BasisSearch = Field(default_factory=BasisSearch, description="of basis: auto")
    order: Annotated[int, Field(ge=1, le=6)] = Field(4, description="correlation order")
    totaldegree: _Degree | list[_Degree] = Field(
        [18.0, 12.0, 10.0, 8.0], description="one number, or one for each correlation order"
    )
    wL: _LevelWeight = Field(1.5, description="weight of l against n in the degree")
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
    weighting: Literal["given", "evidence"] = Field(
        "given",
        description="evidence: the weights of energies and virials against those of forces are "
        "multiplied by the factors, 1e-4 to 1e4, that make the labels most likely (native, blr)",
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

    @model_validator(mode="before")
    @classmethod
    def _given_where_an_option_is(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "basis" not in values and _CHOSEN.keys() & values.keys():
            return {**values, "basis": "given"}
        return values

    @model_validator(mode="after")
    def _check(self) -> StudentConfig:
        degrees = self.totaldegree
        if isinstance(degrees, list) and len(degrees) != self.order:
            raise ValueError(
                f"totaldegree has {len(degrees)} numbers, expected one for each of the "
                f"{self.order} correlation orders"
            )
        if self.basis == "auto":
            self._refuse_what_is_chosen()
        elif self.search != BasisSearch():
            raise ValueError("search has options of basis: auto; set it, or leave search out")
        if "default" not in self.weights:
            raise ValueError("weights needs an entry 'default'")
        if self.smoothness == "evidence" and self.solver.kind != "blr":
            raise ValueError("smoothness: evidence needs solver.kind blr; else give a number")
        if self.weighting == "evidence" and self.solver.kind != "blr":
            raise ValueError("weighting: evidence needs solver.kind blr")
        if self.backend == "native" and self.julia_options:
            raise ValueError(
                f"{', '.join(self.julia_options)}: known to the backend acepotentials only"
            )
        return self

    def _refuse_what_is_chosen(self) -> None:
        """An option that would be overruled is refused, unless it is as by default."""
        for name, held in _CHOSEN.items():
            field = type(self).model_fields[name]
            if getattr(self, name) != field.get_default(call_default_factory=True):
                instead = f" (to hold it, set {held})" if held else ""
                raise ValueError(f"basis: auto chooses {name}: leave it out{instead}")

    @property
    def julia_options(self) -> tuple[str, ...]:
        """Names of the options in use that only the backend `acepotentials` knows."""
        names = ("factorization", "atol", "conlim", "max_iterations")
        used = tuple(f"solver.{n}" for n in names if getattr(self.solver, n) is not None)
        used += ("assembly: julia",) * (self.assembly == "julia")
        return used + ("repulsion_restraint",) * self.repulsion_restraint

    @property
    def degrees(self) -> tuple[float, ...]:
        """Total degree of each correlation order, 1 to `order`."""
        if isinstance(self.totaldegree, list):
            return tuple(self.totaldegree)
        return (self.totaldegree,) * self.order
