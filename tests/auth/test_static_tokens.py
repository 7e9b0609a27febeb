"""Bearer tokens of the configuration: how they come, how long they count, and from where."""

from __future__ import annotations

import hashlib
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from access_support import challenge, client, plugin_with

from in_process import Kong
from kong_scim.app import Plugin
from kong_scim.auth.authenticator import MOST_NAMES, Uses
from kong_scim.auth.tokens import TokenFile
from scim_traffic import answered, refused
from secret_files import replace

REFERENCE = "{vault://env/scim-token}"


def moment(**ahead: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**ahead):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Plugin:
    tokens = [{"name": "old", "value": "value-of-old"}, {"name": "new", "value": "value-of-new"}]
    plugin, _ = plugin_with(monkeypatch, tokens=tokens)
    return plugin


@pytest.mark.parametrize("name", ["old", "new"])
def test_any_of_several_tokens_is_accepted_and_named(two: Plugin, name: str) -> None:
    scim = client(two, token=f"value-of-{name}")
    refused(scim.delete("/Users/nobody"), 404)
    assert f'"token": "{name}"' in scim.last.logged[0]


@pytest.mark.parametrize(
    "header", ["bearer value-of-old", "BEARER value-of-old", "  Bearer   value-of-old  "]
)
def test_the_scheme_is_matched_without_regard_to_case(two: Plugin, header: str) -> None:
    """RFC 9110 §11.1."""
    answered(client(two).get("/Users", headers={"Authorization": header}), 200)


@pytest.mark.parametrize(
    "header",
    [
        "value-of-old",
        "Bearer",
        "Bearer ",
        "Basic value-of-old",
        "Bearer value-of-ol",
        "Bearer value-of-old2",
        "Bearer value-of-ole",
        "Bearer VALUE-OF-OLD",
        "Bearer value-of-old value-of-new",
        b"Bearer \xff",
        "Bearer ü".encode(),
    ],
)
def test_a_token_with_one_changed_byte_or_anything_else_is_401_and_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch, header: str | bytes
) -> None:
    tokens = [{"name": "old", "value": "value-of-old"}]
    plugin, directory = plugin_with(monkeypatch, tokens=tokens)
    response = client(plugin).get("/Users", headers=[(b"Authorization", header)])  # type: ignore[list-item]
    refused(response, 401)
    assert 'error="invalid_token"' in challenge(response)
    assert directory.reached == []


def test_no_credentials_are_told_from_wrong_ones(two: Plugin) -> None:
    response = client(two).get("/Users", headers={"Authorization": ""})
    refused(response, 401)
    assert "error" not in challenge(response)


# -- By vault reference ----------------------------------------------------


def vaulted(value: str | None) -> type[Kong]:
    class Vaulted(Kong):
        def __init__(self, request: dict[str, Any]) -> None:
            super().__init__(request, {REFERENCE: value})

    return Vaulted


@pytest.fixture
def referring(monkeypatch: pytest.MonkeyPatch) -> Plugin:
    token = {"name": "vault", "value": "stale", "$refs": {"value": REFERENCE}}
    plugin, _ = plugin_with(monkeypatch, tokens=[token])
    return plugin


def test_a_referenced_token_is_the_live_value_and_not_the_one_at_the_start(
    referring: Plugin,
) -> None:
    kong = vaulted("rotated\n")
    answered(client(referring, token="rotated", kong=kong).get("/Users"), 200)
    refused(client(referring, token="stale", kong=kong).get("/Users"), 401)


@pytest.mark.parametrize("live", [None, "", "  "])
@pytest.mark.parametrize("given", ["stale", "", "None", REFERENCE])
def test_a_reference_without_a_value_lets_nobody_in(
    referring: Plugin, live: str | None, given: str
) -> None:
    refused(client(referring, token=given, kong=vaulted(live)).get("/Users"), 401)


# -- By digest -------------------------------------------------------------


def test_a_digest_accepts_the_token_and_not_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"kept nowhere").hexdigest()
    plugin, _ = plugin_with(monkeypatch, tokens=[{"name": "d", "sha256": digest}])
    answered(client(plugin, token="kept nowhere").get("/Users"), 200)
    refused(client(plugin, token=digest).get("/Users"), 401)


@pytest.mark.parametrize(
    "token",
    [
        {"name": "a"},
        {"name": "a", "value": "x", "sha256": "0" * 64},
        {"name": "a", "value": "x", "file": "/run/token"},
        {"name": "a", "file": "relative"},
        {"name": "a", "value": "x", "expires": "2027-02-31T00:00:00Z"},
        {"name": "a", "value": "x", "networks": ["10.0.0.0/33"]},
        {"name": "a", "value": "s3cret", "scopes": ["scim:everything"]},
    ],
)
def test_a_token_that_cannot_work_is_a_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, token: dict[str, Any]
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=[token])
    detail = refused(client(plugin).get("/Users"), 503)
    assert "config.tokens.0" in detail
    assert "s3cret" not in detail


