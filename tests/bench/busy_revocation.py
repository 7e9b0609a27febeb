"""A revocation while 64 connections import: whether the next request is refused, and how soon."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Event

import httpx

from bench import load, servers
from bench.options import OPTIONS
from bench.results import Table, judged
from bench.workloads import Server

IMPORTERS = 64
ROUNDS = 200
AIM = 0.25


def measure(say: Callable[[str], None]) -> list[Table]:
    """Disable people with a key, one after another, beside an import."""
    table = Table(
        "busy-revocation",
        f"A revocation while {IMPORTERS} connections import",
        (
            "",
            "refused at once",
            "median (ms)",
            "p99 (ms)",
            "aim (ms)",
            "users a second",
        ),
    )
    names = ["sandbox", *(["kong-postgres", "kong-dbless"] if servers.has_kong() else [])]
    for name in names:
        say(f"  {name}")
        with servers.gateway(name, nodes=1) as (side, gateway):
            count = OPTIONS.sized(ROUNDS, 5)
            keys = {side.create(f"leaver{number}"): "" for number in range(count)}
            for person in keys:
                keys[person] = gateway.give_key(person)
            refused, times, rate = _revoke(side, gateway.proxy_url, keys)
        times.sort()
        p99 = times[int(0.99 * len(times))] if len(times) > 1 else times[0]
        holds = refused == count and p99 <= AIM
        if not holds:
            table.missed.append(f"{name}: {refused} of {count} at once, p99 {p99 * 1000:.0f} ms")
        table.rows.append(
            (
                name,
                f"{refused} of {count}",
                f"{times[len(times) // 2] * 1000:.0f}",
                judged(f"{p99 * 1000:.0f}", holds),
                f"<= {AIM * 1000:.0f}",
                f"{rate:,.0f}",
            )
        )
    return [table]


def _revoke(side: Server, proxy: str, keys: dict[str, str]) -> tuple[int, list[float], float]:
    """Return how many were refused on the next request, the times, and the rate of the import."""
    context = multiprocessing.get_context("spawn")
    ended = context.Event()
    rates = context.SimpleQueue()
    arguments = (side.base_url, side.token, ended, rates)
    importing = context.Process(target=_import, args=arguments)
    importing.start()
    try:
        rates.get()  # it runs
        refused, times = 0, []
        with httpx.Client(base_url=proxy, trust_env=False, timeout=60) as client:
            for person, key in keys.items():
                assert client.get("/keyed", headers={"apikey": key}).status_code == 200
                request = side.user_patch(person, active=False)
                (answer,) = side.send([request]).answers
                times.append(answer.seconds)
                status = client.get("/keyed", headers={"apikey": key}).status_code
                refused += status in (401, 403)
    finally:
        ended.set()
    rate: float = rates.get()
    importing.join()
    return refused, times, rate


def _import(base_url: str, token: str, ended: Event, rates: multiprocessing.SimpleQueue) -> None:  # type: ignore[type-arg]
    side = Server(base_url, token)
    requests = itertools.takewhile(lambda _: not ended.is_set(), side.creations("busy"))
    rates.put(0.0)
    # A server that is too busy for an importer may say so.
    expect = frozenset({201, 429, 503})
    run = load.send(side.address, requests, connections=IMPORTERS, expect=expect)
    created = sum(answer.status == 201 for answer in run.answers)
    rates.put(created / run.seconds)
