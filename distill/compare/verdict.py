"""Pass or fail: measured numbers with their intervals against the tolerances of the config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.compare.config import CompareConfig, Tolerances
from distill.compare.observables import (
    activation_energy_difference,
    barrier_differences,
    sticking_differences,
)
from distill.core.artifacts import read_json, write_json
from distill.core.errors import ChecksFailed, UserError
from distill.core.number_text import number_text
from distill.core.progress import say
from distill.metrics.statistics import pairs_needed_within

Check = dict[str, Any]


def require_computed(config: CompareConfig) -> None:
    """Refuse a tolerance on something that the comparison will not compute.

    Raises
    ------
    UserError
        Naming the tolerance and the section that it needs.
    """
    tolerances = config.tolerances
    if tolerances.speedup is not None and config.timing is None:
        _refuse("speedup", "compare.timing is off")
    if tolerances.barrier is not None and not config.barriers:
        _refuse("barrier", "compare.barriers lists no path")
    if tolerances.activation_energy is not None and config.diffusion is None:
        _refuse("activation_energy", "compare.diffusion is off")
    if tolerances.sticking is not None:
        if config.sticking is None:
            _refuse("sticking", "compare.sticking is off")
        elif config.sticking.teacher_trajectories < 2:
            _refuse("sticking", "compare.sticking.teacher_trajectories is below 2")


def judge_student(config: CompareConfig, out: Path) -> None:
    """Hold the results of a finished comparison against the tolerances; write `verdict.json`.

    Parameters
    ----------
    config
        The `compare` section: its tolerances, and which parts were computed.
    out
        The stage's folder.

    Raises
    ------
    UserError
        If a tolerance is set for something that was not computed.
    ChecksFailed
        If a check did not pass; the verdict has been written by then.
    """
    require_computed(config)
    results: dict[str, Any] = {
        name: read_json(out / f"{name}.json")
        for name in ("errors", "timing", "barriers", "sticking", "diffusion")
        if (out / f"{name}.json").exists()
    }
    timing = results.get("timing")
    verdict = judge(
        config.tolerances,
        errors=results["errors"],
        speedup=timing["models"]["student"]["speedup_forces"] if timing else None,
        barriers=barrier_differences(results.get("barriers")),
        sticking=sticking_differences(results.get("sticking")),
        activation_energy=activation_energy_difference(results.get("diffusion")),
    )
    write_json(out / "verdict.json", verdict)
    say(verdict_text(verdict))
    failed = [check["name"] for check in verdict["checks"] if not check["passed"]]
    if failed:
        raise ChecksFailed("checks that did not pass: " + "; ".join(failed))


def judge(
    tolerances: Tolerances,
    *,
    errors: Mapping[str, Any],
    speedup: Mapping[str, Any] | None = None,
    barriers: Mapping[str, Mapping[str, Any]] | None = None,
    sticking: Mapping[str, Mapping[str, Any]] | None = None,
    activation_energy: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Check every tolerance that is set.

    Parameters
    ----------
    tolerances
        Bounds; those that are None are not checked.
    errors
        `test` with the table `reference_teacher`, and `held_out` with `teacher_student`, as
        `error_table` makes them.
    speedup
        `median` and `interval` of time(teacher) / time(student) for a forces call.
    barriers
        By path: `difference`, the student's barrier minus the teacher's in eV, and `converged`.
    sticking
        By condition: `difference` (teacher minus student), its `interval` and `confidence`, and
        `trajectories`, the number of pairs that it rests on, of which `only_teacher` and
        `only_student` are those that only one of them dissociates in.
    activation_energy
        Of diffusion: `difference` (student minus teacher, eV) and its `interval`.

    Returns
    -------
    dict
        `passed` (None if there is nothing to check) and `checks`: for each `name`, `tolerance`
        (its key), `value` (None where the computation gave no number), `interval` (None for a
        number without sampling error), `bound`, `sense` (at most, at least, or within, meaning ±
        bound), `unit`, `passed` and `comment`. A check passes only if the whole interval lies
        inside the bound, and one of a barrier only if both bands converged.

    Raises
    ------
    UserError
        If something is to be checked that was not computed.
    """
    checks = [*_error_checks(tolerances, errors)]
    if tolerances.barrier is not None:
        if not barriers:
            _refuse("barrier", "there is no path of both teacher and student")
        for name, result in (barriers or {}).items():
            checks.append(_barrier_check(name, result, tolerances.barrier))
    if tolerances.sticking is not None:
        if not sticking:
            reason = "no pair of sound trajectories of teacher and student"
            title = "sticking probability, teacher − student"
            checks.append(_no_number("sticking", title, tolerances.sticking, "", reason))
        for name, result in (sticking or {}).items():
            checks.append(_sticking_check(name, result, tolerances.sticking))
    if tolerances.activation_energy is not None:
        if not activation_energy:
            title = "activation energy of diffusion, student − teacher"
            reason = "no Arrhenius fit of both: too few jumps were seen; run longer or hotter"
            bound = tolerances.activation_energy
            checks.append(_no_number("activation_energy", title, bound, "eV", reason))
        else:
            checks.append(_activation_check(activation_energy, tolerances.activation_energy))
    if tolerances.speedup is not None:
        if speedup is None:
            _refuse("speedup", "teacher and student were not timed")
        else:
            checks.append(_speedup_check(speedup, tolerances.speedup))
    passed = all(check["passed"] for check in checks) if checks else None
    return {"passed": passed, "checks": checks}


