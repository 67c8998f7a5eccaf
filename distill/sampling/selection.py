"""Which structures of a pool are kept: diverse ones, by distances between their descriptors."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from distill.core.errors import UserError
from distill.core.random_streams import stream
from distill.sampling.config import SelectionConfig

METHODS = ("kmeans", "fps", "leverage", "random")
_KMEANS_ITERATIONS = 100
# Regularisation of the leverage, relative to the mean squared descriptor.
_LEVERAGE_FLOOR = 1e-6


def distinct(descriptors: np.ndarray, tolerance: float) -> np.ndarray:
    """Indices of rows of `descriptors` that lie further than `tolerance` from all earlier ones."""
    tree = cKDTree(descriptors)
    kept = np.ones(len(descriptors), dtype=bool)
    for index, row in enumerate(descriptors):
        if kept[index]:
            near = np.array(tree.query_ball_point(row, tolerance))
            kept[near[near > index]] = False
    return np.flatnonzero(kept)


def select(descriptors: np.ndarray, config: SelectionConfig, seed: int) -> np.ndarray:
    """Indices of the `config.count` rows of `descriptors` that a method keeps, ascending.

    Parameters
    ----------
    descriptors
        One row a structure, shape (structures, components).
    config
        Method and count. `kmeans` keeps the member nearest to the centre of each cluster (Lloyd,
        k-means++, scikit-learn); `fps` the farthest from those kept so far; `leverage` the row of
        largest leverage on those kept so far (greedy D-optimal design); `random` draws evenly.
    seed
        The run's seed.

    Raises
    ------
    UserError
        If there are no structures, or fewer than asked for.
    """
    available = len(descriptors)
    if available == 0:
        raise UserError(
            "no sampled structure is left to select from: every trajectory was set aside or every "
            "structure was filtered out; see sampling/outcomes.csv and the reasons above"
        )
    if config.count > available:
        raise UserError(
            f"selection.count is {config.count}, but only {available} distinct sampled structures "
            "are available: lower it, or sample more trajectories"
        )
    generator = stream(seed, "selection", config.method)
    if config.count == available:
        return np.arange(available)
    if config.method == "kmeans":
        chosen = _kmeans(descriptors, config.count, int(generator.integers(2**31)))
    elif config.method == "fps":
        chosen = _farthest_points(descriptors, config.count)
    elif config.method == "leverage":
        chosen = largest_leverage(descriptors, config.count)
    else:
        chosen = generator.choice(available, size=config.count, replace=False)
    return np.sort(chosen)


def coverage(descriptors: np.ndarray, kept: np.ndarray) -> dict[str, float]:
    """Distance of a pool to the nearest structure kept: mean, 95 % quantile and maximum.

    Both are descriptors, shape (structures, components).
    """
    distances, _ = cKDTree(kept).query(descriptors)
    return {
        "mean_distance": float(np.mean(distances)),
        "distance_95_percent": float(np.quantile(distances, 0.95)),
        "largest_distance": float(np.max(distances)),
    }


def choices(
    descriptors: np.ndarray, chosen: np.ndarray, config: SelectionConfig, seed: int
) -> dict[str, np.ndarray]:
    """The chosen structures and, for comparison, as many by other methods.

    Parameters
    ----------
    descriptors
        Of the pool, shape (structures, components).
    chosen
        Indices that `config.method` chose.
    config
        With `compare_methods` every method is compared, else a random draw.
    seed
        The run's seed.
    """
    others = METHODS if config.compare_methods else ("random",)
    found: dict[str, np.ndarray] = {config.method: chosen}
    for method in others:
        if method not in found:
            other = config.model_copy(update={"method": method, "count": len(chosen)})
            found[method] = select(descriptors, other, seed)
    return found


def _kmeans(descriptors: np.ndarray, count: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    clusters = KMeans(count, n_init=1, max_iter=_KMEANS_ITERATIONS, random_state=seed)
    labels = clusters.fit_predict(descriptors)
    distances = np.linalg.norm(descriptors - clusters.cluster_centers_[labels], axis=1)
    nearest_first = np.lexsort((distances, labels))
    # Clusters are never empty in scikit-learn, so each has a nearest member.
    _, first = np.unique(labels[nearest_first], return_index=True)
    return nearest_first[first]


def _farthest_points(descriptors: np.ndarray, count: int) -> np.ndarray:
    centre = descriptors.mean(axis=0)
    chosen = [int(np.argmin(np.linalg.norm(descriptors - centre, axis=1)))]
    distances = np.linalg.norm(descriptors - descriptors[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distances)))
        latest = np.linalg.norm(descriptors - descriptors[chosen[-1]], axis=1)
        distances = np.minimum(distances, latest)
    return np.array(chosen)


def largest_leverage(
    descriptors: np.ndarray, count: int, known: np.ndarray | None = None
) -> np.ndarray:
    """Indices of a greedy D-optimal design, in the order in which they were chosen.

    Each choice is the row of largest leverage on those known and chosen so far, which makes the
    determinant of their information matrix grow most. Source: Fedorov, Theory of Optimal
    Experiments (1972); for potentials, Podryabinkin & Shapeev, Comput. Mater. Sci. 140, 171 (2017).

    Parameters
    ----------
    descriptors
        Candidates, shape (structures, components).
    count
        How many to choose, at most as many as there are.
    known
        Descriptors of structures that are there already, shape (others, components).
    """
    rows = np.hstack([descriptors, np.ones((len(descriptors), 1))])
    information = _LEVERAGE_FLOOR * np.mean(rows**2) * np.eye(rows.shape[1])
    if known is not None:
        there = np.hstack([known, np.ones((len(known), 1))])
        information += there.T @ there
    inverse = np.linalg.inv(information)
    leverage = np.einsum("ij,jk,ik->i", rows, inverse, rows)
    chosen: list[int] = []
    available = np.ones(len(rows), dtype=bool)
    while len(chosen) < count:
        best = int(np.argmax(np.where(available, leverage, -np.inf)))
        chosen.append(best)
        available[best] = False
        # Sherman-Morrison update of the inverse information matrix and of all leverages.
        direction = inverse @ rows[best]
        scale = 1 + rows[best] @ direction
        leverage -= (rows @ direction) ** 2 / scale
        inverse -= np.outer(direction, direction) / scale
    return np.array(chosen)
