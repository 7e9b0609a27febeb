"""The chain of hashes through a tenant's events, which shows what was altered, inserted or removed.

The hash of an event is SHA-256 over its canonical JSON, in which ``previousHash`` is the hash of
the event before it. What is hashed is the event as ``GET /Events`` shows it, without ``schemas``,
``meta`` and ``hash``: who reads the trail can check it, without the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kong_scim.directory.values import instant

START = "0" * 64
"""The hash before the first event."""

_OUTSIDE = frozenset({"schemas", "meta", "hash"})


@dataclass(frozen=True)
class Chain:
    """Checks that events follow each other as in a tenant's trail.

    :param length: The sequence of the last event; 0 for none.
    :param hash: The hash of the last event.
    :param first: The sequence of the first event that is kept: those before have passed their age.
    :param first_hash: The hash before that one.
    """

    length: int = 0
    hash: str = START
    first: int = 1
    first_hash: str = START

    def to_json(self) -> dict[str, Any]:
        """Return it as ``GET /Events/chain`` shows it."""
        return {
            "length": self.length,
            "hash": self.hash,
            "first": self.first,
            "firstPreviousHash": self.first_hash,
        }

    @classmethod
    def read(cls, shown: Mapping[str, Any]) -> Chain:
        """Take it from what :meth:`to_json` returned."""
        names = ("length", "hash", "first", "firstPreviousHash")
        return cls(*(shown[name] for name in names))


def hash_of(event: Mapping[str, Any]) -> str:
    """Return the hash of an event in SCIM JSON form."""
    content = {name: value for name, value in event.items() if name not in _OUTSIDE}
    if "occurred" in content:  # a date has several spellings
        content["occurred"] = instant(datetime.fromisoformat(content["occurred"]))
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _pairs(
    events: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Yield each event with the one after it."""
    rest = iter(events)
    event = next(rest, None)
    while event is not None:
        following = next(rest, None)
        yield event, following
        event = following


def verify(events: Iterable[Mapping[str, Any]], chain: Chain) -> str | None:
    """Return a sentence on the first event that is not as it was sealed, or None where all are.

    :param events: In the order of their sequence, each in SCIM JSON form.
    """
    expected, previous = chain.first, chain.first_hash
    for event, following in _pairs(events):
        sequence, named = event.get("sequence"), f"event {event.get('id')}"
        if sequence != expected:
            if isinstance(sequence, int) and sequence > expected:
                return f"sequence {expected}: removed (the next one is {named}, at {sequence})"
            return f"sequence {sequence}: inserted ({named}, where {expected} is expected)"
        own = event.get("hash") == hash_of(event)
        if event.get("previousHash") != previous or not own:
            if own and expected > chain.first:  # then it is what it was, and that before it is not
                place = sequence - 1
                return (
                    f"sequence {place}: altered ({named}, after it, was sealed with another hash)"
                )
            if following is not None and following.get("sequence") == sequence:
                return f"sequence {sequence}: inserted ({named}, in the place of another event)"
            return f"sequence {sequence}: altered ({named} is not what was sealed)"
        if sequence > chain.length:
            return f"sequence {sequence}: inserted ({named}, after the end of the chain)"
        expected, previous = sequence + 1, str(event["hash"])
    if expected <= chain.length:
        return f"sequence {expected}: removed, and everything after it up to {chain.length}"
    if previous != chain.hash:
        return f"sequence {chain.length}: altered (the chain ends with another hash)"
    return None
