"""What is installed of Julia, and what the package declares of it."""

import json
import re
import sys
import tomllib

import pytest
from helpers import ROOT
from julia_support import small_config, some_structures
from student_fixtures import program

from distill.core.errors import UserError
from distill.student.fit_backends import choose_backend
from distill.student.julia import acepotentials, julia_setup


def test_the_choice_of_a_backend(fake_julia, monkeypatch):
    auto = small_config(backend="auto")
    alone = small_config(backend="auto", repulsion_restraint=True)
    # The slower backend is taken only where it is asked for, by its name or by its options.
    assert choose_backend(auto) == "native"
    assert choose_backend(alone) == "acepotentials"
    assert choose_backend(small_config(backend="auto", assembly="julia")) == "acepotentials"
    assert choose_backend(small_config()) == "acepotentials"
    monkeypatch.delenv("PYTHON_JULIACALL_EXE")
    assert choose_backend(auto) == "native"
    with pytest.raises(UserError, match="must be set together"):
        choose_backend(small_config())
    with pytest.raises(UserError, match="repulsion_restraint is an option of the backend acepot"):
        choose_backend(alone)


def test_available_says_what_is_missing(monkeypatch, tmp_path, capsys):
    for name in ("EXE", "PROJECT"):
        monkeypatch.delenv(f"PYTHON_JULIACALL_{name}", raising=False)
    monkeypatch.setattr(julia_setup.importlib.util, "find_spec", lambda name: None)
    assert "pip install" in julia_setup.available()
    with pytest.raises(UserError, match='pip install "distill\\[julia\\]"'):
        acepotentials.fit(some_structures(), small_config(), seed=1, folder=tmp_path / "o")
    assert not (tmp_path / "o").exists()
    capsys.readouterr()
    with pytest.raises(UserError, match="juliacall is not installed"):
        acepotentials.setup()
    assert capsys.readouterr().out == ""
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
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(program(tmp_path / "good")))
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    assert "must be set together" in julia_setup.available()
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    assert "holds no Project.toml" in julia_setup.available()
    (tmp_path / "Project.toml").touch()
    monkeypatch.setenv("JULIA_DEPOT_PATH", str(tmp_path / "depot"))
    assert "ACEpotentials and PythonCall are not installed" in julia_setup.available()
    (tmp_path / "Manifest.toml").write_text("[[deps.PythonCall]]\n")
    assert "ACEpotentials is not installed" in julia_setup.available()
    assert julia_setup.status()["ready"].startswith("no")
    # Packages of Julia's shared environments are seen from every project.
    shared = tmp_path / "depot" / "environments" / "v1.12"
    shared.mkdir(parents=True)
    (shared / "Manifest.toml").write_text("[[deps.ACEpotentials]]\n")
    assert julia_setup.available() is None
    (tmp_path / "Manifest.toml").write_text(
        '[[deps.ACEpotentials]]\ndeps = ["JSON"]\nversion = "0.9.1"\n\n'
        '[[deps.PythonCall]]\nversion = "0.9.37"\n'
    )
    assert "has ACEpotentials 0.9.1, expected 0.10.1 or later" in julia_setup.available()
    (tmp_path / "Manifest.toml").write_text(
        '[[deps.ACEpotentials]]\nversion = "0.10.1"\n\n[[deps.PythonCall]]\nversion = "0.9.37"\n'
    )
    assert julia_setup.available() is None
    old = str(program(tmp_path / "old", "julia version 1.10.9"))
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", old)
    assert "is Julia 1.10.9, expected 1.11" in julia_setup.available()
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(tmp_path / "julia"))
    assert "is no program" in julia_setup.available()
    for other in ("/bin/ls", sys.executable, str(program(tmp_path / "bad", "hello"))):
        monkeypatch.setenv("PYTHON_JULIACALL_EXE", other)
        assert f"names {other}, which is not Julia" in julia_setup.available()
        assert julia_setup.status()["ready"].startswith("no")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"julia": "1.10.9"}, "found Julia 1.10.9, expected 1.11 or later"),
        ({"ACEpotentials": "0.9.1"}, "found ACEpotentials 0.9.1, expected 0.10.1 or later"),
        ({"ACEpotentials": "0.11.0"}, "expected 0.10.1 or later, before 0.11"),
        ({}, None),
        ({"julia": "1.12.0-rc1", "ACEpotentials": "0.10.12"}, None),
    ],
)
def test_other_versions_are_refused(found, message):
    versions = {"julia": "1.11.0", "ACEpotentials": "0.10.1", **found}
    if message is None:
        julia_setup.check_versions(versions)
    else:
        with pytest.raises(UserError, match=message):
            julia_setup.check_versions(versions)


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
