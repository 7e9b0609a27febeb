"""Says which spellings of a name look like one name to a reader."""

from __future__ import annotations

import unicodedata


def one_spelling(name: str) -> str:
    """Return a name with normal blanks, in Unicode's form NFC.

    Blanks at the ends are removed, and several in a row become one.
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def fold(name: str) -> str:
    """Return the plain form of a name, which is equal for names that a reader cannot tell apart.

    Such names differ in case, in width and other compatibility forms, in invisible characters
    (Unicode's NFKC_Casefold), or in blanks as in :func:`one_spelling`.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    if not folded.isascii():
        folded = "".join(each for each in folded if not _is_format(each))
    return " ".join(folded.split())


def format_character(text: str) -> str | None:
    """Return the first format character of a text, such as ``U+200B``, or None without one.

    Format characters are Unicode's category Cf: zero-width characters and those that change the
    direction. Names that differ in nothing else look the same.
    """
    if text.isascii():
        return None
    return next((f"U+{ord(each):04X}" for each in text if _is_format(each)), None)


def has_control(text: str) -> bool:
    """Tell whether a text has a control character."""
    return not text.isprintable() and any(unicodedata.category(each) == "Cc" for each in text)


def _is_format(character: str) -> bool:
    return unicodedata.category(character) == "Cf"
