"""Fit a student straight to labelled structures, and measure it on others."""

import distill

student = distill.fit_student("bundled:h2cu_train", order=2, totaldegree=[10, 8], rcut=5.0)
student.save("student.npz")

errors = distill.evaluate(student, "bundled:h2cu_validation")
print(f"{student.basis.n_functions} functions, {errors.structures} structures to test them on")
print(f"RMSE of energies {1000 * errors.energy_per_atom.rmse:.1f} meV/atom")
print(f"RMSE of forces {1000 * errors.forces.rmse:.0f} meV/Å")