# -- From a file -----------------------------------------------------------


def test_a_token_file_that_is_replaced_counts_from_the_next_request_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    plugin, _ = plugin_with(monkeypatch, tokens=[{"name": "f", "file": str(path)}])
    answered(client(plugin, token="first").get("/Users"), 200)
    replace(path, "first\nsecond\n")  # both during the rotation
    for token in ("first", "second"):
        answered(client(plugin, token=token).get("/Users"), 200)
    replace(path, "second\n")
    refused(client(plugin, token="first").get("/Users"), 401)
    answered(client(plugin, token="second").get("/Users"), 200)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_token_file_without_a_token_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    plugin, _ = plugin_with(monkeypatch, tokens=[{"name": "f", "file": str(path)}])
    for given in ("", " ", "None"):
        refused(client(plugin, token=given).get("/Users"), 401)


def test_a_token_file_that_goes_away_lets_nobody_in_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    plugin, _ = plugin_with(monkeypatch, tokens=[{"name": "f", "file": str(path)}])
    answered(client(plugin, token="first").get("/Users"), 200)
    path.unlink()
    for _ in range(3):
        refused(client(plugin, token="first").get("/Users"), 401)
    assert caplog.text.count("No such file") == 1
    path.write_text("first")
    answered(client(plugin, token="first").get("/Users"), 200)


def test_a_change_in_place_of_the_same_length_and_time_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("aaaa")
    file = TokenFile(str(path), clock=lambda: 0.0)
    (before,) = file.digests()
    stamp = path.stat()
    while path.stat().st_ctime_ns == stamp.st_ctime_ns:  # until the kernel's clock has moved on
        path.write_text("bbbb")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert path.stat().st_mtime_ns == stamp.st_mtime_ns
    assert file.digests() != (before,)


def test_a_change_that_no_time_stamp_shows_counts_within_a_second(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("aaaa")
    stamp = path.stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: stamp)  # as within one tick of the clock
    seconds = [0.0]
    file = TokenFile(str(path), clock=lambda: seconds[0])
    (before,) = file.digests()
    path.write_text("bbbb")
    seconds[0] = 0.99
    assert file.digests() == (before,)
    seconds[0] = 1.0
    assert file.digests() != (before,)


# -- Expiry and networks ---------------------------------------------------


def test_an_expired_token_is_401_with_a_description(monkeypatch: pytest.MonkeyPatch) -> None:
    token = {"name": "a", "value": "late", "expires": moment(seconds=-1)}
    plugin, directory = plugin_with(monkeypatch, tokens=[token])
    response = client(plugin, token="late").get("/Users")
    assert "expired" in refused(response, 401)
    assert 'error="invalid_token", error_description="The token expired"' in challenge(response)
    assert directory.reached == []


def test_nobody_learns_from_a_guess_that_a_token_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    token = {"name": "a", "value": "late", "expires": moment(seconds=-1)}
    plugin, _ = plugin_with(monkeypatch, tokens=[token])
    assert "expired" not in refused(client(plugin, token="guess").get("/Users"), 401)


@pytest.mark.parametrize(("days", "lines"), [(13.9, 1), (15, 0)])
def test_a_token_that_expires_within_14_days_is_warned_of_once_a_day(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, days: float, lines: int
) -> None:
    token = {"name": "soon", "value": "t", "expires": moment(days=days)}
    plugin, _ = plugin_with(monkeypatch, tokens=[token])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            answered(client(plugin, token="t").get("/Users"), 200)
    assert caplog.text.count("token soon expires at") == lines


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("203.0.113.7", True),
        ("::ffff:203.0.113.7", True),
        ("2001:db8::7", True),
        ("203.0.114.7", False),
        ("2001:db9::7", False),
        ("unix:", False),
    ],
)
def test_a_token_from_outside_its_networks_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, accepted: bool
) -> None:
    token = {"name": "a", "value": "t", "networks": ["203.0.113.0/24", "2001:db8::/32"]}
    plugin, directory = plugin_with(monkeypatch, tokens=[token])
    response = client(plugin, token="t", client_ip=address).get("/Users")
    if accepted:
        answered(response, 200)
    else:
        assert "address" in refused(response, 403)
        assert "error" not in challenge(response)
        assert directory.reached == []


# -- The last use ----------------------------------------------------------


def test_as_many_names_are_remembered_as_are_kept_and_the_longest_unused_goes() -> None:
    """JWTs name clients that no configuration lists."""
    uses = Uses()
    for number in range(MOST_NAMES):
        uses.note("a", f"jwt:{number}")
    uses.note("a", "jwt:0")
    uses.note("a", "jwt:new")
    found = uses.of("a")
    assert len(found) == MOST_NAMES
    assert "jwt:0" in found
    assert "jwt:1" not in found
    assert uses.of("b") == {}
