"""Sampling: the configurations that a teacher visits and labels."""
