"""The linear ACE basis of `ACEpotentials.ace1_model` 0.10, built natively."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.student.basis import radial
from distill.student.basis.bond_lengths import bond_length
from distill.student.basis.coupling import (
    Body,
    Coupling,
    couple,
    list_bodies,
    one_particle_functions,
)
from distill.student.basis.radial import Grid

if TYPE_CHECKING:
    from distill.student.config import StudentConfig

Array = NDArray[np.float64]
PairTable = float | Mapping[tuple[str, str], float]

LARGEST_BASIS = 200_000
# ACEpotentials' parameters of its algebraic smoothness prior.
PRIOR_WL, PRIOR_WN = 2.0 / 3.0, 1.0


@dataclass(frozen=True)
class BasisSpec:
    """What defines a basis; names as in ACEpotentials.

    Attributes
    ----------
    elements
        Chemical symbols; their order is the order of the coefficients.
    order
        Correlation order, 1 to 6.
    totaldegree
        Largest summed level n / n_elements + wL l of the products, one number for each order.
    wL
        Weight of l in the level.
    rcut
        Cutoff, Å: one number, or one for each pair of symbols.
    r0
        Length scale, Å: "bondlen" (`bond_lengths`), one number, or one for each pair of symbols.
    pair
        Whether there is a pair term.
    pair_degree
        Number of pair functions for each neighbour element; the largest total degree if None.
    zbl
        Whether the ZBL repulsion is added to the potential.
    """

    elements: tuple[str, ...]
    order: int
    totaldegree: tuple[float, ...]
    wL: float = 1.5
    rcut: PairTable = 6.0
    r0: str | PairTable = "bondlen"
    pair: bool = True
    pair_degree: int | None = None
    zbl: bool = False

    def __post_init__(self) -> None:
        from ase.data import atomic_numbers

        unknown = [s for s in self.elements if s not in atomic_numbers or s == "X"]
        if unknown or not self.elements or len(set(self.elements)) != len(self.elements):
            raise UserError(
                f"elements of the student: expected different chemical symbols, "
                f"found {list(self.elements)}"
            )
        if not 1 <= self.order <= 6 or len(self.totaldegree) != self.order:
            raise UserError(
                f"the student's basis has order {self.order} (1 to 6) and {len(self.totaldegree)} "
                "total degrees; give one degree, or one for each order"
            )

    @classmethod
    def from_config(cls, config: StudentConfig, elements: Sequence[str]) -> BasisSpec:
        """The basis a configuration asks for, with its elements, or else those given, sorted.

        Raises
        ------
        UserError
            If the number of degrees is not the order, an element is unknown or a pair is missing.
        """
        degrees = config.totaldegree
        listed = list(degrees) if isinstance(degrees, list) else [degrees] * config.order
        return cls(
            elements=tuple(config.elements or sorted(set(elements))),
            order=config.order,
            totaldegree=tuple(float(d) for d in listed),
            wL=config.wL,
            rcut=_pair_table(config.rcut, "student.rcut"),
            r0=config.r0 if isinstance(config.r0, str) else _pair_table(config.r0, "student.r0"),
            pair=config.pair,
            pair_degree=config.pair_degree,
            zbl=config.zbl is True,
        )

    def cutoff(self, first: str, second: str) -> float:
        """Cutoff of a pair of elements, Å."""
        return _look_up(self.rcut, first, second, "rcut")

    def length_scale(self, first: str, second: str) -> float:
        """r0 of a pair of elements, Å."""
        if isinstance(self.r0, str):
            return bond_length(first, second)
        return _look_up(self.r0, first, second, "r0")


@dataclass(frozen=True, eq=False)
class Basis:
    """All that an evaluation needs, as plain arrays in the layout of the student file.

    Two bases are equal only if they are the same object.

    Attributes
    ----------
    elements
        Chemical symbols in order.
    rcut
        Cutoffs, (Z, Z), Å.
    transform, pair_transform
        Agnesi parameters of each pair of elements, (Z, Z, 7).
    envelope, pair_envelope
        Envelope parameters, (Z, Z, 5) and (Z, Z, 3).
    splines, pair_splines
        B-spline coefficients, (Z, Z, nodes + 2, functions): centre, neighbour, node, function.
    grid, pair_grid
        Nodes of the splines.
    radial_functions
        (n, l) of each radial function.
    pair_functions
        n of each pair function.
    coupling
        Products of one-particle functions and their coupling.
    spec
        What it was built from; None for a basis read from a file of another program.
    """

    elements: tuple[str, ...]
    rcut: Array
    transform: Array
    envelope: Array
    splines: Array
    grid: Grid
    pair_transform: Array
    pair_envelope: Array
    pair_splines: Array
    pair_grid: Grid
    radial_functions: tuple[tuple[int, int], ...]
    pair_functions: tuple[int, ...]
    coupling: Coupling
    spec: BasisSpec | None = field(default=None, compare=False)

    @property
    def n_species(self) -> int:
        """Number of elements."""
        return len(self.elements)

    @property
    def order(self) -> int:
        """Largest correlation order."""
        return max(len(body) for body in self.coupling.bodies)

    @property
    def n_many_body(self) -> int:
        """Many-body functions of each element."""
        return len(self.coupling.bodies)

    @property
    def n_pair(self) -> int:
        """Pair functions of each element."""
        return len(self.pair_functions)

    @property
    def n_functions(self) -> int:
        """Length of the coefficient vector: many-body of each element, then pair of each."""
        return self.n_species * (self.n_many_body + self.n_pair)

    @property
    def cutoff(self) -> float:
        """Largest cutoff, Å."""
        return float(self.rcut.max())

    @property
    def largest_l(self) -> int:
        """Largest l of the spherical harmonics used."""
        return int(np.sqrt(self.coupling.angular_index.max()))

    def __repr__(self) -> str:
        return f"Basis({self.summary()})"

    def summary(self) -> str:
        """What it is, in a few words."""
        return (
            f"{', '.join(self.elements)}; order {self.order}, {self.n_functions} functions, "
            f"cutoff {self.cutoff:g} Å"
        )

    def gamma(self, p: float = 4.0, wl: float = PRIOR_WL, wn: float = PRIOR_WN) -> Array:
        """Diagonal of the algebraic smoothness prior, shape (n_functions,).

        gamma = sum over the factors of (l / wl)^p + (n / wn)^p. Source: ACEpotentials.jl,
        `algebraic_smoothness_prior`.
        """
        many = [sum((ell / wl) ** p + (n / wn) ** p for n, ell in b) for b in self.coupling.bodies]
        pair = [(n / wn) ** p for n in self.pair_functions]
        return np.array(many * self.n_species + pair * self.n_species)

    def columns_of(self, species: int) -> NDArray[np.int64]:
        """Columns of the coefficient vector that belong to centres of one element.

        Parameters
        ----------
        species
            Index of the element.

        Returns
        -------
        NDArray[np.int64]
            Many-body columns, then pair columns.
        """
        many = species * self.n_many_body + np.arange(self.n_many_body)
        start = self.n_species * self.n_many_body + species * self.n_pair
        return np.concatenate([many, start + np.arange(self.n_pair)])


def build_basis(spec: BasisSpec) -> Basis:
    """List, couple and tabulate the functions that `spec` asks for.

    Raises
    ------
    UserError
        If there is no function, or more than 200,000 for each element (the size is said).
    """
    n_species = len(spec.elements)
    functions = one_particle_functions(n_species, max(spec.totaldegree), spec.wL)
    bodies: list[Body] = list_bodies(n_species, spec.totaldegree, spec.wL, LARGEST_BASIS)
    if not bodies:
        raise UserError(
            f"the basis of order {spec.order} with totaldegree {list(spec.totaldegree)} has no "
            f"function; the smallest degree that has one is {1 / n_species:g}"
        )
    return tabulated(spec, functions, bodies)


def tabulated(
    spec: BasisSpec, functions: Sequence[tuple[int, int]], bodies: Sequence[Body]
) -> Basis:
    """The basis of given products, with the cutoffs, the pair term and the core of `spec`.

    Parameters
    ----------
    spec
        Its order, its degrees (but for the pair term's) and its wL do not count.
    functions
        (n, l) of the one-particle functions.
    bodies
        Products as (n, l) factors, grouped by order.
    """
    n_species = len(spec.elements)
    pairs = [(a, b) for a in spec.elements for b in spec.elements]

    def table(values: list[Array]) -> Array:
        return np.array(values).reshape(n_species, n_species, -1)

    def transforms(exponents: tuple[int, int]) -> Array:
        return table(
            [
                radial.agnesi_parameters(*exponents, 0.0, spec.length_scale(*p), spec.cutoff(*p))
                for p in pairs
            ]
        )

    degree = spec.pair_degree or int(np.ceil(max(spec.totaldegree)))
    pair_numbers = np.arange(1, degree * n_species + 1) if spec.pair else np.arange(0)
    return Basis(
        elements=spec.elements,
        rcut=table([np.array([spec.cutoff(*p)]) for p in pairs])[..., 0],
        transform=transforms(radial.MANY_BODY_EXPONENTS),
        envelope=table([np.array([-1.0, 1.0, 2.0, 2.0, 1.0])] * len(pairs)),
        splines=radial.one_hot_coefficients(np.array([n for n, _ in functions]), n_species, 4.0),
        grid=Grid(),
        pair_transform=transforms(radial.PAIR_EXPONENTS),
        pair_envelope=table(
            [np.array([spec.cutoff(*p), spec.length_scale(*p), 2.0]) for p in pairs]
        ),
        pair_splines=(
            radial.one_hot_coefficients(pair_numbers, n_species, 0.0)
            if spec.pair
            else np.zeros((n_species, n_species, radial.NODES + 2, 0))
        ),
        pair_grid=Grid(),
        radial_functions=tuple(functions),
        pair_functions=tuple(int(n) for n in pair_numbers),
        coupling=couple(bodies, functions),
        spec=spec,
    )


def _pair_table(value: float | Mapping[str, float], name: str) -> PairTable:
    if not isinstance(value, Mapping):
        return float(value)
    table: dict[tuple[str, str], float] = {}
    for key, number in value.items():
        symbols = key.split("-")
        if len(symbols) != 2:
            raise UserError(f"{name}: expected keys such as 'Cu-H', found '{key}'")
        table[symbols[0], symbols[1]] = float(number)
    return table


def _look_up(table: PairTable, first: str, second: str, name: str) -> float:
    if not isinstance(table, Mapping):
        return float(table)
    for key in ((first, second), (second, first)):
        if key in table:
            return float(table[key])
    raise UserError(f"student.{name}: no value for the pair {first}-{second}; add it to the table")
