"""Diffusivity of a trajectory of whatever program: frames that can be followed, and others."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from distill.core.errors import UserError
from distill.observables.diffusion.one_trajectory import diffusivity_of_frames


def walk(frames: int = 200) -> list[Atoms]:
    """LiF whose Li walk at random, 10 fs a frame, never wrapped."""
    generator = np.random.default_rng(0)
    crystal = bulk("LiF", "rocksalt", 4.0, cubic=True) * 2
    found = []
    for frame in range(frames):
        steps = generator.normal(0, 0.3, (len(crystal), 3))
        crystal.positions += np.where((crystal.symbols == "Li")[:, None], steps, 0.0)
        found.append(crystal.copy())
        found[-1].info["time_fs"] = 10.0 * frame
    return found


def changed(change) -> list[Atoms]:
    generator = np.random.default_rng(1)
    return [change(atoms, generator) for atoms in walk()]


def wrapped(atoms: Atoms, _) -> Atoms:
    atoms.wrap()
    return atoms


def without_periodicity(atoms: Atoms, generator) -> Atoms:
    atoms = wrapped(atoms, generator)
    atoms.pbc = False
    return atoms


def like_atoms_in_another_order(atoms: Atoms, generator) -> Atoms:
    lithium = np.flatnonzero(atoms.symbols == "Li")
    atoms.positions[lithium] = atoms.positions[generator.permutation(lithium)]
    return wrapped(atoms, generator)


def test_wrapped_frames_give_the_same() -> None:
    plain = diffusivity_of_frames(walk(), "Li").value
    assert diffusivity_of_frames(changed(wrapped), "Li").value == pytest.approx(plain, rel=1e-6)
    # By ⟨x²⟩ = 2 D t: 0.09 Å² a frame of 10 fs, of Li against what stands still.
    assert plain == pytest.approx(0.09 / 20, rel=0.2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a, g: a[g.permutation(len(a))], "frame 1 has F32Li32 in another order or number"),
        (lambda a, _: a[:-1] if a.info["time_fs"] > 500 else a, "frame 51 has F31Li32 in another"),
        (like_atoms_in_another_order, "move by 0.[23][0-9] of the cell along axis 0 between"),
        (without_periodicity, "across the cell along axis 0 .* and pbc is F there"),
    ],
)
def test_frames_whose_atoms_cannot_be_followed_are_refused(change, words) -> None:
    """A diffusivity of them was of the order of the atoms, sixty times too large."""
    with pytest.raises(UserError, match=words):
        diffusivity_of_frames(changed(change), "Li")
