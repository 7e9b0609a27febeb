"""Refuses what is too large or too deep before a parser, a model or a database gets it.

Every limit here answers 400 or 413 with a sentence. They stand in one place so that each can be
seen to be far above what an identity provider sends and below what hurts.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from scim2_models import (
    InvalidFilterException,
    InvalidPathException,
    InvalidSyntaxException,
    InvalidValueException,
)

MAX_DEPTH = 64
"""Objects and lists within one another in a JSON body. SCIM itself needs six."""

MAX_INTEGER_DIGITS = 18
"""Digits of an integer: more does not fit the 64 bits of a database column."""

MAX_EXPRESSION = 8192
"""Characters of a filter or of a PATCH path."""

MAX_BRACKETS = 50
"""Brackets open at once in a filter or a path."""

MAX_TERMS = 256
"""Comparisons in one filter or path: each becomes a condition of the SQL statement."""

MAX_ATTRIBUTES = 256
"""Names in ``attributes`` or ``excludedAttributes``."""

MAX_ECHO = 100
"""Characters of what the client sent that an error shows back."""

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters but tab and line ends, and halves of a surrogate pair: no database takes NUL,
no header takes the others, and a lone surrogate cannot be encoded."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_JOIN = re.compile(r"\b(?:and|or)\b", re.IGNORECASE)


def shown(text: Any) -> str:
    """Return what a client sent in the form an error may repeat: quoted, printable, bounded."""
    value = str(text)
    if len(value) > MAX_ECHO:
        value = value[: MAX_ECHO - 1] + "…"
    return ascii(value) if CONTROL.search(value) else f"'{value}'"


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a request body.

    :raises InvalidSyntaxException: When it is no JSON (RFC 8259), or nests too deeply, or names a
        member twice, which clients and servers read differently.
    :raises InvalidValueException: When a string or a number of it cannot be stored.
    """
    if not body.strip():
        raise InvalidSyntaxException(detail="The request has no body: send a JSON object")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSyntaxException(
            detail=f"The body is not UTF-8 (byte {error.start}): encode it as UTF-8"
        ) from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_members,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_decimal,
        )
    except json.JSONDecodeError as error:
        raise InvalidSyntaxException(
            detail=f"The body is no JSON from line {error.lineno}, column {error.colno} on: send "
            "one JSON object"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    _check(value)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len({name.lower() for name in members}) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name.lower() in seen:
                raise InvalidSyntaxException(
                    detail=f"{shown(name)} stands twice in one JSON object: send it once"
                )
            seen.add(name.lower())
    return members


def _constant(name: str) -> NoReturn:
    raise InvalidSyntaxException(detail=f"{name} is not JSON: send a number or null")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise InvalidValueException(
            detail=f"A number has more than {MAX_INTEGER_DIGITS} digits: send it as a string"
        )
    return int(digits)


def _decimal(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise InvalidValueException(detail="A number is too large: send it as a string")
    return number


def _too_deep() -> InvalidSyntaxException:
    return InvalidSyntaxException(
        detail=f"The body nests more than {MAX_DEPTH} levels of objects and lists"
    )


def _check(value: Any) -> None:
    """Walk a parsed body, without recursion, for depth and for characters nothing can store."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                check_text(item)
            elif isinstance(item, dict):
                for name in item:
                    if CONTROL.search(name):
                        raise InvalidSyntaxException(
                            detail=f"The name {shown(name)} holds a control character"
                        )
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    if any(isinstance(item, dict | list) for item in level):
        raise _too_deep()
    for item in level:
        if isinstance(item, str):
            check_text(item)


def check_text(value: str) -> None:
    """Refuse a string with characters that no attribute can hold.

    :raises InvalidValueException: With the character's code point, never the string.
    """
    found = CONTROL.search(value)
    if found:
        raise InvalidValueException(
            detail=f"A string holds the character U+{ord(found.group()):04X}: "
            "remove control characters and unpaired surrogates"
        )


def check_filter(expression: str) -> None:
    """Refuse a filter that is larger than any client needs, before it is parsed.

    :raises InvalidFilterException: With the limit.
    """
    problem = _oversize(expression)
    if problem:
        raise InvalidFilterException(detail=f"The filter {problem}")


def check_path(expression: str) -> None:
    """Refuse a PATCH path that is larger than any client needs, before it is parsed.

    :raises InvalidPathException: With the limit.
    """
    problem = _oversize(expression)
    if problem:
        raise InvalidPathException(detail=f"The path {problem}")


def _oversize(expression: str) -> str | None:
    if len(expression) > MAX_EXPRESSION:
        return f"has {len(expression)} characters, the limit is {MAX_EXPRESSION}: split the request"
    bare = _QUOTED.sub('""', expression)
    depth = deepest = 0
    for character in bare:
        if character in "([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]":
            depth -= 1
    if deepest > MAX_BRACKETS:
        return f"nests more than {MAX_BRACKETS} brackets: write it flat"
    if len(_JOIN.findall(bare)) >= MAX_TERMS:
        return f"has more than {MAX_TERMS} comparisons: split the request"
    return None
