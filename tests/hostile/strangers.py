"""Receivers and issuers that misbehave without end, the same for the same seed.

What comes back from strangers is attacked as what comes in is: the status line, headers, body and
speed of answers, the keys that an issuer publishes, and the tokens that it is said to have signed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from control import Control
from joserfc import jws
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from requests_of import _damaged

from kong_scim.auth.errors import InvalidTokenException, KeysUnavailableException
from kong_scim.auth.issuer_keys import FetchedKeys
from kong_scim.auth.jwt import JwtVerifier
from kong_scim.config.plugin import Jwt
from kong_scim.events.webhooks.http import KEPT, LONGEST_WAIT, Sender
from kong_scim.outgoing.fetching import fetched

TIME = 0.5
"""Seconds for one exchange."""

HANG = 2.0
"""Seconds that one may take on a free processor, where its own time did not end it."""

MOST = 64 * 1024

Piece = tuple[float, bytes]
"""Seconds to wait, and octets to send then."""

KEYS = [
    RSAKey.generate_key(2048, {"kid": "rsa"}),
    ECKey.generate_key("P-256", {"kid": "ec"}),
    OKPKey.generate_key("Ed25519", {"kid": "ed"}),
]
DOCUMENT = json.dumps({"keys": [key.as_dict(private=False) for key in KEYS]}).encode()

_STATUS = [
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Busy", b"HTTP/1.1 429 Slow", b"HTTP/1.1 302 There"),
    *(b"HTTP/1.0 200 OK", b"HTTP/2 200", b"HTTP/1.1 99 Low", b"HTTP/1.1 999 High", b"HTTP/1.1"),
    *(b"HTTP/1.1 -1 x", b"HTTP/1.1 \xb2\xb2\xb2 x", b"HTTP/1.1 101 Switch", b"HTTP/1.1 204 None"),
    *(b"HTTP/1.1 100 Continue", b"ICY 200 OK", b"", b"\0", b"HTTP/1.1 200 " + b"x" * 5000),
]
_HEADERS = [
    *(b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: \xb2"),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: 5, 6", b"Content-Length: 1e3"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Content-Encoding: gzip"),
    *(b"Connection: close", b"Connection: \xff", b"Location: http://10.0.0.1/", b"X: \xff\xfe"),
    *(b"Retry-After: \xb2", b"Retry-After: +99999999999999999999", b"Retry-After: 1e9"),
    *(b"Retry-After: -1", b"Retry-After: " + b"9" * 400, b"Retry-After: 7", b"Retry-After: soon"),
    *(b"Retry-After: Thu, 01 Jan 9999 00:00:00 -9999", b"Retry-After: ", b"no colon", b": empty"),
    *(b" folded", b"X-Long: " + b"a" * 70_000, b"Set-Cookie: a\0b", b"Retry-After: 1\r\n 2"),
]
_BODIES = [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"x" * 200_000]


def answers(seed: int) -> Iterator[list[Piece]]:
    """Yield what is answered, and how fast."""
    chance = random.Random(seed)
    while True:
        head = [chance.choice(_STATUS), *chance.sample(_HEADERS, chance.choice([0, 1, 1, 2, 4]))]
        body = chance.choice([*_BODIES, DOCUMENT, _damaged(chance, DOCUMENT)])
        text = b"\r\n".join(head) + b"\r\n\r\n" + body
        if chance.random() < 0.3:
            text = _damaged(chance, text)
        if chance.random() < 0.1:
            text = b"HTTP/1.1 102 Processing\r\n\r\n" * 1000 + text
        pieces = [(0.0, text)]
        match chance.randrange(8):
            case 0:  # a few octets at a time
                pieces = [(0.05, text[at : at + 3]) for at in range(0, min(len(text), 90), 3)]
            case 1:  # half of it, and then nothing
                pieces = [(0.0, text[: chance.randrange(len(text) + 1)]), (60.0, b"")]
        yield pieces


@contextlib.contextmanager
def stranger(script: Iterator[list[Piece]]) -> Iterator[str]:
    """Run a server that answers each connection by what comes next, and yield its URL."""
    lock, ended = threading.Lock(), threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            with lock:
                pieces = next(script)
            connection.settimeout(5)
            connection.recv(65536)
            for pause, octets in pieces:
                if pause and ended.wait(pause):
                    return
                connection.sendall(octets)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)


class Strangers:
    """Attacks with some seed; what must be so and is not is in ``failures``."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._control = Control()
        self.failures: list[str] = []
        self.outcomes: Counter[str] = Counter()

    def exchanges(self, count: int) -> None:
        """Post to receivers, and fetch from issuers, that answer anything."""
        sender = Sender(allow_http=True, allow_hosts=["127.0.0.1"], timeout=TIME)
        with (
            stranger(answers(self._seed)) as url,
            self._control,
            ThreadPoolExecutor(16) as threads,
        ):
            for number in range(count):
                exchange = self._posted if number % 2 else self._fetched
                threads.submit(self._timed, exchange, sender, url)

    def keys(self, count: int) -> None:
        """Ask for keys of an issuer that publishes anything."""
        chance = random.Random(self._seed)
        for _ in range(count):
            text = _damaged(chance, DOCUMENT)
            keys = FetchedKeys("https://idp", floor=30, fetch=lambda _, text=text: text)  # type: ignore[misc]
            self._held(
                lambda keys=keys: keys.find(chance.choice(["rsa", "ec", "ed", None]), "ES256"),  # type: ignore[misc]
                (InvalidKeyIdError, KeysUnavailableException),
                text,
            )

    def tokens(self, count: int) -> None:
        """Verify tokens whose parts are anything, some of them signed."""
        chance = random.Random(self._seed)
        config = Jwt(issuer="https://idp", audience=["scim"], public_key=DOCUMENT.decode())
        verifier = JwtVerifier(config)
        good = {"iss": "https://idp", "aud": "scim", "exp": 2**40, "scope": "scim:users"}
        for _ in range(count):
            claims = {**good, chance.choice([*good, "nbf", "iat", "sub"]): chance.choice(_ANYTHING)}
            signed = jws.serialize_compact(
                {"alg": "ES256", "kid": "ec"}, json.dumps(claims), KEYS[1]
            )
            parts = signed.split(".")
            if chance.random() < 0.7:
                place = chance.randrange(2)
                damaged = _damaged(chance, base64.urlsafe_b64decode(parts[place] + "=="))
                deep = b'{"alg":"ES256","a":' + b"[" * chance.choice([10, 1000, 3000])
                part = chance.choice([damaged, damaged, deep])
                parts[place] = base64.urlsafe_b64encode(part).rstrip(b"=").decode()
            token = ".".join(parts)
            self._held(lambda token=token: verifier.verify(token), (InvalidTokenException,), token)  # type: ignore[misc]

    def _held(
        self, run: Callable[[], object], allowed: tuple[type[Exception], ...], what: object
    ) -> None:
        try:
            run()
            self.outcomes["taken"] += 1
        except allowed as refusal:
            self.outcomes[type(refusal).__name__] += 1
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}: {what!r}"[:500])

    def _timed(self, exchange: Callable[[Sender, str], str], sender: Sender, url: str) -> None:
        started = time.monotonic()
        try:
            outcome = exchange(sender, url)
        except Exception as error:
            outcome = f"raised {type(error).__name__}: {error}"
            self.failures.append(outcome)
        took = time.monotonic() - started
        if took > HANG and took > (HANG * self._control.stretch(started)):
            self.failures.append(f"took {took:.1f} s: {outcome}")
        self.outcomes[outcome[:60]] += 1

    def _posted(self, sender: Sender, url: str) -> str:
        answer = sender.post(url, {}, b"{}")
        if "nobody foresaw" in answer.error:
            self.failures.append(answer.error)
        wait = answer.retry_after
        if wait is not None and not 0 <= wait <= LONGEST_WAIT:
            self.failures.append(f"waits {wait}")
        if (
            len(answer.text) > KEPT
            or "\0" in answer.text
            or (answer.status == 0) != bool(answer.error)
        ):
            self.failures.append(f"kept {answer}"[:300])
        return answer.error or f"answered {answer.status}"

    @staticmethod
    def _fetched(_: Sender, url: str) -> str:
        try:
            return f"fetched {len(fetched(url, seconds=TIME, most=MOST)) <= MOST}"
        except OSError as error:
            return f"not fetched: {error}"


_ANYTHING: list[Any] = [
    *(None, True, -1, 2**70, 1e300, float("inf"), float("nan"), "", "\ud800", "x" * 9000),
    *([], {}, [[]], [{}], {"a": [1]}, ["scim"], [None]),
]


def main() -> None:
    """``make fuzz``."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    strangers = Strangers(options.seed)
    print(f"strangers, seed {options.seed}", flush=True)
    strangers.exchanges(options.count)
    strangers.keys(options.count // 4)
    strangers.tokens(options.count // 2)
    for outcome, count in strangers.outcomes.most_common():
        print(f"{count:6} {outcome}")
    for failure in strangers.failures[:50]:
        print(failure)
    assert not strangers.failures, f"{len(strangers.failures)} failures"


if __name__ == "__main__":
    main()
