"""Sections whose keys are a registry's members, and sections found and changed in any nesting."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from pydantic import Field, ValidationError

from distill.core.config import Section
from distill.core.registry import Registry
from distill.core.sections import asked, map_sections, sections_in, with_members


class Slab(Section):
    """A slab."""

    layers: int = 4


class Scan:
    """A member whose key holds a list."""

    class Config(Section):
        """Scans of a slab.

        More about it.
        """

        slab: Slab = Slab()
        others: list[Slab] = Field(default_factory=list)
        named: dict[str, Slab] = Field(default_factory=dict)

    repeated = True


class Single:
    """A member whose key holds one section, of which nothing is said."""

    class Config(Section):
        count: int

    repeated = False


class Base(Section):
    """Options of the tests."""

    own: int = 1


@pytest.fixture
def members(monkeypatch) -> Registry:
    module = ModuleType("members_of_the_tests")
    module.Scan, module.Single = Scan, Single
    monkeypatch.setitem(sys.modules, module.__name__, module)
    own = {"scan": f"{module.__name__}:Scan", "single": f"{module.__name__}:Single"}
    return Registry("test", "distill.none", own)


@pytest.fixture
def full(members):
    return with_members(Base, members, name="Full", module=__name__)


def test_every_member_has_a_key_beside_the_section_s_own(full):
    assert list(full.model_fields) == ["own", "scan", "single"]
    assert full.model_fields["scan"].description == "Scans of a slab."
    assert full.model_fields["single"].description == ""
    assert full.__doc__ == Base.__doc__
    assert full.__name__ == "Full" and full.__module__ == __name__
    assert full().scan == [] and full().single is None


def test_options_of_members_are_checked(full):
    section = full.model_validate({"scan": [{"slab": {"layers": 2}}, {}], "single": {"count": 3}})
    assert section.scan[0].slab.layers == 2
    for wrong in ({"scan": [{"slob": {}}]}, {"scan": {}}, {"single": {}}, {"other": 1}):
        with pytest.raises(ValidationError):
            full.model_validate(wrong)


def test_what_is_asked_for_comes_in_the_order_of_the_registry(full, members):
    section = full.model_validate({"single": {"count": 3}, "scan": [{}, {}]})
    found = asked(section, members)
    assert list(found) == ["scan", "single"]
    assert found["scan"] == section.scan
    assert found["single"] == [section.single]
    assert asked(full(), members) == {}


def nested(full):
    scan = {
        "slab": {"layers": 1},
        "others": [{"layers": 2}, {"layers": 3}],
        "named": {"x": {"layers": 5}},
    }
    return full.model_validate({"scan": [scan], "single": {"count": 3}})


def test_sections_are_found_in_every_nesting(full):
    assert [slab.layers for slab in sections_in(nested(full), Slab)] == [1, 2, 3, 5]
    assert sections_in(3, Slab) == []


def test_sections_are_changed_in_every_nesting_and_all_else_stays(full):
    section = nested(full)

    def thicker(slab: Slab) -> Slab:
        return slab.model_copy(update={"layers": slab.layers + 10})

    changed = map_sections(section, Slab, thicker)
    assert [slab.layers for slab in sections_in(changed, Slab)] == [11, 12, 13, 15]
    assert [slab.layers for slab in sections_in(section, Slab)] == [1, 2, 3, 5]
    assert type(changed) is type(section) and changed.single == section.single
    assert map_sections((Slab(), 2), Slab, thicker) == (Slab(layers=14), 2)
