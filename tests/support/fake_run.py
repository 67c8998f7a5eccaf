"""A run folder with plausible made-up results, for tests of the report and its figures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from ase.build import add_adsorbate, fcc111, molecule
from fake_observables import FAKES

from distill.compare.checks import error_checks, observable_checks, speedup_check
from distill.compare.errors_result import ErrorsResult, TestedExtrapolation
from distill.compare.map_plots import map_figure
from distill.compare.map_result import HELD_OUT, MAP, TEST, TRAINING, Listed, MapPoint, StructureMap
from distill.compare.predictions import pairs
from distill.compare.timing_plots import cost_figure, timing_figure
from distill.compare.timing_result import Machine, ModelTiming, Ratio, Spread, TimingResult
from distill.compare.verdict_result import verdict_of
from distill.config import RunConfig, StudentConfig, Tolerances
from distill.core.artifacts import write_json, write_manifest, write_text
from distill.core.figures import save_figure
from distill.core.results import write_result
from distill.data.structures import write_structures
from distill.metrics.error_plots import error_histogram_figure, parity_figure
from distill.metrics.errors import error_budget, error_table
from distill.observables.base import OBSERVABLES

ELEMENTS_NOISE = {1: 1.8, 29: 1.0}


def labelled_slabs(count, rng):
    """Small H2/Cu slabs with made-up labels under the REF_ keys."""
    structures = []
    for index in range(count):
        slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
        add_adsorbate(slab, molecule("H2"), 1.5 + 3 * rng.random())
        slab.pbc = True
        slab.info["config_type"] = ("far", "barrier", "dissociated")[index % 3]
        slab.info["REF_energy"] = -40.0 + 2.5 * rng.random() - 0.9 * (index % 3)
        slab.arrays["REF_forces"] = rng.normal(scale=0.6, size=(len(slab), 3))
        structures.append(slab)
    return structures


def noisy(structures, energy_noise, force_noise, rng):
    """Copies with errors of a known size on their labels; larger on H."""
    copies = []
    for atoms in structures:
        copy = atoms.copy()
        copy.info["REF_energy"] = atoms.info["REF_energy"] + energy_noise * rng.normal()
        scale = np.array([ELEMENTS_NOISE[z] for z in atoms.numbers])[:, None]
        noise = rng.standard_t(4, size=(len(atoms), 3))
        copy.arrays["REF_forces"] = atoms.arrays["REF_forces"] + force_noise * scale * noise
        copies.append(copy)
    return copies


def timing_result() -> TimingResult:
    """Times of a student about 40 times faster than its teacher."""

    def model(energy, forces, first):
        ratio = first / forces
        interval = (0.95 * ratio, 1.06 * ratio) if ratio != 1 else (1.0, 1.0)
        speedup = Ratio(median=ratio, interval=interval)
        return ModelTiming(
            **{
                name: Spread(median=v, q1=0.97 * v, q3=1.04 * v, min=0.95 * v, calls=5)
                for name, v in (("energy_ms", energy), ("forces_ms", forces))
            },
            us_per_atom=1e3 * forces / 56,
            ns_per_day=86400 / (forces / 1e3) * 0.1e-6,
            load_s=1.0,
            first_call_s=1.5,
            speedup_energy=speedup,
            speedup_forces=speedup,
        )

    return TimingResult(
        structure="H2/Cu(111) slab",
        atoms=56,
        supercell=[1, 1, 1],
        models={"teacher": model(95.4, 96.1, 96.1), "student": model(1.1, 2.31, 96.1)},
        repeats=15,
        time_step_fs=0.1,
        machine=Machine(
            cpu="Example CPU at 2.25 GHz",
            cores=2,
            pinned_cores=[1],
            threads=1,
            busy_percent_before=3.0,
            load_before=0.21,
            load_after=0.9,
            host="example",
            system="Linux",
            versions={},
        ),
    )


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def manifest(folder, stage, wall_time, outputs=(), inputs=()):
    """A stage's manifest; inputs are files of the run, such as `teacher/teacher.model`."""
    run = folder.parent
    write_manifest(
        folder,
        stage=stage,
        config={},
        inputs={Path(name).stem: run / name for name in inputs},
        outputs=list(outputs),
        seed=1,
        wall_time=wall_time,
    )


