"""Sticking probability of H2 on Cu(111) with a student, with its interval."""

import distill

student = distill.fit_student("bundled:h2cu_train", order=3, totaldegree=[10, 8, 6], rcut=5.0)
result = distill.sticking(
    student,
    slab="Cu(111)",
    molecule="H2",
    energy=0.9,
    temperature=300,
    trajectories=30,
    time_step=0.5,
)
low, high = result.interval
print(f"S0 = {result.value:.2f} ({low:.2f} to {high:.2f}) at 0.9 eV, 300 K")
