"""``kong-scim console`` serves a web page on this machine, to see and decide what the other
commands show."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from typing import Any
from urllib.parse import urlsplit

import click
import uvicorn

from kong_scim.cli.client import gateway_options, url_and_token
from kong_scim.cli.printing import failure, say
from kong_scim.console import serving
from kong_scim.console.forwarding import GatewayClient
from kong_scim.console.server import Console, SignOn

PORT = 8010
"""Kong and Kong Manager use 8000 to 8007."""


class _Header(click.ParamType[str]):
    name = "header"

    _OF_THE_BROWSER = frozenset({"authorization", "cookie", "host", "origin", "referer"})

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value) or value.lower() in self._OF_THE_BROWSER:
            self.fail(f"{value!r} is no header that a sign-on sets", param, ctx)
        return str(value)


class _PublicUrl(click.ParamType[str]):
    name = "url"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or parts.path not in {"", "/"}:
            self.fail(f"{value!r} is no https URL without a path", param, ctx)
        return str(value)


@click.command()
@gateway_options
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port on 127.0.0.1; 0: a free one.",
)
@click.option(
    "--trust-header",
    type=_Header(),
    help="Behind a company's sign-on: the header in which it names the user. Only where nobody but "
    "the sign-on can connect to the port: see docs/console.md.",
)
@click.option(
    "--public-url", type=_PublicUrl(), help="With --trust-header: the URL that browsers open."
)
def console(
    scim_url: str | None,
    token: str | None,
    port: int,
    trust_header: str | None,
    public_url: str | None,
) -> None:
    """Serve a web page that shows a tenant, on this machine only."""
    scim_url, token = url_and_token(scim_url, token)
    if (trust_header is None) != (public_url is None):
        raise click.UsageError("--trust-header and --public-url go together")
    if urlsplit(scim_url).scheme not in {"http", "https"}:
        raise click.UsageError(f"{scim_url}: this is no URL such as https://gw.example.com/scim/v2")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    for chatty in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    sign_on = SignOn(trust_header, public_url) if trust_header and public_url else None
    try:
        listening = serving.listen(port)
    except OSError as error:
        raise failure(f"{error}. Choose another one with --port.") from error
    with contextlib.closing(listening):
        served = Console(
            GatewayClient(scim_url, token),
            listening.getsockname()[1],
            lambda link: say(f"Another browser: {link}"),
            sign_on,
        )
        say(f"Console: {served.link()}")
        if sign_on is not None:
            say(f"The sign-on connects to http://{serving.HOST}:{listening.getsockname()[1]}")
        else:
            say("The link opens the console in one browser. Ctrl-C stops it.")
        sys.stdout.flush()
        # uvicorn ends with the signal that it stopped for.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(serving.config(served.app)).run(sockets=[listening])
