"""Plays what an identity provider sends at first (``providers.yml``), each write as a dry run."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from kong_scim.doctor.gateway import Facts
from kong_scim.doctor.report import Report, State
from kong_scim.doctor.route import Answer, NoAnswerError, Route
from kong_scim.doctor.symptoms import symptom_of

DRY_RUN = "Kong-SCIM-Dry-Run"
"""The header of the request and of its answer."""

MEMBER = 130
"""Bytes of a group's body that one member takes: ids of 36 characters, a name, and the keys."""

_SAFE = frozenset({"GET", "HEAD"})

OLD = (
    "it does not know the header Kong-SCIM-Dry-Run, so that a write would be a real one: update "
    "the gateway"
)


@dataclass(frozen=True)
class Step:
    """One request that was played, and what became of it.

    :param part: ``test`` of the connection, or first ``sync``.
    :param status: That of the answer; None where the request was not sent.
    """

    part: str
    request: str
    expected: Sequence[int]
    state: State
    status: int | None = None
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the step in the form of ``--json``."""
        return {**vars(self), "expected": list(self.expected), "state": str(self.state)}


@functools.cache
def providers() -> Mapping[str, Mapping[str, Any]]:
    """Return what is known of each provider, by the name that ``--provider`` takes."""
    text = files("kong_scim.doctor").joinpath("providers.yml").read_text()
    found: dict[str, Mapping[str, Any]] = yaml.safe_load(text)
    return found


def play(name: str, route: Route, facts: Facts, report: Report) -> list[Step]:
    """Play the connection test and the first sync of a provider, and add what fails.

    Nothing is written but events that are marked as a dry run. The first request finds out whether
    the gateway knows dry runs of one request; if it does not, no write is sent.

    :raises NoAnswerError: When the gateway does not answer.
    """
    provider = providers()[name]
    header = {DRY_RUN: "true"}
    first = route.send("GET", "/Users?count=1", headers=header)
    if first.status != 200 or not _is_dry(first):
        why = first.sentence if first.status != 200 else OLD
        report.fail("provider", f"The gateway makes no dry run: {why}", "see the text")
        return []
    there = {"user": _first_id(first)}
    there["group"] = _first_id(route.send("GET", "/Groups?count=1", headers=header))
    nonce = secrets.token_hex(6)
    names = {
        **{kind: found for kind, found in there.items() if found},
        "userName": f"doctor-{nonce}@kong-scim.invalid",
        "externalId": f"doctor-{nonce}",
        "groupName": f"doctor-{nonce}",
    }
    steps: list[Step] = []
    last: dict[str, Any] = {}
    for part in ("test", "sync"):
        for each in provider[part]:
            step, answer = _step(part, each, names, last, route)
            steps.append(step)
            last = answer.body if answer is not None else last
    _judge(steps, str(provider["name"]), report)
    _judge_size(provider, first, facts, report)
    return steps


def _step(
    part: str,
    entry: Mapping[str, Any],
    names: Mapping[str, str],
    last: Mapping[str, Any],
    route: Route,
) -> tuple[Step, Answer | None]:
    shown = str(entry["send"])
    request, body = _filled(shown, names), entry.get("body")
    if body == "answer":
        body = {**last, **entry.get("with", {})}
    elif body is not None:
        body = json.loads(_filled(json.dumps(body), names))
    missing = [
        kind for kind in ("user", "group") if f"{{{kind}}}" in f"{request}{json.dumps(body)}"
    ]
    if missing:
        detail = f"there is no {' and no '.join(missing)} yet on which it could be tried"
        return Step(part, shown, entry["expect"], State.SKIPPED, detail=detail), None
    method, _, path = request.partition(" ")
    answer = route.send(method, path, body, headers={DRY_RUN: "true"})
    if method not in _SAFE and answer.status < 300 and not _is_dry(answer):
        raise NoAnswerError(f"{method} {path} was not a dry run: stopped after it")
    state = State.OK if answer.status in entry["expect"] else State.FAILED
    detail = answer.sentence if state is State.FAILED else ""
    return Step(part, shown, entry["expect"], state, answer.status, detail), answer


def _judge(steps: Sequence[Step], name: str, report: Report) -> None:
    for step in steps:
        if step.state is not State.FAILED:
            continue
        symptom = symptom_of(step.status, step.detail)
        report.fail(
            "provider",
            f"{name} would send {step.request}, and get {step.status}: {step.detail}",
            symptom.advice if symptom else "its text says what to change",
        )
    played = sum(step.status is not None for step in steps)
    skipped = len(steps) - played
    more = f"; {skipped} need a user or group that is there" if skipped else ""
    report.ok("provider", f"{name}: {played} requests would succeed{more}")


def _judge_size(provider: Mapping[str, Any], users: Answer, facts: Facts, report: Report) -> None:
    """Compare the largest group that the provider may send whole with the limit of a body."""
    total, limit = users.body.get("totalResults", 0), facts["limits"]["maxBodySize"]
    if provider.get("whole") and total * MEMBER > limit:
        report.warn(
            "body-size",
            f"{provider['name']} may send groups with all their members, and one of all {total} "
            f"users would have about {total * MEMBER} bytes: config.max_body_size is {limit}",
            "raise config.max_body_size, if there are groups that large",
        )


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _first_id(answer: Answer) -> str | None:
    resources = answer.body.get("Resources") or [{}]
    found = resources[0].get("id") if isinstance(resources[0], dict) else None
    return str(found) if found else None


def _is_dry(answer: Answer) -> bool:
    return answer.headers.get(DRY_RUN.lower()) == "true"
