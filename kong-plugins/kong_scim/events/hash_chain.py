"""The chain of hashes through a tenant's events, which shows what was altered, inserted or removed.

The hash of an event is SHA-256 over its canonical JSON, in which ``previousHash`` is the hash of
the event before it. The JSON is that of ``GET /Events`` without ``schemas``, ``meta`` and ``hash``,
so a reader of the trail can check it without the database.
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
"""The ``previousHash`` of the first event."""

_OUTSIDE = frozenset({"schemas", "meta", "hash"})


@dataclass(frozen=True)
class Chain:
    """Checks that events follow each other as in a tenant's trail.

    :param length: The sequence of the last event, or 0 if there is none.
    :param hash: The hash of the last event.
    :param first: The sequence of the first event that is kept. Older ones were dropped.
    :param first_hash: The ``previousHash`` of that event.
    """

    length: int = 0
    hash: str = START
    first: int = 1
    first_hash: str = START

    def to_json(self) -> dict[str, Any]:
        """Return the chain as ``GET /Events/chain`` shows it."""
        return {
            "length": self.length,
            "hash": self.hash,
            "first": self.first,
            "firstPreviousHash": self.first_hash,
        }

    @classmethod
    def read(cls, shown: Mapping[str, Any]) -> Chain:
        """Read a chain from the JSON that :meth:`to_json` returns."""
        names = ("length", "hash", "first", "firstPreviousHash")
        return cls(*(shown[name] for name in names))


def hash_of(event: Mapping[str, Any]) -> str:
    """Return the hash of an event in SCIM JSON form."""
    content = {name: value for name, value in event.items() if name not in _OUTSIDE}
    if "occurred" in content:  # a date may be written in several ways
        content["occurred"] = instant(datetime.fromisoformat(content["occurred"]))
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _pairs(
    events: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Yield each event with the next one, and the last with None."""
    rest = iter(events)
    event = next(rest, None)
    while event is not None:
        following = next(rest, None)
        yield event, following
        event = following


def verify(events: Iterable[Mapping[str, Any]], chain: Chain) -> str | None:
    """Return a sentence about the first event that breaks the chain, or None if none does.

    :param events: The events in SCIM JSON form, in the order of their sequence.
    """
    expected, previous = chain.first, chain.first_hash
    for event, following in _pairs(events):
        sequence, named = event.get("sequence"), f"event {event.get('id')}"
        if sequence != expected:
            if isinstance(sequence, int) and sequence > expected:
                return f"sequence {expected}: removed (the next one is {named}, at {sequence})"
            return f"sequence {sequence}: inserted ({named}, where {expected} is expected)"
        is_intact = event.get("hash") == hash_of(event)
        if event.get("previousHash") != previous or not is_intact:
            if is_intact and expected > chain.first:  # so the event before it was altered
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
