"""What every observable promises: a base class of tests, to be inherited for each of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import pytest
from jinja2 import Environment, StrictUndefined
from matplotlib import pyplot
from matplotlib.figure import Figure

from distill.core.figures import save_figure
from distill.core.results import Result, read_result, write_result
from distill.core.tables import write_table_csv
from distill.core.work import Unit, WorkFolder
from distill.models.cached_calculators import ModelSpec
from distill.observables.base import OBSERVABLES, Card, Check, Observable
from distill.report.page import FILTERS

ENDLESS = 1e9


# Of an observable whose options are those of independent runs, and more.
HARMLESS_TO_RUNS = {
    "index": -1,
    "temperatures": [300.0, 350.0],
    "runs": 4,
    # As long as it is another engine's.
    "multiple_time_steps": {"max_drift": 1.0},
}
INPUTS_OF_RUNS = {
    "supercell": (2, 1, 1),
    "time": 1200.0,
    "equilibration_time": 150.0,
    "time_step": 1.0,
    "friction": 0.06,
    "save_every": 8.0,
    "max_temperature": 9000.0,
    "engine": "multiple_time_steps",
}


@dataclass(frozen=True)
class Done:
    """A finished computation."""

    config: Any
    folder: Path
    result: Result


class ObservableContract:
    """Tests of an observable, which a subclass names along with a computation of a few seconds.

    Attributes
    ----------
    observable
        The class.
    models
        Fast models by name, in the order teacher, student.
    other
        A model whose result differs from the student's.
    harmless
        By option, another value of it that repeats nothing of what is there.
    inputs
        By option, another value of it that makes something anew. Together they name every option.
    """

    observable: ClassVar[type[Observable[Any]]]
    models: ClassVar[Mapping[str, ModelSpec]]
    other: ClassVar[ModelSpec]
    harmless: ClassVar[Mapping[str, Any]] = {}
    inputs: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def config(cls, folder: Path) -> Any:
        """Options, or a list of them where the observable is `repeated`; files go to a folder.

        Every bound of the observable's tolerances has to find a sound number in the result.
        """
        raise NotImplementedError

    @classmethod
    def comparable(cls, result: Result) -> dict[str, Any]:
        """A result without wall times."""
        return result.model_dump()

    @pytest.fixture(scope="class")
    @classmethod
    def done(cls, tmp_path_factory: pytest.TempPathFactory) -> Done:
        """The computation, done once for all tests of the class; its folder is not written to."""
        folder = tmp_path_factory.mktemp(cls.observable.name)
        config = cls.config(folder)
        work = WorkFolder(folder / "work", seed=3)
        return Done(config, work.path, cls.observable().run(config, cls.models, work))

    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Records of the units of work that are done in this process, as they are done."""
        return count_units(monkeypatch)

    def run(self, done: Done, folder: Path, **changed: ModelSpec) -> Result:
        """The same computation in a folder, with other models by name."""
        models = {**self.models, **changed}
        return self.observable().run(done.config, models, WorkFolder(folder, seed=3))

    def test_it_is_found_by_its_name(self) -> None:
        assert OBSERVABLES.load(self.observable.name) is self.observable

    def test_good_options_are_not_refused(self, done: Done) -> None:
        self.observable().refuse(done.config, self.observable.Tolerances())

    def test_running_again_repeats_nothing(self, done: Done, made: list[Path]) -> None:
        assert self.run(done, done.folder) == done.result
        assert made == []

    def test_every_option_is_harmless_or_an_input(self) -> None:
        options = set(self.observable.Config.model_fields)
        assert {*self.harmless, *self.inputs} == options
        assert not self.harmless.keys() & self.inputs.keys()

    def test_a_harmless_change_repeats_nothing(
        self, done: Done, tmp_path: Path, made: list[Path]
    ) -> None:
        folder = copied(done, tmp_path)
        there, config = set(folder.rglob("*.json")), done.config
        # One upon the other.
        for option, value in self.harmless.items():
            config = changed(config, option, value)
            self.observable().run(config, self.models, WorkFolder(folder, seed=3))
            assert not there & set(made), option

    def test_every_other_option_makes_something_anew(
        self, done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = copied(done, tmp_path)
        count_units(monkeypatch, killed_after=0)
        for option, value in self.inputs.items():
            given = value(tmp_path) if callable(value) else value
            config = changed(done.config, option, given)
            with pytest.raises(KeyboardInterrupt):
                self.observable().run(config, self.models, WorkFolder(folder, seed=3))
                pytest.fail(f"{option} changes nothing")

    def test_a_model_that_comes_back_finds_what_it_had_made(
        self, done: Done, tmp_path: Path, made: list[Path]
    ) -> None:
        folder = copied(done, tmp_path)
        self.run(done, folder, student=self.other)
        assert made
        made.clear()
        assert self.run(done, folder) == done.result
        assert made == []

    def test_another_model_in_the_folder_gives_what_it_gives_in_a_fresh_one(
        self, done: Done, tmp_path: Path
    ) -> None:
        used = copied(done, tmp_path)
        again = self.comparable(self.run(done, used, student=self.other))
        assert again != self.comparable(done.result)
        fresh = self.comparable(self.run(done, tmp_path / "fresh", student=self.other))
        assert again == fresh

    def test_a_missing_record_is_made_again_alone(
        self, done: Done, tmp_path: Path, made: list[Path]
    ) -> None:
        folder = copied(done, tmp_path)
        records = [path for path in folder.rglob("*.json") if '"key"' in path.read_text()]
        assert records
        for record in records:
            record.unlink()
            assert self.comparable(self.run(done, folder)) == self.comparable(done.result)
            assert made == [record]
            made.clear()

    def test_a_killed_run_goes_on_with_what_is_left(
        self, done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "killed"
        with monkeypatch.context() as patch:
            before = count_units(patch, killed_after=1)
            with pytest.raises(KeyboardInterrupt):
                self.run(done, folder)
        after = count_units(monkeypatch)
        resumed = self.run(done, folder)
        assert self.comparable(resumed) == self.comparable(done.result)
        assert len(before) == 1
        assert not set(before) & set(after)

    def test_the_result_survives_its_file(self, done: Done, tmp_path: Path) -> None:
        write_result(tmp_path / "result.json", done.result)
        assert read_result(tmp_path / "result.json", self.observable.Result) == done.result

    def test_rows_are_flat_and_name_their_model(self, done: Done, tmp_path: Path) -> None:
        tables = self.observable().rows(done.result)
        assert tables[self.observable.name]
        for stem, rows in tables.items():
            for row in rows:
                assert row["model"]
                assert all(is_flat(key, value) for key, value in row.items()), row
            write_table_csv(tmp_path / f"{stem}.csv", rows)
            assert len((tmp_path / f"{stem}.csv").read_text().splitlines()) == len(rows) + 1

    def test_figures_are_drawn(self, done: Done, tmp_path: Path) -> None:
        for stem, figure in self.observable().draw(done.result).items():
            assert isinstance(figure, Figure)
            assert any(axis.has_data() for axis in figure.axes)
            assert save_figure(figure, tmp_path, stem).stat().st_size > 0

    def test_there_is_no_check_without_a_bound(self, done: Done) -> None:
        observable = self.observable()
        unset = dict.fromkeys(observable.Tolerances.model_fields)
        assert observable.checks(done.result, observable.Tolerances(**unset)) == []

    def test_a_check_passes_only_where_the_whole_interval_lies_inside(self, done: Done) -> None:
        for key in self.observable.Tolerances.model_fields:
            endless = self._checks(done, key, ENDLESS)
            assert any(check.passed for check in endless.values())
            for name, check in endless.items():
                ends = [end for end in (check.value, *(check.interval or ())) if end is not None]
                assert check.value is not None or not check.passed
                # For a bound from below, the end that lies nearest to it.
                reach = min(ends) if check.sense == "at least" else max(map(abs, ends), default=0)
                if reach <= 0:
                    continue
                outside, inside = (1 + 1e-6) * reach, (1 - 1e-6) * reach
                if check.sense != "at least":
                    outside, inside = inside, outside
                    assert self._checks(done, key, inside)[name].passed == check.passed
                assert not self._checks(done, key, outside)[name].passed

    def _checks(self, done: Done, key: str, bound: float) -> dict[str, Check]:
        observable = self.observable()
        unset = dict.fromkeys(observable.Tolerances.model_fields)
        bounds = observable.Tolerances(**{**unset, key: bound})
        checks = observable.checks(done.result, bounds)
        assert checks
        assert {check.tolerance for check in checks} == {key}
        assert {check.bound for check in checks} == {bound}
        return {check.name: check for check in checks}

    def test_cards_are_cards(self, done: Done) -> None:
        assert all(isinstance(card, Card) for card in self.observable().cards(done.result))

    def test_its_section_of_the_report_shows_every_model(self, done: Done) -> None:
        if not self.observable.template:
            return
        package, _, name = self.observable.template.partition(":")
        rows = self.observable().rows(done.result)
        page = render((files(package) / name).read_text(), rows=rows, result=done.result)
        assert all(model in page for model in self.models)
        figures = self.observable().draw(done.result)
        assert set(re.findall(r"\[figure (\w+)\]", page)) == set(figures)
        for figure in figures.values():
            pyplot.close(figure)


def changed(config: Any, option: str, value: Any) -> Any:
    """A section with another value, or a list whose first entry has it."""
    if isinstance(config, list):
        return [changed(config[0], option, value), *config[1:]]
    values = {key: getattr(config, key) for key in type(config).model_fields}
    return type(config).model_validate({**values, option: value})


def copied(done: Done, folder: Path) -> Path:
    """A copy of a finished computation's folder."""
    return Path(shutil.copytree(done.folder, folder / "copy"))


def count_units(monkeypatch: pytest.MonkeyPatch, killed_after: int | None = None) -> list[Path]:
    """Records of the units that are done in this process; it is killed after some of them.

    Units that are checkpoints of another are part of it.
    """
    done: list[Path] = []
    run: Callable[[Unit], None] = Unit.run

    def counted(unit: Unit) -> None:
        if len(done) == killed_after:
            raise KeyboardInterrupt
        run(unit)
        if unit.folder.suffix != ".parts":
            done.append(unit.record)

    monkeypatch.setattr(Unit, "run", counted)
    return done


def is_flat(key: str, value: Any) -> bool:
    """Whether a cell is a number, a text, nothing, an interval or counts by name."""
    if isinstance(value, Mapping):
        return all(isinstance(entry, int) for entry in value.values())
    if "interval" in key:
        return value is None or len(value) == 2
    return value is None or isinstance(value, (str, int, float))


def render(template: str, **context: Any) -> str:
    """A section as the report renders it, with `[figure STEM]` in place of each figure."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= FILTERS
    return environment.from_string(template).render(
        figure=lambda stem, alt, caption: f"[figure {stem}]", **context
    )
