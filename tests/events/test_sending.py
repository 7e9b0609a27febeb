"""One POST: what may be called, and what is made of any answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from certificates import AUTHORITY_KEY, KEY_USAGE, SUBJECT_KEY, Authority
from kong_scim.events.webhooks.http import KEPT, READ, Answer, Sender, _seconds
from kong_scim.outgoing.addresses import is_public
from ports import free_port
from receiver import (
    CLOSE,
    DRIP_BODY,
    DRIP_HEAD,
    DRIP_INTERIM,
    HALF,
    HANG,
    Receiver,
    raw_answer,
    receiver,
)


def _with(prefix: str, after: int) -> Callable[[str], str]:
    """Return what puts an IPv4 address behind so many octets of a prefix (RFC 6052 §2.2)."""

    def form(carried: str) -> str:
        octets = list(IPv6Address(prefix).packed[:after])
        for octet in IPv4Address(carried).packed:
            if len(octets) == 8 and 6 <= after < 12:
                octets.append(0)
            octets.append(octet)
        return str(IPv6Address(bytes(octets).ljust(16, b"\0")))

    return form


def _teredo(carried: str) -> str:
    server, client = IPv4Address("93.184.216.34"), IPv4Address(carried)
    hidden = bytes(255 - octet for octet in client.packed)
    return str(IPv6Address(bytes.fromhex("20010000") + server.packed + bytes(4) + hidden))


CARRYING: dict[str, Callable[[str], str]] = {
    "IPv4-mapped": _with("::ffff:0:0", 12),
    "IPv4-compatible": _with("::", 12),
    "IPv4-translated": _with("::ffff:0:0:0", 12),
    "NAT64": _with("64:ff9b::", 12),
    "local NAT64 of 48 bits": _with("64:ff9b:1::", 6),
    "local NAT64 of 56 bits": _with("64:ff9b:1::", 7),
    "local NAT64 of 64 bits": _with("64:ff9b:1::", 8),
    "local NAT64 of 96 bits": _with("64:ff9b:1::", 12),
    "6to4": _with("2002::", 2),
    "Teredo": _teredo,
    "ISATAP": _with("2a00:1450:4001:800:0:5efe::", 12),
}
"""Forms of an IPv6 address that carry an IPv4 address."""


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def post(url: str, sender: Sender | None = None, body: bytes = b"hello") -> Answer:
    allowed = Sender(allow_http=True, allow_hosts=["127.0.0.1", "localhost"], timeout=1)
    return (sender or allowed).post(url, {"Content-Type": "text/plain"}, body)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "company")


def test_what_is_sent_arrives_with_the_name_of_the_host(hook: Receiver) -> None:
    url = hook.url.replace("127.0.0.1", "localhost")
    assert post(url).status == 200
    (got,) = hook.posts
    assert got.body == b"hello"
    assert got.headers["host"] == url.split("/")[2]


class TestWhatMayBeCalled:
    def test_only_https_unless_the_configuration_says_so(self, hook: Receiver) -> None:
        answer = post(hook.url, Sender(allow_hosts=["127.0.0.1"]))
        assert (answer.status, "https" in answer.error) == (0, True)
        assert hook.posts == []

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "fe80::1%eth0",
            "fd00::1",
            "fec0::1",
            "ff0e::1",
            "100::1",
            "2001:db8::1",
            "5f00::1",
            "no address",
            *(form("10.0.0.1") for form in CARRYING.values()),
            *(form("127.0.0.1") for form in CARRYING.values()),
            *(form("169.254.169.254") for form in CARRYING.values()),
        ],
    )
    def test_no_private_or_link_local_address(self, hook: Receiver, address: str) -> None:
        sender = Sender(allow_http=True, resolve=lambda *_: ["93.184.216.34", address])
        answer = post(hook.url.replace("127.0.0.1", "innocent.example.com"), sender)
        assert "private or link-local" in answer.error
        assert hook.posts == []

    def test_but_those_that_are_allowed_by_name(self, hook: Receiver) -> None:
        sender = Sender(
            allow_http=True, allow_hosts=["Hooks.Internal"], resolve=lambda *_: ["127.0.0.1"]
        )
        assert post(hook.url.replace("127.0.0.1", "hooks.internal"), sender).status == 200

    @pytest.mark.parametrize("form", CARRYING)
    def test_an_address_that_carries_a_public_one_is_public(self, form: str) -> None:
        assert is_public(CARRYING[form]("93.184.216.34"))

    @pytest.mark.parametrize(
        "then", ["10.0.0.1", *(form("10.0.0.1") for form in CARRYING.values())]
    )
    def test_the_address_that_was_judged_is_the_one_that_is_called(
        self, hook: Receiver, then: str
    ) -> None:
        """A name whose address is another one the next time (DNS rebinding)."""
        answers = iter([["127.0.0.1"], [then], ["127.0.0.1"]])
        sender = Sender(allow_http=True, allow_hosts=["inside"], resolve=lambda *_: next(answers))
        # No machine knows this name: what is called is what was answered, and it is asked once.
        assert post(hook.url.replace("127.0.0.1", "inside"), sender).status == 200
        answer = post(hook.url.replace("127.0.0.1", "outside.example.com"), sender)
        assert "private or link-local" in answer.error
        assert next(answers) == ["127.0.0.1"]
        assert len(hook.posts) == 1

    def test_a_host_whose_first_address_is_out_of_reach_is_called_at_the_next(
        self, hook: Receiver
    ) -> None:
        sender = Sender(
            allow_http=True,
            allow_hosts=["inside"],
            resolve=lambda *_: ["127.0.0.9", "127.0.0.1"],
        )
        assert post(hook.url.replace("127.0.0.1", "inside"), sender).status == 200

    def test_a_redirect_is_an_answer_and_not_followed(self, hook: Receiver) -> None:
        hook.behave = lambda _: (302, {"Location": hook.url}, "")
        assert post(hook.url).status == 302
        assert len(hook.posts) == 1


class TestCertificates:
    def test_a_target_must_have_one_for_its_name(self, authority: Authority) -> None:
        with receiver(tls=authority.server("hr.example.com")) as hook:
            for name, status in (("hr.example.com", 200), ("siem.example.com", 0)):
                sender = Sender(
                    allow_hosts=[name],
                    resolve=lambda *_: ["127.0.0.1"],
                    trusted=authority.trusted,
                )
                answer = post(hook.url.replace("127.0.0.1", name), sender)
                refused = "for another name than the host's" in answer.error
                assert (answer.status, refused) == (status, status == 0)
            assert len(hook.posts) == 1

    def test_one_that_nobody_trusts_is_none(self, authority: Authority) -> None:
        with receiver(tls=authority.server("hr.example.com")) as hook:
            sender = Sender(allow_hosts=["hr.example.com"], resolve=lambda *_: ["127.0.0.1"])
            answer = post(hook.url.replace("127.0.0.1", "hr.example.com"), sender)
            assert (answer.status, "not among the trusted ones" in answer.error) == (0, True)
            assert hook.posts == []

    def test_a_connection_that_is_kept_is_not_used_for_another_name_at_its_address(
        self, authority: Authority
    ) -> None:
        sender = Sender(
            allow_hosts=["hr.example.com", "siem.example.com"],
            resolve=lambda *_: ["127.0.0.1"],
            trusted=authority.trusted,
        )
        with receiver(tls=authority.server("hr.example.com"), keep=True) as hook:
            url = hook.url.replace("127.0.0.1", "hr.example.com")
            assert [post(url, sender).status for _ in range(2)] == [200, 200]
            assert hook.connections == 1
            answer = post(url.replace("hr.", "siem."), sender)
            assert (answer.status, "for another name" in answer.error) == (0, True)

    @pytest.mark.parametrize(
        ("lacks", "said"),
        [
            (AUTHORITY_KEY, "authorityKeyIdentifier"),
            (SUBJECT_KEY, "subjectKeyIdentifier"),
            (KEY_USAGE, "keyUsage"),
        ],
    )
    def test_what_an_authority_of_ones_own_leaves_out_is_named_on_every_python(
        self, tmp_path: Path, lacks: Any, said: str
    ) -> None:
        """Python checks it by itself from 3.13 on: an upgrade must not be what reveals it."""
        company = Authority(tmp_path, "company", frozenset({lacks}))
        sender = Sender(
            allow_hosts=["hr.example.com"],
            resolve=lambda *_: ["127.0.0.1"],
            trusted=company.trusted,
        )
        with receiver(tls=company.server("hr.example.com")) as hook:
            answer = post(hook.url.replace("127.0.0.1", "hr.example.com"), sender)
        assert answer.status == 0
        assert answer.error.startswith("the certificate is not accepted: ")
        assert said in answer.error
        assert "issue it anew with what RFC 5280 asks for" in answer.error


class TestAnswers:
    @pytest.mark.parametrize("behaviour", [HANG, DRIP_HEAD, DRIP_BODY, DRIP_INTERIM])
    def test_an_answer_that_does_not_end_in_time_is_none(
        self, hook: Receiver, behaviour: str
    ) -> None:
        """Without the time for all of it, each byte would begin a new one: this would not end."""
        hook.behave = lambda _: behaviour
        answer = post(hook.url)
        assert (answer.status, "within 1 s" in answer.error) == (0, True)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_target_that_does_not_even_read_is_left_in_time(self, scheme: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
            answer = post(url, body=b"x" * 50_000_000)
        assert (answer.status, "within 1 s" in answer.error) == (0, True)

    @pytest.mark.parametrize("behaviour", [HALF, CLOSE])
    def test_half_an_answer_or_none_is_none(self, hook: Receiver, behaviour: str) -> None:
        hook.behave = lambda _: behaviour
        answer = post(hook.url)
        assert (answer.status, answer.error[:21]) == (0, "the connection failed")

    def test_a_kept_connection_that_ends_just_then_is_no_failure_and_a_new_one_is(self) -> None:
        answers: list[int | str] = [200, CLOSE, 200, CLOSE, CLOSE]
        sender = Sender(allow_http=True, allow_hosts=["127.0.0.1"], timeout=5)
        with receiver(keep=True) as hook:
            hook.behave = lambda _: answers.pop(0)
            assert post(hook.url, sender).status == 200
            assert (post(hook.url, sender).status, hook.connections) == (200, 2)
            assert "connection failed" in post(hook.url, sender).error
            assert (hook.connections, answers) == (3, [])

    def test_nobody_there(self) -> None:
        answer = post(f"http://127.0.0.1:{free_port()}/?token=secret")
        assert answer.status == 0
        assert "secret" not in answer.error

    def test_a_long_answer_is_not_read_to_its_end(self, hook: Receiver) -> None:
        hook.behave = lambda _: (200, {}, "x" * (READ * 20))
        answer = post(hook.url)
        assert (answer.status, len(answer.text)) == (200, KEPT)

    def test_when_to_come_again_in_seconds_or_as_a_date(self, hook: Receiver) -> None:
        then = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        for text, least, most in (("7", 7, 7), (then, 3500, 3600), ("9" * 400, 86400, 86400)):
            hook.behave = lambda _, text=text: (429, {"Retry-After": text}, "")  # type: ignore[misc]
            found = post(hook.url).retry_after
            assert found is not None
            assert least <= found <= most

    @pytest.mark.parametrize(
        "text",
        [
            "soon",
            "\xb2",
            "\u0661".encode().decode("latin-1"),
            "+99999999999999999999",
            "-1",
            "1e9",
            "7, 8",
            "1 2 3",
            "Thu, 01 Jan 9999 00:00:00 -9999",
            "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
            "Mon, 99 Jan 2026 00:00:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 -2359",
            "\xff" * 100,
            "",
        ],
    )
    def test_what_says_no_moment_to_come_again_says_nothing(self, text: str) -> None:
        assert (_seconds(text) or 0.0) in (0.0, 86400.0)
        with raw_answer(
            b"HTTP/1.1 503 Busy\r\nRetry-After: "
            + text.encode("latin-1")
            + b"\r\nContent-Length: 0\r\n\r\n"
        ) as url:
            assert post(url).status == 503
