"""``kong config parse`` refuses what the plugin could not work with, and names the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kong_process import KongProcess, kong_binary, requires_kong
from kong_scim.config.plugin import ConfigurationError, parse

pytestmark = requires_kong

RIGHT = {"name": "idp", "value": "{vault://env/scim-token}"}
DIGEST = "0" * 64
ISSUER = {"issuer": "https://idp.example", "audience": ["https://gw.example"]}
KEYS = {"jwks_url": "https://idp.example/keys"}


@pytest.fixture(scope="module")
def kong(tmp_path_factory: pytest.TempPathFactory) -> KongProcess:
    """Not started: its command line is enough."""
    prefix = tmp_path_factory.mktemp("kong")
    return KongProcess(kong_binary(), prefix, plugins=("scim", "scim-bridge"))


def judged(kong: KongProcess, path: Path, config: dict[str, Any]) -> str:
    route = {"paths": ["/scim/v2"], "plugins": [{"name": "scim", "config": config}]}
    path.write_text(yaml.safe_dump({"_format_version": "3.0", "routes": [route]}))
    return kong.run("config", "parse", str(path), check=False)


@pytest.mark.parametrize(
    "config",
    [
        {"tokens": [RIGHT, {"name": "file", "file": "/run/token"}]},
        {"tokens": [{"name": "digest", "sha256": DIGEST}]},
        {"jwt": {**ISSUER, **KEYS}},
        {"jwt": {**ISSUER, "public_key": "-----BEGIN PUBLIC KEY-----"}},
        {"auth": "kong", "group_scopes": {"idp": ["scim:users"]}},
    ],
    ids=["value and file", "digest", "jwks_url", "public_key", "consumers"],
)
def test_what_works_is_accepted(kong: KongProcess, tmp_path: Path, config: dict[str, Any]) -> None:
    assert "parse successful" in judged(kong, tmp_path / "kong.yml", config)


@pytest.mark.parametrize(
    ("config", "field", "said"),
    [
        ({"tokens": [{"name": "a"}]}, "tokens", "'value', 'file', 'sha256'"),
        (
            {"tokens": [RIGHT, {"name": "a", "value": "x", "sha256": DIGEST}]},
            "tokens",
            "'value', 'file', 'sha256'",
        ),
        (
            {"tokens": [{"name": "a", "file": "/run/token", "sha256": DIGEST}]},
            "tokens",
            "'value', 'file', 'sha256'",
        ),
        ({"tokens": [{"name": "a", "file": "relative"}]}, "file", "invalid value"),
        ({"tokens": [{"name": "a", "sha256": "abc"}]}, "sha256", "length must be"),
        ({"tokens": [{**RIGHT, "expires": "tomorrow"}]}, "expires", "invalid value"),
        ({"tokens": [{**RIGHT, "scopes": ["scim:everything"]}]}, "scopes", "one of"),
        ({"jwt": ISSUER}, "jwt", "'jwks_url', 'public_key'"),
        ({"jwt": {**ISSUER, **KEYS, "public_key": "x"}}, "jwt", "'jwks_url', 'public_key'"),
        ({"jwt": {"issuer": "https://idp.example", **KEYS}}, "audience", "length must be"),
        ({"jwt": {**ISSUER, **KEYS, "algorithms": ["none"]}}, "algorithms", "one of"),
    ],
    ids=[
        "a token from nowhere",
        "a token from value and digest",
        "a token from file and digest",
        "a relative file",
        "a short digest",
        "an expiry that is no moment",
        "an unknown scope",
        "an issuer without keys",
        "an issuer with two kinds of keys",
        "an issuer without an audience",
        "the algorithm none",
    ],
)
def test_what_cannot_work_is_refused_by_kong_and_by_the_plugin(
    kong: KongProcess, tmp_path: Path, config: dict[str, Any], field: str, said: str
) -> None:
    output = judged(kong, tmp_path / "kong.yml", config)
    assert "parse successful" not in output
    assert field in output
    assert said in output
    with pytest.raises(ConfigurationError, match=field):
        parse(config)
