"""Sends requests to the SCIM route, and tells what is wrong with an answer."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any

import httpx

from kong_scim.directory.values import utc_now
from kong_scim.doctor.report import Report
from kong_scim.doctor.symptoms import symptom_of

TIMEOUT = 20
"""Seconds that an answer may take. Kong itself gives the plugin server up earlier."""

MOST = 4 * 1024 * 1024
"""Bytes of an answer that are read."""

USER_AGENT = "kong-scim-doctor"
"""What the doctor's requests say of themselves, by which the provider log tells them apart."""

SOON = timedelta(days=14)
"""How long before its end a certificate or a token is worth a warning."""


class NoAnswerError(Exception):
    """Nothing answered a request. The text says why."""


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    :param between: When the request was sent and when its answer was there, by this clock.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    between: tuple[datetime, datetime]

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the body, an empty one for any other body."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def sentence(self) -> str:
        """What an error says: the ``detail`` of a SCIM error, or the ``message`` of Kong's."""
        body = self.body
        return str(body.get("detail") or body.get("message") or self.text)[:400].strip()

    @property
    def is_scim(self) -> bool:
        """Whether the plugin sent it, and not Kong or somebody before it."""
        return "schemas" in self.body or "scim+json" in self.headers.get("content-type", "")

    @property
    def date(self) -> datetime | None:
        """When the gateway answered, by its own clock, to the second."""
        try:
            return parsedate_to_datetime(self.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError, TypeError):
            return None


class Route:
    """The SCIM route at a URL.

    :param transport: Sends the requests; None for the network.
    :param now: Tells the time of this machine.
    :param insecure: Whether to take any certificate.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = utc_now,
        *,
        insecure: bool = False,
    ) -> None:
        self.url = url.rstrip("/")
        self._now = now
        self._http = httpx.Client(
            headers={
                "User-Agent": USER_AGENT,
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
            timeout=TIMEOUT,
            transport=transport,
            verify=not insecure,
        )

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, and return the answer.

        :param path: Below the base URL, with the query; characters that need it are escaped.
        :raises NoAnswerError: When nothing answers.
        """
        sent = self._now()
        content = None if body is None else json.dumps(body)
        more = {} if body is None else {"Content-Type": "application/scim+json"}
        deadline = time.monotonic() + TIMEOUT
        try:
            with self._http.stream(
                method, self.url + path, content=content, headers={**more, **(headers or {})}
            ) as answer:
                data = bytearray()
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > MOST or time.monotonic() > deadline:
                        raise NoAnswerError(f"the answer to {method} {path} does not end")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswerError(str(error) or type(error).__name__) from None
        return Answer(
            answer.status_code,
            {name.lower(): value for name, value in answer.headers.items()},
            data.decode(errors="replace"),
            (sent, self._now()),
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def look_at_network(
    url: httpx.URL, report: Report, now: datetime, *, insecure: bool = False
) -> bool:
    """Look up the host, connect to its port, and check its certificate. Return whether one may go
    on.

    Where the environment names a proxy for the URL nothing is checked, because this machine may
    have no way of its own.
    """
    host, port = url.host, url.port or (443 if url.scheme == "https" else 80)
    proxies = urllib.request.getproxies()
    if url.scheme in proxies and not urllib.request.proxy_bypass(host):
        report.skip_all({"address", "tls"}, "the environment names a proxy for this URL")
        return True
    try:
        connection = socket.create_connection((host, port), timeout=TIMEOUT)
    except socket.gaierror as error:
        report.fail(
            "address",
            f"The name {host} has no address here: {error.strerror}",
            "correct the host in the URL, or the DNS that this machine uses",
        )
        return False
    except OSError as error:
        report.fail(
            "address",
            f"Nothing answers at {host} port {port}: {error.strerror or error}",
            "does Kong run, is this a port of KONG_PROXY_LISTEN, and does a firewall let it pass?",
        )
        return False
    report.ok("address", f"{host} port {port} takes connections")
    if insecure and url.scheme == "https":
        connection.close()
        report.skip("tls", "--insecure: no certificate is checked")
        return True
    with connection:
        return _look_at_certificate(connection, url, report, now)


def _look_at_certificate(
    connection: socket.socket, url: httpx.URL, report: Report, now: datetime
) -> bool:
    if url.scheme != "https":
        if is_loopback(url.host):
            report.skip("tls", "plain HTTP to this machine")
        else:
            report.warn(
                "tls",
                "The URL is plain HTTP: the token and personal data can be read on the way",
                "use https",
            )
        return True
    try:
        with ssl.create_default_context().wrap_socket(
            connection, server_hostname=url.host
        ) as secured:
            certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        report.fail(
            "tls",
            f"The certificate is not trusted: {error.verify_message}",
            "give Kong a certificate for this name that providers trust (KONG_SSL_CERT, "
            "KONG_SSL_CERT_KEY); for an authority of your own set SSL_CERT_FILE here",
        )
        return False
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        report.fail(
            "tls",
            f"No TLS at this port: {reason}",
            "use a port with `ssl` in KONG_PROXY_LISTEN, or http:// where TLS ends before Kong",
        )
        return False
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    if ends - now < SOON:
        report.warn("tls", f"The certificate ends at {ends:%Y-%m-%d %H:%MZ}", "renew it")
    else:
        report.ok("tls", f"the certificate is trusted, until {ends:%Y-%m-%d}")
    return True


def judge(answer: Answer, report: Report, *, check: str = "route", what: str) -> None:
    """Add what an answer that is an error says about the set-up.

    :param check: The check that fails if the answer shows no known symptom.
    :param what: The request, as the finding names it.
    """
    said = f"{what} is answered {answer.status}: {answer.sentence}"
    symptom = symptom_of(answer.status, answer.sentence)
    if symptom is not None and symptom.texts:
        report.fail(symptom.check, said, symptom.advice)
    elif 300 <= answer.status < 400:
        report.fail(
            check,
            f"{what} is redirected to {answer.headers.get('location', '?')}",
            "use the URL that is meant: providers do not follow redirections",
        )
    elif answer.status in {401, 403, 413, 429} and not answer.is_scim:
        report.fail(
            "front",
            said,
            "a plugin of Kong that runs before this one refuses it "
            "(docs/authentication.md#kongs-own-plugins-in-front)",
        )
    elif not answer.is_scim:
        report.fail(
            check,
            said,
            "this is no answer of the plugin scim: compare the URL with the `paths` of its route, "
            "and see that the plugin is enabled on it",
        )
    else:
        advice = symptom.advice if symptom else "its text says what to change"
        report.fail(symptom.check if symptom else check, said, advice)
