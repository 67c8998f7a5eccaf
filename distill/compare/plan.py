"""What a comparison will take, before any of it is done."""

from __future__ import annotations

from distill.compare.config import CompareBase
from distill.compare.verdict import refuse_what_cannot_work, tolerances_of
from distill.core.sections import asked
from distill.observables.base import OBSERVABLES


def comparison_plan(config: CompareBase) -> list[str]:
    """Lines on the work of each observable and on what its checks can tell.

    Hours are those of one core with the models of the published study's size.

    Raises
    ------
    UserError
        As `refuse_what_cannot_work`.
    """
    refuse_what_cannot_work(config)
    tolerances, lines = tolerances_of(config), []
    for name, configs in asked(config, OBSERVABLES).items():
        kind = OBSERVABLES.load(name)
        found = kind().plan(configs if kind.repeated else configs[0], tolerances)
        lines += [f"{name}: {line}" for line in found]
    return lines or ["no part of the comparison says what it takes"]
