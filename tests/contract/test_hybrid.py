"""A data plane, where whatever is written is wiped by the next push: the plugin says so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from declared import declaration
from host_processes import eventually
from kong_process import KongProcess, kong_binary, requires_kong
from ports import free_ports
from postgres import Postgres, running_postgres
from scim_traffic import refused, user_body

pytestmark = requires_kong

TOKEN = "token-of-the-tests"
SECRETS = {"SCIM_TOKEN_A": TOKEN, "SCIM_TOKEN_B": "another"}
WARNING = "this is a data plane, where the next push of the control plane wipes what is written"


@dataclass(frozen=True)
class Hybrid:
    """A control plane, and one data plane that has its configuration."""

    control_plane: KongProcess
    data_plane: KongProcess

    def scim(self) -> httpx.Client:
        """A client of the SCIM endpoint on the data plane."""
        return httpx.Client(
            base_url=self.data_plane.proxy_url + "/scim/v2",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
        )


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hybrid]:
    directory = tmp_path_factory.mktemp("hybrid")
    socket, dump, declared = (directory / name for name in ("s.sock", "scim.json", "kong.yml"))
    declared.write_text(json.dumps(declaration("http://127.0.0.1:1", directory / "access.json")))
    server = [sys.executable, "-m", "kong_scim.pluginserver"]
    dump.write_bytes(subprocess.run([*server, "--dump"], capture_output=True, check=True).stdout)
    certificate, key = directory / "cluster.crt", directory / "cluster.key"
    cluster, telemetry = free_ports(2)
    shared = {"CLUSTER_CERT": str(certificate), "CLUSTER_CERT_KEY": str(key)}

    def node(role: str, postgres: Postgres | None, **settings: str) -> KongProcess:
        settings |= {"ROLE": role, **shared}
        return KongProcess(
            kong_binary(),
            directory / role,
            postgres=postgres,
            plugins=("scim", "scim-bridge"),
            pluginserver=(socket, dump),
            env={**SECRETS, **{f"KONG_{name}": value for name, value in settings.items()}},
        )

    with ExitStack() as stack:
        plugin_server = subprocess.Popen([*server, "--socket", str(socket)])
        stack.callback(plugin_server.wait)
        stack.callback(plugin_server.terminate)
        control_plane = node(
            "control_plane",
            stack.enter_context(running_postgres()).new_database("kong"),
            CLUSTER_LISTEN=f"127.0.0.1:{cluster}",
            CLUSTER_TELEMETRY_LISTEN=f"127.0.0.1:{telemetry}",
        )
        data_plane = node(
            "data_plane",
            None,
            ADMIN_LISTEN="off",
            CLUSTER_CONTROL_PLANE=f"127.0.0.1:{cluster}",
            LUA_SSL_TRUSTED_CERTIFICATE=str(certificate),
        )
        control_plane.run("hybrid", "gen_cert", str(certificate), str(key))
        control_plane.run("migrations", "bootstrap")
        control_plane.run("config", "db_import", str(declared))
        stack.enter_context(control_plane)
        stack.enter_context(data_plane)
        hybrid = Hybrid(control_plane, data_plane)
        with hybrid.scim() as scim:
            eventually(
                lambda: scim.get("/ServiceProviderConfig").status_code != 404,
                "the route that the control plane pushes",
            )
        yield hybrid


def test_a_data_plane_answers_501_and_says_why(hybrid: Hybrid) -> None:
    with hybrid.scim() as scim:
        for answer in (scim.get("/Users"), scim.post("/Users", json=user_body("alice"))):
            detail = refused(answer, 501)
            assert "This is a data plane" in detail
            assert "Send provisioning to a traditional or a DB-less Kong" in detail


def test_a_stranger_is_not_told(hybrid: Hybrid) -> None:
    with hybrid.scim() as scim:
        refused(scim.get("/Users", headers={"Authorization": "Bearer wrong"}), 401)


def test_the_guard_refuses_there_whom_the_control_plane_suspends(hybrid: Hybrid) -> None:
    """What is written on the control plane by somebody else reaches it by the push."""
    admin = httpx.Client(base_url=hybrid.control_plane.admin_url, trust_env=False)
    for name, tags in (("alice", []), ("bob", ["scim:suspended"])):
        made = admin.post("/consumers", json={"username": name, "tags": tags})
        made.raise_for_status()
        admin.post(f"/consumers/{name}/key-auth", json={"key": name}).raise_for_status()

    def called(key: str) -> int:
        url = hybrid.data_plane.proxy_url + "/keyed"
        return httpx.get(url, headers={"apikey": key}, trust_env=False).status_code

    eventually(lambda: called("bob") != 401, "bob's key on the data plane")
    assert called("bob") == 403
    assert called("alice") == 502  # let through, to an upstream that is not there


def test_a_data_plane_logs_it_once_when_it_starts(hybrid: Hybrid) -> None:
    assert hybrid.data_plane.log().count(WARNING) == 1
    assert WARNING not in hybrid.control_plane.log()
