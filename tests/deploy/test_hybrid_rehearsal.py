"""What docker-compose.hybrid.yml sets up, without Docker: its settings on a real Kong.

Only what containers give is replaced: paths, addresses and ports.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from composition import HYBRID, ROOT
from image import environment, started
from test_rehearsal import LISTENERS, LOGS, OWN, PACKAGES, echo

from host_processes import eventually
from kong_process import KongProcess, kong_binary, requires_kong
from ports import free_port
from postgres import running_postgres
from scim_traffic import answered, new_group, new_user, patch

pytestmark = requires_kong


class Nodes:
    """The control plane and the data plane, with the settings of the Compose file."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._replaced = {
            "/run/kong-scim": str(directory / "run"),
            "/run/kong-cluster": str(directory / "cluster"),
            "control-plane:8005": f"127.0.0.1:{(port := free_port())}",
            "0.0.0.0:8005": f"127.0.0.1:{port}",
            "system,": "",  # the certificates of the image
        }
        for name in ("run", "cluster"):
            (directory / name).mkdir()
        postgres = stack.enter_context(running_postgres()).new_database("kong")
        self.control_plane = KongProcess(
            kong_binary(), directory / "control", postgres=postgres, env=self._of("control-plane")
        )
        self.data_plane = KongProcess(kong_binary(), directory / "data", env=self._of("kong"))

    def _of(self, service: str) -> dict[str, str]:
        own = OWN | LISTENERS | LOGS
        return {
            **{
                name: self.replaced(value)
                for name, value in HYBRID.kong_environment(service).items()
                if name.removeprefix("KONG_") not in own
            },
            "SCIM_TOKEN": HYBRID.secrets["SCIM_TOKEN"],
        }

    def replaced(self, text: str) -> str:
        """Return a text of the Compose file with the paths and addresses of this machine."""
        for there, here in self._replaced.items():
            text = text.replace(there, here)
        return text


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    directory = tmp_path_factory.mktemp("hybrid")
    description, declared = directory / "scim.json", directory / "kong.yml"
    with ExitStack() as stack:
        with description.open("w") as output:
            dump = [sys.executable, "-m", "kong_scim.pluginserver", "--dump"]
            subprocess.run(dump, env=environment(PACKAGES), stdout=output, timeout=60, check=True)
        text = (ROOT / "kong.yml").read_text()
        declared.write_text(text.replace("http://echo:8080", stack.enter_context(echo())))
        nodes = Nodes(directory, stack)
        [_, _, generate] = HYBRID.services["certificate"]["command"]
        _, _, command = nodes.replaced(generate).partition(" || ")
        nodes.control_plane.run(*command.split()[1:])
        for step in HYBRID.services["migrations"]["command"][2].split(" && "):
            nodes.control_plane.run(*step.split()[1:])
        [_, *arguments, _] = HYBRID.services["configuration"]["command"]
        nodes.control_plane.run(*arguments, str(declared))
        command_of_server = PACKAGES / "start-plugin-server"
        stack.enter_context(started(command_of_server, PACKAGES, description, directory / "run"))
        stack.enter_context(nodes.control_plane)
        stack.enter_context(nodes.data_plane)
        yield nodes


def test_a_person_comes_gets_access_and_is_refused_on_the_next_call(nodes: Nodes) -> None:
    headers = {"Authorization": f"Bearer {HYBRID.secrets['SCIM_TOKEN']}"}
    base = nodes.data_plane.tls_url
    with httpx.Client(base_url=base + "/scim/v2", headers=headers, verify=False) as scim:
        eventually(lambda: scim.get("/Users").is_success, "SCIM on the data plane")
        user = new_user(scim, "alice@example.com")
        new_group(scim, user["id"], name="api-users")
        keys = f"{nodes.control_plane.admin_url}/consumers/alice@example.com/key-auth"
        key = httpx.post(keys).raise_for_status().json()["key"]

        def called() -> int:
            return httpx.get(f"{base}/echo", headers={"apikey": key}, verify=False).status_code

        eventually(lambda: called() == 200, "the configuration on the data plane")
        disabled = patch(
            scim, f"/Users/{user['id']}", {"op": "replace", "value": {"active": False}}
        )
        answered(disabled, 200)
        assert called() in {401, 403}


def test_the_health_check_of_both_sees_that_they_are_ready(nodes: Nodes) -> None:
    for name, node in (("control-plane", nodes.control_plane), ("kong", nodes.data_plane)):
        [_, shell, option, script] = HYBRID.services[name]["healthcheck"]["test"]
        port = httpx.URL(node.status_url).port
        there = script.replace("/8007", f"/{port}")
        assert subprocess.run([shell, option, there], check=False, timeout=30).returncode == 0
