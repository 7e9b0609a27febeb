"""Runs the demo: each request is a row of the table, and the first that fails ends it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import httpx

from kong_scim_demo.table import LiveTable, TableRow

_FAILURES = (httpx.HTTPError, ValueError, KeyError, TypeError)
"""The exceptions that an unexpected answer causes."""


class ExpectationError(AssertionError):
    """Something was not as the scenario expects it."""


def expect(condition: bool, otherwise: str = "") -> None:
    """Check a condition.

    :param otherwise: The text of the error.
    :raises ExpectationError: When the condition does not hold.
    """
    if not condition:
        raise ExpectationError(otherwise)


class Runner:
    """Sends requests, and shows each with its result.

    Both methods raise :class:`ExpectationError`, or :class:`httpx.HTTPError` when an endpoint does
    not answer. The row is shown first.
    """

    def __init__(self, view: LiveTable) -> None:
        self._view = view

    def one(
        self,
        row: TableRow,
        send: Callable[[], httpx.Response],
        outcome: tuple[int | set[int], Callable[[httpx.Response], str]],
    ) -> httpx.Response:
        """Send one request, and show it as a row.

        :param outcome: The expected status, or several, and a function that checks and describes
            the effect.
        """
        status, effect = outcome
        expected = {status} if isinstance(status, int) else status
        self._view.begin(row)
        try:
            answer = _timed(row, send)
            row.answer = _summary(answer)
            expect(answer.status_code in expected)
            row.effect = effect(answer)
            row.held = True
        except (ExpectationError, *_FAILURES) as error:
            self._failed(row, error)
        self._view.end(row)
        return answer

    def many(
        self,
        row: TableRow,
        items: Sequence[str],
        send: Callable[[str], httpx.Response],
        outcome: tuple[int | Mapping[int, int], Callable[[], str]],
    ) -> None:
        """Send a request for each item, and show them as one row.

        :param outcome: The expected status of each request, or how often each status is expected;
            and a function that checks and describes the effect.
        """
        expected, effect = outcome
        expected_counts = {expected: len(items)} if isinstance(expected, int) else expected
        row.request += f" x {len(items)}"
        self._view.begin(row)
        try:
            found: Counter[int] = Counter()
            for number, item in enumerate(items, 1):
                answer = _timed(row, lambda item=item: send(item))  # type: ignore[misc]
                row.answer = f"{number} of {len(items)}: {_summary(answer)}"
                found[answer.status_code] += 1
                expect(found[answer.status_code] <= expected_counts.get(answer.status_code, 0))
            row.answer = ", ".join(f"{count} times {status}" for status, count in found.items())
            if len(found) == 1:
                row.answer = f"{len(items)} times {_summary(answer)}"
            row.effect = effect()
            row.held = True
        except (ExpectationError, *_FAILURES) as error:
            self._failed(row, error)
        self._view.end(row)

    def _failed(self, row: TableRow, error: Exception) -> None:
        row.held = False
        if str(error):
            row.answer = f"{row.answer} ({error})".strip()
        self._view.end(row)
        raise error if isinstance(error, httpx.HTTPError) else ExpectationError(str(error))


def _timed(row: TableRow, send: Callable[[], httpx.Response]) -> httpx.Response:
    started = time.perf_counter()
    answer = send()
    took = (time.perf_counter() - started) * 1000
    row.milliseconds = max(took, row.milliseconds or 0)
    return answer


def _summary(answer: httpx.Response) -> str:
    """Return the status of an answer, and the message of a failure."""
    text = str(answer.status_code)
    if answer.is_success:
        return text
    try:
        body = answer.json()
    except ValueError:
        return text
    reason = body.get("detail") or body.get("message") if isinstance(body, dict) else None
    return f"{text} {reason}" if reason else text
