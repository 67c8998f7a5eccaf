"""What a sampling section and its files decide is refused before a model is there."""

from __future__ import annotations

import pytest
from ase.build import bulk
from ase.io import write

from distill.config import SamplingConfig
from distill.core.errors import UserError
from distill.sampling.visiting import refuse_what_cannot_work


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crystal")
    write(folder / "one.xyz", bulk("Cu", cubic=True))
    (folder / "none.xyz").write_text("0\n\n")
    return folder


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"include_training": False}, "asks for nothing"),
        ({"neb": [{"initial": "one", "final": "one"}]}, "are one structure, but for lattice"),
        ({"neb": [{"initial": "one", "final": "none"}]}, "has no atoms"),
        ({"neb": [{"slab": {"element": "Xx"}}]}, "'Xx': expected a"),
        ({"neb": [{"facet": "211", "slab": {"size": [2, 2]}}]}, "must be a multiple of 3"),
        ({"scattering": {"molecule": "H3"}}, "expected a diatomic"),
        ({"scattering": {"molecule": "H99999999999"}}, "expected a diatomic"),
        ({"scattering": {"slab": {"element": "Fe"}}}, "expected an fcc metal"),
        ({"scattering": {"slab": {"layers": 2, "fixed_layers": 3}}}, "more than the 2 layers"),
        ({"md": [{"structure": "one", "index": 5}]}, "holds 1 structures"),
        ({"md": [{"structure": "one", "supercell": [100, 100, 100]}]}, "has 4000000 atoms"),
        ({"md": [{"structure": "one", "ensemble": "npt", "temperatures": [0]}]}, "kept at 0 K"),
        ({"rattle": [{"structures": "none"}]}, "has no atoms"),
    ],
    ids=str,
)
def test_sections_that_cannot_work_are_refused(crystal, section, words):
    def named(value):
        if isinstance(value, dict):
            return {key: named(part) for key, part in value.items()}
        if isinstance(value, list):
            return [named(part) for part in value]
        return str(crystal / f"{value}.xyz") if value in ("one", "none") else value

    with pytest.raises(UserError, match=words):
        refuse_what_cannot_work(SamplingConfig(**named(section)))


def test_sections_that_can_work_are_not_refused(crystal):
    md = [{"structure": str(crystal / "one.xyz")}]
    config = SamplingConfig(scattering={}, neb=[{}], md=md)
    asked = config.model_dump()
    refuse_what_cannot_work(config)
    assert config.model_dump() == asked
