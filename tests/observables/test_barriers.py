"""Barriers of several models on the same path, beside a stored reference."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from distill.config import NebConfig, SlabConfig
from distill.core.artifacts import read_json, sha256, write_json
from distill.core.errors import UserError
from distill.core.work import Summarised
from distill.observables.barriers import barriers
from distill.observables.barriers.barriers import run_barriers, stored_profile


@pytest.fixture
def images(tmp_path) -> Path:
    """Four images of H2 that opens up."""
    structures = []
    for bond, energy in [(0.74, -4.5), (0.9, -4.1), (1.2, -3.8), (2.0, -4.0)]:
        atoms = Atoms("H2", [[0, 0, 0], [bond, 0, 0]], cell=[20, 20, 20], pbc=True)
        atoms.info["REF_energy"] = energy
        structures.append(atoms)
    path = tmp_path / "path.xyz"
    write(path, structures, format="extxyz")
    return path


def test_stored_profile_is_read_from_its_images(images):
    profile = stored_profile(str(images))
    assert profile["barrier"] == pytest.approx(0.7)
    assert profile["energy"] == pytest.approx([0.0, 0.4, 0.7, 0.5])
    assert profile["distance"] == pytest.approx([0.0, 0.16, 0.46, 1.26])


def test_stored_profile_needs_images_and_energies(images, tmp_path):
    lines = images.read_text().splitlines(keepends=True)
    short = tmp_path / "short.xyz"
    short.write_text("".join(lines[:8]))
    with pytest.raises(UserError, match=r"short.xyz holds 2 images"):
        stored_profile(str(short))
    bare = tmp_path / "bare.xyz"
    bare.write_text(images.read_text().replace("REF_energy", "other"))
    with pytest.raises(UserError, match="no energy"):
        stored_profile(str(bare))


@pytest.mark.parametrize("facet", ["111", "100", "110"])
def test_bundled_reference_path_is_the_recorded_one(facet):
    """The published barriers, 0.63 and 0.74 eV, include zero-point energy and low coverage."""
    from distill.core.input_files import BUNDLED_FOLDER

    provenance = read_json(BUNDLED_FOLDER / f"h2cu_neb_cu{facet}.provenance.json")
    assert provenance["sha256"] == sha256(BUNDLED_FOLDER / f"h2cu_neb_cu{facet}.xyz")
    profile = stored_profile(f"bundled:h2cu_neb_cu{facet}")
    assert profile["barrier"] == pytest.approx(provenance["result"]["barrier_eV"], abs=1e-5)
    assert 0.5 < profile["barrier"] < 0.7
    assert len(profile["energy"]) == 11


@pytest.mark.physics
def test_models_and_reference_stand_side_by_side(images, tmp_path):
    slab = SlabConfig(size=(3, 3), layers=2, fixed_layers=2, vacuum=12.0, lattice_constant=3.6)
    neb = NebConfig(slab=slab, images=5, fmax=0.3, max_steps=40, keep=0, relax_ends=False)
    models = {"teacher": "surface_potentials:MorseSurface", "student": "surface_potentials:Wall"}
    result = run_barriers([neb], models, {"111": str(images)}, tmp_path / "out")
    profiles = result["paths"]["Cu(111) bridge"]
    assert list(profiles) == ["reference", "teacher", "student"]
    for model in models:
        profile = profiles[model]
        assert profile["energy"][0] == 0.0
        assert profile["barrier"] == max(profile["energy"])
        assert np.all(np.diff(profile["distance"]) > 0)
        assert isinstance(profile["converged"], bool)
    # A wall gives nothing back for the H2 bond that its path breaks.
    assert profiles["student"]["barrier"] > profiles["teacher"]["barrier"] + 0.5
    difference = profiles["teacher"]["barrier"] - profiles["student"]["barrier"]
    assert result["differences"]["Cu(111) bridge"]["teacher - student"] == pytest.approx(difference)
    assert read_json(tmp_path / "out" / "barriers.json") == result
    again = run_barriers([neb], models, {"111": str(images)}, tmp_path / "out")
    assert again == result


@pytest.mark.physics
def test_a_band_that_begins_with_a_found_path_is_there_at_once(tmp_path):
    slab = SlabConfig(size=(3, 3), layers=2, fixed_layers=2, vacuum=12.0, lattice_constant=3.6)
    neb = NebConfig(slab=slab, images=5, fmax=0.2, max_steps=200, keep=0)
    surface = "surface_potentials:MorseSurface"
    models = {"reference": surface, "teacher": surface}
    [profiles] = run_barriers([neb], models, {}, tmp_path / "out")["paths"].values()
    teacher, reference = profiles["teacher"], profiles["reference"]
    assert teacher["converged"]
    assert teacher["steps"] > 5
    assert teacher["began_with"] == "interpolation"
    # One step to find the band converged, one for its climbing image.
    assert reference["steps"] <= 2
    assert reference["began_with"] == "teacher"
    assert reference["barrier"] == pytest.approx(teacher["barrier"], abs=1e-3)


@dataclass(frozen=True)
class KnownPath(Summarised):
    """A band that ends where `ends` says, by model and what it began with."""

    model: str
    name: str
    folder: Path
    ends: dict[tuple[str, str], tuple[float, bool]]
    guess: Path | None = None

    @property
    def images_path(self) -> Path:
        return self.folder / "images.xyz"

    def run(self) -> None:
        barrier, converged = self.ends[self.model, self.guess.parent.name if self.guess else ""]
        numbers = {key: [0.0, barrier] for key in ("energies_eV", "coordinates_A")}
        numbers |= {"barrier_eV": barrier, "reaction_energy_eV": 0.0, "converged": converged}
        write_json(self.summary_path, {**numbers, "fmax_eV_per_A": 0.0, "steps": 1, "calls": 1})


def test_the_lowest_path_that_any_model_finds_is_everyones(tmp_path, monkeypatch):
    ends = {
        ("T", ""): (0.60, True),
        ("S", ""): (0.50, True),
        ("T", "student"): (0.52, True),
        ("S", "teacher"): (0.61, True),
        # The reference begins with the path that the teacher took from the student.
        ("R", "from_student"): (0.53, True),
    }

    def known(nebs, *, model, out):
        return [KnownPath(model, "path", out, ends) for _ in nebs]

    monkeypatch.setattr(barriers, "path_units", known)
    models = {"reference": "R", "teacher": "T", "student": "S"}
    [profiles] = run_barriers([NebConfig()], models, {}, tmp_path / "one")["paths"].values()
    assert list(profiles) == ["reference", "teacher", "student"]
    found = {role: (p["barrier"], p["began_with"]) for role, p in profiles.items()}
    assert found["teacher"] == (0.52, "student")
    assert found["student"] == (0.50, "interpolation")
    assert found["reference"] == (0.53, "teacher")

    # A lower barrier of a band that did not converge is none; such a band is no beginning either.
    ends |= {
        ("S", ""): (0.10, False),
        ("S", "teacher"): (0.61, True),
        ("R", "teacher"): (0.6, True),
    }
    [profiles] = run_barriers([NebConfig()], models, {}, tmp_path / "two")["paths"].values()
    found = {role: (p["barrier"], p["began_with"]) for role, p in profiles.items()}
    assert found["teacher"] == (0.60, "interpolation")
    assert found["student"] == (0.61, "teacher")
    assert found["reference"] == (0.60, "teacher")
