"""Long runs of sampling dynamics are done in parts: a kill loses a part and changes no number."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from sampling_units import sampling_units

from distill.config import MdConfig
from distill.sampling.methods import md

EMT_PATH = "ase.calculators.emt:EMT"


class Killed(BaseException):
    """A kill of the process, which no error handler sees."""


@pytest.fixture
def unit_in(tmp_path):
    write(tmp_path / "copper.xyz", bulk("Cu", a=3.59, cubic=True), format="extxyz")

    def unit_in(out: str, **options) -> md.MdUnit:
        settings = {
            "structure": str(tmp_path / "copper.xyz"), "temperatures": [300.0], "time": 60.0,
            "equilibration_time": 12.0, "time_step": 2.0, "save_every": 4.0,
        }  # fmt: skip
        config = MdConfig(**settings | options)
        return sampling_units("md", config, model=EMT_PATH, out=tmp_path / out, seed=2)[0]

    return unit_in


@pytest.fixture
def killed_after(monkeypatch):
    """Parts of ten steps, and a process that is killed before it computes one too many."""
    monkeypatch.setattr(md, "STEPS_IN_PART", 10)
    computed, made = md._computed, []

    def kill_after(limit: int | None) -> list[int]:
        made.clear()

        def dying(unit, before, number):
            if len(made) == limit:
                raise Killed
            made.append(number)
            return computed(unit, before, number)

        monkeypatch.setattr(md, "_computed", dying)
        return made

    return kill_after


def structures_file(unit: md.MdUnit) -> Path:
    [path] = unit.files()
    return path


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_a_killed_run_goes_on_with_its_part_and_leaves_the_same_structures(
    unit_in, killed_after, ensemble
):
    killed_after(None)
    whole = unit_in("whole", ensemble=ensemble)
    whole.run()
    killed_after(2)
    with pytest.raises(Killed):
        unit_in("killed", ensemble=ensemble).run()
    made = killed_after(None)
    again = unit_in("killed", ensemble=ensemble)
    again.run()
    assert made == [2, 3]
    assert structures_file(again).read_bytes() == structures_file(whole).read_bytes()
    assert again.numbers() == whole.numbers()
    assert again.numbers()["calls"] == 36 + 4
    steps = [atoms.info["step"] for atoms in again.structures()]
    assert steps == list(range(6, 37, 2))
    assert not list(again.folder.glob("*.parts"))


def test_parts_of_other_settings_and_damaged_ones_are_made_again(unit_in, killed_after, capsys):
    killed_after(None)
    whole = unit_in("whole")
    whole.run()
    killed_after(2)
    with pytest.raises(Killed):
        unit_in("out").run()
    made = killed_after(None)
    unit_in("out", friction=0.02).run()
    assert made == [0, 1, 2, 3]
    [damaged] = unit_in("out").folder.glob("*.parts/00001.npz")
    damaged.write_bytes(damaged.read_bytes()[:-40])
    made = killed_after(None)
    again = unit_in("out")
    again.run()
    assert made == [1, 2, 3]
    assert "00001.npz is damaged and made again" in capsys.readouterr().out
    assert structures_file(again).read_bytes() == structures_file(whole).read_bytes()


def test_without_noise_parts_make_one_trajectory(unit_in, killed_after, tmp_path):
    one = unit_in("one", ensemble="nve")
    one.run()
    killed_after(None)
    parts = unit_in("parts", ensemble="nve")
    parts.run()
    found, expected = (read(structures_file(unit), index=":") for unit in (parts, one))
    np.testing.assert_allclose(
        [atoms.positions for atoms in found], [atoms.positions for atoms in expected], atol=1e-7
    )


def test_every_part_feels_noise_of_its_own(unit_in, killed_after):
    killed_after(None)
    options = {"equilibration_time": 0.0, "time": 40.0, "save_every": 2.0, "friction": 1.0}
    unit = unit_in("out", **options)
    unit.run()
    # At this friction a velocity is almost all noise of its own step.
    moves = np.diff([atoms.positions for atoms in unit.structures()], axis=0)
    same = np.corrcoef(moves[:9].ravel(), moves[10:19].ravel())[0, 1]
    assert abs(same) < 0.4
