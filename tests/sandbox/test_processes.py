"""The sandbox as processes: what it prints, what outlives it, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from declared import declaration
from host_processes import PATIENCE, SandboxHost, eventually
from hosts import scim_client
from kong_scim_sandbox.gateway import FIRST_LINE

pytestmark = pytest.mark.long

COMMAND = [sys.executable, "-m", "kong_scim.cli.main", "sandbox"]
FREE_PORTS = ["--port", "0", "--admin-port", "0"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SandboxHost]:
    host = SandboxHost(tmp_path, declaration("http://echo:8080", tmp_path / "access.json"))
    host.start()
    yield host
    host.stop()


def refusal(*arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *FREE_PORTS, *arguments],
        env={name: value for name, value in os.environ.items() if name != "SCIM_TOKEN"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


class TestWhatItPrints:
    def run(self, *arguments: str, **env: str) -> tuple[list[str], dict[str, str]]:
        with subprocess.Popen(
            [*COMMAND, *FREE_PORTS, *arguments],
            env={**{k: v for k, v in os.environ.items() if k != "SCIM_TOKEN"}, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                lines = [process.stdout.readline().rstrip("\n") for _ in range(5)]
                said = dict(line.split(": ", 1) for line in lines[1:])
                token = re.sub(r"^\(as in .*", env.get("SCIM_TOKEN", ""), said["SCIM token"])
                with scim_client(said["SCIM base URL"], token) as client:
                    assert client.get("/ServiceProviderConfig").status_code == 200
                with scim_client(said["SCIM base URL"], token + "x") as client:
                    assert client.get("/Users").status_code == 401
            finally:
                process.terminate()
            assert process.wait(PATIENCE) == 0
        return lines, said

    def test_it_is_no_kong_then_where_to_point_an_identity_provider(self) -> None:
        lines, said = self.run()
        assert lines[0] == FIRST_LINE
        assert "no Kong" in lines[0]
        assert lines[1].startswith("SCIM base URL: http://127.0.0.1:")
        assert lines[2].startswith("SCIM token: ")
        assert len(said["SCIM token"]) >= 32

    def test_the_token_that_it_was_given(self) -> None:
        assert self.run("--token", "t0ken")[1]["SCIM token"] == "t0ken"

    def test_not_the_token_of_the_environment(self) -> None:
        _, said = self.run(SCIM_TOKEN="sekret-of-mine")
        assert said["SCIM token"] == "(as in the environment, SCIM_TOKEN)"


class TestWhatStopsIt:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert "nosuch.yml" in refusal("--config", str(tmp_path / "nosuch.yml"))

    def test_a_file_that_it_cannot_serve(self, tmp_path: Path) -> None:
        config = tmp_path / "kong.yml"
        config.write_text('_format_version: "3.0"\nplugins:\n  - name: rate-limiting\n')
        message = refusal("--config", str(config))
        assert (
            f"{config}:3: in plugins[0].name: this sandbox has no plugin 'rate-limiting'" in message
        )
        assert "Traceback" not in message

    def test_consumers_that_clash(self, tmp_path: Path) -> None:
        config = tmp_path / "kong.yml"
        config.write_text(
            '_format_version: "3.0"\nconsumers:\n'
            "  - {username: a, custom_id: x}\n  - {username: b, custom_id: x}\n"
        )
        assert "UNIQUE violation detected on '{custom_id=\"x\"}'" in refusal(
            "--config", str(config)
        )

    def test_a_token_for_a_file_that_has_its_own(self, tmp_path: Path) -> None:
        config = tmp_path / "kong.yml"
        config.write_text(
            '_format_version: "3.0"\nroutes:\n  - paths: [/scim]\n    plugins:\n'
            "      - {name: scim, config: {tokens: [{name: a, value: literal}]}}\n"
        )
        assert "--token needs" in refusal("--config", str(config), "--token", "t")

    def test_a_port_that_is_taken(self, host: SandboxHost) -> None:
        port = str(httpx.URL(host.proxy_urls[0]).port)
        assert f"port {port}" in refusal("--port", port)


class TestWhatOutlivesIt:
    def test_everything_that_was_answered_outlives_a_kill_dash_nine(
        self, host: SandboxHost
    ) -> None:
        with httpx.Client(base_url=host.admin_url) as admin:
            made = admin.post("/consumers", json={"username": "lasts", "tags": ["t"]}).json()
            key = admin.post("/consumers/lasts/key-auth", json={}).json()
            admin.post("/consumers/lasts/acls", json={"group": "employees"}).raise_for_status()
        with scim_client(host.proxy_urls[0] + "/scim/v2", "token-of-tenant-a") as scim:
            user = scim.post("/Users", json=_user("survivor")).raise_for_status().json()
        host.kill_gateway()
        assert httpx.get(f"{host.admin_url}/consumers/lasts").json() == made
        assert httpx.get(f"{host.proxy_urls[0]}/echo?apikey={key['key']}").status_code == 200
        assert httpx.get(f"{host.admin_url}/consumers/survivor").status_code == 200
        with scim_client(host.proxy_urls[0] + "/scim/v2", "token-of-tenant-a") as scim:
            assert scim.get(f"/Users/{user['id']}").json() == user

    def test_consumers_of_the_file_are_written_once(self, tmp_path: Path) -> None:
        content = declaration("http://echo:8080", tmp_path / "access.json") | {
            "consumers": [{"username": "declared"}]
        }
        host = SandboxHost(tmp_path, content)
        host.start()
        try:
            first = httpx.get(f"{host.admin_url}/consumers/declared").json()
            host.stop()
            host.start()
            assert httpx.get(f"{host.admin_url}/consumers/declared").json() == first
        finally:
            host.stop()

    def test_the_data_is_readable_by_its_owner_only(
        self, host: SandboxHost, tmp_path: Path
    ) -> None:
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


class TestThePluginServer:
    def test_dies_and_the_next_request_is_served(self, host: SandboxHost) -> None:
        with scim_client(host.proxy_urls[0] + "/scim/v2", "token-of-tenant-a") as scim:
            before = _plugin_server(host)
            for _ in range(3):
                host.kill_plugin_server()
                assert scim.get("/Users").status_code == 200
            assert _plugin_server(host) != before

    def test_dies_and_no_instance_answers_for_another(self, host: SandboxHost) -> None:
        """Instances are numbered from zero again: tenant b must not get what was tenant a's."""
        a = scim_client(host.proxy_urls[0] + "/scim/v2", "token-of-tenant-a")
        b = scim_client(host.proxy_urls[0] + "/other/scim/v2", "token-of-tenant-b")
        with a, b:
            assert (a.get("/Users").status_code, b.get("/Users").status_code) == (200, 200)
            host.kill_plugin_server()
            assert (b.get("/Users").status_code, a.get("/Users").status_code) == (200, 200)

    def test_hangs_and_apis_are_served_meanwhile(self, host: SandboxHost) -> None:
        pid = _plugin_server(host)
        os.kill(pid, signal.SIGSTOP)
        try:
            assert httpx.get(host.proxy_urls[0] + "/echo").status_code == 401
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with room for the name of a socket, which may have 107 characters in all."""
    with tempfile.TemporaryDirectory(prefix="scim-") as directory:
        yield Path(directory)


class TestWhatItLeaves:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_nothing_runs_after_a_signal(self, tmp_path: Path, number: signal.Signals) -> None:
        host = SandboxHost(tmp_path, declaration("http://echo:8080", tmp_path / "access.json"))
        host.start()
        processes = _processes(host)
        assert len(processes) >= 2
        os.kill(host.pid, number)
        host.stop()
        assert psutil.wait_procs(processes, PATIENCE)[1] == []
        assert "Traceback" not in host.log()

    def test_nothing_runs_after_a_kill_dash_nine(self, tmp_path: Path) -> None:
        host = SandboxHost(tmp_path, declaration("http://echo:8080", tmp_path / "access.json"))
        host.start()
        processes = _processes(host)
        os.kill(host.pid, signal.SIGKILL)
        host.stop()
        assert psutil.wait_procs(processes, PATIENCE)[1] == []

    def test_no_socket_and_no_data_of_its_own(self, short_path: Path) -> None:
        with subprocess.Popen(
            [*COMMAND, *FREE_PORTS],
            env={**os.environ, "TMPDIR": str(short_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert list(short_path.iterdir()) != []
            process.terminate()
            assert process.wait(PATIENCE) == 0
        eventually(lambda: list(short_path.iterdir()) == [], "an empty directory")


def _user(name: str) -> dict[str, object]:
    return {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name}


def _plugin_server(host: SandboxHost) -> int:
    def pid() -> int | None:
        found: int | None = httpx.get(f"{host.admin_url}/status").json()["plugin_server"]["pid"]
        return found

    eventually(lambda: pid() is not None, "a plugin server")
    found = pid()
    assert found is not None
    return found


def _processes(host: SandboxHost) -> list[psutil.Process]:
    process = psutil.Process(host.pid)
    return [process, *process.children(recursive=True)]
