"""Molecular dynamics of LiF in ASE with a student, and how far it went from its training data."""

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.langevin import Langevin

import distill
from distill.student.uncertainty.uncertainty_model import UncertaintyModel

student = distill.fit_student("bundled:lif_train", order=2, totaldegree=[10, 8], rcut=5.0)
atoms = bulk("LiF", "rocksalt", a=4.06, cubic=True) * (2, 2, 2)
atoms.calc = student.calculator()
dynamics = Langevin(
    atoms,
    timestep=units.fs,
    temperature_K=600,
    friction=0.02 / units.fs,
    fixcm=False,
    rng=np.random.default_rng(1),
)

temperatures, frames = [], []
for _ in dynamics.irun(1000):
    if dynamics.nsteps % 10 == 0:
        temperatures.append(atoms.get_temperature())
        frames.append(atoms.copy())
late = temperatures[len(temperatures) // 2 :]
print(f"{sum(late) / len(late):.0f} K over the last {len(late)} of {len(frames)} frames")

uncertainty = UncertaintyModel(student)
grade = max(uncertainty.predict(frame)[1].grade.max() for frame in frames)
print(f"largest extrapolation grade {grade:.2f} (above 1 is outside the training data)")
