"""The store of a DB-less gateway, backed up while it is written, and restored as the docs say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from composition import ROOT

from agreement import disagreements
from hosts import GROUP, Gateway
from kong_process import requires_kong
from scim_traffic import get, new_group, new_user, patch

pytestmark = pytest.mark.parametrize(
    "host_name",
    ["sandbox-off", pytest.param("kong-dbless", marks=requires_kong)],
    indirect=True,
    scope="session",
)


def documented(store: Path, directory: Path) -> list[str]:
    """The command of docs/operations.md that asks SQLite for a copy, as the container runs it."""
    text = (ROOT / "docs/operations.md").read_text()
    [program] = re.findall(r"plugin-server python -c '\n(.*?)' > scim\.sqlite\n", text, re.DOTALL)
    here = program.replace("/tmp/", f"{directory}/")
    return [sys.executable, "-c", here.replace("/var/lib/kong-scim/scim.sqlite", str(store))]


def test_a_backup_brings_back_what_was_there(fresh_gateway: Gateway, tmp_path: Path) -> None:
    gateway, store = fresh_gateway, fresh_gateway.host.sqlite
    assert store is not None
    alice, bob = new_user(gateway.scim, "alice"), new_user(gateway.scim, "bob")
    new_group(gateway.scim, alice["id"], bob["id"], name=GROUP)
    key = gateway.give_key("alice")

    copy = subprocess.run(documented(store, tmp_path), capture_output=True, check=True).stdout
    new_user(gateway.scim, "late")
    inactive = {"op": "replace", "value": {"active": False}}
    assert patch(gateway.scim, f"/Users/{bob['id']}", inactive).status_code == 200

    gateway.host.stop()
    for left in store.parent.glob("scim.sqlite-*"):
        left.unlink()
    store.write_bytes(copy)
    gateway.host.start()
    gateway.wait()

    names = {user["userName"]: user["active"] for user in get(gateway.scim, "/Users")["Resources"]}
    assert names == {"alice": True, "bob": True}
    assert gateway.consumer("late") is None
    assert gateway.call(key).status_code == 200
    assert disagreements(gateway) == []
