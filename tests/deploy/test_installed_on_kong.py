"""The wheel and the rock together, on a real Kong with the configuration of the Helm values."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml
from composition import ROOT
from installed import Installed, built

from hosts import scim_client
from kong_process import KongProcess, kong_binary, requires_kong
from scim_traffic import new_user


@requires_kong
@pytest.mark.skipif(shutil.which("luarocks") is None, reason="luarocks is not installed")
def test_a_user_is_provisioned(tmp_path: Path) -> None:
    server = Installed(tmp_path / "venv", built(ROOT, tmp_path / "wheel"))
    tree, socket, dump = tmp_path / "tree", tmp_path / "scim.socket", tmp_path / "scim.json"
    make = ["luarocks", "make", "--tree", str(tree)]
    subprocess.run(make, cwd=ROOT / "kong-plugins", check=True, capture_output=True)

    dump.write_text(server.run("kong-scim-plugin-server", "--dump").stdout)
    values = yaml.safe_load((ROOT / "kong-plugins/helm/values.dbless.yaml").read_text())
    configuration = tmp_path / "kong.yml"
    configuration.write_text(values["dblessConfig"]["config"])
    command = [server.bin / "kong-scim-plugin-server", "--socket", socket, "--data", tmp_path / "d"]
    with subprocess.Popen(command, env=server.environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not socket.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with KongProcess(
                kong_binary(),
                tmp_path / "prefix",
                declarative=configuration,
                plugins=("scim", "scim-bridge"),
                pluginserver=(socket, dump),
                env={
                    "KONG_LUA_PACKAGE_PATH": f"{tree}/share/lua/5.1/?.lua;;",
                    "KONG_TRUSTED_IPS": "127.0.0.1",
                    "SCIM_TOKEN": "a-token",
                },
            ) as kong:
                with scim_client(f"{kong.proxy_url}/scim/v2", "a-token") as client:
                    client.headers["X-Forwarded-Proto"] = "https"
                    new_user(client, "alice")
                found = httpx.get(f"{kong.admin_url}/consumers/alice")
                assert found.status_code == 200
        finally:
            process.terminate()
