"""What is installed of Julia, and what the package declares of it."""

import json
import re
import sys
import tomllib

import pytest
from helpers import ROOT
from julia_support import small_config, some_structures

from distill.core.errors import UserError
from distill.student.fit_backends import choose_backend
from distill.student.julia import acepotentials, julia_setup


def test_the_choice_of_a_backend(fake_julia, monkeypatch):
    auto = small_config(backend="auto")
    assert choose_backend(auto) == "acepotentials"
    assert choose_backend(small_config()) == "acepotentials"
    # What ACEfit does not have, the native fit does.
    assert choose_backend(small_config(backend="auto", zbl=True)) == "native"
    monkeypatch.delenv("PYTHON_JULIACALL_EXE")
    assert choose_backend(auto) == "native"
    with pytest.raises(UserError, match="must be set together"):
        choose_backend(small_config())
    with pytest.raises(UserError, match="repulsion_restraint is an option of the backend acepot"):
        choose_backend(small_config(backend="auto", repulsion_restraint=True))


def test_available_says_what_is_missing(monkeypatch, tmp_path):
    for name in ("EXE", "PROJECT"):
        monkeypatch.delenv(f"PYTHON_JULIACALL_{name}", raising=False)
    monkeypatch.setattr(julia_setup.importlib.util, "find_spec", lambda name: None)
    assert "pip install" in julia_setup.available()
    with pytest.raises(UserError, match='pip install "distill\\[julia\\]"'):
        acepotentials.fit(some_structures(), small_config(), seed=1, folder=tmp_path / "o")
    assert not (tmp_path / "o").exists()
    with pytest.raises(UserError, match="juliacall is not installed"):
        acepotentials.setup()
    assert acepotentials.status()["ready"].startswith("no: juliacall is not installed")
    monkeypatch.setattr(julia_setup.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(julia_setup, "prepared", lambda: None)
    assert "distill julia setup" in julia_setup.available()
    monkeypatch.setattr(julia_setup, "prepared", lambda: {"executable": "/no/such/julia"})
    assert "no longer at /no/such/julia" in julia_setup.available()
    monkeypatch.setattr(julia_setup, "prepared", lambda: {"executable": sys.executable})
    assert julia_setup.available() is None


def test_an_own_julia_is_checked(monkeypatch, tmp_path):
    monkeypatch.setattr(julia_setup.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", sys.executable)
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    assert "must be set together" in julia_setup.available()
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    assert "holds no Project.toml" in julia_setup.available()
    (tmp_path / "Project.toml").touch()
    assert julia_setup.available() is None
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(tmp_path / "julia"))
    assert "is no program" in julia_setup.available()


def test_offline_without_an_installation_stops_at_once(monkeypatch):
    for name in ("EXE", "PROJECT"):
        monkeypatch.delenv(f"PYTHON_JULIACALL_{name}", raising=False)
    monkeypatch.setattr(julia_setup.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(julia_setup, "prepared", lambda: None)
    monkeypatch.setattr(julia_setup, "install", lambda: pytest.fail("tried to install"))
    monkeypatch.setenv("PYTHON_JULIAPKG_OFFLINE", "yes")
    with pytest.raises(UserError, match="not set up yet"):
        julia_setup.require()


def test_juliapkg_and_the_julia_package_agree():
    declared = json.loads((ROOT / "juliapkg.json").read_text())
    entry = declared["packages"]["DistillACE"]
    folder = ROOT / entry["path"]
    project = tomllib.loads((folder / "Project.toml").read_text())
    assert (project["name"], project["uuid"]) == ("DistillACE", entry["uuid"])
    assert set(project["deps"]) <= set(project["compat"])


def test_every_function_called_from_python_is_in_the_julia_package():
    worker = (ROOT / "distill" / "student" / "julia" / "julia_worker.py").read_text()
    called = {
        name.replace("_b", "!") if name.endswith("_b") else name
        for name in re.findall(r"self\.module\.(\w+)\(", worker)
    }
    source = "\n".join(p.read_text() for p in (ROOT / "julia" / "src").glob("*.jl"))
    defined = set(re.findall(r"^function (\w+!?)\(", source, flags=re.MULTILINE))
    assert called <= defined
    assert len(called) >= 10


def test_julia_sources_parse():
    tree_sitter = pytest.importorskip("tree_sitter", reason="the extra [test] is not whole")
    grammar = pytest.importorskip("tree_sitter_julia", reason="the extra [test] is not whole")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    sources = [path for top in ("julia", "lammps") for path in (ROOT / top).rglob("*.jl")]
    assert ROOT / "julia" / "src" / "DistillACE.jl" in sources
    for path in sources:
        assert not parser.parse(path.read_bytes()).root_node.has_error, path
