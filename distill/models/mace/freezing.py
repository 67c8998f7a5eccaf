"""Which parameters of a foundation model stay fixed in fine-tuning, and which learn slowly.

The levels f0 to f6 are those of the frozen-transfer-learning study (arXiv:2502.15582): they freeze
the front of the network and leave its end free.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from distill.core.errors import UserError

_EMBEDDINGS = ("node_embedding", "radial_embedding", "joint_embedding")
_LEVELS: dict[str, tuple[str, ...]] = {
    "f0": (),
    **dict.fromkeys(("f1", "f2", "f3", "f4"), _EMBEDDINGS),
    "f5": (*_EMBEDDINGS, "interactions"),
    "f6": (*_EMBEDDINGS, "interactions", "products"),
}


@dataclass(frozen=True)
class Freezing:
    """Parameter names by what happens to them, with the number of weights in each group.

    Attributes
    ----------
    frozen
        Names of the parameters that stay as they are.
    trainable
        Names of the parameters that learn.
    lr_factors
        Factor on the learning rate of each trainable parameter, 1 unless set.
    n_frozen, n_trainable
        Number of weights in the two groups.
    """

    frozen: tuple[str, ...]
    trainable: tuple[str, ...]
    lr_factors: dict[str, float]
    n_frozen: int
    n_trainable: int

    def summary(self) -> str:
        """One line: how many weights learn, and in which parts of the model."""
        total = self.n_frozen + self.n_trainable
        parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in self.trainable))
        return (
            f"{self.n_trainable:,} of {total:,} parameters train "
            f"({100 * self.n_trainable / total:.0f} %): {parts}"
        )


def freezing(
    sizes: Mapping[str, int],
    freeze: str | Sequence[str],
    lr_factors: Mapping[str, float] | None = None,
    *,
    learnable: Collection[str] | None = None,
) -> Freezing:
    """Split a model's parameters into frozen and trainable ones.

    Parameters
    ----------
    sizes
        Number of weights of every parameter, by its name in the model.
    freeze
        A level f0 (nothing), f1 to f4 (embeddings), f5 (and interactions), f6 (and products: only
        the readouts learn), or patterns over parameter names: a module name such as
        `interactions.0`, a glob such as `*linear_up*`, or `re:` and a regular expression.
    lr_factors
        Soft freezing: a factor on the learning rate, above 0, by the same kind of pattern. The
        first pattern that matches a parameter counts.
    learnable
        Names of the only parameters that may learn (those of low-rank adaptation, say); all if
        None.

    Raises
    ------
    UserError
        If a level is unknown, a pattern matches nothing, or nothing is left to train.
    """
    names = list(sizes)
    if isinstance(freeze, str) and freeze in _LEVELS:
        frozen = {n for n in names if n.split(".")[0] in _LEVELS[freeze]}
    elif isinstance(freeze, str) and re.fullmatch(r"f\d+", freeze):
        raise UserError(
            f"teacher.freeze: expected one of {', '.join(_LEVELS)} or patterns over parameter "
            f"names, found '{freeze}'"
        )
    else:
        patterns = [freeze] if isinstance(freeze, str) else freeze
        frozen = {n for p in patterns for n in _matching(names, p, "teacher.freeze")}
    if learnable is not None:
        frozen |= set(names) - set(learnable)
    trainable = tuple(n for n in names if n not in frozen)
    if not trainable:
        raise UserError(
            f"teacher.freeze: '{freeze}' freezes all {len(names)} parameters of the model, so "
            "nothing would train; freeze less, or use 'strategy: none' to take the foundation "
            "model as it is"
        )
    return Freezing(
        frozen=tuple(n for n in names if n in frozen),
        trainable=trainable,
        lr_factors=_factors(trainable, names, lr_factors or {}),
        n_frozen=sum(sizes[n] for n in frozen),
        n_trainable=sum(sizes[n] for n in trainable),
    )


def _factors(
    trainable: Sequence[str], names: Sequence[str], lr_factors: Mapping[str, float]
) -> dict[str, float]:
    factors = dict.fromkeys(trainable, 1.0)
    for pattern, factor in reversed(list(lr_factors.items())):
        for name in _matching(names, pattern, "teacher.lr_factors"):
            if name in factors:
                factors[name] = factor
    return factors


def _matching(names: Sequence[str], pattern: str, field: str) -> list[str]:
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern[3:])
        except re.error as error:
            raise UserError(f"{field}: '{pattern}' is not a regular expression: {error}") from None
        found = [n for n in names if expression.search(n)]
    else:
        found = [n for n in names if n.startswith(f"{pattern}.") or fnmatch.fnmatchcase(n, pattern)]
    if not found:
        parts = ", ".join(dict.fromkeys(n.split(".")[0] for n in names))
        raise UserError(
            f"{field}: the pattern '{pattern}' matches none of the model's parameters; their "
            f"names begin with {parts}, for example '{names[0]}'"
        )
    return found
