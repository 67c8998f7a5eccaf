"""The student: a linear ACE model, its basis, fit, file and fast evaluation."""
