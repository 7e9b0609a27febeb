"""Prints text that may come from outside (names, paths, errors) without control characters.

A terminal obeys control characters, and shows text in an order that format characters change. So
both are printed as ``\\u`` and a number, and nothing else is.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import click

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what is no text: control and format characters (C0, C1, zero width,
changes of direction), unpaired surrogates, and separators of lines."""


def safe(text: str) -> str:
    """Return one line of text as it may be printed; a line end in it is printed as such, too.

    In JSON text what is printed instead is the same value.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        json.dumps(each)[1:-1] if unicodedata.category(each) in _UNSAFE else each for each in text
    )


def say(*lines: str, err: bool = False) -> None:
    """Print lines, each one safely."""
    for line in lines:
        click.echo(safe(line), err=err)


def say_json(value: Any) -> None:
    """Print a value as one line of JSON, safely."""
    say(json.dumps(value, ensure_ascii=False))


def failure(text: str) -> click.ClickException:
    """Return what ends a command with a sentence that may repeat what comes from outside."""
    return click.ClickException("\n".join(safe(line) for line in text.splitlines()))
