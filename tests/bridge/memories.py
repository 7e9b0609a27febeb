"""The memory of a DB-less Kong: the sandbox's, and LMDB."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from probe import HERE, Probe

from kong_process import KongProcess, kong_binary
from kong_scim.bridge import Bridge
from kong_scim_sandbox.bridge_functions import BridgeFunctions
from kong_scim_sandbox.store import Store

KONG_YML = """
_format_version: "3.0"
routes:
- {name: probe, paths: [/probe], plugins: [{name: scim-probe}]}
- name: api
  paths: [/api]
  plugins: [{name: key-auth}, {name: request-termination, config: {status_code: 200}}]
plugins: [{name: scim-bridge}]
"""


@contextlib.contextmanager
def dbless_kong() -> Iterator[Probe]:
    """Run a DB-less Kong with two workers."""
    with tempfile.TemporaryDirectory(prefix="scim-kong-") as directory:
        declarative = Path(directory) / "kong.yml"
        declarative.write_text(KONG_YML)
        with KongProcess(
            kong_binary(),
            Path(directory) / "p",
            declarative=declarative,
            plugins=("scim-bridge", "scim-probe"),
            lua_path=[HERE],
        ) as process:
            yield Probe(process.proxy_url, process.admin_url)


@contextlib.contextmanager
def sandbox_bridge(*, dbless: bool = True) -> Iterator[Bridge]:
    """Make the bridge of a sandbox, in the shape of a DB-less Kong or not, and no process."""
    with (
        tempfile.TemporaryDirectory(prefix="scim-memory-") as directory,
        ThreadPoolExecutor(1) as executor,
    ):
        store = Store(Path(directory) / "kong.sqlite", dbless=dbless)
        functions = BridgeFunctions(store, executor, {"node_id": "node"}).by_name()

        async def awaited(name: str, text: str) -> str:
            return await functions[f"kong.scim.{name}"](text)

        def plain(name: str) -> Callable[[str], str]:
            return lambda text: asyncio.run(awaited(name, text))

        names = ("wake", "query", "commit", "part")
        yield Bridge(SimpleNamespace(scim=SimpleNamespace(**{name: plain(name) for name in names})))
        store.close()
