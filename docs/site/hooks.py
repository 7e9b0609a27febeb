"""Makes pages of the repository's Markdown files, at the same paths, with their diagrams drawn."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import mermaidx
from markdown_it import MarkdownIt
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

OF_THE_TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages that are not in docs/."""

_LINK = re.compile(r"\]\(([^)#:\s]+)")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")

INDENT = 4
"""Spaces by which Python-Markdown wants the content of a list item to be indented."""


def on_files(files: Files, *, config: Any) -> Files:
    """Give each page its path in the repository, and add the files that the pages link to."""

    def placed(path: str) -> File:
        return File(path, str(ROOT), config.site_dir, config.use_directory_urls)

    ours = [file.src_uri for file in files if file.src_dir == config.docs_dir]
    of_docs = [f"docs/{path}" for path in ours if not path.startswith("site/")]
    of_the_theme = [file for file in files if file.src_dir != config.docs_dir]
    pages = [*OF_THE_TOP, *of_docs]
    linked = {path for page in pages if page.endswith(".md") for path in _linked_files(page)}
    paths = {*pages, *linked, *config.extra_css}
    return Files([*of_the_theme, *map(placed, sorted(paths))])


def _linked_files(page: str) -> set[str]:
    """Files of the repository, other than pages, that a page links to."""
    place = ROOT / page
    targets = {(place.parent / link).resolve() for link in _LINK.findall(place.read_text())}
    return {
        str(path.relative_to(ROOT))
        for path in targets
        if path.is_file() and path.suffix != ".md" and path.is_relative_to(ROOT)
    }


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Bring a page into the form that Python-Markdown reads."""
    return _DIAGRAM.sub(lambda match: _diagram(match[1]), indented(markdown))


@lru_cache
def _diagram(text: str) -> str:
    """Draw a diagram. Its styles name its own id, since a page may have several."""
    name = f"diagram-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    drawn = mermaidx.render(text).svg().replace("my-svg", name)
    return f'<figure class="diagram">{" ".join(drawn.split())}</figure>'


def indented(markdown: str) -> str:
    """Indent the content of lists as Python-Markdown wants it, with an empty line before each list.

    CommonMark, by which code hosts read these files, takes any indentation from the text after the
    item's mark on.
    """
    lines = markdown.split("\n")
    offsets: list[list[int]] = [[] for _ in lines]  # of the content of the items around each line
    begins = set()
    for token in MarkdownIt("commonmark").parse(markdown):
        if token.map is None:
            continue
        first, end = token.map
        if token.type == "list_item_open":
            mark = _MARK.match(lines[first])
            for number in range(first + 1, end):
                offsets[number].append(mark.end() if mark else 0)
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            begins.add(first)
    written = []
    for number, line in enumerate(lines):
        around = offsets[number]
        if number in begins and not around and number and lines[number - 1].strip():
            written.append("")
        if around and line.strip():
            own = min(around[-1], len(line) - len(line.lstrip()))
            written.append(" " * INDENT * len(around) + line[own:])
        else:
            written.append(line)
    return "\n".join(written)
