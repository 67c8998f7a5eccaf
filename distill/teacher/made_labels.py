"""Labels made by a model instead of those of the files: in shards, so that a kill loses little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.artifacts import hash_of, package_versions, sha256, write_json
from distill.core.errors import UserError
from distill.core.executors import ParallelConfig
from distill.core.quantities import STRESS_KEY
from distill.core.work import WorkFolder
from distill.data.structures import read_structures, write_structures
from distill.models.config import CalculatorConfig, LabelConfig
from distill.models.labelling import label_units
from distill.models.mace.family import Mace
from distill.teacher.config import TeacherConfig
from distill.teacher.starting_model import Start, calculator_start, foundation_start

if TYPE_CHECKING:
    from ase import Atoms

LABELS_FOLDER = "labels"


def self_labelled(
    config: TeacherConfig,
    structures: Sequence[Atoms],
    *,
    path: Path,
    device: str,
    parallel: ParallelConfig | None = None,
) -> list[Atoms]:
    """Structures with the labels of the model that `teacher.labels` names.

    They are kept in `path` (extxyz) with what made them beside it (JSON), and shard by shard in a
    folder of that name, from where they are taken as long as structures and model are the same.

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
    parallel
        Where the labels are made; in this process if None.

    Raises
    ------
    UserError
        If the model cannot be opened, lacks an element, or fails on a structure.
    """
    assert config.labels is not None
    spec = config.labels.calculator
    if not isinstance(spec, CalculatorConfig) and config.calculator is not None:
        spec = config.calculator
    if isinstance(spec, CalculatorConfig):
        source = calculator_start(spec, config, device)
        about: dict[str, Any] = {"calculator": spec.model_dump(mode="json")}
    else:
        source = foundation_start(config, device)
        if missing := source.lacking(structures):
            raise UserError(
                f"teacher.labels: the foundation model '{source.name}' cannot make the labels: it "
                f"does not know {', '.join(missing)}; name a calculator that does under "
                "teacher.labels.calculator, or another teacher.foundation"
            )
        about = {"calculator": {"path": source.name, "head": config.head}}
    stress = config.learns_stress
    bare = [_asking(atoms, stress) for atoms in structures]
    return labelled_in_shards(bare, source, path=path, about=about, parallel=parallel)


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
    from distill.models.mace.torch_tools import pick_device

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
            "stress": config.learns_stress,
        }
    )


def labelled_in_shards(
    structures: Sequence[Atoms],
    start: Start,
    *,
    path: Path,
    about: dict[str, Any] | None = None,
    parallel: ParallelConfig | None = None,
) -> list[Atoms]:
    """Structures with the labels of a model, a unit of work for every few of them.

    Parameters
    ----------
    structures
        What to label; those with a stress label are given a stress.
    start
        What labels them.
    path
        File that gets all of them, with provenance in `PATH.json`.
    about
        What names the model in the provenance; its name if None.
    parallel
        Where the units run; one after the other if None.

    Raises
    ------
    UserError
        If the model lacks an element, or fails on a structure.
    """
    device = start.model.device if isinstance(start.model, Mace) else "cpu"
    units = label_units(
        structures,
        model=start.source or start.model,
        folder=path.with_suffix(""),
        name="labels",
        options=LabelConfig(batch_size=start.model.batch_size, device=device),
    )
    work = WorkFolder(path.parent)
    if parallel is not None:
        work = replace(work, parallel=parallel)
    work.run(units, f"labels, {path.stem}")
    labelled = [atoms for unit in units for atoms in unit.labelled()]
    write_structures(path, labelled)
    write_json(
        path.with_suffix(".json"),
        {
            **(about or {"calculator": {"path": start.name}}),
            "sha256": start.sha256,
            "structures": len(labelled),
            "labels_sha256": sha256(path),
            "versions": package_versions(),
        },
    )
    return labelled


def _asking(atoms: Atoms, stress: bool) -> Atoms:
    """A copy that asks for a stress label by carrying one."""
    copy = atoms.copy()
    if stress and copy.pbc.all():
        copy.info.setdefault(STRESS_KEY, np.zeros(6))
    return copy
