"""Any workflow file is understood or refused in words, and holds no number that cannot work."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from distill.config import RunConfig, load_config, parse_config
from distill.core.errors import UserError

REQUIRED = {
    "value": 0.3,
    "structure": "bundled:h2cu_test",
    "structures": "bundled:h2cu_test",
    "path": "ase.calculators.emt:EMT",
    "start_epoch": 3,
}
NUMBERS = [
    0, -1, 1, 2, 7, 0.5, -0.0, 1e-300, 5e-324, 1e-9, 1e9, 1e12, -1e12, 2**31, 2**63, 10**40,
    1e308, math.inf, -math.inf, math.nan,
]  # fmt: skip
OTHERS = [
    None, True, False, "", "1", "1e999", "nan", "f4", "evidence", "../x", "a/b", "\0", "\n",
    "bundled:nothing", "preset:x", "mod:Class", "f4" * 999, [], [[]], {}, {"": None}, {"a": {}},
]  # fmt: skip


def places(kind: type[BaseModel], outer: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every option of every section: keys, and for a section in a list or mapping its kind."""
    for name, field in kind.model_fields.items():
        yield (*outer, name)
        for inner in sections(field.annotation):
            if not any(inner is part for part in outer):
                yield from places(inner, (*outer, name, inner))


def sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in sections(part)]


