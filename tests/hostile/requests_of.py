"""Hostile requests without end, the same for the same seed: a corpus, cut, joined and damaged.

Written as bytes, because no client library would send most of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

CORPUS = Path(__file__).parent / "corpus"
EXPRESSIONS = [line.encode() for line in (CORPUS / "expressions.txt").read_text().splitlines()]
BODIES = [line.encode() for line in (CORPUS / "bodies.txt").read_text().splitlines()]

METHODS = [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"]
ENDPOINTS = [
    *(b"/Users", b"/Users", b"/Users", b"/Groups", b"/Groups", b"/Groups"),
    *(b"/Users", b"/Groups", b"/Bulk", b"/Me", b"/Schemas", b"/ResourceTypes", b"/Events"),
    *(b"/ServiceProviderConfig", b"/.search", b"/Users/.search", b"/openapi.json", b"/", b""),
    *(b"/users", b"/Events/chain", b"/Users/%2e%2e/Groups", b"//Users", b"/Users;a=b", b"/%00"),
]
PARAMETERS = [
    *(b"filter", b"sortBy", b"sortOrder", b"startIndex", b"count", b"cursor", b"attributes"),
    *(b"excludedAttributes", b"FILTER", b"a[]"),
]
VALUES = [
    b"",
    b"-1",
    b"0",
    b"1",
    b"99999999999999999999",
    b"ascending",
    b"id",
    b"*",
    b"\xff",
    b"\0",
]
TYPES = [
    *(b"application/scim+json", b"application/json", b"application/json; charset=utf-16"),
    *(b"text/xml", b"", b"multipart/form-data; boundary=x", b"application/scim+json;;;"),
]
HEADERS = [
    *(b"If-Match: *", b'If-Match: W/"1"', b"If-None-Match: *", b'If-Match: "\xff"', b"Expect: x"),
    *(b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: https", b"Forwarded: for=_x"),
    *(b"Accept: text/html", b"Accept-Encoding: br;q=9", b"Range: bytes=0-0", b"Cookie: a=\xfe"),
    *(b"X-HTTP-Method-Override: DELETE", b"Prefer: return=minimal", b"X-Long: " + b"a" * 4000),
]
LIVELY = b'{"schemas":["urn:ietf:params:scim:schemas:core:2.0:%s"],"%s":"%s"}'


@dataclass(frozen=True)
class Hostile:
    """One request; ``head`` holds all but the authorization and the length of the body."""

    method: bytes
    target: bytes
    headers: tuple[bytes, ...]
    body: bytes


def hostile(seed: int, base: bytes, targets: list[str]) -> Iterator[Hostile]:
    """Yield requests.

    :param base: Path of the SCIM endpoints.
    :param targets: Ids of resources that are there.
    """
    chance = random.Random(seed)
    ids = [each.encode() for each in targets]
    while True:
        path = chance.choice(ENDPOINTS)
        if path in {b"/Users", b"/Groups"} and chance.random() < 0.7:
            ends = [b"/" + chance.choice(ids), b"/" + _damaged(chance, b"nobody"), b"/.search"]
            path += chance.choice(ends)
        query = b"&".join(_parameter(chance) for _ in range(chance.choice([0, 0, 1, 2, 5])))
        headers = [b"Content-Type: " + chance.choice(TYPES)] if chance.random() < 0.5 else []
        headers = headers or [b"Content-Type: application/scim+json"]
        headers += chance.sample(HEADERS, chance.choice([0, 0, 0, 1, 2]))
        method = chance.choice(METHODS)
        if chance.random() < 0.6:  # one that the endpoint takes, or most would end as a 405
            method = _taken(chance, path)
        yield Hostile(
            method,
            base + path + (b"?" + query if query else b""),
            tuple(headers),
            _body(chance),
        )


def _taken(chance: random.Random, path: bytes) -> bytes:
    if path.endswith(b"/.search") or path == b"/Bulk":
        return b"POST"
    if path.count(b"/") > 1:
        return chance.choice([b"GET", b"PUT", b"PATCH", b"PATCH", b"DELETE"])
    return chance.choice([b"GET", b"POST"])


def _parameter(chance: random.Random) -> bytes:
    value = chance.choice(EXPRESSIONS) if chance.random() < 0.6 else chance.choice(VALUES)
    if chance.random() < 0.5:
        value = _damaged(chance, value)
    return chance.choice(PARAMETERS) + b"=" + quote_from_bytes(value).encode()


def _body(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.15:
        return b""
    if kind < 0.3:  # one that is accepted now and then, or nothing would ever be written
        name = b"%06d" % chance.randrange(400)
        return LIVELY % chance.choice(
            [(b"User", b"userName", name), (b"Group", b"displayName", name)]
        )
    body = chance.choice(BODIES)
    if chance.random() < 0.2:
        other = chance.choice(BODIES)
        body = body[: chance.randrange(len(body) + 1)] + other[chance.randrange(len(other)) :]
    if chance.random() < 0.02:
        body = b"[" * chance.choice([100, 10_000]) + body
    return _damaged(chance, body) if chance.random() < 0.5 else body


def _damaged(chance: random.Random, text: bytes) -> bytes:
    """Return a text with some bytes replaced, doubled or gone."""
    damaged = bytearray(text)
    for _ in range(chance.choice([1, 1, 2, 8])):
        if not damaged:
            break
        place = chance.randrange(len(damaged))
        match chance.randrange(4):
            case 0:
                damaged[place] = chance.randrange(256)
            case 1:
                del damaged[place : place + chance.choice([1, 4, 16])]
            case 2:
                damaged[place:place] = damaged[place : place + 16] * chance.choice([1, 4])
            case _:
                damaged[place:place] = chance.choice(
                    [b'"', b"\\", b"[", b"]", b"(", b"\xf0\x9f", b"\0"]
                )
    return bytes(damaged)
