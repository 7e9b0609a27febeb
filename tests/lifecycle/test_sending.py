"""One POST: what may be called, and what is made of any answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from kong_scim.lifecycle.sending import KEPT, READ, Answer, Sender
from ports import free_port
from receiver import (
    CLOSE,
    DRIP_BODY,
    DRIP_HEAD,
    DRIP_INTERIM,
    HALF,
    HANG,
    Certificates,
    Receiver,
    receiver,
)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def post(url: str, sender: Sender | None = None, body: bytes = b"hello") -> Answer:
    allowed = Sender(allow_http=True, allow_hosts=["127.0.0.1", "localhost"], timeout=1)
    return (sender or allowed).post(url, {"Content-Type": "text/plain"}, body)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


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
            "::ffff:127.0.0.1",
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

    def test_the_address_that_was_judged_is_the_one_that_is_called(self, hook: Receiver) -> None:
        """A name whose address is another one the next time (DNS rebinding)."""
        answers = iter([["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]])
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
    def test_a_target_must_have_one_for_its_name(self, certificates: Certificates) -> None:
        with receiver(tls=certificates.of("hr.example.com")) as hook:
            for name, status in (("hr.example.com", 200), ("siem.example.com", 0)):
                sender = Sender(
                    allow_hosts=[name],
                    resolve=lambda *_: ["127.0.0.1"],
                    trusted=certificates.trusted,
                )
                answer = post(hook.url.replace("127.0.0.1", name), sender)
                assert (answer.status, "CertVerification" in answer.error) == (status, status == 0)
            assert len(hook.posts) == 1

    def test_one_that_nobody_trusts_is_none(self, certificates: Certificates) -> None:
        with receiver(tls=certificates.of("hr.example.com")) as hook:
            sender = Sender(allow_hosts=["hr.example.com"], resolve=lambda *_: ["127.0.0.1"])
            answer = post(hook.url.replace("127.0.0.1", "hr.example.com"), sender)
            assert (answer.status, "CertVerification" in answer.error) == (0, True)
            assert hook.posts == []

    def test_a_connection_that_is_kept_is_not_used_for_another_name_at_its_address(
        self, certificates: Certificates
    ) -> None:
        sender = Sender(
            allow_hosts=["hr.example.com", "siem.example.com"],
            resolve=lambda *_: ["127.0.0.1"],
            trusted=certificates.trusted,
        )
        with receiver(tls=certificates.of("hr.example.com"), keep=True) as hook:
            url = hook.url.replace("127.0.0.1", "hr.example.com")
            assert [post(url, sender).status for _ in range(2)] == [200, 200]
            assert hook.connections == 1
            answer = post(url.replace("hr.", "siem."), sender)
            assert (answer.status, "CertVerification" in answer.error) == (0, True)


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
        for text, least, most in (("7", 7, 7), (then, 3500, 3600), ("soon", None, None)):
            hook.behave = lambda _, text=text: (429, {"Retry-After": text}, "")  # type: ignore[misc]
            found = post(hook.url).retry_after
            if least is None or most is None:
                assert found is None
            else:
                assert found is not None
                assert least <= found <= most
