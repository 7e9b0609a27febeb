"""Where nobody can look at metrics, nothing is counted and nothing fails."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from probe import HERE, Probe

from kong_process import KongProcess, kong_binary, requires_kong
from kong_scim.bridge import Sample

pytestmark = requires_kong

SAMPLES = [Sample("events", ("a", "user.create"), 1), Sample("outbox_pending", ("a",), 2)]

KONG_YML = """
_format_version: "3.0"
routes:
- name: probe
  paths: [/probe]
  plugins: [{name: scim-probe}]
plugins: [{name: scim-bridge}]
"""


@pytest.fixture(scope="module", params=["bundled,scim-bridge,scim-probe", "scim-bridge,scim-probe"])
def kong(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KongProcess]:
    """A Kong with the prometheus plugin, which is enabled nowhere, and one without."""
    directory = tmp_path_factory.mktemp("k")
    (directory / "kong.yml").write_text(KONG_YML)
    with KongProcess(
        kong_binary(),
        directory / "p",
        declarative=directory / "kong.yml",
        lua_path=[HERE],
        env={"KONG_PLUGINS": request.param},
    ) as process:
        yield process


def test_the_plugin_server_is_told_so_and_what_it_reports_all_the_same_is_not_shown(
    kong: KongProcess,
) -> None:
    bridge = Probe(kong.proxy_url, kong.admin_url).bridge
    assert bridge.wake().observed is False
    bridge.report(SAMPLES)
    page = httpx.get(kong.status_url + "/metrics").text
    assert "kong_scim" not in page
    assert "[error]" not in kong.log()
