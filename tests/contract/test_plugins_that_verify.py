"""The plugins of others that verify tokens, as they are, in front of the guard on a real Kong.

``KONG_SCIM_PLUGINS`` names a directory with ``kong/plugins/oidc`` (kong-oidc) and
``kong/plugins/jwt-keycloak``, and with ``resty/openidc.lua`` if Kong does not have it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import issuer
from hosts import ROOT, Gateway, running_gateway
from kong_process import requires_kong
from scim_traffic import new_user, patch

PLUGINS = os.environ.get("KONG_SCIM_PLUGINS", "")

pytestmark = [
    requires_kong,
    pytest.mark.skipif(not PLUGINS, reason="KONG_SCIM_PLUGINS names no directory of plugins"),
]


@pytest.fixture(scope="module", params=["kong-postgres", "kong-dbless"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with issuer.running_issuer() as url:
        oidc = {
            "client_id": "api",
            "client_secret": "nobody logs in",
            "discovery": f"{url}/.well-known/openid-configuration",
            "bearer_jwt_auth_enable": "yes",
            "bearer_only": "yes",
        }
        keycloak = {"allowed_iss": [url]}
        routes = [
            {
                "name": name,
                "paths": [f"/{name}"],
                "service": "echo",
                "plugins": [{"name": name, "config": config}],
            }
            for name, config in (("oidc", oidc), ("jwt-keycloak", keycloak))
        ]
        paths = [Path(PLUGINS), ROOT / "kong-plugins", ROOT / "tests"]
        plugins = "bundled,scim,scim-bridge,scim-consumer-groups,oidc,jwt-keycloak"
        with running_gateway(
            request.param,
            settings={
                "KONG_PLUGINS": plugins,
                "KONG_LUA_PACKAGE_PATH": "".join(f"{path}/?.lua;" for path in paths) + ";",
            },
            bridge={"claims": ["jwt", "jwt-keycloak", "kong-oidc"]},
            beside={"routes": routes},
            nodes=1,
            subjects=[{"issuer": url, "claim": "oid"}],
        ) as made:
            made.token = url
            yield made


@pytest.mark.parametrize("path", ["/oidc", "/jwt-keycloak"])
def test_a_disabled_person_is_refused_and_comes_back_with_a_new_token(
    gateway: Gateway, path: str
) -> None:
    number = path.strip("/")

    def call(age: int = 60, name: str = f"oid-{number}", **headers: str) -> httpx.Response:
        token = issuer.token(gateway.token, age=age, oid=name, sub=f"s-{name}")
        sent = {"Authorization": f"Bearer {token}", **headers}
        return gateway.api.get(path, headers=sent)

    def set_active(active: bool) -> None:
        operation: dict[str, Any] = {"op": "replace", "value": {"active": active}}
        assert patch(gateway.scim, f"/Users/{ann['id']}", operation).status_code in {200, 204}

    ann = new_user(gateway.scim, f"ann-{number}", externalId=f"oid-{number}")
    assert call().status_code == 200, call().text
    forged = issuer.token(gateway.token, oid=f"oid-{number}")
    good = issuer.token(gateway.token, oid="somebody else")
    set_active(False)
    assert [call().status_code for _ in range(6)] == [403] * 6
    assert call(**{"X-Userinfo": good}).status_code == 403
    assert call(name="somebody else", **{"X-Userinfo": forged}).status_code == 200
    set_active(True)
    assert call().status_code == 403
    assert call(age=-2).status_code == 200


@pytest.mark.parametrize("path", ["/oidc", "/jwt-keycloak"])
def test_without_a_token_nobody_is_let_in_by_a_forged_header(gateway: Gateway, path: str) -> None:
    forged = issuer.token(gateway.token, oid="somebody")
    answer = gateway.api.get(path, headers={"X-Userinfo": forged, "X-ID-Token": forged})
    assert answer.status_code == {"/oidc": 302, "/jwt-keycloak": 401}[path]  # 302: to the login
