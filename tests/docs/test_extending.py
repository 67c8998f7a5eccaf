"""The pages on how to add something: what they show works, and passes the tests that they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from helpers import ROOT, SUPPORT

PAGES = {
    page.stem: page.read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs" / "extending").glob("*.md"))
    if page.stem != "README"
}
PLUGIN = ROOT / "examples" / "plugin"
# Pages that show parts of the plug-in; the others show code of their own.
OF_THE_PLUGIN = ("export_format", "sampling_method")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", OF_THE_PLUGIN)
def test_what_a_page_shows_of_the_plugin_stands_there(page: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in PLUGIN.rglob("*.py")]
    blocks = _blocks(PAGES[page], "python")
    assert len(blocks) > 1
    for block in blocks:
        assert any(block in source for source in sources), block
    assert _blocks(PAGES[page], "toml")[0] in (PLUGIN / "pyproject.toml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(set(PAGES) - set(OF_THE_PLUGIN)))
def test_what_a_page_shows_passes_the_contract_of_its_interface(page: str, tmp_path) -> None:
    """Install the page's code as the package that it says it is, and run the page's tests."""
    shown, _, tested = PAGES[page].partition("## Test it")
    group, name, module, member = re.search(
        r'entry-points\."(.+)"\]\n(\w+) = "my_package\.(\w+):(\w+)"', _blocks(shown, "toml")[0]
    ).groups()
    written = {
        "my_package/__init__.py": "",
        f"my_package/{module}.py": "\n".join(_blocks(shown, "python")),
        "my_package-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: my_package\nVersion: 1\n",
        "my_package-1.dist-info/entry_points.txt": (
            f"[{group}]\n{name} = my_package.{module}:{member}\n"
        ),
        "test_it.py": "\n".join([f"from my_package.{module} import *", *_blocks(tested, "python")]),
    }
    for place, text in written.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    path = os.pathsep.join(map(str, (tmp_path, ROOT, SUPPORT)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
