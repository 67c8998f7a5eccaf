"""What every sampling method promises; inherit it to test one of your own.

class TestMine(SamplingMethodContract):
    method = "mine"
    model, other_model = "my.module:Potential", "my.module:Other"

    @pytest.fixture(scope="class")
    def configs(self):
        return [MyConfig(temperatures=[300.0])]

    @pytest.fixture(scope="class")
    def others(self):
        return {"temperatures": {"temperatures": [300.0, 600.0]}, ...}
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SERIAL

from distill.core.config import Section
from distill.core.work import Unit, WorkFolder, run_waiting
from distill.data.structures import reference_energy, reference_forces
from distill.models.calculators import load_calculator
from distill.sampling.method import SAMPLING_METHODS, Sampler

SEED = 3


def _cut(file: Path) -> None:
    """Leave out the second half of a file's lines."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[: len(lines) // 2]))


class SamplingMethodContract:
    """Over the units of a few options, each of which takes a moment.

    Attributes
    ----------
    method
        Key in the `sampling` section.
    model, other_model
        Two models, of which the first can run the units.
    random
        Whether units draw random numbers.
    conditions
        Options that only say which units there are: their rows in `others` ask for more.
    some
        Options that may leave some of the units as they are.
    harmless
        Options that no unit depends on.
    """

    method: str
    model: str
    other_model: str
    random = True
    conditions: frozenset[str] = frozenset()
    some: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()

    @pytest.fixture(scope="class")
    def configs(self) -> list[Section]:
        """Options of the method; they plan at least two units."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def others(self) -> dict[str, dict[str, Any]]:
        """For each option what is to change, and what has to change with it."""
        raise NotImplementedError

    def plan(
        self, configs: Sequence[Section], out: Path, *, model: Any = None, seed: int = SEED
    ) -> list[Unit]:
        sampler = Sampler(model or self.model, WorkFolder(out, seed))
        return SAMPLING_METHODS.load(self.method)().units(configs, sampler)

    @pytest.fixture(scope="class")
    def done(self, configs, tmp_path_factory) -> Path:
        """A folder with all units done."""
        out = tmp_path_factory.mktemp(self.method)
        run_waiting(self.plan(configs, out), parallel=SERIAL, label="x")
        return out

    @pytest.fixture
    def again(self, done, tmp_path) -> Path:
        """A copy of it, which a test may change."""
        shutil.copytree(done, tmp_path / "again")
        return tmp_path / "again"

    @pytest.fixture
    def ran(self, monkeypatch) -> list[str]:
        """Names of the units that run from here on, of whatever kind."""
        names: list[str] = []
        run = Unit.run

        def counted(unit: Unit) -> None:
            names.append(unit.name)
            run(unit)

        monkeypatch.setattr(Unit, "run", counted)
        return names

    def test_units_can_be_sent_to_workers(self, configs, done):
        units = self.plan(configs, done)
        assert len(units) > 1
        for unit in units:
            there = pickle.loads(pickle.dumps(unit))
            assert (there.key, there.record) == (unit.key, unit.record)

    def test_units_have_names_of_their_own_below_the_folder(self, configs, done):
        records = [unit.record for unit in self.plan(configs, done)]
        assert len(set(records)) == len(records)
        assert all(record.is_relative_to(done) for record in records)

    def test_what_is_done_is_not_done_again(self, configs, done, ran):
        units = self.plan(configs, done)
        assert all(unit.finished for unit in units)
        run_waiting(units, parallel=SERIAL, label="x")
        assert ran == []

    def test_done_is_done_in_another_folder_too(self, configs, again, ran):
        assert all(unit.finished for unit in self.plan(configs, again))
        assert ran == []

    @pytest.mark.parametrize("damage", [Path.unlink, _cut], ids=["lost", "cut at a line"])
    def test_a_unit_whose_file_was_lost_or_cut_is_made_again(
        self, configs, done, again, ran, capsys, damage
    ):
        [unit, *_] = units = self.plan(configs, again)
        [file, *_] = unit.files()
        damage(file)
        run_waiting(self.plan(configs, again), parallel=SERIAL, label="x")
        assert ran == [unit.name]
        assert f"{unit.name} is made again: {file.name} " in capsys.readouterr().out
        assert file.read_bytes() == (done / file.relative_to(again)).read_bytes()
        assert all(unit.finished for unit in units)

    def test_the_seed_makes_other_units_where_they_are_random(self, configs, done, again):
        units = self.plan(configs, again, seed=SEED + 1)
        assert [unit.finished for unit in units] == [not self.random] * len(units)
        units[0].run()
        [file, *_] = units[0].files()
        made_before = (done / file.relative_to(again)).read_bytes()
        assert (file.read_bytes() == made_before) == (not self.random)

    def test_every_option_counts(self, configs, others, done, tmp_path):
        """A new option has to be told of here, so that none is forgotten in the units' keys."""
        first = configs[0]
        before = {unit.key for unit in self.plan([first], done)}
        for name in type(first).model_fields:
            assert name in others, f"what is another value of {name}?"
            out = tmp_path / name
            shutil.copytree(done, out)
            values = {key: getattr(first, key) for key in type(first).model_fields}
            changed = type(first).model_validate({**values, **others[name]})
            after = {unit.key for unit in self.plan([changed], out)}
            if name in self.conditions:
                assert before < after, name
            elif name in self.harmless:
                assert before == after, name
            elif name in self.some:
                assert before != after, name
            else:
                assert not before & after, name

    def test_more_conditions_repeat_nothing(self, configs, others, again, ran):
        first, *rest = configs
        before = self.plan(configs, again)
        for name in sorted(self.conditions):
            more = first.model_copy(update=others[name])
            after = self.plan([more, *rest], again)
            assert {u.key for u in before} < {u.key for u in after}, name
            assert {u.key for u in after if u.finished} >= {u.key for u in before}, name
        assert not {unit.name for unit in before} & set(ran)

    def test_the_order_of_entries_and_the_loss_of_one_repeat_nothing(self, configs, again):
        if len(configs) == 1:
            pytest.skip("there is one")
        for some in (configs[::-1], configs[1:]):
            assert all(unit.finished for unit in self.plan(some, again))

    def test_settings_that_come_back_find_what_they_had_made(self, configs, others, again, ran):
        first, *rest = configs
        name = next(n for n in others if n not in self.conditions | self.harmless | self.some)
        values = {key: getattr(first, key) for key in type(first).model_fields}
        changed = type(first).model_validate({**values, **others[name]})
        for plan in (self.plan([changed, *rest], again), self.plan(configs, again, seed=SEED + 1)):
            if not plan[0].finished:
                plan[0].run()
        ran.clear()
        assert all(unit.finished for unit in self.plan(configs, again))
        assert ran == []

    def test_another_entry_repeats_nothing(self, configs, again):
        if not SAMPLING_METHODS.load(self.method).repeated:
            pytest.skip("it is asked for once")
        before = self.plan(configs, again)
        after = self.plan([*configs, configs[-1]], again)
        assert len(after) > len(before)
        assert [unit.key for unit in after[: len(before)]] == [unit.key for unit in before]
        assert [unit.finished for unit in after] == [n < len(before) for n in range(len(after))]

    def test_units_of_another_model_are_not_taken(self, configs, again):
        assert not any(u.finished for u in self.plan(configs, again, model=self.other_model))

    def test_structures_carry_the_model_s_labels_and_their_trajectory(self, configs, done):
        visited = SAMPLING_METHODS.load(self.method)().collect(self.plan(configs, done))
        structures = [*visited.pool, *visited.paths]
        assert structures
        assert {a.info["trajectory"] for a in visited.pool} <= set(visited.endings)
        assert sum(visited.calls.values()) >= len(structures)
        for atoms in structures:
            assert atoms.info["trajectory"] and atoms.info["config_type"]
        for atoms in structures[:: max(len(structures) // 5, 1)]:
            expected = atoms.copy()
            expected.calc = load_calculator(self.model)
            energy = expected.get_potential_energy()
            assert reference_energy(atoms) == pytest.approx(energy, abs=1e-5)
            np.testing.assert_allclose(reference_forces(atoms), expected.get_forces(), atol=1e-5)

    def test_the_calls_are_those_that_were_planned(self, configs, done):
        method = SAMPLING_METHODS.load(self.method)()
        planned = method.plan(configs)
        if not planned:
            pytest.skip("they are not known beforehand")
        made = sum(method.collect(self.plan(configs, done)).calls.values())
        expected = sum(plan.calls for plan in planned)
        # Limits are not always reached, and how long trajectories take is not known exactly.
        assert made / 1.2 <= expected <= 10 * made
        assert all(plan.what and plan.atoms > 0 for plan in planned)

    def test_after_a_kill_only_what_is_missing_is_made(self, configs, done, tmp_path, monkeypatch):
        units = self.plan(configs, tmp_path)
        kind, work = type(units[1]), type(units[1]).work

        def killed(unit: Unit) -> Any:
            numbers = work(unit)
            if unit.name == units[1].name:
                raise KeyboardInterrupt
            return numbers

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(kind, "work", killed)
            run_waiting(units, parallel=SERIAL, label="x")
        kept = [unit.name for unit in units if unit.finished]
        assert kept == [units[0].name]
        ran: list[str] = []
        monkeypatch.setattr(kind, "work", lambda unit: (ran.append(unit.name), work(unit))[1])
        units = self.plan(configs, tmp_path)
        run_waiting(units, parallel=SERIAL, label="x")
        assert ran == [unit.name for unit in units[1:]]
        assert files(tmp_path) == files(done)

    def test_a_changed_file_is_made_again_as_it_was(self, configs, done, again, ran, capsys):
        units = self.plan(configs, again)
        damaged = next(unit for unit in units if unit.files())
        text = damaged.files()[0].read_bytes()
        damaged.files()[0].write_bytes(text[: len(text) // 2])
        run_waiting(self.plan(configs, again), parallel=SERIAL, label="x")
        assert ran == [damaged.name]
        assert f"{damaged.name} is made again: " in capsys.readouterr().out
        assert files(again) == files(done)


def files(folder: Path) -> dict[Path, bytes]:
    """Contents of all files below a folder."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
