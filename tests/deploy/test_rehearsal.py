"""What docker-compose.yml sets up, without Docker: its commands and settings, on a real Kong.

Only what containers give is replaced: paths, addresses and ports.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from composition import ROOT, SECRETS, kong_environment, services
from image import environment, started

from kong_process import KongProcess, kong_binary, requires_kong
from postgres import running_postgres

pytestmark = requires_kong

PACKAGES = ROOT / "kong-plugins"

OWN = {"PREFIX", "LUA_PACKAGE_PATH", "DATABASE", "PG_HOST", "PG_PASSWORD", "PG_USER", "PG_DATABASE"}
LISTENERS = {"PROXY_LISTEN", "ADMIN_LISTEN", "STATUS_LISTEN"}
LOGS = {"PROXY_ACCESS_LOG", "PROXY_ERROR_LOG", "ADMIN_ACCESS_LOG", "ADMIN_ERROR_LOG"}


class Echo(BaseHTTPRequestHandler):
    """The service `echo`: what Kong says of the caller."""

    def do_GET(self) -> None:
        """Answer like the NGINX_CONF of docker-compose.yml."""
        body = json.dumps({"consumer": self.headers["X-Consumer-Username"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


@dataclass(frozen=True)
class Gateway:
    """The three doors of the running composition."""

    kong: KongProcess
    proxy: httpx.Client
    scim: httpx.Client
    admin: httpx.Client


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("composition")
    run = directory / "run"
    run.mkdir()
    settings = {
        name: value.replace("/run/kong-scim", str(run))
        for name, value in kong_environment("kong").items()
        if name.removeprefix("KONG_") not in OWN | LISTENERS | LOGS
    }
    with ExitStack() as stack:
        echo = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        stack.callback(echo.server_close)
        stack.callback(echo.shutdown)
        declared = (ROOT / "kong.yml").read_text()
        upstream = f"http://127.0.0.1:{echo.server_port}"
        (directory / "kong.yml").write_text(declared.replace("http://echo:8080", upstream))

        description = directory / "scim.json"
        with description.open("w") as file:
            dump = [sys.executable, "-m", "kong_scim.pluginserver", "--dump"]
            subprocess.run(dump, env=environment(PACKAGES), stdout=file, timeout=60, check=True)
        command = PACKAGES / "start-plugin-server"
        stack.enter_context(started(command, PACKAGES, description, run))

        kong = KongProcess(
            kong_binary(),
            directory / "kong",
            postgres=stack.enter_context(running_postgres()),
            env={**settings, "SCIM_TOKEN": SECRETS["SCIM_TOKEN"]},
        )
        for step in services()["migrations"]["command"][2].split(" && "):
            kong.run(*step.split()[1:])
        [_, *arguments, _] = services()["configuration"]["command"]
        kong.run(*arguments, str(directory / "kong.yml"))
        with kong:
            trust = ssl.create_default_context()
            trust.check_hostname = False  # Kong's self-made certificate
            trust.verify_mode = ssl.CERT_NONE
            token = {"Authorization": f"Bearer {SECRETS['SCIM_TOKEN']}"}
            yield Gateway(
                kong,
                stack.enter_context(httpx.Client(base_url=kong.tls_url, verify=trust)),
                stack.enter_context(
                    httpx.Client(base_url=kong.tls_url + "/scim/v2", verify=trust, headers=token)
                ),
                stack.enter_context(httpx.Client(base_url=kong.admin_url)),
            )


def test_kongs_health_check_sees_that_it_is_ready(gateway: Gateway) -> None:
    [_, shell, option, script] = services()["kong"]["healthcheck"]["test"]
    port = httpx.URL(gateway.kong.status_url).port
    there = script.replace("/8007", f"/{port}")
    assert there != script
    assert subprocess.run([shell, option, there], check=False, timeout=30).returncode == 0
    nowhere = script.replace("/8007", "/1")
    answer = subprocess.run(
        [shell, option, nowhere], check=False, timeout=30, stderr=subprocess.DEVNULL
    )
    assert answer.returncode != 0


def test_the_admin_api_answers_its_root(gateway: Gateway) -> None:
    """With a start command of a plugin server it is a 500 (Kong/kong#14260)."""
    assert gateway.admin.get("/").status_code == 200


def test_scim_is_served_over_tls_only(gateway: Gateway) -> None:
    assert gateway.scim.get("/ServiceProviderConfig").status_code == 200
    plain = httpx.get(
        f"{gateway.kong.proxy_url}/scim/v2/ServiceProviderConfig", headers=gateway.scim.headers
    )
    assert plain.status_code == 403
    assert "https" in plain.json()["detail"]


def test_a_wrong_token_is_refused(gateway: Gateway) -> None:
    answer = gateway.scim.get("/Users", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


def test_the_readers_first_quarter_of_an_hour(gateway: Gateway) -> None:
    """A user in a group, a key, a call; disabled, and refused on the next call."""
    user = gateway.scim.post(
        "/Users",
        json={
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "alice@example.com",
            "externalId": "a1",
            "active": True,
        },
    )
    assert user.status_code == 201, user.text
    group = gateway.scim.post(
        "/Groups",
        json={
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": "api-users",
            "members": [{"value": user.json()["id"]}],
        },
    )
    assert group.status_code == 201, group.text
    key = gateway.admin.post("/consumers/alice@example.com/key-auth").json()["key"]
    called = gateway.proxy.get("/echo", headers={"apikey": key})
    assert (called.status_code, called.json()) == (200, {"consumer": "alice@example.com"})

    disabled = gateway.scim.patch(
        f"/Users/{user.json()['id']}",
        json={
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "value": {"active": False}}],
        },
    )
    assert disabled.status_code == 200, disabled.text
    assert gateway.proxy.get("/echo", headers={"apikey": key}).status_code == 401
    assert gateway.admin.get("/consumers/alice@example.com/acls").json()["data"] == []
