"""Which route a request belongs to, as Kong's ``traditional_compatible`` router decides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from kong_scim_sandbox.declarative import Route

_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_KEPT = "!#$&'()*+,/:;=?@[]~%"
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


@dataclass(frozen=True)
class Match:
    """A route, and the part of the request's path that it matched.

    :param prefix: The route's path that matched, such as ``/scim/v2``, or ``/`` if it has none.
    :param upstream_path: The path for the upstream, without the service's path before it.
    """

    route: Route
    prefix: str
    upstream_path: str


class Router:
    """The routes, the most specific first.

    Routes are ordered by how many of methods, hosts and paths they match by, then exact hosts
    before wildcards, then by the length of the path.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        candidates = [(route, path) for route in routes for path in route.paths or ("",)]
        self._candidates = sorted(candidates, key=_precedence)

    def match(self, method: str, host: str, path: str) -> Match | None:
        """Return the route of a request, or None if no route matches.

        :param host: The host without a port.
        :param path: The raw path, percent-encoded. A path that is not UTF-8 matches nothing.
        """
        try:
            unquote_to_bytes(path.encode("latin-1")).decode()
        except UnicodeDecodeError:
            return None
        path = normalized(path)
        for route, prefix in self._candidates:
            if (
                path.startswith(prefix)
                and (not route.methods or method in route.methods)
                and (not route.hosts or any(_is_host(pattern, host) for pattern in route.hosts))
            ):
                rest = path[len(prefix) :] if route.strip_path else path
                return Match(route, prefix or "/", escaped("/" + rest.removeprefix("/")))
        return None


def normalized(path: str) -> str:
    """Return the path as Kong's router matches it (``kong/tools/uri.lua``, normalize)."""
    path = _ENCODED.sub(_decoded, path)
    if "." not in path and "//" not in path:
        return path
    segments: list[str] = []
    parts = path.split("/")[1:]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "..":
            del segments[-1:]
        if part in (".", "..", "") and not last:
            continue
        segments.append("" if part in (".", "..") else part)
    return "/" + "/".join(segments)


def escaped(text: str) -> str:
    """Escape a path or query for a request line (``kong/tools/uri.lua``, escape)."""
    return quote(text, safe=_KEPT, encoding="latin-1")


def _decoded(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()


def _precedence(candidate: tuple[Route, str]) -> tuple[int, int, int]:
    route, path = candidate
    attributes = sum(1 for attribute in (route.methods, route.hosts, route.paths) if attribute)
    wildcard = any("*" in host for host in route.hosts)
    return (-attributes, int(wildcard), -len(path))


def _is_host(pattern: str, host: str) -> bool:
    host = host.lower()
    if pattern.startswith("*."):
        return host.endswith(pattern[1:].lower())
    if pattern.endswith(".*"):
        return host.startswith(pattern[:-1].lower())
    return host == pattern.lower()
