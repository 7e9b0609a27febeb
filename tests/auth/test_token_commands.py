"""``kong-scim token new`` and ``token check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from access_support import client, plugin_with
from click.testing import CliRunner, Result

from kong_scim.cli.main import main
from scim_traffic import answered, refused


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["token", *arguments], input=stdin)


def made(*arguments: str) -> tuple[str, dict[str, Any]]:
    """Return a new token and its entry, both as they are printed."""
    result = run("new", "--name", "okta", *arguments)
    assert result.exit_code == 0, result.output
    value, _, lines = result.stdout.partition("\n")
    [entry] = yaml.safe_load(lines)
    return value, entry


def declare(path: Path, *tokens: dict[str, Any]) -> None:
    plugin = {"name": "scim", "config": {"tenant": "acme", "tokens": list(tokens)}}
    path.write_text(yaml.safe_dump({"routes": [{"paths": ["/scim/v2"], "plugins": [plugin]}]}))


def test_a_new_token_is_accepted_with_the_lines_printed_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value, entry = made("--scope", "scim:read", "--days", "90", "--network", "192.0.2.0/24")
    assert len(value) >= 43
    assert value not in str(entry)
    plugin, _ = plugin_with(monkeypatch, tokens=[entry])
    answered(client(plugin, token=value).get("/Users"), 200)
    refused(client(plugin, token=value).delete("/Users/x"), 403)


def test_two_new_tokens_differ() -> None:
    assert made()[0] != made()[0]


def test_a_network_that_is_none_is_refused() -> None:
    assert run("new", "--name", "okta", "--network", "everywhere").exit_code == 1


def test_check_says_what_a_token_may_do(tmp_path: Path) -> None:
    value, entry = made("--scope", "scim:read", "--days", "90")
    declare(tmp_path / "kong.yml", {"name": "other", "value": "x"}, entry)
    result = run("check", "--config", str(tmp_path / "kong.yml"), stdin=value + "\n")
    assert result.exit_code == 0
    assert "tenant acme: token okta" in result.output
    assert "scim:read\n" in result.output
    assert entry["expires"] in result.output
    assert value not in result.output


def test_check_resolves_references_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIM_TOKEN", "from the vault")
    (tmp_path / "token").write_text("from the file\n")
    declare(
        tmp_path / "kong.yml",
        {"name": "vault", "value": "{vault://env/scim-token}"},
        {"name": "file", "file": str(tmp_path / "token")},
    )
    for name in ("vault", "file"):
        result = run("check", "--config", str(tmp_path / "kong.yml"), stdin=f"from the {name}")
        assert f"token {name}" in result.output


@pytest.mark.parametrize(
    ("entry", "given", "said"),
    [
        ({"value": "t"}, "guess", "not one of its tokens"),
        ({"value": "t", "expires": "2020-01-01T00:00:00Z"}, "t", "expired"),
        ({"value": "t", "networks": ["192.0.2.0/24"]}, "t", "address"),
    ],
)
def test_check_fails_for_a_token_that_would_be_refused_and_says_why(
    tmp_path: Path, entry: dict[str, Any], given: str, said: str
) -> None:
    declare(tmp_path / "kong.yml", {"name": "a", **entry})
    result = run("check", "--config", str(tmp_path / "kong.yml"), stdin=given)
    assert result.exit_code == 1
    assert said in result.output
