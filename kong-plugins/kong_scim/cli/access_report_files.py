"""Writes an access review as CSV, JSON or HTML, and reads it back without loss.

A file is written in one way only. So :func:`render` of what :func:`reader_of` reads is the file
itself, unless one of its bytes was changed.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kong_scim.cli.printing import safe
from kong_scim.json_text import canonical

Report = dict[str, Any]


class UnreadableError(ValueError):
    """A file is no report."""


def content_of(report: Mapping[str, Any]) -> str:
    """Return SHA-256 of everything in a report, also of what the command added to it."""
    return hashlib.sha256(
        canonical({name: value for name, value in report.items() if name != "content"})
    ).hexdigest()


def render(report: Report, form: str) -> str:
    """Return the text of a report.

    :param form: ``csv``, ``json``, ``html`` or ``table``.
    """
    return {"csv": _csv, "json": _json, "html": _html, "table": _table}[form](report)


def reader_of(content: bytes) -> tuple[str, Report]:
    """Return the form of a file, and the report in it.

    :raises UnreadableError: It is none.
    """
    try:
        text = content.decode()
        if text.startswith("{"):
            return "json", _checked(json.loads(text))
        if text.startswith(_DOCTYPE):
            found = re.search(re.escape(_DATA) + "(.*?)</script>", text, re.DOTALL)
            return "html", _checked(json.loads(found[1] if found else ""))
        return "csv", _checked(_of_csv(text))
    except (ValueError, KeyError, TypeError, IndexError, csv.Error, RecursionError):
        raise UnreadableError("this is no access review, or it was altered") from None


def _checked(report: Any) -> Report:
    if not isinstance(report, dict) or report.get("version") != 1 or "entries" not in report:
        raise ValueError("no report of this version")
    return report


def _json(report: Report) -> str:
    return json.dumps(report, indent=1) + "\n"


# -- CSV ------------------------------------------------------------------------

_COLUMNS = (
    *("line", "user", "userName", "consumer", "suspended", "service", "route", "status", "by"),
    *("since", "event", "actor", "request", "credentials", "lastUsed", "reason"),
)
_ACCESS, _NOT_JUDGED, _IN_PART, _PROOF = "access", "not judged", "judged in part", "proof"

_FORMULA = re.compile(r"\s*[=+\-@'\t\r\n＝＋－＠]")
"""How a text begins that a spreadsheet would run as a formula, and what marks that it is none."""


def _cell(value: Any) -> str:
    """Return the text of a cell; a spreadsheet shows one behind an apostrophe as it is."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _csv(report: Report) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    used = report.get("lastUsed") or [None] * len(report["entries"])
    for entry, last in zip(report["entries"], used, strict=True):
        origin = entry["grantedBy"] or {}
        values = {**entry, **origin, "line": _ACCESS, "lastUsed": last}
        writer.writerow([_cell(values.get(name)) for name in _COLUMNS])
    for each in report["notJudged"]:
        values = {**each, "line": _IN_PART if each["partly"] else _NOT_JUDGED}
        writer.writerow([_cell(values.get(name)) for name in _COLUMNS])
    rest = {
        name: value
        for name, value in report.items()
        if name not in {"entries", "notJudged", "lastUsed"}
    }
    rest["hasLastUsed"] = "lastUsed" in report
    values = {"line": _PROOF, "reason": rest}
    writer.writerow([_cell(values.get(name)) for name in _COLUMNS])
    return file.getvalue()


def _of_csv(text: str) -> Report:
    names, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    if tuple(names) != _COLUMNS:
        raise ValueError("other columns")
    lines = [dict(zip(_COLUMNS, map(_text, row), strict=True)) for row in rows]
    report: Report = json.loads(lines[-1]["reason"] or "")
    has_last_used = report.pop("hasLastUsed")
    access = [line for line in lines if line["line"] == _ACCESS]
    report["notJudged"] = [
        {
            "service": line["service"],
            "route": line["route"],
            "reason": line["reason"],
            "partly": line["line"] == _IN_PART,
        }
        for line in lines
        if line["line"] in {_NOT_JUDGED, _IN_PART}
    ]
    report["entries"] = [_entry(line) for line in access]
    if has_last_used:
        report["lastUsed"] = [line["lastUsed"] for line in access]
    return report


def _text(cell: str) -> str | None:
    return cell.removeprefix("'") or None


def _entry(line: Mapping[str, str | None]) -> Report:
    names = ("user", "userName", "consumer", "service", "route", "by", "since")
    origin = {name: line[name] for name in ("event", "actor", "request")}
    return {
        **{name: line[name] for name in names},
        "suspended": json.loads(line["suspended"] or ""),
        "status": json.loads(line["status"] or ""),
        "grantedBy": origin if origin["event"] else None,
        "credentials": json.loads(line["credentials"] or ""),
    }


# -- Text -----------------------------------------------------------------------


def state_of(entry: Mapping[str, Any]) -> str:
    """Return in a word what becomes of a person's requests to a route."""
    if entry["status"] == 200:
        return "reaches it"
    if entry["suspended"]:
        return "suspended"
    return "has no credential" if entry["status"] == 401 else "refused"


