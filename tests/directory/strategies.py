"""Random users, groups and filters that meet often enough, and are as awkward as real ones."""

from __future__ import annotations

import base64
import json
from typing import Any

from directory_support import ACME, ENTERPRISE, TEAM
from hypothesis import strategies as st

_AWKWARD = [
    "",
    "a",
    "A",
    "ab",
    "Ab",
    "b",
    "é",
    "e\u0301",  # the same as é in NFC
    "É",
    "i",
    "İ",  # two characters in lower case
    "ı",
    "I",
    "ß",
    "ẞ",
    "ς",
    "Σ",
    "😀",
    "😀a",
    "\uffff",  # sorts after 😀 in UTF-16, before it in UTF-8
    "a\U0010ffffb",
    "%",
    "_",
    "a%b_c",
    "\\",
    "'",
    '"',
    "a\\'\"b",
    "$1",
    "?1",
    ":x",
    " a ",
    "a\nb\tc",
    "null",
    "true",
    "10",
    "9",
    "x" * 127 + "y",
    "x" * 128,
    "x" * 129,
    "x" * 128 + "Yz",
    "İ" * 100,
]
texts = st.sampled_from(_AWKWARD) | st.text(st.sampled_from("aAbBİiß😀%_"), max_size=4)
numbers = st.sampled_from([0, 1, -1, 2, 10, 9, 1.5, -0.5, 2**31, 10**15, 1e-7, 0.1])
integers = st.sampled_from([0, 1, -1, 2, 10, 9, 2**31, 2**53 - 1])
booleans = st.booleans()
dates = st.sampled_from(
    [
        "2020-01-01T00:00:00Z",
        "2020-01-01T02:00:00+02:00",  # the same moment
        "2020-01-01T00:00:00.000001Z",
        "2019-12-31T23:59:59.999999Z",
        "2020-01-01T00:00:00-11:30",
        "1999-06-15T12:00:00.5Z",
    ]
)
blobs = st.sampled_from([b"", b"a", b"A", b"\xff\x00", b"abc" * 50]).map(
    lambda octets: base64.b64encode(octets).decode()
)
urls = st.sampled_from(
    ["https://example.com/a", "https://example.com/A", "https://EXAMPLE.com/a", "urn:x:y"]
)
labels = st.sampled_from(["work", "home", "Work", "other", "mine"])


