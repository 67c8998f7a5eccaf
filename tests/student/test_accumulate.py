"""Streaming factorisation: the same triangle whatever the threads, the memory or the kills."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from distill.core.errors import UserError
from distill.student.fit import accumulate as acc
from distill.student.fit.training_set import Rows

N = 12


def _structures(count: int = 40) -> tuple[list[Atoms], list[Rows]]:
    rng = np.random.default_rng(0)
    structures, rows = [], []
    for k in range(count):
        atoms = Atoms(f"Cu{1 + k % 5}", positions=rng.normal(size=(1 + k % 5, 3)))
        labels = Rows(
            index=k,
            energy=None if k % 4 == 3 else float(rng.normal()),
            energy_weight=30.0,
            forces=None if k % 3 == 2 else rng.normal(size=3 * len(atoms)),
            forces_weight=1.0,
            virial=rng.normal(size=6) if k % 2 else None,
            virial_weight=0.5,
        )
        structures.append(atoms)
        rows.append(labels)
    return structures, rows


def _design(atoms: Atoms, energy: bool, forces: bool, virial: bool):
    """Any smooth function of the positions serves as a basis here."""
    powers = np.arange(1, N + 1)
    x = atoms.positions.ravel()
    table = np.cos(np.outer(x, powers))
    return (
        table.sum(axis=0) if energy else None,
        table if forces else None,
        np.sin(np.outer(x.sum() + np.arange(6), powers)) if virial else None,
    )


def _all_rows(structures: list[Atoms], rows: list[Rows]) -> np.ndarray:
    parts = []
    for atoms, labels in zip(structures, rows, strict=True):
        energy, forces, virial = _design(atoms, True, True, True)
        for a, y, w in (
            (energy[None], labels.energy, labels.energy_weight),
            (forces, labels.forces, labels.forces_weight),
            (virial, labels.virial, labels.virial_weight),
        ):
            if y is not None:
                parts.append(w * np.column_stack([a, np.atleast_1d(y)]))
    return np.vstack(parts)


def _run(structures, rows, folds=None, **options) -> list:
    folds = folds or [list(range(len(structures)))]
    blocks = acc.plan_blocks(folds, [r.count for r in rows], N)
    return acc.accumulate(_design, structures, rows, blocks, N, folds=len(folds), **options)


def test_factor_is_that_of_every_weighted_row() -> None:
    structures, rows = _structures()
    (factor,) = _run(structures, rows)
    full = _all_rows(structures, rows)
    assert factor.rows == len(full)
    np.testing.assert_allclose(factor.triangle.T @ factor.triangle, full.T @ full, atol=1e-9)


def test_folds_hold_their_own_structures() -> None:
    structures, rows = _structures()
    folds = [list(range(0, 40, 2)), list(range(1, 40, 2))]
    for factor, members in zip(_run(structures, rows, folds), folds, strict=True):
        full = _all_rows([structures[k] for k in members], [rows[k] for k in members])
        np.testing.assert_allclose(factor.triangle.T @ factor.triangle, full.T @ full, atol=1e-9)


def test_number_of_threads_does_not_change_a_bit() -> None:
    structures, rows = _structures()
    one, four = (_run(structures, rows, threads=t)[0] for t in (1, 4))
    assert np.array_equal(one.triangle, four.triangle)


def test_killed_assembly_resumes_to_the_same_bits(tmp_path: Path, monkeypatch) -> None:
    structures, rows = _structures()
    monkeypatch.setattr(acc, "CHECKPOINT_INTERVAL_S", 0.0)
    calls = 0

    def failing(atoms, *kinds):
        nonlocal calls
        calls += 1
        if calls > 20:
            raise KeyboardInterrupt
        return _design(atoms, *kinds)

    blocks = acc.plan_blocks([list(range(40))], [r.count for r in rows], N)
    assert len(blocks) > 4
    path = tmp_path / "factor.npz"
    arguments = (structures, rows, blocks, N)
    with pytest.raises(KeyboardInterrupt):
        acc.accumulate(failing, *arguments, checkpoint=path, key="a")
    seen: list[Atoms] = []

    def counting(atoms, *kinds):
        seen.append(atoms)
        return _design(atoms, *kinds)

    (resumed,) = acc.accumulate(counting, *arguments, checkpoint=path, key="a")
    (fresh,) = acc.accumulate(_design, *arguments)
    assert 0 < len(seen) < 40
    assert np.array_equal(resumed.triangle, fresh.triangle)
    assert resumed.rows == fresh.rows
    seen.clear()
    acc.accumulate(counting, *arguments, checkpoint=path, key="a")
    assert seen == []
    acc.accumulate(counting, *arguments, checkpoint=path, key="other data")
    assert len(seen) == 40


def test_damaged_checkpoint_starts_anew(tmp_path: Path, capsys) -> None:
    structures, rows = _structures()
    path = tmp_path / "factor.npz"
    (first,) = _run(structures, rows, checkpoint=path, key="a")
    path.write_bytes(path.read_bytes()[:200])
    (second,) = _run(structures, rows, checkpoint=path, key="a")
    assert "starts anew" in capsys.readouterr().out
    assert np.array_equal(first.triangle, second.triangle)


def test_memory_does_not_depend_on_the_number_of_structures() -> None:
    sizes = []
    for count in (50, 5000):
        blocks = acc.plan_blocks([range(count)], [169] * count, 500)
        sizes.append(acc.memory_needed(blocks, 500, 1, 2))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_too_large_a_basis_is_refused_with_its_size(capsys) -> None:
    blocks = acc.plan_blocks([range(10)], [169] * 10, 200_000)
    with pytest.raises(UserError, match=r"200000 functions needs .* GB"):
        acc.threads_that_fit(blocks, 200_000, 1, 2)
    assert "200000 functions, 1690 rows" in capsys.readouterr().out


def test_threads_are_fewer_where_their_blocks_do_not_fit(monkeypatch) -> None:
    import psutil

    blocks = acc.plan_blocks([range(1000)], [169] * 1000, 500)
    for allowed in (3, 8):
        free = 1.01 * acc.memory_needed(blocks, 500, 1, allowed)
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: Namespace(available=free))
        assert acc.threads_that_fit(blocks, 500, 1, 8) == allowed


def test_values_that_are_not_finite_name_the_structure() -> None:
    structures, rows = _structures(5)
    structures[3].positions[0, 0] = np.nan
    with pytest.raises(UserError, match="training structure 3"):
        _run(structures, rows)
