"""The files of ``kong-scim access-review``: what they say, and that a change of one is found."""

from __future__ import annotations

import csv
import html
import io
import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwk
from review_support import command, review, verified

from hosts import Gateway
from outbox import events
from scim_traffic import get, new_group, new_user, refused

FORMULA = "=cmd|'/c calc'!A1"
MARKUP = "<script>alert(1)</script>&\"'"


def signing_key() -> str:
    text: str = jwk.ECKey.generate_key("P-256").as_pem(private=True).decode()
    return text


@pytest.fixture
def signed(gateway_with: Any) -> Gateway:
    """A gateway whose plugin has a key, with people of odd names."""
    found: Gateway = gateway_with(events={"signing_key": SIGNING_KEY})
    ids = [new_user(found.scim, name)["id"] for name in (FORMULA, MARKUP, "ada")]
    new_group(found.scim, *ids, name="employees")
    found.give_key("ada")
    return found


SIGNING_KEY = signing_key()


def written(gateway: Gateway, path: Path, form: str, *options: str) -> Path:
    file = path / f"report.{form}"
    done = command(gateway, "--format", form, "--output", str(file), *options)
    assert done.exit_code == 0, done.output
    return file


def keys_of(gateway: Gateway, path: Path) -> str:
    file = path / "keys.json"
    file.write_text(gateway.scim.get("/jwks.json").text)
    return str(file)


def used(found: dict[str, Any]) -> dict[str, Any]:
    """Return a record of Kong's file-log, of a user who called the API."""
    return {
        "started_at": 1_700_000_000_000,
        "request": {"method": "GET", "uri": "/echo"},
        "response": {"status": 200},
        "route": {"name": "echo"},
        "scim": {"user_id": found["Resources"][0]["id"]},
    }


@pytest.mark.parametrize("form", ["csv", "json", "html"])
def test_a_report_proves_itself_and_one_changed_byte_is_found(
    signed: Gateway, tmp_path: Path, form: str
) -> None:
    log = tmp_path / "access.json"
    log.write_text(json.dumps(used(get(signed.scim, "/Users", filter='userName eq "ada"'))))
    file = written(signed, tmp_path, form, "--refused", "--access", str(log))
    keys = keys_of(signed, tmp_path)
    found = verified(str(file), "--keys", keys)
    assert found.exit_code == 0, found.output
    assert "3 people" in found.output
    assert "signed by " in found.output
    assert "2023-11-14T22:13:20Z" in file.read_text()
    content = file.read_bytes()
    places = random.Random(7).sample(range(len(content)), 60)
    for place in [*places, 0, len(content) - 1]:
        altered = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        file.write_bytes(altered)
        answer = verified(str(file), "--keys", keys)
        assert answer.exit_code == 1, (place, content[place - 20 : place + 20])
        assert not isinstance(answer.exception, Exception) or isinstance(
            answer.exception, SystemExit
        )


def test_a_report_that_was_made_up_anew_is_not_signed_by_the_gateway(
    signed: Gateway, tmp_path: Path
) -> None:
    from kong_scim.cli.access_report_files import content_of, render
    from kong_scim.review.report import digest_of

    keys = keys_of(signed, tmp_path)
    report = json.loads(written(signed, tmp_path, "json").read_text())
    report["entries"] = report["entries"][1:]
    report["lines"] -= 1
    report["sha256"] = digest_of(report)
    for signature, reason in ((report["signature"], "signed another"), (None, "not signed")):
        report["signature"] = signature
        report["content"] = content_of(report)
        (tmp_path / "made-up.json").write_text(render(report, "json"))
        answer = verified(str(tmp_path / "made-up.json"), "--keys", keys)
        assert answer.exit_code == 1
        assert reason in answer.output
    others = tmp_path / "others.json"
    other = jwk.ECKey.generate_key("P-256").as_dict(private=False)
    others.write_text(json.dumps({"keys": [other]}))
    answer = verified(str(written(signed, tmp_path, "json")), "--keys", str(others))
    assert "none of these keys" in answer.output


def test_a_name_is_neither_a_formula_nor_markup(signed: Gateway, tmp_path: Path) -> None:
    text = written(signed, tmp_path, "csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert f"'{FORMULA}" in {row["userName"] for row in rows}
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    page = written(signed, tmp_path, "html").read_text()
    assert "<script>alert" not in page
    assert html.escape(MARKUP) in page
    assert page.count('<td class="decision">') == page.count("<tr>") - 1 - page.count("judged")
    for outside in ("http://", "https://", "src=", "@import", "url("):
        assert outside not in page.partition('<script type="application/json"')[0]
    shown = command(signed)
    assert shown.exit_code == 0
    assert "employees" in shown.output


def test_without_a_key_a_report_says_that_anybody_could_have_made_it(
    gateway: Gateway, tmp_path: Path
) -> None:
    new_user(gateway.scim, "ada")
    assert review(gateway)["signature"] is None
    answer = verified(str(written(gateway, tmp_path, "json")))
    assert answer.exit_code == 0
    assert "not signed" in answer.output


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"at": "2001-01-01"}, "The audit trail reaches back to "),
        ({"at": "2999-01-01"}, "is to come"),
        ({"at": "yesterday"}, "is no date such as"),
        ({"at": "2026-13-01"}, "is no date such as"),
        ({"at": "9999-12-31T23:59:59-23:00"}, "is"),
        ({"user": "nobody-of-this-name"}, "There is no user 'nobody-of-this-name'"),
        ({"group": "no-such-group"}, "names the group 'no-such-group'"),
        ({"service": "no-such-service"}, "Kong has no service 'no-such-service'"),
        ({"count": "many"}, "count must be a number"),
        ({"cursor": "AAAA"}, "This cursor is of another report"),
        ({"cursor": "%%%"}, "This cursor is of another report"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(
    gateway: Gateway, query: dict[str, str], sentence: str
) -> None:
    events(gateway, new_user(gateway.scim, "ada")["id"])
    answer = gateway.scim.get("/AccessReview", params=query)
    assert sentence in refused(answer, 400, "invalidValue")
    shown = command(
        gateway, *(part for name, each in query.items() for part in (f"--{name}", each))
    )
    assert shown.exit_code in {1, 2}


def test_a_cursor_of_another_filter_is_refused(gateway: Gateway) -> None:
    for name in ("ada", "bob"):
        new_user(gateway.scim, name)
    page = gateway.scim.get("/AccessReview", params={"count": "1", "refused": "true"}).json()
    assert page["next"]
    answer = gateway.scim.get("/AccessReview", params={"cursor": page["next"]})
    assert "another report" in refused(answer, 400, "invalidValue")


def test_it_is_for_administrators_and_for_reading(gateway_with: Any) -> None:
    reading = {"name": "reader", "value": "t" * 20, "scopes": ["scim:read", "scim:events"]}
    admin = {"name": "idp", "value": "{vault://env/scim-token-a}", "scopes": ["scim:admin"]}
    found: Gateway = gateway_with(tokens=[reading, admin])
    reader = httpx.Client(base_url=found.scim_base, headers={"Authorization": f"Bearer {'t' * 20}"})
    with reader:
        assert reader.get("/AccessReview").status_code == 403
    assert found.scim.post("/AccessReview", json={}).status_code == 405


def test_no_report_and_no_file_are_said(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"\xff\xfe", b"a,b\n1,2\n", b"<!doctype html>\n<p>x"):
        file = tmp_path / "other"
        file.write_bytes(content)
        answer = verified(str(file))
        assert answer.exit_code == 1
        assert "no access review, or it was altered" in answer.output
