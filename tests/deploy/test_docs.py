"""What the documentation says is there, is there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from composition import ROOT

from kong_scim.config.plugin import parse
from kong_scim.pluginserver.__main__ import main as plugin_server
from kong_scim.protocol.resources import provider
from kong_scim.tenant import WITHOUT_CHANNEL

OF_KONG = {
    "no Route matched with those values",
    "entities when not using a database",
    "cannot create",
    "IP address not allowed:",
}
"""Sentences in the troubleshooting that are Kong's."""

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

OF_ALL_PROVIDERS = {"index.md", "traffic.md"}
OF_ONE_PROVIDER = sorted(
    path for path in (ROOT / "docs/providers").glob("*.md") if path.name not in OF_ALL_PROVIDERS
)

SOURCES = sorted(
    path
    for room in ("kong-plugins", "tests")
    for ending in ("*.py", "*.lua")
    for path in (ROOT / room).rglob(ending)
)


def without_code(text: str) -> str:
    """Drop code blocks: their brackets are no links."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(path: Path) -> str:
    """A document's name in the test's id."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text())):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_comments_name_pages_and_titles_that_exist() -> None:
    broken = []
    for source in SOURCES:
        for page, anchor in re.findall(r"\b(docs/[\w/]+\.md)(?:#([\w-]+))?", source.read_text()):
            path = ROOT / page
            if not path.exists() or (anchor and anchor not in anchors(path)):
                broken.append(f"{named(source)}: {page}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_the_tests_that_it_names_exist(document: Path) -> None:
    cited = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document.read_text())
    missing = []
    for file, test in cited:
        path = ROOT / file
        if not path.exists() or f"def {test}(" not in path.read_text():
            missing.append(f"{file}::{test}")
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE)) <= targets


def test_every_provider_has_a_page_that_the_index_and_the_readme_name() -> None:
    pages = {path.name for path in OF_ONE_PROVIDER}
    assert len(pages) == 9
    for index in ("README.md", "docs/index.md", "docs/providers/index.md"):
        assert {page for page in pages if page in (ROOT / index).read_text()} == pages


def test_the_json_template_for_onelogin_is_json() -> None:
    text = (ROOT / "docs/providers/onelogin.md").read_text()
    [block] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert json.loads(block)["userName"]


def test_the_example_of_an_extension_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs/operations.md").read_text()
    [block] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "acme.json").write_text(block)
    shutil.copy(ROOT / "schemas/kong-user.json", tmp_path)
    monkeypatch.setenv("KONG_SCIM_SCHEMAS", str(tmp_path))
    [path] = re.findall(r"`consumer.username: (\S+)`", text)
    settings = {"tokens": [{"name": "idp", "value": "x"}], "consumer": {"username": path}}
    served = provider(parse(settings)).schemas
    assert json.loads(block)["id"] in {schema.id for schema in served}


def test_the_sentences_of_the_troubleshooting_are_those_of_the_code() -> None:
    """Who searches for a sentence must find it."""
    code = "".join(
        path.read_text()
        for pattern in ("*.py", "*.lua")
        for path in sorted((ROOT / "kong-plugins").rglob(pattern))
    )
    code = re.sub(r'"\s*(\.\.)?\s*f?"', "", code)  # texts that go on in the next line
    rows = re.findall(
        r"^\| (?:Admin API: )?(?:\d{3}) `([^`]+)`",
        (ROOT / "docs/operations.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) > 15
    parts = [part.strip() for row in rows for part in row.split("...")]
    assert [part for part in parts if part not in code and part not in OF_KONG] == []


def test_what_a_data_plane_answers_is_quoted_as_it_is() -> None:
    text = (ROOT / "docs/deployments.md").read_text()
    quoted = re.findall(r"(?:^> .+\n)+", text, re.MULTILINE)
    sentences = {" ".join(each.replace("> ", "").split()) for each in quoted}
    assert sentences == set(WITHOUT_CHANNEL.values())


def test_the_options_of_the_plugin_server_and_their_defaults_are_those_it_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        plugin_server(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    rows = re.findall(
        r"^\| `(--[a-z-]+)` \| (\S+) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE
    )
    assert {"--data", "--workers"} <= {option for option, _ in rows}
    for option, default in rows:
        assert re.search(rf" {option} .*?\(default: {re.escape(default.strip('`'))}[,)]", said)


def test_ci_runs_what_a_contributor_runs() -> None:
    commands = (ROOT / ".ci/run").read_text().splitlines()
    assert commands[-2:] == ["make check", "make test"]


METRICS = re.compile(
    r"\{ \"(counter|gauge|histogram)\", \"(scim_\w+)\",\s+\"[^\"]+\",\s+\{ ([^}]*) \}"
)


def test_the_metrics_and_their_labels_are_those_of_the_bridge() -> None:
    lua = (ROOT / "kong-plugins/kong/plugins/scim-bridge/metrics.lua").read_text()
    registered = {
        f"kong_{name}": (kind, tuple(re.findall(r'"(\w+)"', labels)))
        for kind, name, labels in METRICS.findall(lua)
    }
    text = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(r"^\| `(kong_scim_\w+)` \| (\w+) \| ([^|]+) \|", text, re.MULTILINE)
    described = {name: (kind, tuple(re.findall(r"`(\w+)`", of))) for name, kind, of in rows}
    assert described == registered
    assert len(described) == 15
    quoted = set(re.findall(r"\bkong_scim_[a-z_]+", text))
    assert {re.sub(r"(_latency_ms)_(count|sum)$", r"\1", name) for name in quoted} == set(described)


def test_the_alert_rules_are_rules() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    [block] = re.findall(r"```yaml\n(groups:.*?)```", text, re.DOTALL)
    [group] = yaml.safe_load(block)["groups"]
    for rule in group["rules"]:
        assert {"alert", "expr"} <= set(rule) <= {"alert", "expr", "for"}
        assert "kong_scim_" in rule["expr"]
