"""Tokens in a form of constant length, which is all that is ever kept or compared of them."""

from __future__ import annotations

import hashlib


def digest(token: str) -> bytes:
    """Return the SHA-256 of a token, without the line end that a secret file ends with."""
    return hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
