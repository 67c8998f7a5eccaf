"""A run folder with plausible made-up results, for tests of the report and its figures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from ase.build import add_adsorbate, fcc111, molecule

from distill.compare import observable_plots
from distill.compare.observables import (
    barrier_differences,
    barrier_profiles,
    sticking_curves,
    sticking_differences,
)
from distill.compare.verdict import judge
from distill.config import RunConfig, StudentConfig, Tolerances
from distill.core.artifacts import write_json, write_manifest, write_text
from distill.metrics.errors import error_budget, error_table
from distill.report import plots

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


def timing_result():
    """What `time_models` returns, for a student about 40 times faster than its teacher."""

    def model(energy, forces, first):
        spread = {
            name: {"median": v, "q1": 0.97 * v, "q3": 1.04 * v, "min": 0.95 * v, "calls": 5}
            for name, v in (("energy_ms", energy), ("forces_ms", forces))
        }
        ratio = first / forces
        speedup = {"median": ratio, "interval": [0.95 * ratio, 1.06 * ratio]}
        if ratio == 1:
            speedup = {"median": 1.0, "interval": [1.0, 1.0]}
        return {
            **spread,
            "us_per_atom": 1e3 * forces / 56,
            "ns_per_day": 86400 / (forces / 1e3) * 0.1e-6,
            "load_s": 1.0,
            "first_call_s": 1.5,
            "speedup_energy": speedup,
            "speedup_forces": speedup,
        }

    return {
        "structure": "H2/Cu(111) slab",
        "atoms": 56,
        "models": {"teacher": model(95.4, 96.1, 96.1), "student": model(1.1, 2.31, 96.1)},
        "scaling": [],
        "repeats": 15,
        "time_step_fs": 0.1,
        "machine": {
            "cpu": "Example CPU at 2.25 GHz",
            "cores": 2,
            "pinned_cores": [1],
            "threads": 1,
            "busy_percent_before": 3.0,
            "load_before": 0.21,
            "load_after": 0.9,
            "host": "example",
            "system": "Linux",
            "versions": {},
        },
    }


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def manifest(folder, stage, wall_time, outputs=()):
    write_manifest(
        folder,
        stage=stage,
        config={},
        inputs={},
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
    manifest(folder, "teacher", 154.2, ["teacher.model"])


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
    manifest(run / "sampling", "sampling", 171.9)


def make_run(
    run: Path, *, tolerances: Tolerances | None = None, last: str = "compare", figures: bool = True
) -> dict[str, object]:
    """Write a run folder finished up to a stage; return what its parts hold."""
    rng = np.random.default_rng(7)
    test, held_out = labelled_slabs(60, rng), labelled_slabs(80, rng)
    foundation = noisy(test, 1.9, 0.25, rng)
    teacher = noisy(test, 0.03, 0.03, rng)
    student = noisy(teacher, 0.02, 0.014, rng)
    held_out_student = noisy(held_out, 0.02, 0.013, rng)
    config = RunConfig(name="Example run")
    write_json(run / "config.json", config.model_dump(mode="json"))
    manifest(run / "data", "data", 1.3)
    teacher_part(run, error_table(test, foundation), error_table(test, teacher))
    if last == "teacher":
        return {}
    sampling_part(run, rng)
    held_out_table = error_table(held_out, held_out_student)
    write_json(run / "student" / "errors.json", {"test": held_out_table, "train": held_out_table})
    write_json(run / "student" / "uncertainty.json", uncertainty_result())
    save_student(run / "student" / "student.npz", rng)
    manifest(run / "student", "student", 41.0, ["student.npz"])
    if last == "student":
        return {}
    errors = {
        "test": error_budget(test, teacher, student),
        "held_out": {"teacher_student": held_out_table},
        "extrapolation": {
            "structures": len(test),
            "beyond_training": 2,
            "beyond_training_indices": [0, 1],
            "largest_grade": 3.21,
            "teacher_student_within": error_table(teacher[2:], student[2:]),
        },
    }
    timing, barriers, sticking = timing_result(), barriers_result(), sticking_result()
    compare = run / "compare"
    parts = {"errors": errors, "timing": timing, "barriers": barriers, "sticking": sticking}
    for name, part in parts.items():
        write_json(compare / f"{name}.json", part)
    verdict = judge(
        tolerances or Tolerances(),
        errors=errors,
        speedup=timing["models"]["student"]["speedup_forces"],
        barriers=barrier_differences(barriers),
        sticking=sticking_differences(sticking),
    )
    write_json(compare / "verdict.json", verdict)
    if figures:
        draw(compare, parts, test, teacher, student, held_out, held_out_student)
    manifest(compare, "compare", 95.0)
    return {**parts, "verdict": verdict}


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
        "forces": {"coverage": {"68": 0.71, "95": 0.94}, "bins": bins},
        "extrapolation": {"structures": 80, "beyond_training": 3},
    }


def draw(folder, parts, test, teacher, student, held_out, held_out_student):
    pairs = {
        "reference → teacher": (test, teacher),
        "teacher → student, held out": (held_out, held_out_student),
        "reference → student": (test, student),
    }
    errors = parts["errors"]
    tables = {
        "reference → teacher": errors["test"]["reference_teacher"],
        "teacher → student, held out": errors["held_out"]["teacher_student"],
        "reference → student": errors["test"]["reference_student"],
    }
    profiles, curves = barrier_profiles(parts["barriers"]), sticking_curves(parts["sticking"])
    plots.save_figure(plots.parity_figure(pairs, tables), folder, "parity")
    plots.save_figure(plots.error_histogram_figure(pairs), folder, "error_histograms")
    plots.save_figure(plots.timing_figure(parts["timing"]), folder, "timing")
    models = {name: errors["test"][f"reference_{name}"] for name in ("teacher", "student")}
    plots.save_figure(plots.cost_figure(parts["timing"], models), folder, "cost")
    plots.save_figure(observable_plots.barrier_figure(profiles), folder, "barriers")
    plots.save_figure(observable_plots.sticking_figure(curves), folder, "sticking")


def barriers_result():
    x = np.linspace(0, 3.6, 9)
    shape = np.sin(np.pi * np.clip((x - 0.6) / 2.6, 0, 1)) ** 2

    def path(height, end):
        energy = height * shape + end * (x / x[-1]) ** 3
        return {
            "distance": x.tolist(),
            "energy": energy.tolist(),
            "barrier": float(energy.max()),
            "converged": True,
        }

    return {
        "paths": {
            "Cu(111) bridge": {
                "reference": path(0.71, -0.22),
                "teacher": path(0.74, -0.19),
                "student": path(0.735, -0.18),
            }
        }
    }


def sticking_result():
    from scipy.stats import binomtest

    def model(dissociated, trajectories):
        interval = binomtest(dissociated, trajectories).proportion_ci(method="wilson")
        return {
            "probability": dissociated / trajectories,
            "interval": [interval.low, interval.high],
            "trajectories": trajectories,
            "outcomes": {"dissociated": dissociated, "scattered": trajectories - dissociated},
        }

    return {
        "confidence": 0.95,
        "conditions": [
            {
                "facet": "111",
                "temperature": 300.0,
                "v": 0,
                "j": 1,
                "energy": 0.8,
                "teacher": model(9, 20),
                "student": model(92, 200),
                "paired": {
                    "difference": -0.05,
                    "interval": [-0.19, 0.09],
                    "trajectories": 20,
                    "only_teacher": 0,
                    "only_student": 1,
                },
                "two_level": {"probability": 0.41, "interval": [0.26, 0.56]},
            }
        ],
    }


def diffusion_result():
    """What `run_diffusion` returns, for a teacher with one upper bound and a student."""
    from ase.units import kB

    rng = np.random.default_rng(0)

    def model(energy, prefactor, bounded):
        points = []
        for temperature in (400.0, 500.0, 700.0):
            value = prefactor * np.exp(-energy / (kB * temperature))
            bound = temperature == bounded
            points.append(
                {
                    "temperature": temperature,
                    "value": None if bound else value,
                    "value_cm2_per_s": None if bound else 0.1 * value,
                    "interval_cm2_per_s": None if bound else [0.08 * value, 0.13 * value],
                    "upper_bound_cm2_per_s": 0.3 * value if bound else None,
                    "reason": "no jump was seen" if bound else "",
                    "jumps": 0.0 if bound else 40.0,
                    "time": 2e5,
                }
            )
        energies = energy + 0.02 * rng.standard_normal(200)
        return {
            "temperatures": points,
            "arrhenius": {
                "activation_energy": energy,
                "activation_energy_interval": [energy - 0.04, energy + 0.04],
                "prefactor": prefactor,
                "prefactor_cm2_per_s": 0.1 * prefactor,
                "prefactor_interval_cm2_per_s": [0.05 * prefactor, 0.2 * prefactor],
                "temperatures": [p["temperature"] for p in points if p["value"]],
                "samples": {
                    "activation_energy": energies.tolist(),
                    "log_prefactor": (np.log(prefactor) + (energies - energy) / 0.045).tolist(),
                },
            },
            "arrhenius_reason": "",
            "nanoseconds_per_day": 12.0,
        }

    return {
        "settings": {"element": "Li", "defect": "interstitial", "atoms": 65},
        "models": {"teacher": model(0.24, 0.02, 400.0), "student": model(0.25, 0.02, None)},
        "differences": {
            "student": {
                "to": "teacher",
                "arrhenius": {
                    "activation_energy": 0.01,
                    "activation_energy_interval": [-0.03, 0.05],
                },
            }
        },
    }
