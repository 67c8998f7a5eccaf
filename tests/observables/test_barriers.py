"""Barriers of several models on the same path, beside a stored reference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from distill.config import BarrierConfig, SlabConfig
from distill.core.artifacts import read_json, sha256
from distill.core.errors import UserError
from distill.core.work import Unit, WorkFolder
from distill.observables.barriers import barriers
from distill.observables.barriers.barriers import run_barriers, stored_profile
from distill.observables.barriers.observable import Barriers, BarrierTolerances
from distill.observables.barriers.result import BarriersResult, Profile, StationaryPoint

SLAB = SlabConfig(size=(3, 3), layers=2, fixed_layers=2, vacuum=12.0, lattice_constant=3.6)
MORSE, WALL = "surface_potentials:MorseSurface", "surface_potentials:Wall"


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
    assert profile.barrier == pytest.approx(0.7)
    assert profile.reaction_energy == pytest.approx(0.5)
    assert profile.energy == pytest.approx([0.0, 0.4, 0.7, 0.5])
    assert profile.distance == pytest.approx([0.0, 0.16, 0.46, 1.26])


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
    assert profile.barrier == pytest.approx(provenance["result"]["barrier_eV"], abs=1e-5)
    assert 0.5 < profile.barrier < 0.65
    assert sum(value < 0 for value in provenance["result"]["lowest_eigenvalues_eV_per_A2"]) == 1
    assert len(profile.energy) == 11


@pytest.mark.physics
def test_models_and_reference_stand_side_by_side(images, tmp_path):
    path = BarrierConfig(
        slab=SLAB, images=5, fmax=0.3, max_steps=40, relax_ends=False, reference=str(images)
    )
    models = {"teacher": MORSE, "student": WALL}
    work = WorkFolder(tmp_path / "out")
    result = run_barriers([path], models, work)
    profiles = result.paths["Cu(111) bridge"]
    assert list(profiles) == ["reference", "teacher", "student"]
    for model in models:
        profile = profiles[model]
        assert profile.energy[0] == 0.0
        assert profile.barrier == max(profile.energy)
        assert np.all(np.diff(profile.distance) > 0)
        assert isinstance(profile.converged, bool)
    # A wall gives nothing back for the H2 bond that its path breaks.
    assert profiles["student"].barrier > profiles["teacher"].barrier + 0.5
    difference, faults = result.differences("teacher", "student")["Cu(111) bridge"]
    assert difference == pytest.approx(profiles["teacher"].barrier - profiles["student"].barrier)
    assert [fault.split(":")[0] for fault in faults] == [
        model for model in models for _ in profiles[model].faults
    ]
    assert result.differences("teacher", "student").keys() == result.paths.keys()
    assert result.differences("teacher", "somebody") == {}
    assert run_barriers([path], models, work) == result


@pytest.mark.physics
def test_a_band_that_begins_with_a_found_path_is_there_at_once(tmp_path):
    path = BarrierConfig(slab=SLAB, images=5, fmax=0.2, max_steps=200)
    models = {"reference": MORSE, "teacher": MORSE}
    [profiles] = run_barriers([path], models, WorkFolder(tmp_path)).paths.values()
    teacher, reference = profiles["teacher"], profiles["reference"]
    assert teacher.converged
    assert teacher.steps > 5
    assert teacher.began_with == "interpolation"
    # One step to find the band converged, one for its climbing image.
    assert reference.steps <= 2
    assert reference.began_with == "teacher"
    assert reference.barrier == pytest.approx(teacher.barrier, abs=1e-3)


@dataclass(frozen=True)
class KnownPath(Unit):
    """A band that ends where `ends` says, by model and what it began with."""

    model: str
    ends: dict[tuple[str, str], tuple[float, bool]]
    config: Any = None
    guess: Path | None = None

    unkeyed = Unit.unkeyed | {"ends"}

    @property
    def images_path(self) -> Path:
        return self.folder / "images.xyz"

    def work(self) -> dict[str, Any]:
        barrier, converged = self.ends[self.model, self.guess.parent.name if self.guess else ""]
        numbers = {"energies_eV": [0.0, barrier, 0.0], "coordinates_A": [0.0, 1.0, 2.0]}
        numbers |= {"barrier_eV": barrier, "reaction_energy_eV": 0.0, "converged": converged}
        numbers |= dict.fromkeys(("zero_point_barrier_eV", "crossover_temperature_K"))
        numbers |= dict.fromkeys(("initial", "saddle", "final")) | {"left_eV": []}
        numbers |= {"end_points_fmax_eV_per_A": [0.0, 0.0], "end_points_relaxed": [True, True]}
        return {**numbers, "fmax_eV_per_A": 0.0, "steps": 1, "calls": 1}

    def summary(self) -> dict[str, Any]:
        return self.numbers()


@pytest.fixture
def known_paths(monkeypatch):
    """Have bands end where the mapping that a test fills says; the configs that were asked for."""
    ends, asked = {}, []

    def units(configs, *, model, out):
        asked.extend(configs)
        return [
            KnownPath(out, f"{number:02d}", model, ends, config)
            for number, config in enumerate(configs)
        ]

    monkeypatch.setattr(barriers, "path_units", units)
    return ends, asked


def test_the_lowest_path_that_any_model_finds_is_everyones(tmp_path, known_paths):
    ends, _ = known_paths
    ends |= {
        ("T", ""): (0.60, True),
        ("S", ""): (0.50, True),
        ("T", "student"): (0.52, True),
        ("S", "teacher"): (0.61, True),
        # The reference begins with the path that the teacher took from the student.
        ("R", "from_student"): (0.53, True),
    }
    models = {"reference": "R", "teacher": "T", "student": "S"}
    [profiles] = run_barriers(
        [BarrierConfig()], models, WorkFolder(tmp_path / "one")
    ).paths.values()
    assert list(profiles) == ["reference", "teacher", "student"]
    found = {role: (p.barrier, p.began_with) for role, p in profiles.items()}
    assert found["teacher"] == (0.52, "student")
    assert found["student"] == (0.50, "interpolation")
    assert found["reference"] == (0.53, "teacher")

    # A lower barrier of a band that did not converge is none; such a band is no beginning either.
    ends |= {
        ("S", ""): (0.10, False),
        ("S", "teacher"): (0.61, True),
        ("R", "teacher"): (0.6, True),
    }
    [profiles] = run_barriers(
        [BarrierConfig()], models, WorkFolder(tmp_path / "two")
    ).paths.values()
    found = {role: (p.barrier, p.began_with) for role, p in profiles.items()}
    assert found["teacher"] == (0.60, "interpolation")
    assert found["student"] == (0.61, "teacher")
    assert found["reference"] == (0.60, "teacher")


def test_paths_of_one_name_are_told_apart_by_their_place(tmp_path, known_paths):
    ends, _ = known_paths
    ends |= {("T", ""): (0.6, True)}
    paths = [BarrierConfig(), BarrierConfig(facet="100"), BarrierConfig(images=5)]
    result = run_barriers(paths, {"teacher": "T"}, WorkFolder(tmp_path))
    assert list(result.paths) == ["Cu(111) bridge", "Cu(100) bridge", "Cu(111) bridge 3"]


def test_rows_have_the_difference_to_the_teacher(tmp_path, known_paths, images):
    ends, _ = known_paths
    ends |= {("T", ""): (0.6, True), ("S", ""): (0.5, False), ("S", "teacher"): (0.55, False)}
    result = run_barriers(
        [BarrierConfig(reference=str(images))],
        {"teacher": "T", "student": "S"},
        WorkFolder(tmp_path),
    )
    rows = {row["model"]: row for row in Barriers().rows(result)["barriers"]}
    assert rows["reference"]["difference"] == pytest.approx(0.1)
    assert rows["teacher"]["difference"] == 0.0
    assert rows["student"]["difference"] == pytest.approx(-0.1)
    assert [rows[m]["converged"] for m in ("reference", "teacher", "student")] == [
        None,
        True,
        False,
    ]
    (card,) = Barriers().cards(result)
    assert card.value == pytest.approx(-100) and "student: the band did not converge" in card.note


def point(negative: int) -> StationaryPoint:
    """A stationary point of so many ways down."""
    return StationaryPoint(
        atoms=[0, 1],
        lowest_eigenvalues=[-1.0] * negative + [1.0] * (6 - negative),
        negative=negative,
        lowest_wave_number=-1000.0 if negative else 100.0,
        zero_point_energy=0.1,
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"saddle": None, "initial": None, "ends_relaxed": None}, None),
        ({"final": point(1)}, None),
        ({"converged": False}, "did not converge"),
        ({"ends_relaxed": (False, True)}, "first end point is not relaxed"),
        ({"saddle": point(2)}, "no saddle of first order"),
        ({"saddle": point(0)}, "no saddle of first order"),
        ({"initial": point(1)}, "first end point is no minimum"),
    ],
)
def test_a_barrier_passes_only_over_a_true_saddle_from_a_minimum(changes, said):
    """Whatever the difference of the barriers, and whichever model is at fault."""
    sound = Profile(
        distance=[0, 1, 2],
        energy=[0, 0.5, 0],
        barrier=0.5,
        reaction_energy=0.0,
        converged=True,
        ends_relaxed=(True, True),
        initial=point(0),
        saddle=point(1),
        final=point(0),
    )
    changed = sound.model_copy(update=changes)
    for models in ({"teacher": sound, "student": changed}, {"teacher": changed, "student": sound}):
        result = BarriersResult(paths={"path": models})
        [check] = Barriers().checks(result, BarrierTolerances(barrier=0.02))
        assert check.passed is (said is None)
        assert (said or "") in check.comment
        [row] = [r for r in Barriers().rows(result)["barriers"] if r["model"] == "student"]
        saddle = models["student"].saddle
        assert row["saddle_order"] == (None if saddle is None else saddle.negative)


class TestOptions:
    """Every option of a path changes what it should."""

    OTHER = {  # noqa: RUF012
        "facet": "100",
        "slab": SLAB.model_copy(update={"layers": 3}),
        "site": "top",
        "exchange": True,
        "relax_ends": False,
        "images": 4,
        "fmax": 0.5,
        "max_steps": 3,
        "require_convergence": True,
        "hessian": "none",
    }

    def test_every_option_has_a_test_here(self):
        tested = {*self.OTHER, "initial", "final", "reference"}
        assert tested == set(BarrierConfig.model_fields)

    @pytest.mark.parametrize("option", OTHER)
    def test_the_band_is_made_with_it(self, tmp_path, known_paths, option):
        ends, asked = known_paths

        def barrier(path):
            found = run_barriers([path], {"teacher": "T"}, WorkFolder(tmp_path))
            [profiles] = found.paths.values()
            return profiles["teacher"].barrier

        path = BarrierConfig(**{option: self.OTHER[option]})
        ends[("T", "")] = (0.60, True)
        assert barrier(BarrierConfig()) == 0.60
        ends[("T", "")] = (0.65, True)
        assert barrier(path) == 0.65
        ends[("T", "")] = (0.70, True)
        assert barrier(path) == 0.65
        assert getattr(asked[-1], option) == self.OTHER[option]
        assert asked[-1].keep == 0

    @pytest.mark.physics
    def test_the_profile_is_of_the_path_asked_for(self, tmp_path):
        path = BarrierConfig(slab=SLAB, images=5, fmax=0.3, max_steps=60)

        def profile(**changed):
            changed_path = path.model_copy(update=changed)
            found = run_barriers([changed_path], {"teacher": MORSE}, WorkFolder(tmp_path))
            [profiles] = found.paths.values()
            return profiles["teacher"]

        whole = profile()
        assert whole.converged and whole.fmax <= 0.3
        assert len(profile(images=4).energy) == 4
        assert profile(fmax=0.1, max_steps=2).converged is False
        assert len(whole.saddle.atoms) == 2
        assert profile(hessian="none").saddle is None
        for change in ({"facet": "100"}, {"site": "top"}, {"relax_ends": False}):
            assert profile(**change).energy != whole.energy
        assert (
            profile(slab=SLAB.model_copy(update={"lattice_constant": 3.8})).energy != whole.energy
        )
        with pytest.raises(UserError, match="did not converge"):
            profile(fmax=0.1, max_steps=2, require_convergence=True)

    @pytest.mark.physics
    def test_end_points_may_be_files(self, tmp_path):
        for name, x in (("first", -1.0), ("last", 1.0)):
            atoms = Atoms("H", [[x, 0, 0]], cell=[10, 10, 10], pbc=True)
            write(tmp_path / f"{name}.xyz", atoms, format="extxyz")
        path = BarrierConfig(
            initial=str(tmp_path / "first.xyz"), final=str(tmp_path / "last.xyz"), images=5
        )
        models = {"teacher": "surface_potentials:DoubleWell"}
        result = run_barriers([path], models, WorkFolder(tmp_path / "out"))
        assert result.paths["path"]["teacher"].barrier == pytest.approx(1.0, abs=1e-3)
        [band] = (tmp_path / "out" / "teacher").glob("*.xyz")
        assert [len(image) for image in read(band, ":")] == [1] * 5

    def test_a_stored_path_stands_beside_the_models_and_changes_no_band(
        self, tmp_path, known_paths, images
    ):
        ends, asked = known_paths
        ends |= {("T", ""): (0.6, True), ("R", "teacher"): (0.65, True)}
        [profiles] = run_barriers(
            [BarrierConfig()], {"teacher": "T"}, WorkFolder(tmp_path / "out")
        ).paths.values()
        assert list(profiles) == ["teacher"]
        ends[("T", "")] = (0.7, True)
        stored = BarrierConfig(reference=str(images))
        [profiles] = run_barriers(
            [stored], {"teacher": "T"}, WorkFolder(tmp_path / "out")
        ).paths.values()
        assert profiles["reference"].barrier == pytest.approx(0.7)
        assert profiles["reference"].file == str(images)
        # The band is that of before, not one made anew.
        assert profiles["teacher"].barrier == 0.6
        assert asked[0] == asked[-1]
        # A reference that can be run takes its place.
        models = {"reference": "R", "teacher": "T"}
        [profiles] = run_barriers([stored], models, WorkFolder(tmp_path / "out")).paths.values()
        assert profiles["reference"].barrier == 0.65

    def test_a_stored_path_that_cannot_be_used_is_refused_at_once(self, images, tmp_path):
        bad = BarrierConfig(reference=str(tmp_path / "gone.xyz"))
        with pytest.raises(UserError, match=r"gone\.xyz"):
            Barriers().refuse([BarrierConfig(reference=str(images)), bad], BarrierTolerances())
        Barriers().refuse([BarrierConfig(reference=str(images))], BarrierTolerances())
