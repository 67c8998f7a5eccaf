"""The pipeline's promises on small stand-in stages: skip, resume, refuse, discard, record."""

import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from executor_tests import running, until
from executor_units import process_id

from distill import pipeline
from distill import stages as stage_list
from distill.compare.verdict_result import verdict_of
from distill.config import RunConfig
from distill.core.artifacts import read_manifest, write_text
from distill.core.errors import ChecksFailed, UserError
from distill.core.executors import run_units
from distill.core.results import write_result
from distill.core.run_folder import LOCK_NAME, locked, refuse_foreign_folder
from distill.core.stage_folder import read_started
from distill.core.work import Unit
from distill.observables.base import Check
from distill.pipeline import run_pipeline
from distill.stages import Stage


@dataclass(frozen=True)
class Number(Unit):
    """Keep a number; those that were made are in a list."""

    number: int
    done: list[int]

    unkeyed = Unit.unkeyed | {"done"}

    def work(self) -> int:
        self.done.append(self.number)
        return self.number

    def run_if_missing(self) -> None:
        if not self.finished:
            self.run()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def stages(monkeypatch, calls):
    """Two stages: `teacher` writes its number of epochs, `student` reads it and adds its order."""

    def teacher(config: RunConfig, folder: Path, out: Path) -> None:
        calls.append("teacher")
        write_text(out / "model.txt", str(config.teacher.epochs))

    def student(config: RunConfig, folder: Path, out: Path) -> None:
        calls.append("student")
        epochs = (folder / "teacher" / "model.txt").read_text()
        write_text(out / "model.txt", f"{epochs} {config.student.order}")

    monkeypatch.setattr(
        pipeline,
        "STAGES",
        (
            Stage("teacher", stage_list._section("teacher"), lambda c, f: {}, teacher),
            Stage(
                "student",
                stage_list._section("student"),
                lambda c, f: {"teacher": f / "teacher" / "model.txt"},
                student,
            ),
        ),
    )


def config(folder: Path, epochs: int = 3, order: int = 2, **sections: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "output": str(folder / "run"),
            "teacher": {"epochs": epochs},
            "student": {"order": order, "totaldegree": 4},
            **sections,
        }
    )


