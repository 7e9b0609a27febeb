"""Sends one HTTP POST to a receiver, with limits on its address, its time and its answer."""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from kong_scim.counts import unforeseen
from kong_scim.outgoing.certificates import strict
from kong_scim.outgoing.connections import (
    Connections,
    Refused,
    Resolve,
    is_expected,
    resolve,
    why,
)

log = logging.getLogger(__name__)

KEPT = 1024
"""Bytes of an answer that are kept."""

READ = 64 * 1024
"""Bytes of an answer that are read at most; the rest is never asked for."""

LONGEST_WAIT = 24 * 3600.0
"""Seconds that a Retry-After is believed at most."""


@dataclass(frozen=True)
class Answer:
    """The result of a POST.

    :param status: The HTTP status, or 0 where there was no whole answer.
    :param error: Why there was none, without anything of the URL or the message; empty otherwise.
    :param text: The first KiB of the answer.
    :param retry_after: Seconds to wait, as the answer asks for; None where it does not.
    :param is_final: Whether it would be the same however often it is tried.
    """

    status: int = 0
    error: str = ""
    text: str = ""
    milliseconds: int = 0
    retry_after: float | None = None
    is_final: bool = False


class Sender:
    """Sends POST requests within limits.

    :param allow_http: Whether a target may be called without TLS.
    :param allow_hosts: Names of hosts that may have a private or link-local address.
    :param timeout: Seconds for the whole exchange, from the first connection on.
    :param trusted: Whose certificates count; None for those that the machine and Mozilla trust.
    """

    def __init__(
        self,
        *,
        allow_http: bool = False,
        allow_hosts: Collection[str] = (),
        timeout: float = 10.0,
        resolve: Resolve = resolve,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_http = allow_http
        self._allow_hosts = frozenset(host.casefold() for host in allow_hosts)
        self._timeout = timeout
        self._connections = Connections(resolve)
        self._unforeseen: set[type[Exception]] = set()
        # Not httpx, whose time-out is one for each read. It knows no proxy and follows no redirect.
        self._pool = httpcore.ConnectionPool(
            ssl_context=strict(trusted or httpcore.default_ssl_context()),
            max_connections=None,
            network_backend=self._connections,
        )

    @property
    def timeout(self) -> float:
        """Seconds for one exchange."""
        return self._timeout

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message; no answer of a receiver makes this raise."""
        start = time.monotonic()
        try:
            answer = self._post(httpx.URL(url), headers, body)
        except Exception as error:
            answer = Answer(error=why(error, self._timeout))
            if not is_expected(error) and type(error) not in self._unforeseen:
                self._unforeseen.add(type(error))
                log.error("a webhook could not be sent: %s", unforeseen(error))  # noqa: TRY400
        took = round((time.monotonic() - start) * 1000)
        return replace(answer, milliseconds=took)

    def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Answer:
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_http):
            raise Refused("only https is allowed (events.allow_http)")
        named = {"User-Agent": "kong-scim", **headers}
        request = httpx.Request("POST", url, headers=named, content=body)
        private = url.host.casefold() in self._allow_hosts
        with self._connections.within(self._timeout, private=private):
            while True:
                progress: set[str] = set()
                try:
                    return self._exchange(request, body, progress)
                except (httpcore.NetworkError, httpcore.RemoteProtocolError):
                    # A connection that was kept, and closed by the target in this very moment.
                    if progress & _OF_ITS_OWN:
                        raise

    def _exchange(self, request: httpx.Request, body: bytes, progress: set[str]) -> Answer:
        url, text = request.url, b""
        with self._pool.stream(
            b"POST",
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=body,
            extensions={"trace": lambda name, _: progress.add(name)},
        ) as response:
            for piece in response.iter_stream():
                text += piece
                if len(text) >= READ:
                    break
        return Answer(
            status=response.status,
            text=text[:KEPT].decode("utf-8", "replace").replace("\0", "�"),
            retry_after=_seconds(httpx.Headers(response.headers).get("Retry-After")),
        )


_OF_ITS_OWN = {"connection.connect_tcp.started", "http11.receive_response_headers.complete"}
"""What httpcore tells of an exchange on a new connection, or of one that is being answered."""

_DELAY = re.compile(r"[0-9]+")
"""Of RFC 9110 §10.2.3, in ASCII: str.isdigit takes digits that float does not."""


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After, in seconds or as a date (RFC 9110 §10.2.3); what is neither is none."""
    text = (retry_after or "").strip()
    if _DELAY.fullmatch(text):
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        left = (moment - datetime.now(UTC)).total_seconds()
    except Exception:  # email.utils raises more than it says, and the receiver chose the text
        return None
    return min(max(0.0, left), LONGEST_WAIT)
