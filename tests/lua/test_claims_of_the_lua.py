"""Where the guard finds verified claims, and what it makes of them."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import issuer
from issuer import ISSUER
from kong_scim.bridge import SUBJECTS, Epoch, Upsert
from kong_scim.sync.subjects import FOREVER, digest
from lua_node import LuaNode

SUBJECT = {"issuer": ISSUER, "claim": "sub", "ignore_case": False}
EVERY = {"claims": ["jwt", "jwt-keycloak", "kong-oidc", "openid-connect"]}
LONG_AGO = int(time.time()) - 86_400


@pytest.fixture(params=["database", "memory"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LuaNode]:
    """A node whose tenant says how tokens name people, and which has all subjects."""
    node = LuaNode(tmp_path / "kong.sqlite", dbless=request.param == "memory")
    node.plugins[0]["config"]["subjects"] = [SUBJECT]
    node.workers.configure(node.plugins)
    if request.param == "memory":
        node.bridge.commit([], epoch=Epoch("scim-bridge:a", None, becomes="store 0"))
    node.workers.run_timers(0)
    yield node
    node.store.close()


def subject(value: str, not_before: int = FOREVER, changed_at: int = 1) -> Upsert:
    return Upsert(
        SUBJECTS,
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, value)),
            "subject": digest(ISSUER, "sub", value),
            "tenant": "a",
            "user": "u",
            "not_before": not_before,
            "changed_at": changed_at,
        },
    )


def claims(name: str, **more: Any) -> dict[str, Any]:
    return {"iss": ISSUER, "sub": name, "iat": LONG_AGO, **more}


def packed(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def status(
    node: LuaNode, conf: dict[str, Any], headers: dict[str, str] | None = None, **facts: Any
) -> int:
    """Return what the guard answers; 200 if it lets the request through."""
    outcome = node.access(conf=conf, headers=headers or {}, identity_hidden=True, **facts)
    found: int = outcome.get("exit", {"status": 200})["status"]
    return found


def sources(name: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return where a plugin may put the claims of somebody, with a configuration that reads it."""
    token, of_person = issuer.token(sub=name), claims(name)
    return [
        ("jwt", {"claims": ["jwt"]}, {"token": token}),
        (
            "jwt-keycloak",
            {"claims": ["jwt-keycloak"]},
            {"shared": {"jwt_keycloak_token": {"claims": of_person}}},
        ),
        ("kong-oidc", {"claims": ["kong-oidc"]}, {"credential": {"id": name, **of_person}}),
        (
            "userinfo",
            {"claims": ["kong-oidc"]},
            {"headers": {"x-userinfo": packed(of_person)}},
        ),
        (
            "userinfo without an issuer",
            {"claims": ["openid-connect"], "claims_issuer": ISSUER},
            {"headers": {"x-userinfo": packed({"sub": name})}},
        ),
        ("id token", {"claims": ["openid-connect"]}, {"headers": {"x-id-token": token}}),
        (
            "a header of one's own",
            {"claims_headers": ["X-Claims"]},
            {"headers": {"x-claims": json.dumps(of_person)}},
        ),
        ("a context", {"claims_context": ["who"]}, {"shared": {"who": of_person}}),
        ("a token in a context", {"claims_context": ["who"]}, {"shared": {"who": token}}),
    ]


@pytest.mark.parametrize("index", range(len(sources(""))))
def test_whoever_is_refused_is_refused_wherever_the_claims_are(
    guarded: LuaNode, index: int
) -> None:
    guarded.bridge.commit([subject("mallory")])
    for name, expected in (("mallory", 403), ("ann", 200)):
        where, conf, facts = sources(name)[index]
        assert status(guarded, conf, **facts) == expected, where
        assert status(guarded, {"claims": []}, **facts) == 200, "nobody reads it"


@pytest.mark.parametrize(
    "facts",
    [
        {"token": "no.token"},
        {"token": "e30.e30." + "A" * 10},
        {"token": "e30." + "A" * 70_000 + ".x"},
        {"headers": {"x-userinfo": "%%%"}},
        {"headers": {"x-userinfo": packed(["a list"])}},
        {"headers": {"x-userinfo": packed({"iss": {"an": "object"}, "sub": ["mallory"]})}},
        {"headers": {"x-userinfo": packed({"iss": "another", "sub": "mallory"})}},
        {"headers": {"x-userinfo": packed({"sub": "mallory"})}},
        {"credential": {"id": "x", "sub": {"an": "object"}}},
        {"shared": {"jwt_keycloak_token": True}},
    ],
)
def test_what_names_nobody_is_let_through(guarded: LuaNode, facts: dict[str, Any]) -> None:
    guarded.bridge.commit([subject("mallory")])
    assert status(guarded, EVERY, **facts) == 200


