"""Reads YAML and remembers on which line everything stands, so that an error can name its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

DirectoryContext: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and list indexes, such as ``("services", 0, "name")``."""


class DeclarationError(ValueError):
    """The declarative configuration cannot be used. The message names the file and the place."""


class Document:
    """A YAML document, and the line of each of its values.

    :raises DeclarationError: When the text is no YAML, or no mapping.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            self.tree: Any = yaml.safe_load(text)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise DeclarationError(f"{name}: {error}") from error
        if not isinstance(self.tree, dict):
            raise DeclarationError(f"{name}: expected a mapping with `_format_version` at its top")
        self._lines = dict(_lines(node, ()))

    def error(self, place: DirectoryContext, message: str) -> DeclarationError:
        """Return an error at a place, such as ``kong.yml:12: in services[0].name: ...``."""
        known = place
        while known and known not in self._lines:
            known = known[:-1]
        return DeclarationError(
            f"{self.name}:{self._lines.get(known, 1)}: in {written(place)}: {message}"
        )


def written(place: DirectoryContext) -> str:
    """Return a place as people write it, such as ``services[0].plugins[1].config``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".") or "the file"


def _lines(
    node: yaml.Node | None, place: DirectoryContext
) -> Iterator[tuple[DirectoryContext, int]]:
    if node is None:
        return
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key.start_mark.line + 1
            for below, line in _lines(value, (*place, key.value)):
                if below != (*place, key.value):
                    yield below, line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*place, index))
