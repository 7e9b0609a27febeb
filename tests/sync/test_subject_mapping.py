"""How the tokens of an issuer name a user, and configurations that no token or user can meet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from scim2_models import InvalidValueException
from sync_support import NO_NAMES, PERSON, config, person

from kong_scim.bridge import Upsert
from kong_scim.config.plugin import ConfigurationError
from kong_scim.directory.ports import UserChange, UserState
from kong_scim.sync.subjects import FOREVER, MOST, Subjects, check_subjects, digest, subjects_of

ISSUER = "https://login.example.com"
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def subject(**fields: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, **fields}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"claim": "a..b"}, "no token can have the claim 'a..b'"),
        ({"claim": ".sub"}, "no token can have the claim '.sub'"),
        ({"claim": "a claim"}, "no token can have the claim 'a claim'"),
        ({"claim": ""}, "must have 1 characters or more"),
        ({"claim": "iss"}, "the claim 'iss' does not say who has a token"),
        ({"claim": "exp"}, "the claim 'exp' does not say who has a token"),
        ({"issuer": "two words"}, "an issuer has no blanks"),
    ],
)
def test_a_claim_that_names_nobody_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.subjects\.0") as refused:
        config(subjects=[subject(**fields)])
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("attribute", "sentence"),
    [
        ("shoeSize", "no schema of a user has this attribute"),
        ("active", "the attribute is not text"),
        ("name", "the attribute is not text"),
        ("emails", "the attribute is not text"),
    ],
)
def test_an_attribute_that_no_user_can_have_is_refused(attribute: str, sentence: str) -> None:
    made = config(subjects=[subject(attribute=attribute)])
    with pytest.raises(ConfigurationError, match=r"config\.subjects\.0\.attribute") as refused:
        check_subjects(made.subjects, PERSON.model)
    assert sentence in str(refused.value)


def test_the_same_mapping_twice_is_refused() -> None:
    made = config(subjects=[subject(), subject()])
    with pytest.raises(ConfigurationError, match=r"config\.subjects\.1: the same as one before it"):
        check_subjects(made.subjects, PERSON.model)


def test_each_value_of_an_attribute_is_a_subject() -> None:
    made = config(
        subjects=[
            subject(claim="email", attribute="emails.value", ignore_case=True),
            subject(claim="oid"),
            subject(claim="family", attribute="name.familyName"),
        ]
    )
    check_subjects(made.subjects, PERSON.model)
    ann = person(
        emails=[{"value": "Ann@Example.com"}, {"value": "ÄNN@example.com"}], externalId="7"
    )
    assert subjects_of(made.subjects, ann) == [
        digest(ISSUER, "email", "ann@example.com"),
        digest(ISSUER, "email", "Änn@example.com"),
        digest(ISSUER, "oid", "7"),
    ]


def test_a_user_with_too_many_names_is_refused() -> None:
    made = config(subjects=[subject(claim="email", attribute="emails.value")])
    many = [{"value": f"{number}@example.com"} for number in range(MOST + 1)]
    ann = person(emails=many)
    with pytest.raises(InvalidValueException, match="64 are the most"):
        Subjects(made, NO_NAMES).claims(UserChange(ann.id, None, UserState(ann)))


def test_what_kong_refuses_follows_from_what_becomes_of_the_user() -> None:
    made = config(subjects=[subject()])
    here, gone = (UserState(person(externalId="7", active=active)) for active in (True, False))
    now = int(MOMENT.timestamp())
    for before, after, expected in (
        (None, here, [(now, True)]),
        (None, gone, [(FOREVER, False)]),
        (here, here, []),
        (here, gone, [(FOREVER, False)]),
        (gone, here, [(now, False)]),
        (here, None, [(FOREVER, False)]),
        (gone, None, [(FOREVER, False)]),
    ):
        steps = Subjects(made, NO_NAMES).steps(UserChange("u", before, after), MOMENT)
        found = [
            (step.entity["not_before"], step.if_present)
            for step in steps
            if isinstance(step, Upsert)
        ]
        assert found == expected


def test_without_a_mapping_nothing_is_claimed_and_nothing_written() -> None:
    ann = UserState(person())
    found = Subjects(config(), NO_NAMES)
    change = UserChange("u", None, ann)
    assert found.claims(change) == found.steps(change, MOMENT) == []