def teacher_part(run: Path, foundation, teacher):
    folder = run / "teacher"
    write_json(folder / "errors.json", {"foundation": foundation, "teacher": teacher})
    write_json(
        folder / "teacher.json",
        {
            "strategy": "finetune",
            "freeze": "f4",
            "foundation": {"name": "bundled", "sha256": "0" * 64},
            "elements": ["H", "Cu"],
            "e0": {"H": -1.1176, "Cu": -0.2381},
            "e0_method": "lstsq",
            "r_max": 5.0,
            "parameters": 31232,
            "trainable_parameters": 27136,
            "epochs": 60,
            "best_epoch": 57,
            "stopped_early": False,
            "training": {"available": 480, "used": 96},
        },
    )
    rows = [
        {
            "epoch": epoch,
            "stage": 1 + (epoch >= 45),
            "loss": 9 * np.exp(-epoch / 20),
            "energy_rmse": (0.004 if epoch >= 45 else 0.02) + 0.1 * np.exp(-epoch / 12),
            "forces_rmse": 0.04 + 0.25 * np.exp(-epoch / 10),
        }
        for epoch in range(60)
    ]
    write_table(folder / "history.csv", rows)
    write_text(folder / "teacher.model", "weights")
    manifest(folder, "teacher", 154.2, ["teacher.model"], ["data/splits.json"])


def sampling_part(run: Path, rng):
    kinds = ("dissociated", "scattered", "undecided")
    rows = [
        {
            "facet": facet,
            "energy": energy,
            "outcome": rng.choice(kinds, p=(energy / 2, 0.95 - energy / 2, 0.05)),
        }
        for facet in ("111", "100")
        for energy in (0.4, 0.7, 1.0)
        for _ in range(8)
    ]
    write_table(run / "sampling" / "outcomes.csv", rows)
    write_json(
        run / "sampling" / "sampling.json",
        {
            "outcomes": {"dissociated": 20, "scattered": 26, "undecided": 2},
            "selection": {"sampled": 9344, "left_out": {"a force above 50 eV/Å": 3}},
            "selected": {"total": 720, "by_config_type": {"neb": 20, "scattering": 700}},
            "held_out": {"total": 80, "by_config_type": {"scattering": 80}},
            "teacher_calls": {"scattering": 96012, "neb": 840, "total": 96852},
        },
    )
    write_text(run / "sampling" / "selected.xyz", "")
    manifest(run / "sampling", "sampling", 171.9, ["selected.xyz"], ["teacher/teacher.model"])


def structure_levels():
    """The test set and held-out structures by level, and the foundation model's on the former."""
    rng = np.random.default_rng(7)
    test, held_out = labelled_slabs(60, rng), labelled_slabs(80, rng)
    foundation = noisy(test, 1.9, 0.25, rng)
    teacher = noisy(test, 0.03, 0.03, rng)
    return {
        "reference": test,
        "foundation": foundation,
        "teacher": teacher,
        "student": noisy(teacher, 0.02, 0.014, rng),
        "held_out_teacher": held_out,
        "held_out_student": noisy(held_out, 0.02, 0.013, rng),
    }


def map_result() -> StructureMap:
    """A map of made-up points, of which one is listed with a file and one without."""
    rng = np.random.default_rng(3)
    points = [
        MapPoint(
            source=(TRAINING, HELD_OUT, TEST)[k % 3],
            index=k // 3,
            formula="Cu12H2",
            config_type="far",
            atoms=14,
            x=rng.normal(),
            y=rng.normal(),
            error=0.02 + 0.001 * k if k % 3 == 2 else None,
            disagreement=0.01 + 0.001 * k,
            expected=0.012,
            grade=0.1 * k,
        )
        for k in range(30)
    ]
    listed = [
        Listed(reason="error", point=29, file="error_1.xyz"),
        Listed(reason="grade", point=28, file="grade_1.xyz"),
    ]
    return StructureMap(
        points=points, training=4321, listed=listed, chemiscope="structures.json.gz"
    )


def errors_result(levels=None) -> ErrorsResult:
    """Errors of the levels, those of `structure_levels` if not given."""
    levels = levels or structure_levels()
    test, teacher, student = (levels[key] for key in ("reference", "teacher", "student"))
    return ErrorsResult(
        test=error_budget(test, teacher, student),
        held_out=error_table(levels["held_out_teacher"], levels["held_out_student"]),
        extrapolation=TestedExtrapolation(
            structures=len(test),
            beyond_training=2,
            beyond_training_indices=[0, 1],
            largest_grade=3.21,
            within=error_table(teacher[2:], student[2:]),
        ),
    )


