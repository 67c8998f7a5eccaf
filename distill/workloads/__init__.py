"""Observables of any model, with intervals: sticking, diffusion, barriers, bulk."""
