"""Prints text that may come from outside (names, paths, errors) without control characters.

A terminal obeys control characters, and format characters change the order in which it shows text.
So both are printed as ``\\u`` and a number, and all other characters as they are.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import click

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that are escaped: control and format characters (C0, C1, zero width, changes
of direction), unpaired surrogates, and separators of lines."""


def safe(text: str) -> str:
    """Return a line of text with unsafe characters escaped, line ends in it included.

    The escapes are those of JSON, so JSON text keeps its value.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        json.dumps(each)[1:-1] if unicodedata.category(each) in _UNSAFE else each for each in text
    )


def say(*lines: str, err: bool = False) -> None:
    """Print lines, with unsafe characters escaped."""
    for line in lines:
        click.echo(safe(line), err=err)


def say_json(value: Any) -> None:
    """Print a value as one line of JSON, with unsafe characters escaped."""
    say(json.dumps(value, ensure_ascii=False))


def failure(text: str) -> click.ClickException:
    """Return the exception that ends a command with a text, in which unsafe characters are
    escaped."""
    return click.ClickException("\n".join(safe(line) for line in text.splitlines()))