def credentials_of(entry: Mapping[str, Any]) -> str:
    """Return the credentials of a person as text: their kinds and ages, never their values."""
    parts = []
    for each in entry["credentials"]:
        text = str(each["kind"]).removesuffix("_credentials")
        text += f" of {each['created'][:10]}" if each["created"] else ""
        text += f" until {each['expires'][:10]}" if each["expires"] else ""
        text += f", lost {each['revoked'][:10]}" if each.get("revoked") else ""
        parts.append(text)
    return "; ".join(parts)


def _origin_of(entry: Mapping[str, Any]) -> str:
    origin = entry["grantedBy"]
    if origin is None:
        return "not in the audit trail"
    request = f", request {origin['request']}" if origin["request"] else ""
    return f"by {origin['actor']}{request}, event {origin['event']}"


def _rows(report: Report) -> list[list[str]]:
    used = report.get("lastUsed")
    rows = []
    for index, entry in enumerate(report["entries"]):
        row = [
            entry["userName"] or entry["user"],
            " / ".join(filter(None, (entry["service"], entry["route"]))),
            state_of(entry),
            entry["by"] or "-",
            (entry["since"] or "-")[:19],
            _origin_of(entry),
            credentials_of(entry) or "-",
        ]
        rows.append([*row, (used[index] or "never") if used is not None else "-"])
    return [[safe(cell) for cell in row] for row in rows]


_TITLES = (
    *("user", "service / route", "state", "by group", "since", "granted", "credentials"),
    "last used",
)


def _facts(report: Report) -> list[tuple[str, str]]:
    trail = report["trail"]
    only = ", ".join(f"{name} {value}" for name, value in report["filter"].items())
    return [
        ("tenant", report["tenant"]),
        ("moment", report["moment"]),
        ("only", only or "everything"),
        ("people looked at", str(report["people"])),
        ("lines", str(report["lines"])),
        ("audit trail", f"from {trail['from']}, record {trail['sequence']}, hash {trail['hash']}"),
        (
            "routes and plugins",
            f"as of {report['gateway']['read']}, sha256 {report['gateway']['sha256']}",
        ),
        ("sha256", report["sha256"]),
        ("signature", report["signature"] or "none"),
    ]


def _reasons(report: Report) -> list[list[str]]:
    return [
        [
            safe(" / ".join(filter(None, (each["service"], each["route"])))),
            "judged in part" if each["partly"] else "not judged",
            safe(each["reason"]),
        ]
        for each in report["notJudged"]
    ]


def _table(report: Report) -> str:
    parts = [_aligned([_TITLES, *_rows(report)])]
    if report["notJudged"]:
        parts.append(_aligned(_reasons(report)))
    parts.append(_aligned([[name, safe(value)] for name, value in _facts(report)]))
    return "\n".join(parts)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"


# -- HTML -----------------------------------------------------------------------

_DOCTYPE = "<!doctype html>\n"
_DATA = '<script type="application/json" id="report">'

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #111; background: #fff }
table { border-collapse: collapse; width: 100%; margin: 1em 0 }
th, td { border: 1px solid #999; padding: .3em .5em; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
th { background: #eee }
td.decision { min-width: 9em; white-space: nowrap }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1em }
dd { margin: 0; overflow-wrap: anywhere }
@page { size: A4 landscape; margin: 12mm }
@media print { body { margin: 0; font-size: 9pt } thead { display: table-header-group }
  tr { break-inside: avoid } }
"""

_BLANK = "_" * 20

_DECISION = "&#9744; keep<br>&#9744; remove"


def _html(report: Report) -> str:
    def escaped(text: str) -> str:
        return html.escape(safe(text))

    def cells(row: Sequence[str], tag: str = "td") -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    decision = f'<td class="decision">{_DECISION}</td>'
    body = "\n".join(f"<tr>{cells(row)}{decision}</tr>" for row in _rows(report))
    reasons = "\n".join(f"<tr>{cells(row)}</tr>" for row in _reasons(report))
    facts = "\n".join(f"<dt>{name}</dt><dd>{escaped(value)}</dd>" for name, value in _facts(report))
    # In the data a less-than sign could end the element.
    data = json.dumps(report).replace("<", "\\u003c")
    title = f"Access review of {escaped(report['tenant'])}, {escaped(report['moment'])}"
    return f"""{_DOCTYPE}<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<dl>
{facts}
</dl>
<h2>Who reaches what</h2>
<table>
<thead><tr>{cells(_TITLES, "th")}<th>decision</th></tr></thead>
<tbody>
{body}
</tbody>
</table>
<h2>What is not judged</h2>
<table>
<thead><tr>{cells(("service / route", "", "reason"), "th")}</tr></thead>
<tbody>
{reasons}
</tbody>
</table>
<p>Reviewed by: {_BLANK} &nbsp; Date: {_BLANK} &nbsp; Signature: {_BLANK}</p>
{_DATA}{data}</script>
</body>
</html>
"""
