"""Fetches a URL with one HTTP GET, within one time limit for the whole exchange."""

from __future__ import annotations

import ssl
import urllib.request
from functools import lru_cache

import httpcore
import httpx

from kong_scim.outgoing.certificates import strict
from kong_scim.outgoing.connections import Connections, Refused, is_expected, why


def fetched(url: str, *, seconds: float, most: int) -> bytes:
    """Return the body of a 200, through the proxy that the environment names, if it does.

    Redirects are not followed: the URL that was configured counts.

    :param seconds: For everything together, from the first connection on.
    :param most: Bytes of the body.
    :raises OSError: When it cannot be had in time, or is larger; with a sentence that holds nothing
        of the URL.
    """
    connections = Connections()
    target = httpx.URL(url)
    try:
        # The administrator chose it, so that it may be in a network of his own.
        with connections.within(seconds, private=True), _pool(target, connections) as pool:
            return _body(pool, target, connections, most)
    except Exception as error:
        if not is_expected(error):
            raise
        raise OSError(why(error, seconds)) from None


def _body(
    pool: httpcore.ConnectionPool, url: httpx.URL, connections: Connections, most: int
) -> bytes:
    content = bytearray()
    with pool.stream(
        "GET", str(url), headers={"Accept": "application/json", "User-Agent": "kong-scim"}
    ) as response:
        if response.status != 200:
            raise Refused(f"it was answered {response.status}")
        for piece in response.iter_stream():
            content += piece
            if len(content) > most:
                raise Refused(f"the document is over {most} bytes")
            connections.left()  # what is buffered needs no read
    return bytes(content)


def _pool(url: httpx.URL, connections: Connections) -> httpcore.ConnectionPool:
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(url.host):
        return httpcore.ConnectionPool(ssl_context=_trusted(), network_backend=connections)
    given = httpx.URL(proxy if "://" in proxy else f"http://{proxy}")
    return httpcore.HTTPProxy(
        str(given.copy_with(username=None, password=None)),
        proxy_auth=(given.username, given.password) if given.username else None,
        ssl_context=_trusted(),
        network_backend=connections,
    )


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """What the machine and Mozilla trust; read once, since it takes tens of milliseconds."""
    return strict(httpcore.default_ssl_context())