def _some(**attributes: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an object that holds some of these attributes."""
    return st.fixed_dictionaries({}, optional=attributes)


def _entries(value: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> Any:
    entry = _some(value=value, type=labels, display=texts, primary=booleans, **more)

    def one_primary(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        seen = False
        for each in entries:
            if each.get("primary") and seen:
                each["primary"] = False
            seen = seen or bool(each.get("primary"))
        return entries

    return st.lists(entry, max_size=3).map(one_primary)


_ACME: dict[str, st.SearchStrategy[Any]] = {
    "code": texts,
    "level": integers,
    "weight": numbers,
    "remote": booleans,
    "hired": dates,
    "blob": blobs,
    "site": urls,
    "tags": st.lists(texts, max_size=3),
    "scores": st.lists(integers, max_size=3),
    "desk": _some(floor=integers, room=texts),
    "projects": st.lists(
        _some(value=texts, share=numbers, labels=st.lists(texts, max_size=2), primary=st.none()),
        max_size=2,
    ),
}

bodies = _some(
    externalId=texts,
    displayName=texts,
    title=texts,
    active=booleans,
    profileUrl=urls,
    name=_some(familyName=texts, givenName=texts),
    emails=_entries(texts),
    photos=_entries(urls),
    x509Certificates=_entries(blobs),
    roles=_entries(texts),
).flatmap(
    lambda body: st.fixed_dictionaries(
        {key: st.just(value) for key, value in body.items()},
        optional={
            ENTERPRISE: _some(
                employeeNumber=texts, manager=_some(value=texts, **{"$ref": st.just("../Users/1")})
            ),
            ACME: _some(**_ACME),
        },
    )
)
"""A user but for its userName, which the test makes unique."""

teams = st.fixed_dictionaries({}, optional={TEAM: _some(costs=integers, lead=texts)})

# -- Filters ---------------------------------------------------------------

_TEXT = ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]
_ORDER = ["eq", "ne", "gt", "ge", "lt", "le"]
_SAME = ["eq", "ne"]

_Attributes = list[tuple[str, list[str], st.SearchStrategy[Any]]]

_COMMON: _Attributes = [
    ("id", _TEXT, texts),
    ("externalId", _TEXT, texts),
    ("schemas", _TEXT, st.sampled_from([ENTERPRISE, ENTERPRISE.upper(), ACME, "urn:ietf", TEAM])),
    ("meta.resourceType", _TEXT, st.sampled_from(["User", "user", "Group", "U"])),
    ("meta.created", _ORDER, dates),
    (
        "meta.lastModified",
        _ORDER,
        st.sampled_from(["2026-01-01T00:00:03Z", "2020-01-01T00:00:00Z"]),
    ),
    ("meta.version", _TEXT, st.sampled_from(['W/"1"', 'w/"1"', "W/", '"'])),
    ("meta.location", _TEXT, texts),
    ("displayName", _TEXT, texts),
]

_USERS: _Attributes = [
    ("userName", _TEXT, texts),
    ("USERNAME", _TEXT, texts),
    ("title", _TEXT, texts),
    ("active", _SAME, booleans),
    ("profileUrl", _TEXT, urls),
    ("name.familyName", _TEXT, texts),
    ("emails", _TEXT, texts),
    ("emails.value", _TEXT, texts),
    ("emails.type", _TEXT, labels),
    ("emails.primary", _SAME, booleans),
    ("photos.value", _TEXT, urls),
    ("x509Certificates.value", _SAME, blobs),
    ("roles.display", _TEXT, texts),
    ("groups", _TEXT, texts),
    ("groups.display", _TEXT, texts),
    ("groups.type", _TEXT, st.sampled_from(["direct", "indirect", "DIRECT", "in"])),
    ("groups.$ref", _TEXT, st.sampled_from(["Groups/", "groups/", "Groups"])),
    ("members.value", _TEXT, texts),  # a user has none
    ("password", _SAME, texts),
    (f"{ENTERPRISE}:employeeNumber", _TEXT, texts),
    (f"{ENTERPRISE}:manager.value", _TEXT, texts),
    (f"{ENTERPRISE}:manager.$ref", _TEXT, st.sampled_from(["../Users/1", "../users/1"])),
    (f"{ACME}:code", _TEXT, texts),
    (f"{ACME.upper()}:CODE", _TEXT, texts),
    (f"{ACME}:level", _ORDER, integers),
    (f"{ACME}:weight", _ORDER, numbers),
    (f"{ACME}:remote", _SAME, booleans),
    (f"{ACME}:hired", _ORDER, dates),
    (f"{ACME}:blob", _SAME, blobs),
    (f"{ACME}:site", _TEXT, urls),
    (f"{ACME}:tags", _TEXT, texts),
    (f"{ACME}:scores", _ORDER, integers),
    (f"{ACME}:desk.floor", _ORDER, integers),
    (f"{ACME}:desk.room", _TEXT, texts),
    (f"{ACME}:projects", _TEXT, texts),
    (f"{ACME}:projects.share", _ORDER, numbers),
]

_GROUPS: _Attributes = [
    ("members", _TEXT, texts),
    ("members.value", _TEXT, texts),
    ("members.display", _TEXT, texts),
    ("members.type", _TEXT, st.sampled_from(["User", "user", "Group", "G"])),
    ("members.$ref", _TEXT, st.sampled_from(["Users/", "users/", "Groups/"])),
    (f"{TEAM}:costs", _ORDER, integers),
    (f"{TEAM}:lead", _TEXT, texts),
]

_WITHIN: dict[str, _Attributes] = {
    name: [
        ("value", operators, values),
        ("type", _TEXT, labels),
        ("display", _TEXT, texts),
        ("primary", _SAME, booleans),
        ("nothing", _TEXT, texts),
    ]
    for name, operators, values in (
        ("emails", _TEXT, texts),
        ("photos", _TEXT, urls),
        ("x509Certificates", _SAME, blobs),
    )
} | {
    f"{ACME}:projects": [("value", _TEXT, texts), ("share", _ORDER, numbers)],
    f"{ACME}:tags": [("value", _TEXT, texts)],
    f"{ACME}:scores": [("value", _ORDER, integers)],
    "schemas": [("value", _TEXT, st.sampled_from([ENTERPRISE, "urn"]))],
    "groups": [
        ("value", _TEXT, texts),
        ("display", _TEXT, texts),
        ("type", _TEXT, st.sampled_from(["direct", "Indirect"])),
        ("$ref", _TEXT, st.sampled_from(["Groups/", "groups/"])),
    ],
    "members": [
        ("value", _TEXT, texts),
        ("display", _TEXT, texts),
        ("type", _TEXT, st.sampled_from(["User", "group"])),
        ("$ref", _TEXT, st.sampled_from(["Users/", "users/"])),
    ],
}

_WHOLE = ["name", "emails", "groups", "members", "meta", "schemas", f"{ACME}:desk", f"{ACME}:tags"]


def _comparisons(attributes: _Attributes, ids: list[str]) -> st.SearchStrategy[str]:
    def of(chosen: tuple[str, list[str], st.SearchStrategy[Any]]) -> st.SearchStrategy[str]:
        name, operators, values = chosen
        if ids and name.lower() in ("id", "value", "members", "groups", "members.value"):
            values = values | st.sampled_from(ids)
        if ids and name.endswith("$ref"):
            values = values | st.sampled_from([f"Users/{each}" for each in ids])
        compared = st.tuples(st.sampled_from(operators), values | st.none()).map(
            lambda pair: f"{name} {pair[0]} {json.dumps(pair[1])}"
        )
        return st.just(f"{name} pr") | compared

    return st.sampled_from(attributes).flatmap(of)


def _combined(leaves: st.SearchStrategy[str], size: int) -> st.SearchStrategy[str]:
    return st.recursive(
        leaves,
        lambda inner: (
            inner.map(lambda one: f"not ({one})")
            | st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
                lambda parts: f"({parts[0]}) {parts[1]} {parts[2]}"
            )
        ),
        max_leaves=size,
    )


def filters(ids: list[str]) -> st.SearchStrategy[str]:
    """Draw a filter.

    :param ids: Of resources that are there, to be compared with.
    """
    selections = st.sampled_from(sorted(_WITHIN)).flatmap(
        lambda name: _combined(_comparisons(_WITHIN[name], ids), 3).map(
            lambda inner: f"{name}[{inner}]"
        )
    )
    whole = st.sampled_from(_WHOLE).flatmap(
        lambda name: st.sampled_from([f"{name} pr", f"{name} eq null", f"{name} ne null"])
    )
    leaves = _comparisons([*_COMMON, *_USERS, *_GROUPS], ids) | selections | whole
    return _combined(leaves, 4)


SORTABLE = [name for name, _, _ in [*_COMMON, *_USERS, *_GROUPS]]
OPERATORS = {name: operators for name, operators, _ in [*_COMMON, *_USERS, *_GROUPS]} | {
    f"{parent}[{name}]": operators
    for parent, attributes in _WITHIN.items()
    for name, operators, _ in attributes
}
"""The operators of each attribute; of a sub-attribute within a selection as ``emails[type]``."""
