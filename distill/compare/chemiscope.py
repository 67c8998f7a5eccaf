"""The map of structures in the input format of chemiscope.

Source: the format's description in the manual of chemiscope 1.0, https://chemiscope.org/docs.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compare.map_result import MapPoint
from distill.core.artifacts import atomic_path

if TYPE_CHECKING:
    from ase import Atoms

# Property of a point, what chemiscope calls it, its unit and description.
_PROPERTIES = (
    ("x", "first component", "", "first principal component of the descriptors"),
    ("y", "second component", "", "second principal component of the descriptors"),
    ("source", "source", "", "training of the student, held out, or test of the reference"),
    ("config_type", "kind", "", "config_type"),
    ("index", "index", "", "number in the file of its set"),
    ("error", "force error", "eV/Å", "student against the reference, root mean square"),
    ("disagreement", "disagreement", "eV/Å", "student against the teacher, root mean square"),
    ("expected", "expected error", "eV/Å", "what the student expects its forces to err by"),
    ("grade", "grade", "", "largest extrapolation grade; above 1 outside the training data"),
)


def chemiscope_input(
    structures: Sequence[Atoms], points: Sequence[MapPoint], name: str
) -> dict[str, Any]:
    """Structures and their properties as chemiscope reads them.

    The format has no missing numbers: a property that some structures lack is -1 for them, which
    none of these can be, and one that all lack is left out.
    """
    properties = {}
    for key, title, unit, description in _PROPERTIES:
        values = [getattr(point, key) for point in points]
        if all(value is None for value in values):
            continue
        if None in values:
            values = [-1.0 if value is None else value for value in values]
            description += "; -1 where there is none"
        properties[title] = {
            "target": "structure",
            "values": values,
            "description": description,
            **({"units": unit} if unit else {}),
        }
    colour = next((t for t in ("disagreement", "force error") if t in properties), "index")
    return {
        "meta": {"name": name},
        "structures": [_structure(atoms) for atoms in structures],
        "properties": properties,
        "settings": {
            "target": "structure",
            "map": {
                "x": {"property": "first component"},
                "y": {"property": "second component"},
                "color": {"property": colour},
                "symbol": "source",
            },
        },
    }


def write_chemiscope(
    path: Path, structures: Sequence[Atoms], points: Sequence[MapPoint], name: str
) -> None:
    """Write `chemiscope_input` as `.json.gz`; the same data give the same bytes."""
    text = json.dumps(chemiscope_input(structures, points, name), allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))


def _structure(atoms: Atoms) -> dict[str, Any]:
    x, y, z = atoms.positions.round(4).T.tolist()
    found = {"size": len(atoms), "names": list(atoms.symbols), "x": x, "y": y, "z": z}
    if atoms.cell.rank == 3:
        found["cell"] = atoms.cell.array.round(4).ravel().tolist()
    return found