@pytest.mark.usefixtures("stages")
class TestPipeline:
    def test_second_run_skips_and_says_so(self, tmp_path, calls, capsys):
        run_pipeline(config(tmp_path))
        report = run_pipeline(config(tmp_path))
        assert calls == ["teacher", "student"]
        assert capsys.readouterr().out.count("skipped") == 2
        assert report.is_file()

    def test_a_run_says_first_what_is_left_to_do(self, tmp_path, capsys, monkeypatch):
        planned = tuple(
            replace(stage, plan=lambda config, seconds: [f"order {config.student.order}"])
            for stage in pipeline.STAGES
        )
        monkeypatch.setattr(pipeline, "STAGES", planned)
        run_pipeline(config(tmp_path), last="teacher")
        said = capsys.readouterr().out
        assert said.index("teacher, to do: order 2") < said.index("teacher: starting")
        assert "student, to do" not in said
        run_pipeline(config(tmp_path))
        said = capsys.readouterr().out
        assert "teacher, to do" not in said
        assert said.count("student, to do: order 2") == 1

    def test_manifest_records_settings_inputs_and_outputs(self, tmp_path):
        run_pipeline(config(tmp_path))
        manifest = read_manifest(tmp_path / "run" / "student")
        assert manifest["config"]["order"] == 2
        assert list(manifest["outputs"]) == ["model.txt"]
        teacher = read_manifest(tmp_path / "run" / "teacher")
        assert manifest["inputs"]["teacher"]["sha256"] == teacher["outputs"]["model.txt"]

    def test_other_settings_are_refused_and_nothing_is_lost(self, tmp_path, calls):
        run_pipeline(config(tmp_path))
        with pytest.raises(
            UserError, match=r"student was made with other settings \(order: 2 -> 3"
        ):
            run_pipeline(config(tmp_path, order=3))
        assert (tmp_path / "run" / "student" / "model.txt").read_text() == "3 2"

    @pytest.mark.parametrize(
        ("changes", "options"),
        [
            ({"order": 3}, {}),
            ({"epochs": 5}, {}),
            ({"seed": 2}, {}),
            ({"epochs": 5}, {"first": "student"}),
            ({"epochs": 5}, {"last": "teacher"}),
        ],
    )
    def test_the_report_shows_no_config_that_was_refused(self, tmp_path, calls, changes, options):
        """It reads `config.json`, which stays that of the results."""
        run_pipeline(config(tmp_path))
        before = (tmp_path / "run" / "config.json").read_bytes()
        with pytest.raises(UserError, match="was made with other settings"):
            run_pipeline(config(tmp_path, **changes), **options)
        assert (tmp_path / "run" / "config.json").read_bytes() == before
        assert calls == ["teacher", "student"]

    def test_another_seed_is_another_setting(self, tmp_path, calls):
        """Every random stream comes from it: the old results are not those of the new seed."""
        run_pipeline(config(tmp_path))
        with pytest.raises(UserError, match=r"made with other settings \(seed: 1 -> 2\)"):
            run_pipeline(config(tmp_path, seed=2))
        run_pipeline(config(tmp_path, seed=2), first="teacher")
        assert calls == ["teacher", "student"] * 2
        assert read_manifest(tmp_path / "run" / "student")["seed"] == 2

    def test_from_discards_what_was_made_with_other_settings(self, tmp_path, calls):
        run_pipeline(config(tmp_path))
        run_pipeline(config(tmp_path, order=3), first="student")
        assert (tmp_path / "run" / "student" / "model.txt").read_text() == "3 3"
        assert calls == ["teacher", "student", "student"]

    @pytest.mark.parametrize("order", [3, 2], ids=["the same settings", "the ones before"])
    def test_a_kill_while_a_stage_is_discarded_leaves_nothing_stale(
        self, tmp_path, monkeypatch, order
    ):
        """At every file that is moved or removed; what comes then is of one setting alone."""
        made: list[int] = []
        run = tmp_path / "run" / "student"

        def student(config: RunConfig, folder: Path, out: Path) -> None:
            Number(out / "units", "one", config.student.order, made).run_if_missing()
            for name in ("a.txt", "b.txt"):
                write_text(out / name, str(config.student.order))

        stage = replace(pipeline.STAGES[1], run=student, inputs=lambda c, f: {})

        def brought(order: int, discard: bool = True) -> None:
            options = {"folder": run.parent, "discard": discard}
            pipeline._bring_up_to_date(stage, config(tmp_path, order=order), **options)

        def is_killed_at(moment: int) -> bool:
            left = [moment]

            def dying(operation, *arguments, **options):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return operation(*arguments, **options)

            with monkeypatch.context() as patch:
                for name in ("rename", "unlink", "rmdir"):
                    patch.setattr(os, name, partial(dying, getattr(os, name)))
                try:
                    brought(3)
                except KeyboardInterrupt:
                    return True
            return False

        moment = 0
        brought(2)
        while is_killed_at(moment):
            try:
                brought(order, discard=False)
            except UserError as error:
                # Of the settings before, or with files that are gone: no one takes it.
                assert "made with other settings" in str(error) or "is missing" in str(error)
                brought(3)
            [found] = {(run / name).read_text() for name in ("a.txt", "b.txt")}
            assert read_started(run)["settings"]["order"] == int(found)
            assert Number(run / "units", "one", int(found), made).finished
            assert not list(run.glob(".discarded-*"))
            brought(2)
            moment += 1
        assert moment > 5
        # Units come back with their settings.
        assert made == [2, 3]

    def test_changed_teacher_makes_the_student_again(self, tmp_path, calls):
        run_pipeline(config(tmp_path))
        run_pipeline(config(tmp_path, epochs=5), first="teacher")
        assert (tmp_path / "run" / "student" / "model.txt").read_text() == "5 2"

    def test_an_outdated_stage_is_not_taken_as_it_is(self, tmp_path, calls, monkeypatch):
        compare = Stage("compare", lambda c: {}, lambda c, f: {}, lambda c, f, o: None)
        monkeypatch.setattr(pipeline, "STAGES", (*pipeline.STAGES, compare))
        run_pipeline(config(tmp_path))
        run_pipeline(config(tmp_path, epochs=5), first="teacher", last="teacher")
        with pytest.raises(UserError, match=r"student is out of date: teacher/model\.txt has"):
            run_pipeline(config(tmp_path, epochs=5), first="compare")
        run_pipeline(config(tmp_path, epochs=5), first="student")
        run_pipeline(config(tmp_path, epochs=5), first="compare")
        assert calls == ["teacher", "student", "teacher", "student"]

    def test_a_missing_file_of_a_later_stage_is_refused_before_the_first(self, tmp_path, calls):
        missing = tmp_path / "none.xyz"
        last = Stage("compare", stage_list._compare_settings, lambda c, f: {}, lambda c, f, o: None)
        sections = {"compare": {"bulk": {"structure": str(missing)}}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "STAGES", (*pipeline.STAGES, last))
            message = rf"compare\.bulk\.structure: {missing} does not exist"
            with pytest.raises(UserError, match=message):
                run_pipeline(config(tmp_path, **sections))
            assert calls == []
            # It is of no matter to what is done before.
            run_pipeline(config(tmp_path, **sections), last="student")
        assert calls == ["teacher", "student"]

    def test_what_a_later_stage_refuses_is_refused_before_the_first(
        self, tmp_path, calls, monkeypatch
    ):
        def refuse(config: RunConfig) -> None:
            raise UserError("it cannot work")

        last = Stage("compare", lambda c: {}, lambda c, f: {}, lambda *_: None, refuse=refuse)
        monkeypatch.setattr(pipeline, "STAGES", (*pipeline.STAGES, last))
        with pytest.raises(UserError, match="it cannot work"):
            run_pipeline(config(tmp_path))
        assert calls == []

    def test_until_stops_and_from_needs_the_earlier_stages(self, tmp_path, calls):
        with pytest.raises(UserError, match="teacher is not finished"):
            run_pipeline(config(tmp_path), first="student")
        run_pipeline(config(tmp_path), last="teacher")
        assert calls == ["teacher"]

    @pytest.mark.parametrize(("first", "last"), [("nope", None), (None, "nope")])
    def test_unknown_stage_names_are_listed(self, tmp_path, first, last):
        with pytest.raises(UserError, match="expected one of teacher, student"):
            run_pipeline(config(tmp_path), first=first, last=last)

    def test_from_after_until_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="comes after"):
            run_pipeline(config(tmp_path), first="student", last="teacher")

    def test_changed_output_is_refused(self, tmp_path):
        run_pipeline(config(tmp_path))
        (tmp_path / "run" / "teacher" / "model.txt").write_text("tampered")
        with pytest.raises(UserError, match=r"model\.txt was changed after it was made"):
            run_pipeline(config(tmp_path))

    def test_stage_begun_with_other_settings_is_refused(self, tmp_path):
        run_pipeline(config(tmp_path))
        (tmp_path / "run" / "student" / "manifest.json").unlink()
        with pytest.raises(UserError, match="was made with other settings"):
            run_pipeline(config(tmp_path, order=3))

    def test_a_stage_that_refused_is_run_again_with_other_settings(self, tmp_path, monkeypatch):
        """What it had computed till then is used, and nothing else of it stays."""

        def work(config: RunConfig, folder: Path, out: Path) -> None:
            Number(out / "units", "one", 1, done).run_if_missing()
            write_text(out / "half.txt", str(config.student.order))
            if config.student.order == 2:
                raise UserError("an order of 2 is too low")

        done: list[int] = []
        stage = Stage("student", stage_list._section("student"), lambda c, f: {}, work)
        monkeypatch.setattr(pipeline, "STAGES", (stage,))
        with pytest.raises(UserError, match="too low"):
            run_pipeline(config(tmp_path))
        run_pipeline(config(tmp_path, order=3))
        assert (tmp_path / "run" / "student" / "half.txt").read_text() == "3"
        assert done == [1]
        with pytest.raises(UserError, match="was made with other settings"):
            run_pipeline(config(tmp_path))

    def test_a_killed_stage_that_left_units_alone_takes_other_settings(self, tmp_path, monkeypatch):
        def work(config: RunConfig, folder: Path, out: Path) -> None:
            Number(out / "units", "one", 1, done).run_if_missing()
            if config.student.order == 2:
                raise KeyboardInterrupt
            write_text(out / "model.txt", "made")

        done: list[int] = []
        stage = Stage("student", stage_list._section("student"), lambda c, f: {}, work)
        monkeypatch.setattr(pipeline, "STAGES", (stage,))
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(config(tmp_path))
        run_pipeline(config(tmp_path, order=3))
        assert done == [1]

    def test_going_back_and_forth_repeats_no_unit(self, tmp_path, monkeypatch):
        def work(config: RunConfig, folder: Path, out: Path) -> None:
            Number(out / "units", "one", config.student.order, done).run_if_missing()
            write_text(out / "factor.npz", f"{(out / 'factor.npz').exists()}")

        done: list[int] = []
        stage = Stage(
            "student",
            stage_list._section("student"),
            lambda c, f: {},
            work,
            keep=("factor.npz",),
        )
        monkeypatch.setattr(pipeline, "STAGES", (stage,))
        for order in (2, 3, 2, 3):
            run_pipeline(config(tmp_path, order=order), first="student")
        assert done == [2, 3]
        assert (tmp_path / "run" / "student" / "factor.npz").read_text() == "True"
        outputs = read_manifest(tmp_path / "run" / "student")["outputs"]
        assert set(outputs) == {"units/one.json", "factor.npz"}

    def test_failed_checks_are_recorded_reported_and_raised_again_when_skipped(
        self, tmp_path, monkeypatch
    ):
        def fails(config: RunConfig, out: Path) -> None:
            check = Check(
                name="speed",
                tolerance="speedup",
                value=1.0,
                interval=(0.9, 1.1),
                bound=10.0,
                sense="at least",
                unit="",
                passed=False,
            )
            write_result(out / "verdict.json", verdict_of([check]))
            raise ChecksFailed("checks that did not pass: speed")

        stage = Stage("compare", lambda c: {}, lambda c, f: {}, lambda c, f, o: None, fails)
        monkeypatch.setattr(pipeline, "STAGES", (stage,))
        for _ in range(2):
            with pytest.raises(ChecksFailed, match="speed"):
                run_pipeline(config(tmp_path))
        assert (tmp_path / "run" / "report.html").is_file()
        assert read_manifest(tmp_path / "run" / "compare") is not None

    def test_a_finished_stage_is_judged_anew_and_not_done_again(self, tmp_path, monkeypatch):
        done, bounds = [], []

        def work(config: RunConfig, folder: Path, out: Path) -> None:
            done.append(config.compare.tolerances.speedup)

        def judge(config: RunConfig, out: Path) -> None:
            bounds.append(config.compare.tolerances.speedup)

        stage = Stage("compare", stage_list._compare_settings, lambda c, f: {}, work, judge)
        monkeypatch.setattr(pipeline, "STAGES", (stage,))
        for bound in (10.0, 20.0):
            run_pipeline(config(tmp_path, compare={"tolerances": {"speedup": bound}}))
        assert done == [10.0]
        assert bounds == [10.0, 20.0]

    def test_wall_time_adds_up_over_interrupted_sessions(self, tmp_path, monkeypatch):
        def stops(config: RunConfig, folder: Path, out: Path) -> None:
            raise KeyboardInterrupt

        good = pipeline.STAGES
        monkeypatch.setattr(
            pipeline, "STAGES", (Stage(good[0].name, good[0].settings, good[0].inputs, stops),)
        )
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(config(tmp_path))
        elapsed = tmp_path / "run" / "teacher" / ".elapsed.json"
        elapsed.write_text(json.dumps(100.0))
        monkeypatch.setattr(pipeline, "STAGES", good)
        run_pipeline(config(tmp_path))
        assert 100.0 <= read_manifest(tmp_path / "run" / "teacher")["wall_time_s"] < 130.0
        assert not elapsed.exists()

    def test_a_kill_after_the_last_record_leaves_nothing(self, tmp_path):
        run_pipeline(config(tmp_path))
        elapsed = tmp_path / "run" / "teacher" / ".elapsed.json"
        elapsed.write_text(json.dumps(100.0))
        run_pipeline(config(tmp_path))
        assert not elapsed.exists()

    def test_all_stages_share_one_set_of_workers(self, tmp_path, monkeypatch):
        """Those of a cluster would queue anew for every call."""
        workers: list[set[int]] = []

        def work(config: RunConfig, folder: Path, out: Path) -> None:
            found = run_units(process_id, range(6), config=config.parallel, label="x")
            workers.append(set(found))

        made = [Stage(name, lambda c: {}, lambda c, f: {}, work) for name in ("data", "teacher")]
        monkeypatch.setattr(pipeline, "STAGES", tuple(made))
        run_pipeline(config(tmp_path, parallel={"workers": 2}))
        assert len(workers) == 2
        assert len(workers[0] | workers[1]) == 2
        assert until(lambda: not any(map(running, workers[0])))

    def test_two_processes_cannot_share_a_run_folder(self, tmp_path):
        folder = tmp_path / "run"
        with locked(folder), pytest.raises(UserError, match="another process is working"):
            run_pipeline(config(tmp_path))


def test_run_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "run").write_text("a file in the way")
    with pytest.raises(UserError, match="cannot write the run folder"):
        run_pipeline(config(tmp_path))


def test_a_folder_of_a_run_killed_before_its_marker_was_there_is_taken(tmp_path):
    (tmp_path / LOCK_NAME).touch()
    (tmp_path / ".distill.0123456789abcdef.partial").touch()
    refuse_foreign_folder(tmp_path)
    (tmp_path / "mine.partial").touch()
    with pytest.raises(UserError, match=r"no run of distill made \(mine\.partial"):
        refuse_foreign_folder(tmp_path)
