"""Runs scim-bridge in one LuaJIT for each thread, over one database."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from queue import Empty, Queue
from typing import Any, Protocol

from kong_scim.cli import vault
from kong_scim_sandbox.entities import WORKSPACE
from kong_scim_sandbox.entity_schema import Entity
from kong_scim_sandbox.exchange import SERVER
from kong_scim_sandbox.lua import database
from kong_scim_sandbox.lua.database import SandboxDatabase
from kong_scim_sandbox.lua.memory import Caches, SharedDictionary
from kong_scim_sandbox.lua.runtime import Runtime, octets, text_of
from kong_scim_sandbox.metrics import Metrics
from kong_scim_sandbox.pdk import LEVELS
from kong_scim_sandbox.plugins import PLUGINS
from kong_scim_sandbox.router import escaped

_log = logging.getLogger("kong")

KONG = "3.9.3"
"""The Kong that the stand-ins were read from."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

INTERVAL_SCALE = 1.0
"""The factor by which the intervals of repeated timers are longer than scim-bridge sets them."""
PAUSE_SCALE = 1.0
"""The same for the delays of other timers."""

_body: ContextVar[Callable[[], tuple[bytes | None, str | None]]] = ContextVar("body")


class PluginServerClient(Protocol):
    """The plugin server, as scim-bridge calls it without a client's request."""

    def listens(self) -> bool:
        """Tell whether the plugin server listens at its socket."""

    def handle(self, configuration: str, method: str, admin_request: str | None) -> str | None:
        """Call a method of an instance, and return its answer to an administrator's request.

        :param configuration: The plugin's configuration as JSON. Its ``__plugin_id`` is the
            plugin's id, a colon and the method.
        :param admin_request: The request of an administrator (``api.lua``) as JSON, or None.
        :return: The answer as JSON, or None without one.
        """


class Channel(Protocol):
    """The channel between a control plane and a data plane, as one of them sees it."""

    def peers(self) -> dict[str, list[str]]:
        """Return the capabilities of the nodes that are connected, by their names."""

    def call(self, peer: str, method: str, argument: str) -> str:
        """Call a method of a node, and return ``{"ok": result}`` or ``{"error": text}`` as JSON."""

    def send_configuration(self) -> None:
        """Have the data plane get the configuration soon."""


class _Thread(threading.local):
    runtime: Runtime | None = None
    is_first = False
    configured: str = ""


