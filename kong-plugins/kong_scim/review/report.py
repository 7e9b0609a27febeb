"""The content of an access review, and the proof that it is what the gateway answered.

A report has a header (tenant, moment, filter, end of the trail, digest of Kong's configuration, and
what is not judged) and lines. Its digest is a chain, so that a gateway can make it page by page:

- the digest of the header is SHA-256 of its canonical JSON,
- with each line it becomes SHA-256 of the digest before it (64 hexadecimal digits) and the line's
  canonical JSON, one behind the other,
- and the digest of the report is SHA-256 of the last one and of ``{"lines": n, "people": m}``.

Canonical JSON has sorted names, no blanks, and is UTF-8 (:func:`kong_scim.json_text.canonical`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kong_scim.json_text import canonical

Json = dict[str, Any]

SIGNED_AS = "access-review+jwt"
"""The header ``typ`` of the signature of a report, a token with its :func:`claims`."""

HEADER = ("tenant", "moment", "filter", "trail", "gateway", "notJudged")
"""The members of a report that are its header."""


@dataclass(frozen=True)
class Digest:
    """The digest of a report up to one of its lines."""

    value: str
    people: int = 0
    lines: int = 0

    @classmethod
    def of_header(cls, report: Mapping[str, Any]) -> Digest:
        """Return the digest of a report without lines."""
        header = {name: report[name] for name in HEADER}
        return cls(hashlib.sha256(canonical(header)).hexdigest())

    def with_person(self, lines: Iterable[Mapping[str, Any]]) -> Digest:
        """Return the digest with the lines of one more person."""
        value, count = self.value, self.lines
        for line in lines:
            value = hashlib.sha256(value.encode() + canonical(line)).hexdigest()
            count += 1
        return Digest(value, self.people + 1, count)

    def of_report(self) -> str:
        """Return the digest of the report, if it ends here."""
        end = canonical({"people": self.people, "lines": self.lines})
        return hashlib.sha256(self.value.encode() + end).hexdigest()


def digest_of(report: Mapping[str, Any]) -> str:
    """Return the digest of a whole report with its ``people``, ``lines`` and ``entries``.

    :raises KeyError: A member is missing.
    """
    digest = Digest.of_header(report).with_person(report["entries"])
    return replace(digest, people=report["people"], lines=report["lines"]).of_report()


def claims(report: Mapping[str, Any]) -> Json:
    """Return what the signature of a report signs: its digest and what the report is about."""
    names = ("tenant", "moment", "filter", "trail", "people", "lines", "sha256")
    return {name: report[name] for name in names}
