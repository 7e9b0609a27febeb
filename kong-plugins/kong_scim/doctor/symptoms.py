"""The symptoms of ``symptoms.yml``: what a client or a log shows, why, and what to do.

``python -m kong_scim.doctor.symptoms docs/operations.md`` writes the table of that page.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

PAGE = "docs/operations.md"

BEGIN = "<!-- symptoms: `make docs` writes this table from kong_scim/doctor/symptoms.yml -->"
END = "<!-- end of symptoms -->"

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Symptom:
    """One symptom. Its texts are Markdown, as the page shows them.

    :param check: The check of :data:`.report.CHECKS` that finds it.
    :param symptom: What is seen. A quotation in backticks, in which ``...`` is any text, tells it.
    :param texts: What tells the symptom in an answer or a log. Without any, its status does.
    :param status: The status of the answer; None for any.
    """

    check: str
    symptom: str
    cause: str
    mend: str
    texts: tuple[re.Pattern[str], ...]
    status: int | None

    def matches(self, status: int | None, text: str) -> bool:
        """Tell whether an answer, or a line of a log (without a status), shows the symptom."""
        if status is not None and self.status not in {None, status}:
            return False
        if not self.texts:
            return status is not None and status == self.status
        return any(pattern.search(text) for pattern in self.texts)

    @property
    def quoted(self) -> str:
        """What is seen, as plain text."""
        return plain(self.symptom)

    @property
    def advice(self) -> str:
        """The cause and what to do, as plain text."""
        return f"{plain(self.cause)}: {plain(self.mend)}"


@functools.cache
def symptoms() -> tuple[Symptom, ...]:
    """Return all symptoms, those with the longest quotations first."""
    text = files("kong_scim.doctor").joinpath("symptoms.yml").read_text()
    found = [_symptom(entry) for entry in yaml.safe_load(text)]
    return tuple(found)


def symptom_of(status: int | None, text: str) -> Symptom | None:
    """Return the symptom that an answer shows, or None.

    :param status: The status of the answer; None for a line of a log.
    :param text: The ``detail`` of a SCIM error, the ``message`` of Kong's, or the line.
    """
    found = [each for each in symptoms() if each.matches(status, text)]
    return max(found, key=_quoted_characters, default=None)


def plain(markdown: str) -> str:
    """Return a text without Markdown: a link becomes its text, and the page in brackets."""

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        page, _, anchor = target.partition("#")
        path = f"docs/{page}" if page else PAGE
        return f"{text} ({path}{'#' + anchor if anchor else ''})"

    return _LINK.sub(link, markdown).replace("`", "").replace("**", "")


def table() -> str:
    """Return the table of the page."""
    lines = ["| Symptom | Cause | What to do | Check |", "|---|---|---|---|"]
    lines += [
        f"| {each.symptom} | {each.cause} | {each.mend} | `{each.check}` |" for each in symptoms()
    ]
    return "\n".join(lines)


def with_table(page: str) -> str:
    """Return the text of the page with the present table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _symptom(entry: dict[str, str]) -> Symptom:
    words = entry["symptom"]
    status = re.match(r"(?:Admin API: )?(\d{3})\b(?!,)", words)
    quoted = entry.get("tells", words)
    return Symptom(
        check=entry["check"],
        symptom=words,
        cause=entry["cause"],
        mend=entry["mend"],
        texts=tuple(_pattern(text) for text in _QUOTED.findall(quoted)),
        status=int(status[1]) if status else None,
    )


def _pattern(quotation: str) -> re.Pattern[str]:
    parts = [re.escape(part.strip()) for part in quotation.split("...")]
    return re.compile(".*".join(part for part in parts if part), re.DOTALL)


def _quoted_characters(symptom: Symptom) -> int:
    return max((len(each.pattern) for each in symptom.texts), default=0)


def main() -> None:
    """Write the table into the page that the command line names."""
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text()))


if __name__ == "__main__":
    main()
