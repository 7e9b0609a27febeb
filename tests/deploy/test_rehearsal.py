"""What the Compose files set up, without Docker: their commands and settings, on a real Kong.

Only what containers give is replaced: paths, addresses and ports.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from composition import DBLESS, POSTGRES, ROOT, Composition
from image import environment, started

from kong_process import KongProcess, kong_binary, requires_kong
from postgres import running_postgres

pytestmark = requires_kong

PACKAGES = ROOT / "kong-plugins"

OWN = {"PREFIX", "LUA_PACKAGE_PATH", "DATABASE", "DECLARATIVE_CONFIG"} | {
    f"PG_{name}" for name in ("HOST", "PASSWORD", "USER", "DATABASE")
}
LISTENERS = {"PROXY_LISTEN", "ADMIN_LISTEN", "STATUS_LISTEN"}
LOGS = {"PROXY_ACCESS_LOG", "PROXY_ERROR_LOG", "ADMIN_ACCESS_LOG", "ADMIN_ERROR_LOG"}


class Echo(BaseHTTPRequestHandler):
    """The service `echo`: what Kong says of the caller."""

    def do_GET(self) -> None:
        """Answer like the NGINX_CONF of the Compose files."""
        body = json.dumps({"consumer": self.headers["X-Consumer-Username"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


class Gateway:
    """The running composition, and its three doors."""

    def __init__(self, file: Composition, directory: Path, stack: ExitStack) -> None:
        self.file = file
        self._stack = stack
        self._run = directory / "run"
        self._run.mkdir()
        self._data = directory / "data"
        self._description = directory / "scim.json"
        with self._description.open("w") as output:
            dump = [sys.executable, "-m", "kong_scim.pluginserver", "--dump"]
            subprocess.run(dump, env=environment(PACKAGES), stdout=output, timeout=60, check=True)
        self._declared = directory / "kong.yml"
        self._declared.write_text(
            (ROOT / "kong.yml").read_text().replace("http://echo:8080", stack.enter_context(echo()))
        )
        self.kong = self._new_kong(directory / "kong")
        self.token = {"Authorization": f"Bearer {file.secrets['SCIM_TOKEN']}"}
        trust = ssl.create_default_context()
        trust.check_hostname = False  # Kong's self-made certificate
        trust.verify_mode = ssl.CERT_NONE

        def client(url: str, **options: Any) -> httpx.Client:
            return stack.enter_context(httpx.Client(base_url=url, verify=trust, **options))

        self.proxy = client(self.kong.tls_url)
        self.scim = client(self.kong.tls_url + "/scim/v2", headers=self.token)
        self.admin = client(self.kong.admin_url)
        self._running = stack.enter_context(ExitStack())

    def _new_kong(self, prefix: Path) -> KongProcess:
        settings = {
            name: value.replace("/run/kong-scim", str(self._run))
            for name, value in self.file.kong_environment("kong").items()
            if name.removeprefix("KONG_") not in OWN | LISTENERS | LOGS
        }
        with_postgres = self.file is POSTGRES
        return KongProcess(
            kong_binary(),
            prefix,
            postgres=self._stack.enter_context(running_postgres()) if with_postgres else None,
            declarative=None if with_postgres else self._declared,
            env={**settings, "SCIM_TOKEN": self.file.secrets["SCIM_TOKEN"]},
        )

    def set_up(self) -> None:
        """Do what the one-shots do, if there are any."""
        services = self.file.services
        if "migrations" in services:
            for step in services["migrations"]["command"][2].split(" && "):
                self.kong.run(*step.split()[1:])
            [_, *arguments, _] = services["configuration"]["command"]
            self.kong.run(*arguments, str(self._declared))

    def start(self) -> None:
        """Start the plugin server, then Kong."""
        path = str(self._data)
        given = self.file.services["plugin-server"].get("environment", {})
        own = {name: value.replace("/var/lib/kong-scim", path) for name, value in given.items()}
        command = PACKAGES / "start-plugin-server"
        server = started(command, PACKAGES, self._description, self._run, **own)
        self._running.enter_context(server)
        self._running.enter_context(self.kong)

    def restart(self) -> None:
        """Stop all and start it again, as ``docker compose restart`` does."""
        self._running.close()
        self.start()

    def give_key(self, username: str) -> str:
        """Give a consumer a key, as the documentation says."""
        prefix = "" if self.file is POSTGRES else "/scim-bridge"
        answer = self.admin.post(f"{prefix}/consumers/{username}/key-auth")
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        return key

    def call(self, key: str) -> httpx.Response:
        """Call the API behind ``/echo``."""
        return self.proxy.get("/echo", headers={"apikey": key})


@contextmanager
def echo() -> Iterator[str]:
    """Run the service `echo`, and yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module", params=(POSTGRES, DBLESS), ids=repr)
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    with ExitStack() as stack:
        gateway = Gateway(request.param, tmp_path_factory.mktemp("composition"), stack)
        gateway.set_up()
        gateway.start()
        yield gateway


def test_kongs_health_check_sees_that_it_is_ready(gateway: Gateway) -> None:
    [_, shell, option, script] = gateway.file.services["kong"]["healthcheck"]["test"]
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


def new_user(gateway: Gateway, name: str) -> str:
    answer = gateway.scim.post(
        "/Users",
        json={
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": name,
            "externalId": f"id-of-{name}",
            "active": True,
        },
    )
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def test_the_readers_first_quarter_of_an_hour(gateway: Gateway) -> None:
    """Users in a group, keys, calls; one is disabled, refused on the next call, and stays so."""
    alice, bob = new_user(gateway, "alice@example.com"), new_user(gateway, "bob@example.com")
    group = gateway.scim.post(
        "/Groups",
        json={
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": "api-users",
            "members": [{"value": alice}, {"value": bob}],
        },
    )
    assert group.status_code == 201, group.text
    key, key_of_bob = gateway.give_key("alice@example.com"), gateway.give_key("bob@example.com")
    called = gateway.call(key)
    assert (called.status_code, called.json()) == (200, {"consumer": "alice@example.com"})

    disabled = gateway.scim.patch(
        f"/Users/{alice}",
        json={
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "value": {"active": False}}],
        },
    )
    assert disabled.status_code == 200, disabled.text
    assert gateway.call(key).status_code == 401
    assert gateway.admin.get("/consumers/alice@example.com/acls").json()["data"] == []

    gateway.restart()

    deadline = time.monotonic() + 30  # Kong's memory is given its consumers again
    while gateway.call(key_of_bob).status_code != 200:
        assert time.monotonic() < deadline, gateway.kong.log()[-2000:]
        time.sleep(0.02)
    assert gateway.call(key).status_code == 401
    assert gateway.scim.get(f"/Users/{alice}").json()["active"] is False
