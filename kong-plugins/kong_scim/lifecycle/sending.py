"""One HTTP POST to a stranger: what may be called, for how long, and how much of it is read.

An address is looked up once, judged, and connected to: nobody can change it in between.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

# It logs every URL at INFO, and there may be a secret in one.
logging.getLogger("httpx").setLevel(logging.WARNING)

KEPT = 1024
"""Bytes of an answer that are kept."""

READ = 64 * 1024
"""Bytes of an answer that are read at most; the rest is never asked for."""

LONGEST_WAIT = 24 * 3600.0
"""Seconds that a Retry-After is believed at most."""


@dataclass(frozen=True)
class Answer:
    """What became of a POST.

    :param status: The HTTP status, or 0 where there was no whole answer.
    :param error: Why there was none, without anything of the URL or the message; empty otherwise.
    :param text: The first KiB of the answer.
    :param retry_after: Seconds to wait, as the answer asks for; None where it does not.
    """

    status: int = 0
    error: str = ""
    text: str = ""
    milliseconds: int = 0
    retry_after: float | None = None


class Refused(Exception):  # noqa: N818 - the answer to a question, not a failure
    """A target that must not be called; the message says why."""


Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Sender:
    """Sends, within limits.

    :param allow_http: Whether a target may be called without TLS.
    :param allow_hosts: Names of hosts that may have a private or link-local address.
    :param timeout: Seconds for the whole exchange.
    """

    def __init__(
        self,
        *,
        allow_http: bool = False,
        allow_hosts: Collection[str] = (),
        timeout: float = 10.0,
        resolve: Resolve = resolve,
    ) -> None:
        self._allow_http = allow_http
        self._allow_hosts = frozenset(host.casefold() for host in allow_hosts)
        self._timeout = timeout
        self._resolve = resolve
        # Neither a proxy nor a .netrc of the environment: a target is what the configuration says.
        self._client = httpx.Client(trust_env=False, follow_redirects=False)

    @property
    def timeout(self) -> float:
        """Seconds for one exchange."""
        return self._timeout

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, whatever happens."""
        start = time.monotonic()
        try:
            answer = self._post(httpx.URL(url), headers, body, start + self._timeout)
        except Refused as refused:
            answer = Answer(error=str(refused))
        except httpx.TimeoutException:
            answer = Answer(error=f"no whole answer within {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            # Its text may hold the URL, and that a secret.
            answer = Answer(error=f"the connection failed: {type(error).__name__}")
        took = round((time.monotonic() - start) * 1000)
        return Answer(answer.status, answer.error, answer.text, took, answer.retry_after)

    def _post(
        self, url: httpx.URL, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Answer:
        address = self._address(url)
        named = {"Host": url.netloc.decode("ascii"), **headers}
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address),
            headers=named,
            content=body,
            timeout=self._timeout,
            extensions={"sni_hostname": url.host, "timeout": _timeouts(self._timeout)},
        )
        response = self._client.send(request, stream=True)
        try:
            text = b""
            for piece in response.iter_raw():
                text += piece
                if len(text) >= READ:
                    break
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("too slow")
        finally:
            response.close()
        return Answer(
            status=response.status_code,
            text=text[:KEPT].decode("utf-8", "replace").replace("\0", "�"),
            retry_after=_seconds(response.headers.get("Retry-After")),
        )

    def _address(self, url: httpx.URL) -> str:
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_http):
            raise Refused("only https is allowed (events.allow_http)")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            addresses = self._resolve(url.host, port)
        except OSError:
            raise Refused("the name of the host is not known") from None
        if not addresses:
            raise Refused("the host has no address")
        if url.host.casefold() not in self._allow_hosts:
            for each in addresses:
                address = ipaddress.ip_address(each.partition("%")[0])
                mapped = getattr(address, "ipv4_mapped", None)
                if not (mapped or address).is_global or address.is_multicast:
                    raise Refused(
                        "the host has a private or link-local address (events.allow_hosts)"
                    )
        return addresses[0]


def _timeouts(seconds: float) -> dict[str, float]:
    return dict.fromkeys(("connect", "read", "write", "pool"), seconds)


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After, in seconds or as a date (RFC 9110 §10.2.3)."""
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return min(float(retry_after), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_WAIT)
