"""Every option of the stage does something: changing it changes what the stage leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.io import write
from drive_stage import DRIVEN, sample, structures_above_the_surface, write_driven_train
from helpers import SERIAL

from distill.config import DrivenConfig, LabelConfig, RattleConfig, SamplingConfig, SelectionConfig
from distill.core.artifacts import read_json
from distill.core.errors import UserError
from distill.models.labelling import label_units
from distill.models.mace.adapter import load_model, save_model
from distill.models.mace.foundation_store import find_foundation
from distill.sampling.sampling_stage import run

EMT_PATH = "ase.calculators.emt:EMT"


def left(out: Path) -> dict[str, Any]:
    """What the later stages read."""
    return {
        **{name: (out / name).read_bytes() for name in ("selected.xyz", "held_out.xyz")},
        "summary": read_json(out / "sampling.json"),
    }


class TestSelection:
    """Of rattled copper, which takes no time."""

    BASE = SelectionConfig(count=6, held_out=3)
    OTHERS = {  # noqa: RUF012
        "method": "fps",
        "count": 7,
        "held_out": 4,
        "descriptor": "teacher",
        "compare_methods": True,
        "duplicate_tolerance": 1e6,
        "max_force": 1.0,
        "min_distance": 2.45,
    }

    @pytest.fixture(scope="class")
    def copper(self, tmp_path_factory) -> Path:
        path = tmp_path_factory.mktemp("structures") / "copper.xyz"
        write(path, [bulk("Cu", a=a, cubic=True) for a in (3.59, 3.65)], format="extxyz")
        return path

    def sampled(self, copper: Path, out: Path, selection: SelectionConfig) -> Any:
        """What the stage leaves, or why it could not."""
        config = SamplingConfig(
            rattle=[RattleConfig(structures=str(copper), copies=12)],
            include_training=False,
            selection=selection,
        )
        try:
            run(config, teacher=Path(EMT_PATH), train=copper, out=out, seed=1, parallel=SERIAL)
        except UserError as error:
            return str(error)
        return left(out)

    @pytest.fixture(scope="class")
    def base(self, copper, tmp_path_factory) -> tuple[Path, Any]:
        out = tmp_path_factory.mktemp("base")
        return out, self.sampled(copper, out, self.BASE)

    def test_the_same_options_leave_the_same(self, copper, base, tmp_path):
        shutil.copytree(base[0], tmp_path, dirs_exist_ok=True)
        assert self.sampled(copper, tmp_path, self.BASE) == base[1]

    @pytest.mark.parametrize("name", SelectionConfig.model_fields)
    def test_every_option_changes_what_is_kept(self, copper, base, tmp_path, name):
        assert name in self.OTHERS, f"what is another value of {name}?"
        shutil.copytree(base[0], tmp_path, dirs_exist_ok=True)
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / "rattle").iterdir()}
        other = self.BASE.model_copy(update={name: self.OTHERS[name]})
        assert self.sampled(copper, tmp_path, other) != base[1]
        assert {p: p.stat().st_mtime_ns for p in before} == before, "sampled again"


class TestDriven:
    """Of one short round, in the folder where another was done."""

    OTHERS = {  # noqa: RUF012
        "rounds": 2,
        "labels": 3,
        "max_calls": 26,
        "target": 1e6,
        "bound": 0.05,
        "trajectories": 2,
        "seed_structures": 8,
        "curve_points": 10,
        "extra_structures": "extra.xyz",
        "student": DRIVEN.driven.student.model_copy(update={"rcut": 3.5}),
    }

    @pytest.fixture(scope="class")
    def train(self, tmp_path_factory) -> Path:
        return write_driven_train(tmp_path_factory.mktemp("data") / "train.xyz")

    def config(self, **changes: Any) -> SamplingConfig:
        update = {"rounds": 1, "labels": 4, **changes}
        return DRIVEN.model_copy(
            update={
                "scattering": DRIVEN.scattering.model_copy(
                    update={"trajectories": 1, "max_time": 30.0}
                ),
                "driven": DRIVEN.driven.model_copy(update=update),
            }
        )

    @pytest.fixture(scope="class")
    def base(self, train, tmp_path_factory) -> Path:
        out = tmp_path_factory.mktemp("base")
        sample(out, train, workers=1, config=self.config())
        return out

    def changed(self, name: str, folder: Path) -> SamplingConfig:
        value = self.OTHERS[name]
        if name == "extra_structures":
            value = str(folder / value)
            extra = structures_above_the_surface(3, seed=4)
            for atoms in extra:
                atoms.positions[-1, 2] += 0.9
            write(value, extra, format="extxyz")
        return self.config(**{name: value})

    @pytest.mark.parametrize("name", DrivenConfig.model_fields)
    def test_every_option_changes_what_is_sampled(self, train, base, tmp_path, name):
        assert name in self.OTHERS, f"what is another value of {name}?"
        out = tmp_path / "run"
        shutil.copytree(base, out)
        sample(out, train, workers=1, config=self.changed(name, tmp_path))
        assert left(out) != left(base)

    def test_the_same_options_leave_the_same(self, train, base, tmp_path):
        shutil.copytree(base, tmp_path / "run")
        sample(tmp_path / "run", train, workers=1, config=self.config())
        assert left(tmp_path / "run") == left(base)

    @pytest.mark.slow
    def test_a_folder_of_another_config_ends_as_a_new_one(self, train, base, tmp_path):
        """The students and choices of other settings are not taken for those of these."""
        shutil.copytree(base, tmp_path / "there")
        config = self.changed("student", tmp_path)
        for name in ("there", "new"):
            sample(tmp_path / name, train, workers=1, config=config)
        assert left(tmp_path / "there") == left(tmp_path / "new")


class TestLabels:
    """How structures are labelled, which changes no label: its options are not in the keys."""

    @pytest.fixture(scope="class")
    def teacher(self, tmp_path_factory) -> Path:
        """The bundled foundation model as a file."""
        path = tmp_path_factory.mktemp("model") / "foundation.model"
        save_model(load_model(find_foundation("bundled")), path)
        return path

    @pytest.fixture(scope="class")
    def train(self, tmp_path_factory) -> Path:
        path = tmp_path_factory.mktemp("structures") / "copper.xyz"
        write(path, [bulk("Cu", a=3.5 + 0.05 * n, cubic=True) for n in range(5)], format="extxyz")
        return path

    def label(self, teacher: Path, train: Path, out: Path, **options: Any) -> None:
        config = SamplingConfig(labels=LabelConfig(**options))
        run(config, teacher=teacher, train=train, out=out, seed=1, parallel=SERIAL)

    def test_every_option_is_tested_here(self):
        assert set(LabelConfig.model_fields) == {"batch_size", "device"}

    def test_a_batch_has_its_size(self, teacher, train, tmp_path, monkeypatch):
        from mace.modules import ScaleShiftMACE

        sizes = []
        forward = ScaleShiftMACE.forward

        def counted(model: Any, data: Any, *arguments: Any, **options: Any) -> Any:
            sizes.append(len(data["ptr"]) - 1)
            return forward(model, data, *arguments, **options)

        monkeypatch.setattr(ScaleShiftMACE, "forward", counted)
        self.label(teacher, train, tmp_path / "3", batch_size=3)
        assert sizes == [3, 2]

    def test_a_device_that_is_missing_is_named(self, train, tmp_path, monkeypatch):
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UserError, match=r"sampling\.labels\.device: .*no CUDA device"):
            self.label(Path(EMT_PATH), train, tmp_path, device="cuda")
        self.label(Path(EMT_PATH), train, tmp_path, device="auto")

    def test_no_option_repeats_a_label(self, tmp_path):
        structures = [bulk("Cu", cubic=True)]
        options = [LabelConfig(), LabelConfig(batch_size=1), LabelConfig(device="cpu")]
        keys = {
            label_units(structures, model=EMT_PATH, folder=tmp_path, name="x", options=o)[0].key
            for o in options
        }
        assert len(keys) == 1
