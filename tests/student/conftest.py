"""What the student's tests share: a coupling cache of their own and small models."""

import numpy as np
import pytest

from distill.student.basis import BasisSpec, build_basis
from distill.student.model import Student


@pytest.fixture(scope="session", autouse=True)
def coupling_cache(tmp_path_factory):
    """Keep the tests' couplings out of the user's cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def random_student():
    """Make a student with random coefficients: random_student(elements, order, degrees, ...)."""

    def make(elements=("Cu", "H"), totaldegree=(6.0, 5.0, 4.0), seed=0, **options):
        spec = BasisSpec(tuple(elements), len(totaldegree), tuple(totaldegree), **options)
        basis = build_basis(spec)
        generator = np.random.default_rng(seed)
        coefficients = generator.normal(size=basis.n_functions) / (1 + basis.gamma(2.0))
        e0 = {symbol: -1.5 - k for k, symbol in enumerate(elements)}
        return Student(basis=basis, coefficients=coefficients, e0=e0)

    return make
