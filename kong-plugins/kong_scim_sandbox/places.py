"""Reads YAML and remembers on which line everything stands, so that an error can name its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

Place: TypeAlias = tuple[str | int, ...]
"""The path to a value: keys and list indexes, such as ``("services", 0, "name")``."""


class DeclarationError(ValueError):
    """The declarative configuration cannot be used. The message names the file and the place."""


class Document:
    """A YAML document that knows the line of each of its values.

    :param name: The name of the file in errors.
    :raises DeclarationError: When the text is not YAML, or not a mapping.
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

    def error(self, place: Place, message: str) -> DeclarationError:
        """Return an error about a place, such as ``kong.yml:12: in services[0].name: ...``."""
        known = place
        while known and known not in self._lines:
            known = known[:-1]
        return DeclarationError(
            f"{self.name}:{self._lines.get(known, 1)}: in {written(place)}: {message}"
        )


def written(place: Place) -> str:
    """Return a place as text, such as ``services[0].plugins[1].config``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".") or "the file"


def _lines(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, int]]:
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
