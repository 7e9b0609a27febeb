"""Says which spellings of a name look like one name to a reader."""

from __future__ import annotations

import unicodedata


def one_spelling(name: str) -> str:
    """Return the one spelling of all names that differ in blanks, or in how letters are composed.

    Blanks at the ends go, several together become one, and letters are in Unicode's form NFC.
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def fold(name: str) -> str:
    """Return the one form of all names that a reader cannot tell apart.

    They differ in case, in width and other compatibility forms, in blanks, or in what is not shown
    (Unicode's NFKC_Casefold, and blanks as in :func:`one_spelling`).
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    if not folded.isascii():
        folded = "".join(each for each in folded if not _is_format(each))
    return " ".join(folded.split())


def format_character(text: str) -> str | None:
    """Return the first format character of a text, such as ``U+200B``; None where there is none.

    They are Unicode's category Cf: zero-width characters and those that change the direction. Names
    that differ in nothing else are shown alike.
    """
    if text.isascii():
        return None
    return next((f"U+{ord(each):04X}" for each in text if _is_format(each)), None)


def has_control(text: str) -> bool:
    """Tell whether a text has a control character."""
    return not text.isprintable() and any(unicodedata.category(each) == "Cc" for each in text)


def _is_format(character: str) -> bool:
    return unicodedata.category(character) == "Cf"
