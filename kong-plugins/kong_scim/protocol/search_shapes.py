"""Recognises searches that differ from an earlier one only in the values they compare with, so that
their filter is neither parsed nor compiled again.

Identity providers send the same few filters for each user, such as ``userName eq "bjensen"``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from scim2_models import SCIMException, SearchRequest

from kong_scim.directory.compiled_searches import COUNT, START, Shape, has_shape, mark
from kong_scim.directory.kinds import Kind
from kong_scim.protocol.limits import CONTROL

MOST_SHAPES = 256
"""Shapes that are kept for one service."""

MOST_CHARACTERS = 1024
"""Characters of a filter without its values. A provider's filter is much shorter."""

_VALUE = re.compile(r'"([^"\\]*)"')
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_OTHERS = ("attributes", "excludedAttributes", "sortBy", "sortOrder")
_KNOWN = {"filter", "startIndex", "count", *_OTHERS}


@dataclass(frozen=True)
class Alike:
    """A search of a known shape.

    :param start: The index of the first resource of its page, from 1.
    """

    shape: Shape
    values: tuple[str, ...]
    start: int
    count: int


Read = Callable[[Kind, Mapping[str, Any]], SearchRequest[Any]]
"""Reads the parameters of a search, and raises a SCIM error for wrong ones."""


class Shapes:
    """The shapes of searches that were met lately.

    :param default: The size of a page if the client gives none.
    :param most: The largest size of a page.
    """

    def __init__(self, read: Read, *, default: int, most: int) -> None:
        self._read = read
        self._default = min(default, most)
        self._most = most
        self._lock = Lock()
        self._known: OrderedDict[tuple[str | None, ...], Shape | None] = OrderedDict()

    def of(self, kind: Kind, query: Mapping[str, str]) -> Alike | None:
        """Return a search in terms of its shape; None if it must be read as a whole.

        :param query: The parameters by their names.
        """
        text = query.get("filter", "")
        values = tuple(_VALUE.findall(text))
        page = self._page(query)
        if not values or page is None or any(map(CONTROL.search, values)):
            return None
        bare = _VALUE.sub('""', text)
        if len(bare) > MOST_CHARACTERS or bare.count('"') != 2 * len(values):
            return None
        if "[" in bare or any("[" in query.get(name, "") for name in _OTHERS):
            return None
        key = (kind.name, bare, *map(query.get, _OTHERS))
        with self._lock:
            known = key in self._known
            shape = self._known.get(key)
            if known:
                self._known.move_to_end(key)
        if not known:
            shape = self._learn(kind, query, text)
            with self._lock:
                self._known[key] = shape
                while len(self._known) > MOST_SHAPES:
                    self._known.popitem(last=False)
        return None if shape is None else Alike(shape, values, *page)

    def _page(self, query: Mapping[str, str]) -> tuple[int, int] | None:
        if not query.keys() <= _KNOWN:
            return None
        start, count = query.get("startIndex", "1"), query.get("count", str(self._default))
        if not (_NUMBER.fullmatch(start) and _NUMBER.fullmatch(count)):
            return None
        return int(start), min(int(count), self._most)

    def _learn(self, kind: Kind, query: Mapping[str, str], text: str) -> Shape | None:
        """Return the shape of a search that was not met before, or None if it has none.

        It has one if its filter means what it says: nothing of it is rewritten for the stored
        values, whatever they are compared with.
        """
        marks = iter(range(len(text)))
        marked = _VALUE.sub(lambda _: f'"{mark(next(marks))}"', text)
        rest = {name: value for name, value in query.items() if name in _OTHERS}
        try:
            request = self._read(kind, {**rest, "filter": marked})
            plain = self._read(kind, {**rest, "filter": text})
        except SCIMException:
            return None
        if str(request.filter) != marked or str(plain.filter) != text:
            return None
        if not has_shape(kind, request):
            return None
        page = {"count": COUNT, "start_index": START}
        return Shape(kind, request.model_copy(update=page))