def make_run(
    run: Path, *, tolerances: Tolerances | None = None, last: str = "compare", figures: bool = True
) -> dict[str, object]:
    """Write a run folder finished up to a stage; return what its parts hold."""
    levels = structure_levels()
    test = levels["reference"]
    config = RunConfig(name="Example run")
    write_json(run / "config.json", config.model_dump(mode="json"))
    write_text(run / "data" / "splits.json", "{}")
    manifest(run / "data", "data", 1.3, ["splits.json"])
    before, after = (error_table(test, levels[key]) for key in ("foundation", "teacher"))
    teacher_part(run, before, after)
    if last == "teacher":
        return {}
    rng = np.random.default_rng(8)
    sampling_part(run, rng)
    held_out_table = error_table(levels["held_out_teacher"], levels["held_out_student"])
    write_json(run / "student" / "errors.json", {"test": held_out_table, "train": held_out_table})
    write_json(run / "student" / "uncertainty.json", uncertainty_result())
    save_student(run / "student" / "student.npz", rng)
    manifest(run / "student", "student", 41.0, ["student.npz"], ["sampling/selected.xyz"])
    if last == "student":
        return {}
    errors = errors_result(levels)
    timing = timing_result()
    observables = {name: make() for name, make in FAKES.items() if name in OBSERVABLES.names()}
    compare = run / "compare"
    parts = {"errors": errors, "timing": timing, MAP: map_result(), **observables}
    for name, part in parts.items():
        write_result(compare / f"{name}.json", part)
    verdict = judged(tolerances or Tolerances(), errors, timing, observables)
    write_result(compare / "verdict.json", verdict)
    if figures:
        draw(compare, errors, timing, levels)
        save_figure(map_figure(map_result()), compare, MAP)
        write_structures(compare / MAP / "grade_1.xyz", levels["reference"][2:3])
        for name, result in observables.items():
            for stem, figure in OBSERVABLES.load(name)().draw(result).items():
                save_figure(figure, compare, stem)
    made_from = ["teacher/teacher.model", "student/student.npz"]
    manifest(compare, "compare", 95.0, ["errors.json"], made_from)
    return {**parts, "verdict": verdict}


def judged(tolerances, errors, timing, observables, warnings=()):
    """The verdict on made-up results."""
    checks = error_checks(tolerances, errors)
    for name, result in observables.items():
        checks += observable_checks(OBSERVABLES.load(name)(), result, tolerances)
    checks.append(speedup_check(timing, tolerances.speedup))
    return verdict_of(checks, warnings)


def save_student(path, rng):
    """A tiny student with made-up coefficients."""
    from distill.student.basis.basis import BasisSpec, build_basis
    from distill.student.student_model import Student

    config = StudentConfig(order=2, totaldegree=[4, 4])
    basis = build_basis(BasisSpec.from_config(config, ["Cu", "H"]))
    coefficients = rng.normal(size=basis.n_functions)
    e0 = {"Cu": -0.2, "H": -1.1}
    Student(basis, coefficients, e0, provenance={"backend": "native"}).save(path)


def uncertainty_result():
    """The parts of `uncertainty.json` that the report shows."""
    bins = [{"predicted_deviation": 0.01 * 2**k, "rmse": 0.012 * 1.9**k} for k in range(5)]
    return {
        "members": 32,
        "forces": {
            "coverage": {"68": 0.71, "95": 0.94},
            "rmse": 0.021,
            "predicted_deviation": 0.023,
            "variation": 0.57,
            "rank_correlation_atoms": 0.63,
            "rank_correlation_structures": 0.81,
            "bins": bins,
        },
        "extrapolation": {"structures": 80, "beyond_training": 3},
    }


def draw(folder, errors, timing, levels):
    """The figures of errors and times."""
    save_figure(parity_figure(pairs(levels), errors.tables()), folder, "parity")
    save_figure(error_histogram_figure(pairs(levels)), folder, "error_histograms")
    save_figure(timing_figure(timing), folder, "timing")
    forces = {
        "teacher": errors.test.reference_teacher.forces,
        "student": errors.test.reference_student.forces,
    }
    save_figure(cost_figure(timing, forces), folder, "cost")
