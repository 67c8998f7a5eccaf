"""Which structures of a pool are kept: diverse ones, by distances between their descriptors."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from distill.core.random_streams import stream

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


def select(descriptors: np.ndarray, method: str, count: int, seed: int) -> np.ndarray:
    """Indices of the rows of `descriptors` that a method keeps, ascending.

    Parameters
    ----------
    descriptors
        One row a structure, shape (structures, components).
    method
        `kmeans` keeps the member nearest to the centre of each cluster (Lloyd, k-means++,
        scikit-learn); `fps` the farthest from those kept so far; `leverage` the row of largest
        leverage on those kept so far (greedy D-optimal design); `random` draws evenly.
    count
        How many, at most as many as there are.
    seed
        Of what is drawn.
    """
    available = len(descriptors)
    generator = stream(seed, "selection", method)
    if count == available:
        return np.arange(available)
    if method == "kmeans":
        chosen = _kmeans(descriptors, count, int(generator.integers(2**31)))
    elif method == "fps":
        chosen = _farthest_points(descriptors, count)
    elif method == "leverage":
        chosen = largest_leverage(descriptors, count)
    else:
        chosen = generator.choice(available, size=count, replace=False)
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
