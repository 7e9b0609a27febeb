"""Lines of a real access log beside the events: what file-log writes on each host."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

from click.testing import CliRunner

from hosts import GROUP, PATIENCE, Gateway, eventually
from kong_scim.cli.main import main
from outbox import events
from scim_traffic import new_group, new_user, patch, patched_user

INACTIVE = {"op": "replace", "value": {"active": False}}


def logged(gateway: Gateway, user_id: str) -> list[dict[str, Any]]:
    """What file-log wrote of a user's requests."""
    text = gateway.access_log.read_text() if gateway.access_log.exists() else ""
    records = [json.loads(line) for line in text.splitlines()]
    return [each for each in records if each.get("scim", {}).get("user_id") == user_id]


def called(gateway: Gateway, key: str, status: int, times: int) -> None:
    for _ in range(times):
        assert gateway.call(key).status_code == status


def test_a_person_on_one_timeline(gateway: Gateway) -> None:
    alice = new_user(gateway.scim, "alice")["id"]
    staff = new_group(gateway.scim, alice, name=GROUP)["id"]
    key = gateway.give_key("alice")
    called(gateway, key, 200, 14)
    leave = {"op": "remove", "path": f'members[value eq "{alice}"]'}
    assert patch(gateway.scim, f"/Groups/{staff}", leave).status_code == 204
    called(gateway, key, 403, 3)
    patched_user(gateway.scim, alice, INACTIVE)
    events(gateway)
    eventually(lambda: len(logged(gateway, alice)) == 17, "the access log")

    options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
    shown = CliRunner().invoke(
        main, ["audit", *options, "--user", "alice", "--access", str(gateway.access_log)]
    )

    assert shown.exit_code == 0, shown.output
    # A DB-less gateway makes an event of a key that is given, too.
    lines = [line for line in shown.output.splitlines() if "  credential-" not in line]
    created, joined, used, left, refused, deactivated = lines
    assert "create  by idp, request " in created
    assert f"joined a group +{GROUP}  by idp, request " in joined
    assert "access used 14 times: GET /echo (14)" in used
    assert f"left a group -{GROUP}  by idp, request " in left
    assert "refused 3 times: GET /echo (3)" in refused
    assert "deactivate, revoked 1 keyauth_credentials suspended  by idp" in deactivated
    assert key not in shown.output


def test_a_record_says_which_event_changed_the_consumer_last(gateway: Gateway) -> None:
    alice = new_user(gateway.scim, "alice")["id"]
    key = gateway.give_key("alice")
    assert gateway.call(key, "/keyed").status_code == 200
    group = new_group(gateway.scim, alice, name=GROUP)["id"]
    assert gateway.call(key, "/keyed").status_code == 200
    last, (joined,) = events(gateway, alice)[-1], events(gateway, group)

    eventually(lambda: len(logged(gateway, alice)) == 2, "the access log")

    before, after = (record["scim"] for record in logged(gateway, alice))
    mine = {"user_id": alice, "tenant": "a"}
    assert before == {**mine, "groups": [], "last_event": last["id"]}
    assert after == {**mine, "groups": [GROUP], "last_event": joined["id"]}


def test_events_are_followed_until_the_command_is_stopped(gateway: Gateway) -> None:
    alice = new_user(gateway.scim, "alice")["id"]
    events(gateway)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "kong_scim.cli.main", "audit", "--follow", "--json"),
            *("--scim-url", gateway.scim_base, "--token", gateway.token, "--user", alice),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        try:
            assert json.loads(following.stdout.readline())["operation"] == "create"
            patched_user(gateway.scim, alice, INACTIVE)  # while it waits
            assert "deactivate" in json.loads(following.stdout.readline())["actions"]
            following.send_signal(signal.SIGINT)
            left, errors = following.communicate(timeout=PATIENCE)
        finally:
            following.kill()
    assert (left, errors.strip(), following.returncode) == ("", "", 0)
