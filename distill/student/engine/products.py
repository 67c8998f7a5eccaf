"""A plan for many products with few multiplications: each is a shorter product times one factor.

The idea is the recursive evaluator of ACE (Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021)):
products share their beginnings. A product that no other one extends is a leaf. Leaves are most of
all products; they are only ever summed, so they need not be stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int32]


class ProductPlan(NamedTuple):
    """Products as a graph whose first nodes are the one-particle functions.

    Attributes
    ----------
    node_parent, node_factor
        Node n_one_particle + i is node `node_parent[i]` times one-particle function
        `node_factor[i]`; parents come before children.
    node_column
        Product that each node is, one-particle functions included; -1 for a node that only helps.
    group_parent, group_first, leaf_factor, leaf_column
        Leaf k of group g, for k from `group_first[g]` to `group_first[g + 1]`, is node
        `group_parent[g]` times one-particle function `leaf_factor[k]`, and is product
        `leaf_column[k]`.
    """

    node_parent: Indices
    node_factor: Indices
    node_column: Indices
    group_parent: Indices
    group_first: Indices
    leaf_factor: Indices
    leaf_column: Indices


def plan_products(products: Sequence[Indices], n_one_particle: int) -> ProductPlan:
    """Plan the evaluation of all products.

    Factors are ordered by how often they occur, which makes products share long beginnings.

    Parameters
    ----------
    products
        One array per order, (products, order), of one-particle indices; columns are numbered
        through all orders.
    n_one_particle
        Number of one-particle functions.
    """
    listed = [tuple(row) for block in products for row in block.tolist()]
    uses = Counter(factor for row in listed if len(row) > 1 for factor in row)
    rank = {factor: place for place, (factor, _) in enumerate(uses.most_common())}
    columns = {
        tuple(sorted(row, key=lambda f: rank.get(f, -1))): column
        for column, row in enumerate(listed)
    }
    beginnings = {row[:size] for row in columns for size in range(2, len(row))}
    nodes = sorted(beginnings, key=lambda row: (len(row), row))
    number = {(factor,): factor for factor in range(n_one_particle)}
    number.update({row: n_one_particle + place for place, row in enumerate(nodes)})
    leaves = sorted(
        (number[row[:-1]], row[-1], column)
        for row, column in columns.items()
        if len(row) > 1 and row not in beginnings
    )
    parents = [parent for parent, _, _ in leaves]
    groups = sorted(set(parents))
    first = np.searchsorted(parents, groups)
    return ProductPlan(
        node_parent=_indices([number[row[:-1]] for row in nodes]),
        node_factor=_indices([row[-1] for row in nodes]),
        node_column=_indices([columns.get(row, -1) for row in number]),
        group_parent=_indices(groups),
        group_first=_indices([*first.tolist(), len(leaves)]),
        leaf_factor=_indices([factor for _, factor, _ in leaves]),
        leaf_column=_indices([column for _, _, column in leaves]),
    )


def _indices(values: Sequence[int]) -> Indices:
    return np.array(values, dtype=np.int32)
