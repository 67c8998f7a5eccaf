"""What proves a student: errors, timing, observables, the verdict and the report."""
