"""A student in the file format of another engine, read back and compared before it is kept."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from distill.core.artifacts import atomic_path, refuse_to_overwrite, sha256
from distill.core.config import Section
from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.registry import Registry
from distill.core.results import Result, write_result
from distill.deploy.export.parity import (
    Differences,
    PairDistances,
    ParitySample,
    inner_distances,
    sample_structures,
)
from distill.models.base import Predictions
from distill.student.julia.julia_session import kept_warm

if TYPE_CHECKING:
    from ase import Atoms

    from distill.student.student_model import Student

EXPORTERS: Registry[type[Exporter]] = Registry(
    "export format",
    "distill.exporters",
    {
        "acepotentials": "distill.deploy.export.acepotentials:AcePotentialsModel",
        "lammps": "distill.deploy.export.lammps_format:Lammps",
        "yace": "distill.deploy.export.yace:Yace",
    },
)
TOLERANCE = 1e-5


class Draft(NamedTuple):
    """A file that an exporter has written, to be compared.

    Attributes
    ----------
    title
        What it is, in a few words.
    details
        What is recorded of it, JSON-serialisable.
    notes
        What its user should know, said where it is kept.
    """

    title: str
    details: dict[str, Any]
    notes: Sequence[str] = ()


class Exporter(ABC):
    """A file format of another engine.

    Parameters
    ----------
    config
        Its options, of its `Config`.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    Config: ClassVar[type[Section]] = Section

    def __init__(self, config: Section) -> None:
        self.config = config

    @abstractmethod
    def write(
        self, student: Student, path: Path, *, tolerance: float, inner: PairDistances
    ) -> Iterator[Draft]:
        """Write a student to `path` and yield what was written.

        A format that only comes near a student writes the cheapest file first; after each yield it
        is asked for a closer one, which replaces it, while the file misses the tolerance (eV/Å and
        eV/atom). Below the distances `inner` (Å) nothing is compared. Raises `UserError` for a
        student that the format cannot hold.
        """

    @abstractmethod
    def read_back(self, path: Path, structures: Sequence[Atoms]) -> Predictions:
        """What a written file says of structures; shares no code with `write`."""


class ExportReport(Result):
    """What an accepted file is; stored beside it as JSON.

    Attributes
    ----------
    format
        Name of the exporter.
    student_sha256
        Of the student file it stands for.
    tolerance
        Asked for, eV/Å and eV/atom.
    structures
        Number of structures compared, by kind.
    force, energy
        Largest differences to the student by kind, eV/Å and eV/atom.
    inner
        Distances below which nothing was compared, Å.
    details
        What the format records.
    """

    format: str
    student_sha256: str
    tolerance: float
    structures: dict[str, int]
    force: dict[str, float]
    energy: dict[str, float]
    inner: dict[str, float]
    details: dict[str, Any]


@kept_warm()
def export_student(
    student: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    to: str = "yace",
    structures: Sequence[Atoms] = (),
    tolerance: float = TOLERANCE,
    options: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a student in another format, read it back, compare, and keep it if it agrees.

    Writes OUTPUT and OUTPUT.json.

    Parameters
    ----------
    student
        Student file.
    output
        File to write.
    to
        Name of the format.
    structures
        Of the training set, to compare on; dimers, trimers and strained cells are added.
    tolerance
        Largest difference that is accepted, of force components in eV/Å and of energies in eV/atom.
    options
        Of the format.

    Raises
    ------
    UserError
        If there is no such format or option, `output` is the student, a structure has elements
        that the student lacks, or the format cannot hold the student within the tolerance.
    """
    from distill.student.student_model import Student

    if not tolerance > 0:
        raise UserError(f"export: expected a tolerance above 0, found {tolerance:g}")
    exporter = _exporter(to, options or {})
    for name in (output, _report_path(output)):
        refuse_to_overwrite(name, student)
    model = Student.load(student)
    if not structures:
        say("export: no training structures given: compared on crystals, dimers and trimers alone")
    inner = inner_distances(model, structures)
    sample = ParitySample(model, sample_structures(model, structures, inner))
    with atomic_path(output) as path:
        drafts = exporter.write(model, path, tolerance=tolerance, inner=inner)
        draft, found = _first_within(tolerance, exporter, drafts, path, sample)
    report = ExportReport(
        format=to,
        student_sha256=sha256(student),
        tolerance=tolerance,
        structures=sample.counts,
        force=found.force,
        energy=found.energy,
        inner={"-".join(pair): distance for pair, distance in inner.items()},
        details=draft.details,
    )
    write_result(_report_path(output), report)
    _say_report(report, draft, output)
    return report


def _exporter(name: str, options: Mapping[str, Any]) -> Exporter:
    from pydantic import ValidationError

    kind = EXPORTERS.load(name)
    try:
        return kind(kind.Config.model_validate(options))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        known = ", ".join(kind.Config.model_fields) or "none"
        raise UserError(
            f"export: option {place} of {name}: {first['msg']}, found {first['input']!r}; the "
            f"options of {name} are: {known}"
        ) from None


def _first_within(
    tolerance: float,
    exporter: Exporter,
    drafts: Iterator[Draft],
    path: Path,
    sample: ParitySample,
) -> tuple[Draft, Differences]:
    """The first file that meets the tolerance, and how far it is from the student."""
    smallest, tried = float("inf"), "nothing"
    for draft in drafts:
        found = sample.differences(partial(exporter.read_back, path))
        largest, tried = found.largest, draft.title
        smallest = min(smallest, largest)
        say(f"export: {draft.title}: differs by up to {largest:.2g} eV/Å or eV/atom")
        if largest <= tolerance:
            return draft, found
    raise UserError(
        f"export: the student does not meet {tolerance:g} eV/Å and eV/atom as {exporter.name}, up "
        f"to {tried}: it differs by {smallest:.2g} at the least. No file was written. Give a "
        "larger --tolerance: far below the student's own errors it loses nothing"
    )


def _report_path(output: str | os.PathLike[str]) -> Path:
    return Path(f"{os.fspath(output)}.json")


def _say_report(report: ExportReport, draft: Draft, output: str | os.PathLike[str]) -> None:
    for kind, count in report.structures.items():
        say(
            f"  {kind} ({count}): forces within {report.force[kind]:.2g} eV/Å, energies within "
            f"{report.energy[kind]:.2g} eV/atom"
        )
    say(f"export: wrote {output} ({1e-6 * Path(output).stat().st_size:.3g} MB; {draft.title})")
    for note in draft.notes:
        say(f"  {note}")
