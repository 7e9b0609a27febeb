"""``scim.py`` in both servers: kong-pdk's own, as a process with its own command line, and ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kong_side import KongSide
from served import PLUGINS, answers, eventually, server_process

from kong_scim.config import kong_schema

CONFIG = {
    "__key__": "plugins:scim:0dc6f45b::::",
    "__seq__": 15,
    "route_id": "e21798d2",
    "$refs": {},
    "tenant": "acme",
    "tokens": [{"name": "okta", "value": "secret"}],
}


@contextmanager
def stock_server(path: Path) -> Iterator[None]:
    executable = Path(sys.executable).with_name("kong-python-pluginserver")
    command = [executable, "-p", path.parent, "--socket-name", path.name, "-d", PLUGINS]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(path), seconds=30)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def our_server(path: Path) -> Iterator[None]:
    with server_process("--socket", str(path)) as process:
        eventually(lambda: answers(path) or process.poll() is not None, seconds=30)
        yield


@pytest.fixture(params=[stock_server, our_server], ids=["stock", "ours"])
def kong(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KongSide]:
    path = tmp_path / "s.sock"
    with request.param(path):
        side = KongSide(path)
        yield side
        side.close()


def test_scim_py_loads_and_describes_itself(kong):
    info = kong.call("plugin.GetPluginInfo", "scim")
    assert (info["Name"], info["Priority"]) == ("scim", 755)
    assert "access" in info["Phases"]
    (config,) = info["Schema"]["fields"]
    assert config == {"config": {"type": "record", "fields": kong_schema.fields()}}


def test_scim_py_answers_a_request(kong):
    """Without scim-bridge a call answers nil (docs/kong.md#methods-are-found-by-name)."""
    start = {"Name": "scim", "Config": json.dumps(CONFIG)}
    instance = kong.call("plugin.StartInstance", start)["Id"]
    outcome = kong.handle(instance)
    assert [method for method, _ in outcome.calls][:1] == ["kong.scim.begin"]
    assert outcome.exit[0] == 503
    assert "scim-bridge" in outcome.exit[1]


def test_scim_py_with_a_configuration_that_cannot_work_says_so_on_each_request(kong):
    config = json.dumps({**CONFIG, "tenant": "../x"})
    instance = kong.call("plugin.StartInstance", {"Name": "scim", "Config": config})["Id"]
    outcome = kong.handle(instance)
    assert outcome.exit[0] == 503
    assert "tenant" in outcome.exit[1]
    assert "secret" not in outcome.exit[1]


def test_the_dump_is_what_kong_reads():
    with server_process("--dump") as process:
        out, _ = process.communicate()
    (info,) = json.loads(out)
    assert info["Name"] == info["Schema"]["name"] == "scim"
    assert info["Version"]
