"""The documentation as a site: every page, with the repository's links, and nothing fetched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from composition import ROOT
from markdown_it import MarkdownIt

SITE = ROOT / "docs/site"
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*TOP, *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


def build(configuration: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(configuration)]
    return subprocess.run(
        [*command, "--site-dir", str(target)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(SITE / "mkdocs.yml", target)
    assert done.returncode == 0, done.stderr
    return target


def built(page: str) -> str:
    """Where a page of the repository is in the site."""
    return "index.html" if page == "README.md" else page.replace(".md", ".html")


def elements(html: str) -> Counter[str]:
    """How many items, blocks of code and rows a text has."""
    return Counter(re.findall(r"<(li|ol|ul|pre|tr)\b", html))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_structure_that_code_hosts_show(site: Path, page: str) -> None:
    """Lists above all, which the two kinds of Markdown read differently."""
    source = (ROOT / page).read_text()
    wanted = elements(MarkdownIt("commonmark").enable("table").render(source))
    wanted["pre"] -= source.count("\n```mermaid\n")
    html = (site / built(page)).read_text()
    [article] = re.findall(r"<article[^>]*>(.*)</article>", html, re.DOTALL)
    assert elements(article) == +wanted


def test_every_diagram_is_drawn(site: Path) -> None:
    for page in PAGES:
        html = (site / built(page)).read_text()
        drawn = len(re.findall(r'<figure class="diagram"><svg ', html))
        assert drawn == (ROOT / page).read_text().count("\n```mermaid\n")


def test_reading_it_asks_nobody_else(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text)
        assert [tag for tag in tags if re.search(r'(?:src|href)="?(?:https?:)?//', tag)] == []
        assert 'class="mermaid"' not in text  # for which the theme would fetch a script
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?https?:", sheet.read_text())


def test_the_search_knows_every_page(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text())
    known = {entry["location"].partition("#")[0] or "index.html" for entry in index["docs"]}
    assert {built(page) for page in PAGES} <= known


def test_a_link_or_an_anchor_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(SITE, tmp_path / "docs/site", ignore=shutil.ignore_patterns("__pycache__"))
    configuration = tmp_path / "docs/site/mkdocs.yml"
    text = configuration.read_text()
    configuration.write_text(re.sub(r"^nav:\n(?: .*\n)*", "", text, flags=re.MULTILINE))
    for page in TOP:
        (tmp_path / page).write_text("# A page\n")
    (tmp_path / "docs/index.md").write_text("# A\n\n[b](b.md) [c](../README.md#nowhere)\n")
    done = build(configuration, tmp_path / "out")
    assert done.returncode != 0
    assert "'b.md'" in done.stderr
    assert "#nowhere" in done.stderr
