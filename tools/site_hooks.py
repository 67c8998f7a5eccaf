"""Hooks of MkDocs: the files of the repository that pages link to are part of the site.

A page in docs/ links to files outside of it (`../configs/h2cu.yaml`) as they lie in the repository.
The site has them under `repository/`, with links rewritten, so that a link to a file that is not
there fails the strict build, on pages of the repository such as README.md too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OUTSIDE = "repository"
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the files outside docs/ that pages link to, and those that these link to."""
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for target in (_target(page, link) for link in _links(page)):
            uri = _uri(target)
            if uri is None or files.get_file_from_path(uri) is not None:
                continue
            files.append(File.generated(config, uri, abs_src_path=str(target)))
            if target.suffix == ".md":
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between files of the site."""
    source = Path(page.file.abs_src_path)
    folder = os.path.dirname(page.file.src_uri) or "."

    def rewritten(found: re.Match[str]) -> str:
        uri = _uri(_target(source, found[1]))
        return found[0] if uri is None else f"]({os.path.relpath(uri, folder)}"

    return _LINK.sub(rewritten, markdown)


def _links(page: Path) -> list[str]:
    return _LINK.findall(page.read_text(encoding="utf-8"))


def _target(page: Path, link: str) -> Path:
    return Path(os.path.normpath(page.parent / link))


def _uri(target: Path) -> str | None:
    """Where the site has a file of the repository; None if there is no such file."""
    if not target.is_file() or not target.is_relative_to(ROOT):
        return None
    inside = target.is_relative_to(DOCS)
    place = target.relative_to(DOCS if inside else ROOT).as_posix()
    return place if inside else f"{OUTSIDE}/{place}"