def config_with(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The smallest workflow that gives an option a value."""
    whole: dict[str, Any] = {}
    node, kind = whole, RunConfig
    *outer, last = place
    for name, inner in zip(outer[::2], outer[1::2], strict=True):
        new = {n: REQUIRED[n] for n, f in inner.model_fields.items() if f.is_required()}
        text = str(kind.model_fields[name].annotation)
        node[name] = [new] if "list[" in text else {"default": new} if "dict[" in text else new
        node, kind = new, inner
    node[last] = value
    return whole


PLACES = list(places(RunConfig))


def words(place: tuple[Any, ...]) -> str:
    return ".".join(part for part in place if isinstance(part, str))


def outcome(data: Any) -> RunConfig | None:
    """The config, or None where it is refused in words that a person can read."""
    try:
        return parse_config(data, "workflow.yaml")
    except UserError as error:
        assert str(error).startswith("workflow.yaml has ")
        return None


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from numbers_in(part)
    elif isinstance(value, (int, float)):
        yield value


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e12, -1e12, 10**40, "1e999"])
def test_no_option_takes_a_number_that_cannot_work(value):
    taken = []
    for place in PLACES:
        config = outcome(config_with(place, value))
        if config is not None and not isinstance(value, str):
            taken.append(words(place))
    assert taken == []


def test_every_number_has_two_bounds():
    def bounded(annotation: Any, metadata: tuple[Any, ...]) -> bool:
        if get_origin(annotation) is Annotated:
            inner, *own = get_args(annotation)
            return bounded(inner, (*metadata, *own))
        if annotation in (int, float):
            found = {name for part in metadata for name in vars_of(part)}
            return bool(found & {"gt", "ge"}) and bool(found & {"lt", "le"})
        return all(bounded(part, ()) for part in get_args(annotation))

    def vars_of(part: Any) -> Iterator[str]:
        for each in [part, *getattr(part, "metadata", ())]:
            yield from (n for n in ("gt", "ge", "lt", "le") if getattr(each, n, None) is not None)

    unbounded = [
        f"{kind.__name__}.{name}"
        for kind in {RunConfig, *(part for place in PLACES for part in place[1::2])}
        for name, field in kind.model_fields.items()
        if not bounded(field.annotation, tuple(field.metadata)) and "Literal" not in str(field)
    ]
    assert unbounded == []


@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(NUMBERS + OTHERS))))
@settings(max_examples=1500, deadline=None)
def test_what_is_taken_is_finite_and_reads_back_the_same(changes):
    data: dict[str, Any] = {}
    for place, value in changes[:4]:
        data.update(config_with(place, value))
    config = outcome(data)
    if config is not None:
        written = config.model_dump(mode="json")
        text = json.dumps(written, allow_nan=False)
        assert all(math.isfinite(number) for number in numbers_in(written))
        assert parse_config(json.loads(text), "workflow.yaml") == config


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([words(place).split(".")[-1] for place in PLACES])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(data=st.dictionaries(st.sampled_from([*RunConfig.model_fields, "x"]), TREES, max_size=4))
@settings(max_examples=700, deadline=None)
def test_any_tree_is_understood_or_refused(data):
    config = outcome(data)
    assert config is None or set(data) <= config.model_fields_set


@given(
    data=st.binary(max_size=200)
    | st.text(alphabet="[]{}:-!&*?|>'\"#%@,\n\t ab0\0é", max_size=60).map(str.encode)
    | st.sampled_from([b"[" * 5000, b"{a: " * 5000, b"a: &x [*x]", b"!!python/name:os.system ''"])
    | st.sampled_from([b"a: 2001-99-99", b"!!int x", b"!!timestamp x", b"reference: &x {args: *x}"])
    | st.just(b"a: &a [1]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (n, n) for n in range(9)))
    | TREES.map(lambda tree: yaml.safe_dump({"data": tree}).encode())
)
@settings(max_examples=400, deadline=None)
def test_any_file_is_understood_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "workflow.yaml"
    path.write_bytes(data)
    try:
        load_config(path)
    except UserError as error:
        assert str(path) in str(error)


KEYS = st.sampled_from([words(place) for place in PLACES]) | st.text(
    alphabet="abc.=[]{}:\n\0é ", max_size=12
)


@given(
    key=KEYS,
    value=st.sampled_from(["", "1", ".inf", "[", "{a", "\0", "!!x", "[1, 2]", "*a", '"\\0"', '""']),
)
@settings(max_examples=400, deadline=None)
def test_any_override_is_understood_or_refused(tmp_path_factory, key, value):
    path = tmp_path_factory.getbasetemp() / "plain.yaml"
    path.write_text("data: {train: 'bundled:h2cu_train'}\nname: plain\n")
    try:
        load_config(path, [f"{key}={value}"])
    except UserError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("sampling.md", {"structure": "preset:lif", "temperatures": [300, 300.0]}),
        ("sampling.md", {"structure": "preset:lif", "temperatures": [300, 600, 300.00001]}),
        ("sampling.md", {"structure": "preset:lif", "ensemble": "npt", "pressures": [0.1, 0.1]}),
        ("compare.rdf", {"structure": "preset:lif", "temperatures": [1e3, 1000]}),
        ("compare.vdos", {"structure": "preset:lif", "temperatures": [300, 300]}),
        ("compare.diffusion", {"temperatures": [400, 400]}),
        ("compare.bulk", {"thermal_expansion": {"temperatures": [0.5, 0.5]}}),
        ("compare.bulk", {"phonons": {"temperatures": [0, 0]}}),
    ],
)
def test_a_run_that_would_be_counted_twice_is_refused(section, options):
    outer, inner = section.split(".")
    with pytest.raises(UserError, match="is given more than once"):
        parse_config(
            {outer: {inner: [options] if outer == "sampling" else options}}, "workflow.yaml"
        )


def test_runs_of_the_gates_that_show_no_drift_are_refused():
    parse_config({"compare": {"gates": {"time": 10.0}}}, "workflow.yaml")
    for options in ({"time": 9.0}, {"time": 40.0, "time_step": 5.0}):
        with pytest.raises(UserError, match="a drift needs 10 steps"):
            parse_config({"compare": {"gates": options}}, "workflow.yaml")


def test_aliases_that_grow_without_end_are_refused_at_once(tmp_path):
    lines = ["reference:", "  path: a:b", "  args:", "    a0: &a0 [1, 1]"]
    lines += [f"    a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (tmp_path / "laughs.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match="more than 100000 values"):
        load_config(tmp_path / "laughs.yaml")
