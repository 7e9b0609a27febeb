"""``auth: kong``: what the plugin makes of whom Kong says it authenticated."""

from __future__ import annotations

from typing import Any

import pytest
from access_support import client, plugin_with

from scim_traffic import answered, refused

GROUPS = {"idp": ["scim:users", "scim:read"], "auditors": ["scim:events"]}


def caller(*groups: str, anonymous: bool = False) -> dict[str, Any]:
    return {"name": "the-idp", "groups": list(groups), "anonymous": anonymous}


def test_the_consumer_is_named_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, _ = plugin_with(monkeypatch, auth="kong", group_scopes=GROUPS)
    scim = client(plugin, caller=caller("idp"))
    answered(scim.get("/Users"), 200)
    scim.delete("/Users/nobody")
    assert '"token": "kong:the-idp"' in scim.last.logged[0]


def test_groups_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, _ = plugin_with(monkeypatch, auth="kong", group_scopes=GROUPS)
    for path in ("/Users", "/Events"):
        response = client(plugin, caller=caller("idp", "auditors", "other")).get(path)
        assert response.status_code != 403


@pytest.mark.parametrize("who", [None, caller("idp", anonymous=True)])
def test_who_gave_no_credentials_is_401_and_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch, who: dict[str, Any] | None
) -> None:
    plugin, directory = plugin_with(monkeypatch, auth="kong", group_scopes=GROUPS)
    assert "authentication plugins" in refused(client(plugin, caller=who).get("/Users"), 401)
    assert directory.reached == []


def test_a_bearer_token_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [{"name": "t", "value": "right"}]
    plugin, _ = plugin_with(monkeypatch, auth="kong", group_scopes=GROUPS, tokens=tokens)
    refused(client(plugin, token="right").get("/Users"), 401)


def test_a_consumer_counts_for_nothing_where_bearer_tokens_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin, _ = plugin_with(
        monkeypatch, tokens=[{"name": "t", "value": "right"}], group_scopes=GROUPS
    )
    refused(client(plugin, token="", caller=caller("idp")).get("/Users"), 401)


def test_without_groups_it_is_a_wrong_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, _ = plugin_with(monkeypatch, auth="kong")
    assert "group_scopes" in refused(client(plugin, caller=caller("idp")).get("/Users"), 503)
