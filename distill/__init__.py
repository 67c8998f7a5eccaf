"""Fast, deployable interatomic potentials distilled from foundation models."""

from distill._version import __version__

__all__ = ["__version__"]
