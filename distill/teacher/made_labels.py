"""Labels made by a model instead of those of the files: in shards, so that a kill loses little."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import hash_of, package_versions, read_json, sha256, write_json
from distill.core.errors import UserError
from distill.core.progress import progress, say
from distill.core.quantities import STRESS_KEY
from distill.data.structures import geometry_key, read_structures, write_structures
from distill.models.config import CalculatorConfig
from distill.teacher.config import TeacherConfig
from distill.teacher.starting_model import Start, calculator_start, foundation_start

if TYPE_CHECKING:
    from ase import Atoms

_SHARD = 40


def self_labelled(
    config: TeacherConfig, structures: Sequence[Atoms], *, path: Path, device: str
) -> list[Atoms]:
    """Structures with the labels of the model that `teacher.labels` names.

    They are kept in `path` (extxyz) with what made them beside it (JSON), and taken from there as
    long as structures and model are the same.

    Parameters
    ----------
    config
        The `teacher` section, with `labels`.
    structures
        Their own labels are replaced. Those that carry a stress, or all fully periodic ones where
        stresses have a weight, are given one.
    path
        File that gets them.
    device
        Torch device.

    Raises
    ------
    UserError
        If the model cannot be opened, lacks an element, or fails on a structure.
    """
    assert config.labels is not None
    spec = config.labels.calculator
    if isinstance(spec, CalculatorConfig):
        source = calculator_start(spec)
        about: dict[str, Any] = {"calculator": spec.model_dump(mode="json")}
    else:
        source = foundation_start(config)
        if missing := source.lacking(structures):
            raise UserError(
                f"teacher.labels: the foundation model '{source.name}' cannot make the labels: it "
                f"does not know {', '.join(missing)}; name a calculator that does under "
                "teacher.labels.calculator, or another teacher.foundation"
            )
        about = {"calculator": {"path": source.name, "head": config.head}}
    stress = _wants_stress(config)
    bare = [_asking(atoms, stress) for atoms in structures]
    return labelled_in_shards(
        bare,
        lambda some, first: source.predict(
            some, batch_size=config.batch_size, device=device, first=first
        ),
        path=path,
        about={**about, "sha256": source.sha256},
    )


def labelled_once(config: TeacherConfig, train: Path, test: Path, out: Path) -> tuple[Path, Path]:
    """Files with the labels that `teacher.labels` asks for, for several trainings on them.

    Parameters
    ----------
    config
        The `teacher` section, with `labels`.
    train, test
        Structures.
    out
        Folder that gets `train.xyz` and, unless its own labels count, `test.xyz`, kept as by
        `self_labelled`.

    Returns
    -------
    (Path, Path)
        Training set and test set.

    Raises
    ------
    UserError
        As `self_labelled`.
    """
    from distill.models.mace.adapter import pick_device

    assert config.labels is not None

    device = pick_device(config.device)
    files = {"train": train} | ({"test": test} if config.labels.test else {})
    for name, file in files.items():
        files[name] = out / f"{name}.xyz"
        structures = read_structures(file, require=())
        self_labelled(config, structures, path=files[name], device=device)
    return files["train"], files.get("test", test)


def labels_hash(config: TeacherConfig) -> str:
    """What tells the labels that two teacher sections ask for apart."""
    assert config.labels is not None
    own = config.labels.calculator == "foundation"
    return hash_of(
        {
            "labels": config.labels.model_dump(mode="json"),
            "foundation": [config.foundation, config.head] if own else None,
            "stress": _wants_stress(config),
        }
    )


def base_labelled(
    start: Start, structures: Sequence[Atoms], *, path: Path, batch_size: int, device: str
) -> list[Atoms]:
    """Structures with the labels of a base model, kept like those of `self_labelled`.

    Parameters
    ----------
    start
        The base model.
    structures
        Those with a stress label are given a stress.
    path
        File that gets them.
    batch_size, device
        Of a MACE model.

    Raises
    ------
    UserError
        If the model lacks an element, or fails on a structure.
    """
    return labelled_in_shards(
        structures,
        lambda some, first: start.predict(some, batch_size=batch_size, device=device, first=first),
        path=path,
        about={"calculator": {"path": start.name}, "sha256": start.sha256},
    )


def labelled_in_shards(
    structures: Sequence[Atoms],
    label: Callable[[Sequence[Atoms], int], list[Atoms]],
    *,
    path: Path,
    about: dict[str, Any],
) -> list[Atoms]:
    """Labels of structures, a shard of 40 at a time; finished shards survive a kill.

    Parameters
    ----------
    structures
        What to label.
    label
        Labelled copies of some structures, given the index of the first.
    path
        File that gets all of them, with provenance in `PATH.json`.
    about
        What makes the labels; other labels than these are not taken over.
    """
    key = hash_of([about, [geometry_key(atoms).hex() for atoms in structures]])
    record = path.with_suffix(".json")
    if path.exists() and record.exists() and read_json(record)["key"] == key:
        say(f"{path.name}: labels made before, taken from {path}")
        return read_structures(path)
    shards = path.with_name(f"{path.stem}_{key[:12]}")
    labelled: list[Atoms] = []
    for first in progress(range(0, len(structures), _SHARD), f"labels, {path.stem}", unit="shards"):
        shard = shards / f"{first:06d}.xyz"
        if not shard.exists():
            write_structures(shard, label(structures[first : first + _SHARD], first))
        labelled += read_structures(shard)
    write_structures(path, labelled)
    write_json(
        record,
        {
            **about,
            "key": key,
            "structures": len(labelled),
            "labels_sha256": sha256(path),
            "versions": package_versions(),
        },
    )
    for leftover in path.parent.glob(f"{path.stem}_*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
    return labelled


def _wants_stress(config: TeacherConfig) -> bool:
    two = config.stage_two
    return bool(config.stress_weight or (two and two.stress_weight))


def _asking(atoms: Atoms, stress: bool) -> Atoms:
    """A copy that asks for a stress label by carrying one."""
    copy = atoms.copy()
    if stress and copy.pbc.all():
        copy.info.setdefault(STRESS_KEY, np.zeros(6))
    return copy
