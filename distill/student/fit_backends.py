"""The two fits of a student, and which of them a config asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill.core.errors import UserError
from distill.core.progress import say

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.config import StudentConfig
    from distill.student.fit.fit_result import Fit


def fit_student(
    structures: Sequence[Atoms],
    config: StudentConfig,
    *,
    seed: int,
    teacher_e0: Mapping[str, float] | None = None,
    folder: Path | None = None,
) -> Fit:
    """Fit a student to labelled structures, by the backend that the config asks for.

    With `basis: auto` the basis is chosen first, from these structures alone.

    Parameters
    ----------
    structures
        With labels REF_energy (eV), REF_forces (eV/Å), REF_stress (eV/Å³).
    config
        Basis, weights, solver and backend.
    seed
        Of what is drawn: folds, what is held out, the committee.
    teacher_e0
        The teacher's one-body energies, eV.
    folder
        What the backend keeps: see `fit.native_fit.fit` and `julia.acepotentials.fit`.

    Raises
    ------
    UserError
        If labels or elements are missing, the chosen backend cannot run, or the fit is too large
        for the memory.
    """
    from distill.student.fit import native_fit
    from distill.student.fit.fit_result import recorded
    from distill.student.search.search import settled

    config = settled(structures, config, seed=seed, teacher_e0=teacher_e0, folder=folder)
    if choose_backend(config) == "native":
        return native_fit.fit(structures, config, seed=seed, teacher_e0=teacher_e0, folder=folder)
    from distill.student.julia import acepotentials

    found = acepotentials.fit(structures, config, seed=seed, teacher_e0=teacher_e0, folder=folder)
    if not (found.curves.problems and config.zbl == "auto" and config.backend == "auto"):
        return replace(found, student=recorded(found))
    say(
        f"student fit: {found.curves.summary()}: fitted by the native backend, which has the ZBL "
        "core (zbl: false, or backend: acepotentials, keep this fit)"
    )
    if folder is not None:
        for name in acepotentials.KEPT_FILES:
            (folder / name).unlink(missing_ok=True)
    return native_fit.fit(structures, config, seed=seed, teacher_e0=teacher_e0, folder=folder)


def choose_backend(config: StudentConfig) -> str:
    """`native` or `acepotentials`; where the choice is left open, native if it knows all options.

    Both fit the same model; the native one takes a hundredth of the time.

    Raises
    ------
    UserError
        If only `acepotentials` will do and it cannot run.
    """
    alone = config.julia_options
    if config.backend == "native" or (config.backend == "auto" and not alone):
        say("student fit: backend native")
        return "native"
    from distill.student.julia.acepotentials import available, require

    missing = available()
    if config.backend == "auto" and missing is not None:
        raise UserError(
            f"student: {', '.join(alone)} is an option of the backend acepotentials alone, which "
            f"cannot run: {missing}"
        )
    require()
    say("student fit: backend acepotentials (ACEpotentials.jl)")
    return "acepotentials"
