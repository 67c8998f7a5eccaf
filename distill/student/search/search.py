"""`basis: auto`: the basis of a student from errors on what is left out of its training set.

Coarse to fine: cutoff and weight of l at one small size and how the degrees fall from order to
order at one middle size, by evidence; then the size, by errors on what is left out. Each stage
assembles once, in the union of its bases.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import UserError
from distill.core.executors import available_cores
from distill.core.fingerprint import fingerprint
from distill.core.progress import format_duration, listed, say
from distill.core.results import read_result, write_result
from distill.data.splits import sources_of
from distill.student.basis.basis import Basis, BasisSpec
from distill.student.config import StudentConfig
from distill.student.fit import training_set
from distill.student.fit.evidence import Posterior
from distill.student.fit.preparation import prepare
from distill.student.search.basis_choice import CHOICE_FILE, BasisChoice, Trial
from distill.student.search.candidates import (
    FIRST_SHAPE,
    RADIAL_SIZE,
    SHAPE_SIZE,
    around,
    call_times,
    shapes_up_to,
    sizes,
    value_at,
)
from distill.student.search.choosing import chosen_trial, fronted, limits_of
from distill.student.search.left_out import Cell, Fits, Judge, Labelled, labelled
from distill.student.search.moments import moments_of
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
    """The bases of a stage, in one assembly, with the fit of each to all of it."""

    fits: Fits
    basis: Basis
    specs: tuple[BasisSpec, ...]
    columns: tuple[NDArray[np.int64], ...]
    posteriors: tuple[Posterior, ...]

    def evidence(self, size: int, specs: Sequence[BasisSpec]) -> float:
        """Log evidence of bases of one kind at some size between their own."""
        places = [self.specs.index(spec) for spec in specs]
        functions = [len(self.columns[k]) for k in places]
        return value_at(size, functions, [self.posteriors[k].log_evidence for k in places])

    def trials(self, name: Literal["radial", "shape", "size"]) -> list[Trial]:
        """The bases as they are reported."""
        return [
            Trial(
                stage=name,
                order=spec.order,
                totaldegree=spec.totaldegree,
                wL=spec.wL,
                rcut=_number(spec.rcut),
                functions=len(columns),
                smoothness=found.power,
                log_evidence=found.log_evidence,
            )
            for spec, columns, found in zip(self.specs, self.columns, self.posteriors, strict=True)
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
    asked = config.model_dump(exclude={"threads", "backend", "weighting"})
    key = fingerprint([asked, list(structures), seed])
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
        more, shape = _shape(data, config, coarse, spec, threads)
        bases, times = _bases(data, config, fine, spec, shape, threads)
        stage = _stage(data, config, fine, bases, threads)
        judge = Judge(stage.basis, _members(data, fine, stage.basis), threads)
        last = []
        for trial, columns, found, us in zip(
            stage.trials("size"), stage.columns, stage.posteriors, times, strict=True
        ):
            errors = judge.measured(stage.fits, columns, found.diagonal)
            update = {"force_error": errors.near, "far_error": errors.far, "us_per_atom": us}
            last.append(trial.model_copy(update=update))
        index, reason = chosen_trial(last, options)
        learning = judge.learning(
            stage.fits, stage.columns[index], stage.posteriors[index].diagonal
        )
    last = [t.model_copy(update={"chosen": k == index}) for k, t in enumerate(fronted(last))]
    counts = [round(len(fine.chosen) * k / FOLDS) for k in range(1, FOLDS)]
    limits = limits_of(last, index, counts, [*learning, last[index].near])
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
    shape, most = FIRST_SHAPE[: options.order], options.functions
    trials: list[Trial] = []
    evidence: dict[BasisSpec, float] = {}
    for cutoff in options.cutoffs:
        specs = [replace(data.spec, rcut=cutoff, wL=wl) for wl in options.wL]
        bases = {spec: around(spec, shape, RADIAL_SIZE, most) for spec in specs}
        found = _stage(data, config, parts, _some(bases.values(), most), threads)
        trials += found.trials("radial")
        evidence |= {s: found.evidence(RADIAL_SIZE, each) for s, each in bases.items() if each}
    return trials, max(evidence, key=evidence.__getitem__)


def _shape(
    data: Prepared, config: StudentConfig, parts: Parts, spec: BasisSpec, threads: int
) -> tuple[list[Trial], tuple[float, ...]]:
    """How the degrees fall from order to order, at one middle size."""
    options = config.search
    shapes = shapes_up_to(options.order)
    bases = {shape: around(spec, shape, SHAPE_SIZE, options.functions) for shape in shapes}
    found = _stage(data, config, parts, _some(bases.values(), options.functions), threads)
    evidence = {s: found.evidence(SHAPE_SIZE, each) for s, each in bases.items() if each}
    return found.trials("shape"), max(evidence, key=evidence.__getitem__)


def _bases(
    data: Prepared,
    config: StudentConfig,
    parts: Parts,
    spec: BasisSpec,
    shape: Sequence[float],
    threads: int,
) -> tuple[list[BasisSpec], list[float]]:
    """Bases of one shape from small to large, as far as time, rows and memory allow, and times."""
    options = config.search
    rows = sum(3 * len(data.structures[index]) for index in parts.chosen)
    most = min(options.functions, rows // _ROWS_PER_FUNCTION, _functions_that_fit(parts, threads))
    bases = _some([sizes(spec, shape, most)], most)
    times = call_times(bases, max((data.structures[k] for k in parts.chosen), key=len))
    if options.time is None:
        return bases, times
    within = [k for k, value in enumerate(times) if value <= options.time]
    if not within:
        raise UserError(
            f"student.search.time: no basis takes {options.time:g} µs an atom or less here; "
            f"the fastest of {len(times)} takes {min(times):.3g}. Allow more"
        )
    return [bases[k] for k in within], [times[k] for k in within]


def _stage(
    data: Prepared, config: StudentConfig, parts: Parts, specs: Sequence[BasisSpec], threads: int
) -> _Stage:
    """Assemble the union of some bases once, and fit each, the smallest first."""
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
    cells = {
        cell: moments_of(design_of(basis), data.structures, every, parts.members(cell), n, threads)
        for cell in parts.cells()
    }
    whole = sum(cells.values(), np.zeros((n + 1, n + 1)))
    fits = Fits(cells, whole, sum(labels.count for labels in rows.values()))
    columns = {spec: columns_in(basis, spec) for spec in specs}
    found: dict[BasisSpec, Posterior] = {}
    start = None
    for spec in sorted(specs, key=lambda spec: len(columns[spec])):
        kept = columns[spec]
        # The last power alone is kept: the search asks for one several times in turn.
        gamma = lru_cache(maxsize=1)(lambda power, kept=kept: basis.gamma(power)[kept])
        found[spec] = fits.posterior(kept, gamma, start)
        start = found[spec].power, found[spec].strength
    return _Stage(
        fits=fits,
        basis=basis,
        specs=tuple(specs),
        columns=tuple(columns[spec] for spec in specs),
        posteriors=tuple(found[spec] for spec in specs),
    )


def _members(data: Prepared, parts: Parts, basis: Basis) -> dict[Cell, list[Labelled]]:
    """Structures with forces, by cell."""
    sources = sources_of(data.structures)
    return {
        cell: [
            one
            for index in parts.members(cell)
            if (one := labelled(data.structures[index], sources[index], basis)) is not None
        ]
        for cell in parts.cells()
    }


_NO_ROWS = training_set.Rows(-1, None, 0.0, None, 0.0, None, 0.0)


def _functions_that_fit(parts: Parts, threads: int) -> int:
    """Functions whose moments fit in half of the free memory."""
    import psutil

    matrices = len(parts.cells()) + 4 + 4 * threads
    return int(np.sqrt(psutil.virtual_memory().available / 2 / 8 / matrices))


def _some(kinds: Iterable[Sequence[BasisSpec]], most: int) -> list[BasisSpec]:
    found = [spec for specs in kinds for spec in specs]
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
    text = f"{len(parts.chosen)} structures from {parts.sources} sources, one in {FOLDS} of the "
    text += f"{'structures' if alone else 'sources'} left out at a time"
    if parts.by_structure:
        text += ", because there are so few sources"
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
