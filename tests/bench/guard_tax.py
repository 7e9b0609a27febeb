"""Requests of a route with key-auth, with and without scim-bridge, which runs on each of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.timing import Ratio
from host_processes import eventually
from kong_process import KongProcess, kong_binary
from ports import free_port

AIM = 1.03
CONNECTIONS = 16
STARTS = 3
"""LuaJIT compiles other traces in each process, so one start says little."""
ROUNDS = 5
"""Of each start."""
SECONDS = 1
"""Length of a round."""

UPSTREAM = (
    "server {{ listen 127.0.0.1:{}; access_log off; keepalive_requests 1000000000; return 200; }}"
)

TAGS = ["scim", "scim:acme", "scim-user:1", "scim-event:1"]
"""Of each consumer of SCIM's."""

CONSUMERS: dict[str, tuple[str, list[str], list[str]]] = {
    "plain": ("a consumer of SCIM's", TAGS, []),
    "large": (
        "one with 50 tags and 200 groups",
        [f"team-{number}" for number in range(50 - len(TAGS))] + TAGS,
        [f"group-{number}" for number in range(200)],
    ),
    "other": ("one that is not SCIM's", [], []),
}
"""By their API keys: what each is, its tags and its groups."""


class Cost(NamedTuple):
    """What a request costs, in seconds: of the clock, and of the CPU of Kong's workers."""

    clock: float
    cpu: float


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare the throughput, and the CPU time of Kong, with scim-bridge to that without it."""
    if not os.environ.get("KONG_SCIM_KONG"):
        say("  The guard: skipped, KONG_SCIM_KONG does not name the binary of a real Kong")
        return []
    if not shutil.which("wrk"):
        say("  The guard: skipped, `wrk` is not there")
        return []
    costs: dict[str, list[tuple[Cost, Cost]]] = {key: [] for key in CONSUMERS}
    for _ in range(STARTS):
        with _gateways() as (guarded, bare):
            for key in CONSUMERS:
                costs[key] += _pairs(key, guarded, bare)
    return [ratio for key, pairs in costs.items() for ratio in _ratios(say, key, pairs)]


def _pairs(key: str, guarded: KongProcess, bare: KongProcess) -> Iterator[tuple[Cost, Cost]]:
    """Yield the costs of each round, with and without scim-bridge."""
    for kong in (guarded, bare):
        _round(kong, key)  # compiles the Lua and fills the caches
    for number in range(ROUNDS):
        if number % 2:
            ours = _round(guarded, key)
            yield ours, _round(bare, key)
        else:
            theirs = _round(bare, key)
            yield _round(guarded, key), theirs


def _ratios(
    say: Callable[[str], None], key: str, pairs: list[tuple[Cost, Cost]]
) -> Iterator[Ratio]:
    name, rounds = CONSUMERS[key][0], len(pairs)
    ours, theirs = (statistics.median(pair[side].clock for pair in pairs) for side in (0, 1))
    say(f"  {name}: {1 / ours:,.0f} requests a second with scim-bridge, {1 / theirs:,.0f} without")
    yield Ratio(f"a request of {name}", ours, theirs, "without scim-bridge", rounds, AIM)
    ours, theirs = (statistics.median(pair[side].cpu for pair in pairs) for side in (0, 1))
    yield Ratio("  of it CPU of Kong", ours, theirs, "without scim-bridge", rounds)


def _round(kong: KongProcess, key: str) -> Cost:
    before = _cpu(kong)
    load = ("--threads=1", f"--connections={CONNECTIONS}", f"--duration={SECONDS}s")
    said = subprocess.check_output(
        ["wrk", *load, "--header", f"apikey: {key}", f"{kong.proxy_url}/keyed"], text=True
    )
    found = re.search(r"(\d+) requests in", said)
    if found is None or "Non-2xx" in said:
        raise RuntimeError(said)
    requests = int(found[1])
    return Cost(SECONDS / requests, (_cpu(kong) - before) / requests)


def _cpu(kong: KongProcess) -> float:
    times = [worker.cpu_times() for worker in kong.workers()]
    return sum(each.user + each.system for each in times)


@contextlib.contextmanager
def _gateways() -> Iterator[tuple[KongProcess, KongProcess]]:
    """Run two DB-less nodes, with and without scim-bridge, in front of the same upstream."""
    directory = Path(tempfile.mkdtemp(prefix="scim-guard-"))
    port = free_port()
    (directory / "upstream.conf").write_text(UPSTREAM.format(port))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)

        def start(name: str, content: dict[str, Any], workers: int, **env: str) -> KongProcess:
            (directory / f"{name}.json").write_text(json.dumps(content))
            (directory / name).mkdir()
            kong = KongProcess(
                kong_binary(),
                directory / name,
                declarative=directory / f"{name}.json",
                workers=workers,
                env={"KONG_LOG_LEVEL": "warn", "KONG_PROXY_ACCESS_LOG": "off", **env},
            )
            stack.enter_context(kong)
            eventually(lambda: len(kong.workers()) == workers, "all workers are there")
            return kong

        include = {"KONG_NGINX_HTTP_INCLUDE": str(directory / "upstream.conf")}
        start("upstream", _content(port), 1, **include)  # an empty node is never ready
        guarded = start("guarded", _content(port, "scim-bridge"), 2)
        yield guarded, start("bare", _content(port), 2)


def _content(port: int, *plugins: str) -> dict[str, Any]:
    """Return the declarative content: a keyed route, its consumers, and global plugins."""
    route = {"name": "keyed", "paths": ["/keyed"], "plugins": [{"name": "key-auth"}]}
    return {
        "_format_version": "3.0",
        "plugins": [{"name": name} for name in plugins],
        "services": [
            {"name": "at-once", "url": f"http://127.0.0.1:{port}", "routes": [route]},
        ],
        "consumers": [
            {
                "id": str(uuid.uuid4()),
                "username": key,
                "tags": tags,
                "keyauth_credentials": [{"key": key}],
                "acls": [{"group": group} for group in groups],
            }
            for key, (_, tags, groups) in CONSUMERS.items()
        ],
    }
