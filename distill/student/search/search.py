"""`basis: auto`: the basis of a student from errors on what is left out of its training set.

Coarse to fine: cutoff and weight of l at one small size, then how the degrees fall from order to
order at one middle size, then the size. Each stage assembles once, in the union of its bases.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.core.fingerprint import fingerprint
from distill.core.progress import format_duration, listed, say
from distill.core.results import read_result, write_result
from distill.student.basis.basis import Basis, BasisSpec
from distill.student.config import StudentConfig
from distill.student.fit import training_set
from distill.student.fit.preparation import prepare
from distill.student.search.basis_choice import CHOICE_FILE, BasisChoice, Trial
from distill.student.search.candidates import (
    FIRST_SHAPE,
    RADIAL_SIZE,
    SHAPE_SIZE,
    call_times,
    of_size,
    shapes_up_to,
    sizes,
)
from distill.student.search.choosing import chosen_trial, fronted, limits_of
from distill.student.search.left_out import Data, Measured
from distill.student.search.moments import Moments, gathered
from distill.student.search.nested import columns_in, union_basis
from distill.student.search.parts import FOLDS, Parts, parted

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.fit.preparation import Prepared

# Structures of the stages before the last.
_COARSE = 150
# Rows for each function, at least.
_ROWS_PER_FUNCTION = 2


@dataclass(frozen=True)
class _Stage:
    """The bases of a stage, in one assembly, and what became of them."""

    data: Data
    basis: Basis
    parts: Parts
    specs: tuple[BasisSpec, ...]
    measured: tuple[Measured, ...]

    def learning(self, index: int) -> list[float]:
        """Errors of one of the bases when it is fitted to fewer of the structures, eV/Å."""
        columns = columns_in(self.basis, self.specs[index])
        return self.data.learning(columns, self.measured[index].posterior)

    def trials(
        self, name: Literal["radial", "shape", "size"], times: Sequence[float] | None = None
    ) -> list[Trial]:
        """The bases as they are reported."""
        return [
            Trial(
                stage=name,
                order=spec.order,
                totaldegree=spec.totaldegree,
                wL=spec.wL,
                rcut=_number(spec.rcut),
                functions=len(columns_in(self.basis, spec)),
                smoothness=found.posterior.power,
                log_evidence=found.posterior.log_evidence,
                force_rmse=found.near,
                far_rmse=found.far,
                us_per_atom=None if times is None else times[index],
            )
            for index, (spec, found) in enumerate(zip(self.specs, self.measured, strict=True))
        ]


def settled(
    structures: Sequence[Atoms],
    config: StudentConfig,
    *,
    seed: int,
    teacher_e0: Mapping[str, float] | None = None,
    folder: Path | None = None,
) -> StudentConfig:
    """The config with its basis given: as it is, or as the search chooses.

    Parameters
    ----------
    structures
        The training set; nothing else is looked at.
    config
        With `basis: auto`, or returned as it is.
    seed
        Of the folds.
    teacher_e0
        The teacher's one-body energies, eV.
    folder
        Where `basis.json` is kept, which answers the next time for the same data and options.

    Raises
    ------
    UserError
        If there are too few structures or no forces, or every basis takes longer than allowed.
    """
    kept = None if folder is None else folder / CHOICE_FILE
    if config.basis == "given":
        if kept is not None:
            kept.unlink(missing_ok=True)
        return config
    key = fingerprint([config.model_dump(exclude={"threads", "backend"}), list(structures), seed])
    choice = _kept(kept, key)
    if choice is None:
        choice = search(structures, config, seed=seed, teacher_e0=teacher_e0, key=key)
        if kept is not None:
            write_result(kept, choice)
    say(f"student basis: {choice.reason}")
    return given(config, choice)


def given(config: StudentConfig, choice: BasisChoice) -> StudentConfig:
    """A config with the basis that a search chose for it."""
    chosen = choice.chosen
    evident = config.solver.kind == "blr" and config.backend != "acepotentials"
    values = config.model_dump(exclude={"search"})
    return type(config).model_validate(
        {
            **values,
            "basis": "given",
            "order": chosen.order,
            "totaldegree": list(chosen.totaldegree),
            "wL": chosen.wL,
            "rcut": chosen.rcut,
            "smoothness": "evidence" if evident else round(chosen.smoothness, 2),
        }
    )


def search(
    structures: Sequence[Atoms],
    config: StudentConfig,
    *,
    seed: int,
    teacher_e0: Mapping[str, float] | None = None,
    key: str = "",
) -> BasisChoice:
    """Try bases on the training set and choose one; parameters and errors as `settled`."""
    from threadpoolctl import threadpool_limits

    start = time.monotonic()
    options = config.search
    threads = config.threads or available_cores()
    data = prepare(structures, config, teacher_e0)
    if not any(training_set.reference_forces(atoms) is not None for atoms in data.structures):
        raise UserError(
            "student.basis: auto compares bases by their force errors, and no training structure "
            "has forces; give order and totaldegree (basis: given)"
        )
    coarse = parted(data.structures, min(_COARSE, options.structures), seed)
    fine = parted(data.structures, options.structures, seed)
    said = _left_out(fine)
    say(f"student basis: {said}")
    # On one BLAS thread in each of ours, numbers do not depend on how many there are.
    with threadpool_limits(1):
        trials, spec = _radial(data, config, coarse, threads)
        shape, more = _shape(data, config, coarse, spec, threads)
        stage, times = _size(data, config, fine, spec, shape, threads)
    last = stage.trials("size", times)
    index, reason = chosen_trial(last, options)
    last = [t.model_copy(update={"chosen": k == index}) for k, t in enumerate(fronted(last))]
    counts = [round(len(fine.chosen) * k / FOLDS) for k in range(1, FOLDS)]
    limits = limits_of(last, index, counts, stage.learning(index))
    seconds = time.monotonic() - start
    say(f"student basis: {len(trials + more + last)} bases in {format_duration(seconds)}")
    return BasisChoice(
        fingerprint=key,
        trials=(*trials, *more, *last),
        limits=limits,
        structures=len(fine.chosen),
        sources=fine.sources,
        left_out=said,
        kinds=fine.kinds,
        reason=reason,
        seconds=seconds,
    )


def _radial(
    data: Prepared, config: StudentConfig, parts: Parts, threads: int
) -> tuple[list[Trial], BasisSpec]:
    """Cutoff and weight of l, at one small size."""
    options = config.search
    shape = FIRST_SHAPE[: options.order]
    trials, best = [], (np.inf, data.spec)
    for cutoff in options.cutoffs:
        bases = [
            of_size(
                replace(data.spec, rcut=cutoff, wL=wl), shape, min(RADIAL_SIZE, options.functions)
            )
            for wl in options.wL
        ]
        found = _stage(data, config, parts, _some(bases, options.functions), threads)
        trials += found.trials("radial")
        for spec, measured in zip(found.specs, found.measured, strict=True):
            best = min(best, (measured.score, spec), key=lambda entry: entry[0])
    return trials, best[1]


def _shape(
    data: Prepared, config: StudentConfig, parts: Parts, spec: BasisSpec, threads: int
) -> tuple[tuple[float, ...], list[Trial]]:
    """How the degrees fall from order to order, at one middle size."""
    options = config.search
    bases = {
        basis: shape
        for shape in shapes_up_to(options.order)
        if (basis := of_size(spec, shape, min(SHAPE_SIZE, options.functions))) is not None
    }
    found = _stage(data, config, parts, _some(list(bases), options.functions), threads)
    scores = [measured.score for measured in found.measured]
    return bases[found.specs[int(np.argmin(scores))]], found.trials("shape")


def _size(
    data: Prepared,
    config: StudentConfig,
    parts: Parts,
    spec: BasisSpec,
    shape: Sequence[float],
    threads: int,
) -> tuple[_Stage, list[float]]:
    """Bases of one shape from small to large, as far as time, rows and memory allow."""
    options = config.search
    rows = sum(3 * len(data.structures[index]) for index in parts.chosen)
    most = min(options.functions, rows // _ROWS_PER_FUNCTION, _functions_that_fit(parts, threads))
    bases = _some(sizes(spec, shape, most), most)
    times = call_times(bases, max((data.structures[k] for k in parts.chosen), key=len))
    if options.time is not None:
        within = [k for k, value in enumerate(times) if value <= options.time]
        if not within:
            raise UserError(
                f"student.search.time: no basis takes {options.time:g} µs an atom or less here; "
                f"the fastest of {len(times)} takes {min(times):.3g}. Allow more"
            )
        bases, times = [bases[k] for k in within], [times[k] for k in within]
    return _stage(data, config, parts, bases, threads), times


def _stage(
    data: Prepared, config: StudentConfig, parts: Parts, specs: Sequence[BasisSpec], threads: int
) -> _Stage:
    """Assemble the union of some bases once, and measure each, the smallest first."""
    from distill.student.fit.native_fit import baseline_of, design_of

    basis = union_basis(specs)
    n = basis.n_functions
    rows = {
        int(index): training_set.rows_of(
            data.structures[index],
            baseline_of(data.structures[index], basis, data.e0),
            config.weights,
            data.indices[index],
        )
        for index in parts.chosen
    }
    every = [rows.get(k) or _NO_ROWS for k in range(len(data.structures))]
    cells: dict[tuple[int, int], Moments] = {
        cell: gathered(design_of(basis), data.structures, every, parts.members(cell), n, threads)
        for cell in parts.cells()
    }
    moments = Data.of(cells, threads)
    measured: dict[BasisSpec, Measured] = {}
    columns = {spec: columns_in(basis, spec) for spec in specs}
    gamma: dict[float, np.ndarray] = {}
    start = None
    for spec in sorted(specs, key=lambda spec: len(columns[spec])):
        kept = columns[spec]

        def prior(power: float, kept: np.ndarray = kept) -> np.ndarray:
            if power not in gamma:
                gamma.clear()
                gamma[power] = basis.gamma(power)
            return gamma[power][kept]

        found = moments.measured(kept, prior, start)
        start = found.posterior.power, found.posterior.strength
        measured[spec] = found
    return _Stage(moments, basis, parts, tuple(specs), tuple(measured[spec] for spec in specs))


_NO_ROWS = training_set.Rows(-1, None, 0.0, None, 0.0, None, 0.0)


def _functions_that_fit(parts: Parts, threads: int) -> int:
    """Functions whose moments fit in half of the free memory."""
    import psutil

    matrices = len(parts.cells()) + 4 + 4 * threads
    return int(np.sqrt(psutil.virtual_memory().available / 2 / 8 / matrices))


def _some(specs: Sequence[BasisSpec | None], most: int) -> list[BasisSpec]:
    found = [spec for spec in specs if spec is not None]
    if not found:
        raise UserError(
            f"student.search: no basis for these elements has {most} functions or fewer, which is "
            f"what search.functions or {_ROWS_PER_FUNCTION} rows for each function allow; raise "
            "functions, add structures, or give order and totaldegree (basis: given)"
        )
    return found


def _left_out(parts: Parts) -> str:
    """How structures are left out, in words."""
    alone = parts.by_structure or parts.sources == len(parts.chosen)
    text = f"{len(parts.chosen)} structures from {parts.sources} sources, a third of the "
    text += f"{'structures' if alone else 'sources'} left out at a time"
    if parts.by_structure:
        text += f", because there are fewer than {2 * FOLDS} sources"
    if parts.kinds:
        return f"{text}, and {listed(parts.kinds)} each as a whole"
    return f"{text}; no kind of data can be left out as a whole"


def _number(cutoff: object) -> float:
    assert isinstance(cutoff, (int, float))
    return float(cutoff)


def _kept(path: Path | None, key: str) -> BasisChoice | None:
    if path is None or not path.is_file():
        return None
    try:
        found = read_result(path, BasisChoice)
    except UserError:
        return None
    return found if found.fingerprint == key else None