def verdict_text(verdict: Mapping[str, Any]) -> str:
    """The verdict as plain lines, one for each check."""
    checks = verdict["checks"]
    if not checks:
        return "no tolerances are set, so there is no verdict"
    lines = [
        f"  {'pass' if check['passed'] else 'FAIL'}  {check['name']}: {check_text(check)}"
        for check in checks
    ]
    failed = sum(not check["passed"] for check in checks)
    count = len(checks)
    head = f"{failed} of {count} checks failed" if failed else f"all {count} checks passed"
    return "\n".join([f"verdict: {head}", *lines])


def check_text(check: Mapping[str, Any]) -> str:
    """`value (low to high) unit, allowed ...; comment` of one check."""
    text = measured_text(check)
    interval = measured_interval_text(check)
    if interval:
        text += f" ({interval})"
    comment = f"; {check['comment']}" if check["comment"] else ""
    return f"{text}, {bound_text(check)}{comment}"


def measured_text(check: Mapping[str, Any]) -> str:
    """The measured value of one check with its unit; energies and forces in meV."""
    scale, unit = _shown_unit(check)
    if check["value"] is None:
        return "no number"
    return f"{number_text(scale * check['value'])}{unit}"


def measured_interval_text(check: Mapping[str, Any]) -> str:
    """`low to high` of one check, in the unit of `measured_text`; empty without an interval."""
    scale, _ = _shown_unit(check)
    if check["interval"] is None:
        return ""
    return " to ".join(number_text(scale * end) for end in check["interval"])


def bound_text(check: Mapping[str, Any]) -> str:
    """The bound of one check in words, in the unit of `measured_text`."""
    scale, unit = _shown_unit(check)
    sense = {"at most": "at most ", "at least": "at least ", "within": "within ±"}[check["sense"]]
    return f"{sense}{number_text(scale * check['bound'])}{unit}"


def _shown_unit(check: Mapping[str, Any]) -> tuple[float, str]:
    unit = check["unit"]
    if unit.startswith("eV"):
        return 1000.0, f" m{unit}"
    return 1.0, f" {unit}" if unit else ""


