"""A plugin server's part for a DB-less Kong, without processes: both can be stopped at any point.

Kong's memory is the sandbox's, behind the bridge's real wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scim2_models import ResourceType

from kong_scim.bridge import AdminRequest, Bridge, Delete, Host, Upsert
from kong_scim.config.plugin import parse
from kong_scim.dbless import bridge
from kong_scim.dbless.bridge import epoch_key, memory
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.every_user import EveryUser
from kong_scim.directory.kinds import Kinds
from kong_scim.events.outbox import Origin
from kong_scim.protocol.resources import provider
from kong_scim.tenant import Provisioning
from kong_scim_sandbox.bridge_functions import BridgeFunctions
from kong_scim_sandbox.declarative_rows import ConsumerRow
from kong_scim_sandbox.entities import WORKSPACE
from kong_scim_sandbox.store import Store
from without_kong import Storage

CONFIG = parse({"tokens": [{"name": "idp", "value": "secret"}], "tenant": "a"})
PROVIDER = provider(CONFIG)
KINDS = Kinds(PROVIDER)
ORIGIN = Origin("idp", "192.0.2.7", "request-1")
HOST = Host("sqlite", "off", "here", "3.9", "node", WORKSPACE)


ORIGIN = Origin("idp", "127.0.0.1", "request")


class StoppedError(Exception):
    """The process that ran this is no more."""


class Gateway:
    """A DB-less Kong and a plugin server.

    :ivar config: The configuration of the plugin.
    :ivar before: What happens to Kong right before a call such as ``commit 2``.
    :ivar stop_at: Where the plugin server is killed, such as ``after commit 2``; None for nowhere.
        Calls of ``kong.scim.commit`` are counted from each write's first.
    """

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.kong = Store(directory / "kong.sqlite", dbless=True)
        self.stop_at: str | None = None
        self.before: dict[str, Callable[[], None]] = {}
        self.refused = 0
        self.config = CONFIG
        self._calls = 0
        self._is_stopped = False
        self._executor = ThreadPoolExecutor(1)

    def close(self) -> None:
        self._forget()
        self._executor.shutdown()
        self.kong.close()

    # -- what is done to it -----------------------------------------------

    def storage(self) -> Storage:
        """The resources, as a request sees them."""
        self._calls = 0
        return Storage(self._provisioning().directory(ORIGIN))

    def database(self) -> TenantDatabase:
        return self._provisioning().database()

    def every_user(self) -> EveryUser:
        return EveryUser(self.database(), KINDS.in_role("User"))

    def tick(self) -> None:
        self._calls = 0
        epoch = self.kong.database.lmdb_get(epoch_key(CONFIG.tenant))
        self._provisioning().keep_kong_applied(epoch)

    def give_key(self, consumer: str, key: str, **fields: Any) -> None:
        entity = {"id": f"{key:0>8}-0000-4000-8000-000000000000", "key": key}
        entity |= {"consumer": {"id": consumer}, "created_at": 1, **fields}
        self.change_credential(Upsert("keyauth_credentials", entity))

    def change_credential(self, step: Upsert | Delete) -> None:
        self._calls = 0
        request = AdminRequest(step, "a user", "192.0.2.9", "request-2")
        self._provisioning().change_credential(request)

    def restart_plugin_server(self) -> None:
        self._forget()
        self.stop_at, self._is_stopped = None, False

    def load(self, *consumers: dict[str, Any]) -> None:
        """Load a configuration into Kong, as at its start."""
        self.kong.load([ConsumerRow.model_validate(each) for each in consumers])

    # -- what is seen -----------------------------------------------------

    def is_waited_for(self) -> bool:
        """Whether a write was refused because Kong's memory is new, and waits for the tick."""
        return self.refused > 0

    def entities(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything in Kong's memory, but for the times."""
        columns = {
            "consumers": "id, username, custom_id, tags",
            "acls": 'id, consumer, "group", tags',
            "keyauth_credentials": 'id, consumer, "key"',
        }
        return {
            name: self.kong.entities.execute(f"SELECT {of} FROM {name} ORDER BY id").fetchall()
            for name, of in columns.items()
        }

    # ---------------------------------------------------------------------

    def _forget(self) -> None:
        memory = bridge._memories.pop(self.data, None)
        if memory is not None:
            memory.store.close()

    def _provisioning(self) -> Provisioning:
        return Provisioning(self.config, self.bridge(), HOST, KINDS, self.data)

    def bridge(self) -> Bridge:
        functions = BridgeFunctions(self.kong, self._executor, {"node_id": HOST.node_id}).by_name()

        def plain(name: str) -> Callable[[str], str]:
            return lambda text: asyncio.run(_awaited(functions[f"kong.scim.{name}"], text))

        def commit(text: str) -> str:
            self._calls += 1
            self._stop(f"before commit {self._calls}")
            self.before.get(f"commit {self._calls}", lambda: None)()
            answer = plain("commit")(text)
            self.refused += '"name":"EPOCH_CHANGED"' in answer
            self._stop(f"after commit {self._calls}")
            return answer

        names = {"wake": plain("wake"), "query": plain("query"), "commit": commit}
        return Bridge(SimpleNamespace(scim=SimpleNamespace(**names)))

    def _stop(self, point: str) -> None:
        self._is_stopped |= self.stop_at == point
        if self._is_stopped:  # for all threads of the process
            raise StoppedError(point)


async def _awaited(function: Callable[[str], Any], text: str) -> str:
    answer: str = await function(text)
    return answer


@contextlib.contextmanager
def running() -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory(prefix="scim-") as directory:
        gateway = Gateway(Path(directory))
        gateway.load()
        gateway.tick()
        with contextlib.closing(gateway):
            yield gateway


def resource_type(name: str) -> ResourceType:
    return next(each for each in PROVIDER.resource_types if each.name == name)


USER, GROUP = resource_type("User"), resource_type("Group")


def new(name: str, **values: Any) -> Any:
    kind, naming = (USER, "userName") if name.startswith("user") else (GROUP, "displayName")
    model = PROVIDER.model_for(kind)
    assert model is not None
    return model.model_validate({naming: name, **values})


def create(gateway: Gateway, name: str, **values: Any) -> Any:
    kind = USER if name.startswith("user") else GROUP
    return gateway.storage().create(kind, new(name, **values))


def set_active(gateway: Gateway, user_id: str, active: bool) -> None:
    storage = gateway.storage()
    user: Any = storage.get(USER, user_id)
    user.active = active
    storage.update(USER, user)


def anew(gateway: Gateway) -> dict[str, list[tuple[Any, ...]]]:
    """What a Kong with an empty memory is given."""
    gateway.load()
    gateway.tick()
    return gateway.entities()


def planned_anew(gateway: Gateway) -> dict[str, list[tuple[Any, ...]]]:
    """What a Kong with an empty memory is given if there are no ready-made rows."""
    with memory(gateway.data).store.writing() as transaction:
        transaction.connection.execute("DELETE FROM kong_rows_made")
    return anew(gateway)
