"""What runs the finished teacher: torch, or compiled code that gives the same numbers.

The compiled engine serves only after it agrees with torch on structures of the data, within bounds
far below what any teacher is good for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distill.core.artifacts import sha256
from distill.core.errors import UserError
from distill.core.executors.one_thread import one_thread
from distill.core.progress import say
from distill.core.results import Result, read_result, write_result
from distill.data.splits import nested_subset
from distill.data.structures import config_type, read_structures
from distill.models.calculators import AnyCalculator
from distill.models.fast_mace import (
    Differences,
    EngineRefused,
    FastCalculator,
    converted_model,
    differences,
    require_engine,
)
from distill.models.mace.family import Mace
from distill.models.teacher_model import FAST_NAME, MODEL_NAME

if TYPE_CHECKING:
    from ase import Atoms

    from distill.teacher.config import TeacherConfig

ENGINE_NAME, CONVERTED_NAME = "engine.json", "teacher_symmetrix.json"
# 0.1 meV/atom, 1 meV/Å and 0.01 meV/Å³ (1.6 MPa): single precision alone makes a tenth of them.
BOUNDS = Differences(energy=1e-4, forces=1e-3, stress=1e-5)
_STRUCTURES = 12


class EngineRecord(Result):
    """What runs a teacher, kept as `engine.json`.

    Attributes
    ----------
    asked, engine
        As the config has it, and what was chosen.
    reason
        Why torch was, in a sentence.
    model_sha256
        Of the `.model` file that was converted, or was not.
    structures, differences, bounds
        Structures on which the engine was compared with torch, the largest differences, and what
        they may be; None where the model was not converted.
    """

    asked: Literal["auto", "torch", "symmetrix"]
    engine: Literal["torch", "symmetrix"]
    reason: str | None = None
    model_sha256: str
    structures: int = 0
    differences: Differences | None = None
    bounds: Differences = BOUNDS


def refuse_engine(config: TeacherConfig) -> None:
    """Refuse an engine that was asked for by name and cannot be had, before the first stage.

    Raises
    ------
    UserError
        If the teacher is not one MACE, or the package or a compiler is missing.
    """
    if config.engine != "symmetrix":
        return
    several = {
        "teacher.calculator": config.calculator is not None,
        "teacher.committee": config.committee is not None,
        "strategy: delta": config.strategy == "delta",
    }
    for name, is_so in several.items():
        if is_so:
            raise UserError(
                f"teacher.engine is 'symmetrix', which runs one MACE, found {name}: leave engine "
                "out, or use 'engine: torch'"
            )
    try:
        require_engine()
    except EngineRefused as error:
        raise UserError(f"teacher.engine is 'symmetrix', but {error}") from None


def choose_engine(config: TeacherConfig, *, train: Path, out: Path, seed: int) -> None:
    """Convert the finished teacher for the compiled engine and keep it if it agrees with torch.

    Writes to `out`: `engine.json`, an `EngineRecord`; and, where the engine was accepted,
    `teacher_fast.model`, which later stages take for the teacher, and `teacher_symmetrix.json`. A
    choice that was made of the same teacher stays. A teacher that is not one MACE runs as it is.

    Parameters
    ----------
    config
        `engine` says which: with `auto` and `symmetrix` torch is what is left.
    train
        Structures of which a dozen are compared, of each `config_type` at least one.
    out
        The teacher's folder.
    seed
        Of the choice of structures.
    """
    model = out / MODEL_NAME
    if not Mace.reads(model):
        return
    digest = sha256(model)
    if (out / ENGINE_NAME).is_file():
        before = read_result(out / ENGINE_NAME, EngineRecord)
        if (before.asked, before.model_sha256) == (config.engine, digest):
            return
    record = EngineRecord(asked=config.engine, engine="torch", model_sha256=digest)
    if config.engine != "torch":
        record = _compared(record, model, _dozen(train, seed))
    if record.engine == "torch":
        for name in (FAST_NAME, CONVERTED_NAME):
            (out / name).unlink(missing_ok=True)
    write_result(out / ENGINE_NAME, record)


def _compared(record: EngineRecord, model: Path, structures: list[Atoms]) -> EngineRecord:
    """The choice by what the two engines say of structures; the fast one's files are written."""
    torch_model = Mace.load(model)
    fast, converted = model.with_name(FAST_NAME), model.with_name(CONVERTED_NAME)
    try:
        with one_thread():
            calculator = FastCalculator(converted_model(torch_model, fast, converted, model))
            apart = differences(torch_model.in_batches(1), AnyCalculator(calculator), structures)
        if calculator.failure is not None:
            # Torch answered in its place, so that nothing differs.
            raise EngineRefused(f"Symmetrix failed on structures of the data: {calculator.failure}")
    except (EngineRefused, UserError) as error:
        urgent = "WARNING: " if record.asked == "symmetrix" else ""
        say(f"{urgent}the teacher runs in torch: {error}")
        return record.model_copy(update={"reason": str(error)})
    accepted = apart.within(BOUNDS)
    measured = f"{apart.text()} on {len(structures)} structures (bounds {BOUNDS.text()})"
    reason = None if accepted else f"Symmetrix differs from torch by {measured}"
    say(
        f"the teacher runs in Symmetrix, which differs from torch by at most {measured}"
        if accepted
        else f"WARNING: the teacher runs in torch: {reason}"
    )
    return record.model_copy(
        update={
            "engine": "symmetrix" if accepted else "torch",
            "reason": reason,
            "structures": len(structures),
            "differences": apart,
        }
    )


def _dozen(train: Path, seed: int) -> list[Atoms]:
    """A dozen of the structures, free atoms left out; of each type one where there are few."""
    structures = [atoms for atoms in read_structures(train, require=()) if len(atoms) > 1]
    share = min(1.0, _STRUCTURES / len(structures))
    types = [config_type(atoms) for atoms in structures]
    return [structures[i] for i in nested_subset(types, share, seed)]