def _error_checks(tolerances: Tolerances, errors: Mapping[str, Any]) -> list[Check]:
    wanted = {
        "teacher_force_rmse": ("test", "reference_teacher", "forces", "eV/Å"),
        "teacher_energy_rmse": ("test", "reference_teacher", "energy_per_atom", "eV/atom"),
        "student_force_rmse": ("held_out", "teacher_student", "forces", "eV/Å"),
        "student_energy_rmse": ("held_out", "teacher_student", "energy_per_atom", "eV/atom"),
    }
    titles = {
        "teacher_force_rmse": "teacher's force RMSE against the reference, test set",
        "teacher_energy_rmse": "teacher's energy RMSE against the reference, test set",
        "student_force_rmse": "student's force RMSE against the teacher, held-out structures",
        "student_energy_rmse": "student's energy RMSE against the teacher, held-out structures",
    }
    checks = []
    for key, (data, comparison, quantity, unit) in wanted.items():
        bound = getattr(tolerances, key)
        if bound is None:
            continue
        measured = errors.get(data, {}).get(comparison, {}).get(quantity)
        if measured is None:
            _refuse(key, f"the {data.replace('_', '-')} structures carry no labels for it")
        value, interval = measured["rmse"], measured["rmse_interval"]
        upper = interval[1] if interval else math.inf
        comment = ""
        if interval is None:
            comment = "a single structure gives no interval"
        elif value <= bound < upper:
            comment = "the interval reaches beyond the bound: more test structures would narrow it"
        checks.append(
            {
                "name": titles[key],
                "tolerance": key,
                "value": value,
                "interval": interval,
                "bound": bound,
                "sense": "at most",
                "unit": unit,
                "passed": bool(max(value, upper) <= bound),
                "comment": comment,
            }
        )
    return checks


def _barrier_check(name: str, result: Mapping[str, Any], bound: float) -> Check:
    title = f"barrier {name}, student − teacher"
    check = _within("barrier", title, result["difference"], None, bound, "eV")
    if not result["converged"]:
        check["passed"] = False
        check["comment"] = "a band did not converge: raise max_steps, then compare again"
    return check


def _sticking_check(name: str, result: Mapping[str, Any], bound: float) -> Check:
    low, high = result["interval"]
    difference = result["difference"]
    title = f"sticking probability {name}, teacher − student"
    check = _within("sticking", title, difference, [low, high], bound, "")
    if not check["passed"] and abs(difference) < bound:
        check["comment"] = f"the interval reaches beyond the bound: {_pairs_text(result, bound)}"
    return check


def _pairs_text(result: Mapping[str, Any], bound: float) -> str:
    """How many pairs would bring the interval within the bound, if they end as the last did."""
    pairs = result["trajectories"]
    if "only_teacher" not in result:  # a file from before the counts were kept
        return f"more than the {pairs} teacher trajectories would narrow it"
    shares = result["only_teacher"] / pairs, result["only_student"] / pairs
    needed = pairs_needed_within(bound, shares, result["confidence"])
    return f"about {needed} teacher trajectories are needed instead of {pairs}"


def _activation_check(result: Mapping[str, Any], bound: float) -> Check:
    difference, interval = result["difference"], list(result["interval"])
    title = "activation energy of diffusion, student − teacher"
    check = _within("activation_energy", title, difference, interval, bound, "eV")
    if not check["passed"] and abs(difference) < bound:
        check["comment"] = "the interval reaches beyond the bound: longer or more runs narrow it"
    return check


def _no_number(tolerance: str, name: str, bound: float, unit: str, reason: str) -> Check:
    """The failed check of something that was computed and gave no number."""
    check = _within(tolerance, name, math.inf, None, bound, unit)
    return {**check, "value": None, "comment": reason}


def _within(
    tolerance: str,
    name: str,
    value: float,
    interval: list[float] | None,
    bound: float,
    unit: str,
) -> Check:
    low, high = interval or (value, value)
    return {
        "name": name,
        "tolerance": tolerance,
        "value": value,
        "interval": interval,
        "bound": bound,
        "sense": "within",
        "unit": unit,
        "passed": bool(max(abs(low), abs(high), abs(value)) <= bound),
        "comment": "",
    }


def _speedup_check(speedup: Mapping[str, Any], bound: float) -> Check:
    low, _ = speedup["interval"]
    wide = low < bound <= speedup["median"]
    return {
        "name": "time of a forces call, teacher / student",
        "tolerance": "speedup",
        "value": speedup["median"],
        "interval": list(speedup["interval"]),
        "bound": bound,
        "sense": "at least",
        "unit": "",
        "passed": bool(low >= bound),
        "comment": "the interval reaches below the bound: time on an idle machine" if wide else "",
    }


def _refuse(tolerance: str, reason: str) -> None:
    raise UserError(
        f"compare.tolerances.{tolerance} is set, but {reason}: "
        "ask for that computation or remove the tolerance"
    )