class Workers:
    """Runs scim-bridge in the calling thread.

    :param database: The stand-in for Kong's database.
    :param dbless: Whether the Kong is DB-less.
    :param settings: Values of ``kong.configuration`` that differ from those of the sandbox.
    :ivar metrics: The metrics of scim-bridge.
    :ivar plugin_server: The plugin server for scim-bridge. It is set before :meth:`run_first`.
    :ivar channel: The channel of a node of a hybrid gateway. It is set before any call.
    """

    def __init__(
        self,
        database: SandboxDatabase,
        *,
        dbless: bool,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.database = database
        self.plugin_server: PluginServerClient | None = None
        self.channel: Channel | None = None
        self._events: Queue[tuple[str, str] | None] = Queue()
        self._settings = settings or {}
        self.metrics = Metrics()
        self.caches = Caches()
        self.shared = SharedDictionary()
        self._dbless = dbless
        self._declared = {"plugins": "[]", "routes": "[]", "services": "[]"}
        self._thread = _Thread()

    # -- Calls from Python ----------------------------------------------------

    def configure(
        self,
        plugins: Sequence[Entity],
        routes: Sequence[Entity] = (),
        services: Sequence[Entity] = (),
    ) -> None:
        """Use these plugins from now on, and answer these routes and services.

        :param plugins: Rows as of Kong's DAO: ``id``, ``name``, ``enabled``, ``config``, and
            ``route`` or ``service`` if the plugin is not for every request.
        """
        rows = {"plugins": plugins, "routes": routes, "services": services}
        self._declared = {name: json.dumps(each) for name, each in rows.items()}
        self.caches.drop("core_cache")

    def call(
        self,
        function: str,
        text: str,
        facts: Mapping[str, Any],
        body: Callable[[], tuple[bytes | None, str | None]] = lambda: (None, None),
    ) -> tuple[str, dict[str, Any] | None]:
        """Call a function of ``kong.scim``; return its answer, and one to an administrator or None.

        :param text: The argument of the function, as JSON.
        :param facts: The facts about the request, with texts as octets (:mod:`.facts`).
        :param body: Returns the body of the request, or the path of the file with it.
        """
        runtime = self._runtime()
        token = _body.set(body)
        try:
            result = runtime.call("call", function, octets(text), facts)
        finally:
            _body.reset(token)
            self.database.roll_back()
        answer, admin_answer = result if isinstance(result, tuple) else (result, None)
        return text_of(answer), json.loads(text_of(admin_answer)) if admin_answer else None

    def on_call(self, method: str, peer: str, argument: str) -> str:
        """Run a call of the other side of the channel; argument and result are JSON."""
        try:
            answer = self._runtime().call("on_call", method, peer, octets(argument))
        finally:
            self.database.roll_back()
        return text_of(answer)

    def send_event(self, source: str, event: str) -> None:
        """Have the first worker handle an event."""
        self._events.put((source, event))

    def await_events(self) -> None:
        """Wait until the first worker has handled the events so far."""
        self._events.join()

    def first_message(
        self, facts: Mapping[str, Any], body: Callable[[], tuple[bytes | None, str | None]]
    ) -> str:
        """Return the name of the event by which the plugin server is called for a request.

        :param facts: As in :meth:`call`, with the id of the plugin's ``instance``.
        """
        token = _body.set(body)
        try:
            return text_of(self._runtime().call("first_message", facts))
        finally:
            _body.reset(token)

    def access(self, config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
        """Run the access phase of scim-bridge; return its outcome (``start.lua``, ``access``)."""
        answer = self._runtime().call("access", json.dumps(config), facts)
        outcome: dict[str, Any] = json.loads(text_of(answer))
        return outcome

    def rewrite(self, config: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
        """Run the rewrite phase of scim-bridge; return the names of headers that it removes."""
        names: list[str] = json.loads(self._runtime().call("rewrite", json.dumps(config), facts))
        return [text_of(octets(name)) for name in names]

    def log(self, tenant: str, facts: Mapping[str, Any]) -> None:
        """Run the log phase of a tenant's plugin ``scim``."""
        self._runtime().call("log", octets(json.dumps({"tenant": tenant})), facts)

    def admin(
        self, route: str, method: str, params: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> tuple[int, Any]:
        """Call a route of ``api.lua``; return the status and the body.

        :param params: The parameters of the path, the query and the body.
        :raises UnicodeEncodeError: When a parameter is not valid Unicode.
        """
        text = octets(json.dumps(params, ensure_ascii=False))
        answer = json.loads(text_of(self._runtime().call("admin", route, method, text, facts)))
        return answer["status"], answer.get("body")

    # -- The first worker, whose timers run ---------------------------------------

    def be_first(self) -> None:
        """Make this thread the first worker of the node."""
        self._thread.is_first = True

    def run_timers(self, seconds: float) -> float | None:
        """Put the clock forward, run timers that are due, and return the seconds until the next."""
        wait: float | None = self._runtime().call("run_timers", seconds)
        return wait

    def run_first(self) -> None:
        """Run this thread as the first worker of the node until :meth:`stop_first` is called."""
        self.be_first()
        while True:
            with contextlib.suppress(Empty):
                event = self._events.get(timeout=self.run_timers(0))
                if event is None:
                    return
                self._runtime().call("event", *event)
                self._runtime().call("run_timers", 0)
                self._events.task_done()

    def stop_first(self) -> None:
        """Have the first worker end when its present work is done."""
        self._events.put(None)

    def execute(self, text: str) -> Any:
        """Run a text of Lua in the runtime of this thread, for tests."""
        return self._runtime().execute(text)

    def _runtime(self) -> Runtime:
        if self._thread.runtime is None:
            self._thread.runtime = Runtime(self._host())
            self._thread.runtime.call("init_worker")
        plugins = self._declared["plugins"]
        if self._thread.configured != plugins:
            self._thread.configured = plugins
            guards = [_configuration(each) for each in json.loads(plugins) if _is_guard(each)]
            self._thread.runtime.call("configure", json.dumps(guards))
        return self._thread.runtime

    # -- Calls from Lua ---------------------------------------------------------

    def _host(self) -> dict[str, Callable[..., Any]]:
        take_text: dict[str, Callable[..., Any]] = {
            "query": self.database.query,
            "entity_filled": self.database.entity_filled,
            "entity_rows": self.database.entity_rows,
            "entity_write": self.database.entity_write,
            "entity_delete": self.database.entity_delete,
            "lmdb_get": self.database.lmdb_get,
            "lmdb_commit": self.database.lmdb_commit,
            "lmdb_page": self.database.lmdb_page,
            "call_peer": lambda *call: self._known_channel().call(*call),
            "schemas": self.database.schemas,
            "error": database.error,
            "is_reference": vault.is_reference,
            "secret": vault.get,
            "metric": self.metrics.declare,
            "measure": self.metrics.measure,
            "log": _write_log,
            "handle_event": lambda *event: self._known_plugin_server().handle(*event),
        }
        return {
            **{name: _for_octets(function) for name, function in take_text.items()},
            "roll_back": self.database.roll_back,
            "node": self._node,
            "plugin_listens": lambda: self._known_plugin_server().listens(),
            "worker_id": lambda: 0 if self._thread.is_first else 1,
            "send_event": lambda *event: self._events.put(event),
            "interval_scale": lambda: INTERVAL_SCALE,
            "pause_scale": lambda: PAUSE_SCALE,
            "declared": _for_octets(lambda name: self._declared[name]),
            "cache_get": self.caches.get,
            "cache_put": self.caches.put,
            "cache_drop": self.caches.drop,
            "shared_get": self.shared.get,
            "shared_set": self.shared.set,
            "shared_safe_set": self.shared.set,
            "shared_add": self.shared.add,
            "shared_safe_add": self.shared.add,
            "shared_ttl": self.shared.time_left,
            "shared_expire": self.shared.expire,
            "shared_rpush": self.shared.push,
            "shared_lpop": self.shared.pop,
            "peers": lambda: json.dumps(self._known_channel().peers()),
            "send_configuration": lambda: self._known_channel().send_configuration(),
            "shared_incr": self.shared.increase,
            "shared_delete": self.shared.delete,
            "now": time.time,
            "sleep": time.sleep,
            "uuid": lambda: str(uuid.uuid4()),
            "is_uuid": lambda value: _UUID.fullmatch(value) is not None,
            "escape": escaped,
            "sha256_hex": lambda value: hashlib.sha256(value.encode("latin-1")).hexdigest(),
            "encode_base64": lambda value: base64.b64encode(value.encode("latin-1")).decode(),
            "decode_base64": lambda value: _decoded(value, b"+/"),
            "decode_base64url": lambda value: _decoded(value, b"-_"),
            "re_match": _re_match,
            "body_data": lambda: _of_body(0),
            "body_file": lambda: _of_body(1),
        }

    def _known_channel(self) -> Channel:
        if self.channel is None:
            raise RuntimeError("there is no channel")
        return self.channel

    def _known_plugin_server(self) -> PluginServerClient:
        if self.plugin_server is None:
            raise RuntimeError("there is no plugin server")
        return self.plugin_server

    def _node(self) -> str:
        return json.dumps(
            {
                "dbless": self._dbless,
                "database": "off" if self._dbless else "sqlite",
                "role": "traditional",
                "version": f"{KONG} ({SERVER})",
                "workspace": WORKSPACE,
                "trusted": {},
                "acl_priority": PLUGINS["acl"][0],
                "has_channel": self.channel is not None,
                **self._settings,
            }
        )


def _is_guard(plugin: Mapping[str, Any]) -> bool:
    return plugin["name"] == "scim-bridge" and bool(plugin["enabled"])


def _configuration(plugin: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of a plugin's configuration that say where it runs."""
    return {f"{name}_id": plugin[name]["id"] for name in ("route", "service") if name in plugin}


def _for_octets(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes and returns octets, for one that takes and returns texts."""

    def call(*arguments: Any) -> Any:
        texts = [text_of(each) if isinstance(each, str) else each for each in arguments]
        answer = function(*texts)
        return octets(answer) if isinstance(answer, str) else answer

    return call


def _of_body(index: int) -> str | None:
    found = _body.get()()[index]
    return found.decode("latin-1") if isinstance(found, bytes) else found


def _decoded(value: str, alternative: bytes) -> str | None:
    try:
        padded = value + "=" * (-len(value) % 4)
        return base64.b64decode(padded, alternative, validate=True).decode("latin-1")
    except ValueError:
        return None


def _re_match(subject: str, pattern: str) -> tuple[str | None, str | None]:
    """Match as ``ngx.re`` does with the option ``u``: a text that is not UTF-8 is an error."""
    try:
        subject.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        return None, str(error)
    found = re.search(pattern.replace("(?<", "(?P<"), subject)
    return (found[0], None) if found else (None, None)


def _write_log(level: str, text: str) -> None:
    _log.log(LEVELS[level], "%s", text)