def test_the_time_of_the_token_decides_after_a_return(guarded: LuaNode) -> None:
    moment = int(time.time())
    guarded.bridge.commit([subject("ann")])
    guarded.bridge.commit([subject("ann", moment, 2)])
    conf = {"claims": ["kong-oidc"]}
    for issued, expected in (
        (moment - 1, 403),
        (moment, 403),
        (moment + 1, 200),
        (None, 403),
        ("soon", 403),
    ):
        of_person = {name: value for name, value in claims("ann", iat=issued).items() if value}
        assert status(guarded, conf, credential={"id": "x", **of_person}) == expected, issued
    # The claims of a userinfo endpoint have no time, and the ID token beside them has one.
    headers = {
        "x-userinfo": packed({"iss": ISSUER, "sub": "ann"}),
        "x-id-token": packed(claims("ann", iat=moment + 5)),
    }
    assert status(guarded, conf, headers=headers) == 200


def test_of_two_values_the_one_that_changed_last_holds(guarded: LuaNode) -> None:
    put = 'require("kong.plugins.scim-bridge.subjects").put'
    workspace = guarded.lua("return kong.default_workspace")
    item = f'{{ workspace = "{workspace}", subject = "{digest(ISSUER, "sub", "ann")}", '
    for not_before, changed_at, expected in ((FOREVER, 20, 403), (5, 10, 403), (5, 30, 200)):
        guarded.lua(f"{put}({{ {item} not_before = {not_before}, changed_at = {changed_at} }} }})")
        assert status(guarded, {"claims": ["jwt"]}, token=issuer.token(sub="ann")) == expected


def test_a_commit_that_fails_leaves_the_table_as_it_was(guarded: LuaNode) -> None:
    workers, token = guarded.workers, issuer.token(sub="ann")
    note = f"""
        local subjects = require "kong.plugins.scim-bridge.subjects"
        local events = {{ {{ dao = kong.db.scim_subjects, operation = "create", entity = {{
          subject = "{digest(ISSUER, "sub", "ann")}", not_before = {FOREVER}, changed_at = 9,
        }} }} }}
        local changed = subjects.changed(events)
        subjects.note(changed)
        return function() subjects.undo(changed) end
    """
    undo = guarded.lua(note)
    assert status(guarded, {"claims": ["jwt"]}, token=token) == 403
    undo()
    workers.run_timers(0)
    assert status(guarded, {"claims": ["jwt"]}, token=token) == 200


def test_before_all_subjects_are_known_nobody_is_let_in(tmp_path: Path) -> None:
    node = LuaNode(tmp_path / "kong.sqlite", dbless=True)
    node.plugins[0]["config"]["subjects"] = [SUBJECT]
    node.workers.configure(node.plugins)
    node.workers.run_timers(0)
    facts = {"token": issuer.token(sub="ann")}
    assert status(node, {"claims": ["jwt"]}, **facts) == 503
    assert status(node, {"claims": ["jwt"]}, token=issuer.token("another", sub="ann")) == 200
    assert status(node, {"claims": ["jwt"]}) == 200
    node.bridge.commit([], epoch=Epoch("scim-bridge:a", None, becomes="applying x"))
    assert status(node, {"claims": ["jwt"]}, **facts) == 503
    node.bridge.commit([], epoch=Epoch("scim-bridge:a", "applying x", becomes="store 0"))
    assert status(node, {"claims": ["jwt"]}, **facts) == 200
    node.store.close()


def test_a_full_table_refuses_whom_it_cannot_find(guarded: LuaNode) -> None:
    guarded.lua('ngx.shared.kong:set("scim-bridge:subjects:full", true)')
    assert status(guarded, {"claims": ["jwt"]}, token=issuer.token(sub="ann")) == 503


def test_headers_with_claims_need_a_global_guard(guarded: LuaNode) -> None:
    for conf in ({"claims": ["kong-oidc"]}, {"claims_headers": ["X-Claims"]}):
        outcome = guarded.access(conf=conf)
        assert outcome["exit"]["status"] == 503
        assert "global scim-bridge" in outcome["exit"]["body"]["message"]
    assert "exit" not in guarded.access(conf={"claims": ["jwt"]})


def test_the_guard_removes_every_spelling_of_these_headers(guarded: LuaNode) -> None:
    sent = dict.fromkeys(("x-userinfo", "x_userinfo", "x-id-token", "x.claims", "accept"), "forged")
    conf = {"claims": ["kong-oidc"], "claims_headers": ["X-Claims"]}
    facts = {"node_id": "node", "headers": dict(sent)}
    assert sorted(guarded.workers.rewrite(conf, facts)) == sorted(sent.keys() - {"accept"})
