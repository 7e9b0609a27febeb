"""What the command line prints from outside cannot speak to a terminal, nor hide."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_scim.cli.audit import line
from kong_scim.cli.printing import failure, safe, say, say_json


@given(st.text())
def test_no_control_and_no_format_character_is_printed(text: str) -> None:
    printed = safe(text)
    assert not {unicodedata.category(each) for each in printed} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if text.isprintable() and text.isascii():
        assert printed == text


@given(st.text())
def test_json_that_is_printed_has_the_same_value(text: str) -> None:
    assert json.loads(safe(json.dumps({"name": text}, ensure_ascii=False))) == {"name": text}


@pytest.mark.parametrize("each", ["\x1b[2J", "\x9b31m", "\u202e", "\n#999 delete", "\u2028", "\r"])
def test_each_way_prints_one_safe_line(capsys: pytest.CaptureFixture[str], each: str) -> None:
    event = {
        "occurred": "2026-01-01T00:00:00Z",
        "sequence": 1,
        "operation": "delete",
        "resourceType": "User",
        "resourceId": f"x{each}y",
        "actor": f"idp{each}",
    }
    say(line(event))
    say_json(event)
    failure(f"a sentence of {each[0]!r}{each}").show()
    printed = capsys.readouterr()
    for text in (*printed.out.split("\n")[:2], *printed.err.split("\n")):
        assert safe(text) == text
    assert len(printed.out.split("\n")) == 3
