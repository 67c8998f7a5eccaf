"""Reading of `.yace` files: what a potential says, in arrays, apart from the code that writes them.

Keys and conventions are those of ML-PACE (`ACECTildeBasisSet::load_yaml`). Of the format this knows
what linear potentials in `ChebExpCos` functions need, and refuses the rest.

Source: Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
PairSeries = dict[tuple[int, int], dict[int, float]]


class Bond(NamedTuple):
    """One ordered pair of elements.

    Attributes
    ----------
    cutoff, smoothing
        `rcut` and `dcut`, Å.
    inner, inner_width
        `rcut_in` and `dcut_in`, Å.
    distortion
        s of the distance transform.
    core
        `prehc` (eV Å) and `lambdahc` (Å⁻²).
    polynomials
        Coefficients of T_0, T_1, ... in the pair potential, the atom's own half, and in each R_nl;
        (functions, 1 + n l).
    """

    cutoff: float
    smoothing: float
    inner: float
    inner_width: float
    distortion: float
    core: tuple[float, float]
    polynomials: Array


class Terms(NamedTuple):
    """Products of one number of factors of one element.

    Attributes
    ----------
    places
        Of each factor's density among all (species, n, l, m >= 0), m fastest; (terms, factors).
    conjugate
        Whether it is the conjugate that counts, m being negative; (terms, factors).
    weights
        Coefficient with the sign that conjugation brings, eV, (terms,).
    """

    places: Integers
    conjugate: NDArray[np.bool_]
    weights: Array


class Embedding(NamedTuple):
    """Factor on an element's density, and the core's bound and width that switch it off."""

    scale: float
    core_limit: float
    core_width: float


class YacePotential(NamedTuple):
    """A `.yace` potential.

    Attributes
    ----------
    elements
        Chemical symbols.
    e0
        Energies of free atoms, eV.
    embeddings
        Of each element.
    bonds
        Of each ordered pair of element indices.
    terms
        Products of each element, by number of factors.
    radial, ell
        Radial functions of each l, and the largest l.
    """

    elements: list[str]
    e0: Array
    embeddings: list[Embedding]
    bonds: dict[tuple[int, int], Bond]
    terms: list[list[Terms]]
    radial: int
    ell: int

    @property
    def cutoff(self) -> float:
        """Largest cutoff, Å."""
        return max(bond.cutoff for bond in self.bonds.values())


def read_yace(path: str | os.PathLike[str]) -> YacePotential:
    """Read a `.yace` file.

    Raises
    ------
    UserError
        If the file is not of this format, or has what is not known here.
    """
    tree = _tree(Path(path))
    try:
        return _potential(tree)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a .yace file: {type(error).__name__}: {error}"
        ) from None


def _potential(tree: dict[Any, Any]) -> YacePotential:
    elements = [str(symbol) for symbol in tree["elements"]]
    kinds = range(len(elements))
    bonds = {(int(i), int(j)): bond for (i, j), bond in tree["bonds"].items()}
    radial = max(int(bond["nradmax"]) for bond in bonds.values())
    ell = max(int(bond["lmax"]) for bond in bonds.values())
    pairs: PairSeries = {(i, j): {} for i in kinds for j in kinds}
    terms = [
        _terms(tree["functions"].get(str(kind)) or (), kind, pairs, radial, ell) for kind in kinds
    ]
    return YacePotential(
        elements=elements,
        e0=np.array(tree["E0"], float),
        embeddings=[_embedding(tree["embeddings"][str(kind)]) for kind in kinds],
        bonds={pair: _bond(bonds[pair], series, radial, ell) for pair, series in pairs.items()},
        terms=terms,
        radial=radial,
        ell=ell,
    )


def _terms(listed: Any, centre: int, pairs: PairSeries, radial: int, ell: int) -> list[Terms]:
    """An element's products; functions of one factor are added to the pair potentials instead."""
    gathered: dict[int, list[tuple[Integers, NDArray[np.bool_], Array]]] = {}
    for function in listed:
        _expect("ndensity", int(function["ndensity"]), 1)
        mus, ns, ls = (np.array(function[key]).astype(int) for key in ("mus", "ns", "ls"))
        weights = np.array(function["ctildes"], float)
        ms = np.array(function["ms_combs"]).astype(int).reshape(len(weights), len(mus))
        if len(mus) == 1:
            _expect("l of a function of one factor", int(ls[0]), 0)
            series = pairs[centre, int(mus[0])]
            series[int(ns[0])] = series.get(int(ns[0]), 0.0) + float(weights.sum())
            continue
        if (np.abs(ms) > ls).any() or ls.max() > ell or not 1 <= ns.min() <= ns.max() <= radial:
            raise ValueError(f"a function has n {ns}, l {ls} and m {ms.tolist()}")
        places = ((mus * radial + ns - 1) * (ell + 1) + ls) * (ell + 1) + np.abs(ms)
        # Y_l,-m is (-1)^m times the conjugate of Y_lm, and so are the densities.
        sign = np.prod(np.where(ms < 0, (-1.0) ** ms, 1.0), axis=1)
        gathered.setdefault(len(mus), []).append((places, ms < 0, sign * weights))
    return [Terms(*map(np.concatenate, zip(*each, strict=True))) for each in gathered.values()]


def _bond(bond: dict[str, Any], pair: dict[int, float], radial: int, ell: int) -> Bond:
    _expect("radbasename", bond["radbasename"], "ChebExpCos")
    _expect("inner_cutoff_type", bond["inner_cutoff_type"], "distance")
    length = int(bond["nradbasemax"])
    series = np.zeros((length, 1 + radial * (ell + 1)))
    for n, value in pair.items():
        if not 1 <= n <= length:
            raise ValueError(f"a function of one factor has n {n}, nradbasemax is {length}")
        series[n - 1, 0] = value
    given = np.array(bond["radcoefficients"], float)
    full = np.zeros((radial, ell + 1, length))
    full[: given.shape[0], : given.shape[1], : given.shape[2]] = given
    series[:, 1:] = full.reshape(-1, length).T
    # g_1 is 1 and g_k is (1 - T_{k-1}) / 2, times what is common to all.
    polynomials = -0.5 * series
    polynomials[0] = series[0] + 0.5 * series[1:].sum(axis=0)
    return Bond(
        cutoff=float(bond["rcut"]),
        smoothing=float(bond["dcut"]),
        inner=float(bond["rcut_in"]),
        inner_width=float(bond["dcut_in"]),
        distortion=float(bond["radparameters"][0]),
        core=(float(bond["prehc"]), float(bond["lambdahc"])),
        polynomials=polynomials,
    )


def _embedding(entry: dict[str, Any]) -> Embedding:
    _expect("ndensity", int(entry["ndensity"]), 1)
    _expect("npoti", entry["npoti"], "FinnisSinclairShiftedScaled")
    scale, exponent = map(float, entry["FS_parameters"])
    _expect("the exponent in FS_parameters", exponent, 1.0)
    return Embedding(scale, float(entry["rho_core_cutoff"]), float(entry["drho_core_cutoff"]))


def _expect(what: str, found: object, known: object) -> None:
    if found != known:
        raise ValueError(f"{what} is {found}, expected {known}")


def _tree(path: Path) -> dict[Any, Any]:
    """The YAML of a file, every scalar as text; keys that are lists, as of bonds, become tuples."""
    import yaml

    class Loader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
        """A loader of its own, to which the constructor below is added."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        found = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            value = loader.construct_object(value_node, deep=True)
            found[tuple(key) if isinstance(key, list) else key] = value
        return found

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} cannot be read as a .yace file: expected keys and values")
    return tree
