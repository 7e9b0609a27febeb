"""Puts directory, sync and bridge together for one tenant: one SCIM change is one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kong_scim.bridge import (
    AdminRequest,
    Bridge,
    Consumer,
    Credential,
    Host,
    ReadOnlyError,
    TransactionConflictError,
)
from kong_scim.config.plugin import PluginConfig
from kong_scim.dbless import ready_rows
from kong_scim.dbless.bridge import DblessBridge, KongMemory, memory
from kong_scim.dbless.reapply import Tenant, is_applied, keep_applied
from kong_scim.directory.database import Scope, TenantDatabase
from kong_scim.directory.directory import Directory
from kong_scim.directory.every_user import EveryUser
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.events.outbox import EventOutbox, Origin
from kong_scim.quarantine.decisions import QuarantineDecisions
from kong_scim.quarantine.guard import Deprovisionings, QuarantineGuard
from kong_scim.review.people import ReviewReader
from kong_scim.sync.backfill import Backfill
from kong_scim.sync.consumers import KongConsumerSync
from kong_scim.sync.drift_pass import ACTOR, Tools
from kong_scim.sync.drift_search import DriftSearch
from kong_scim.sync.drift_state import DriftState
from kong_scim.sync.gateway import Gateway, GatewayDatabase
from kong_scim.sync.ownership import Ownership
from kong_scim.sync.reconcile import Reconciler
from kong_scim.sync.subjects import check_subjects
from kong_scim.sync.targets import missing
from kong_scim.sync.wanted import check_mapping

ADMIN = "kong-admin"
"""The actor of changes at Kong's Admin API, which does not say who made them."""

WITHOUT_CHANNEL = {
    "off": "This is a data plane without cluster_rpc, so it cannot reach its control plane, and "
    "whatever is written here is wiped by the next push: set cluster_rpc = on on all nodes",
    "konnect": "This is a data plane of Konnect, whose control plane runs no scim-bridge, so "
    "nothing can be written there: send provisioning to a gateway of your own",
}
"""Why nothing can be written, by :attr:`.Host.channel`."""


class NoDataError(Exception):
    """Kong has no database, and the plugin server was not given a directory for its data."""


def check(config: PluginConfig, kinds: Kinds) -> None:
    """Refuse a mapping to consumers that no user can satisfy.

    :raises ~kong_scim.config.plugin.ConfigurationError: It names the field.
    """
    user_model = kinds.in_role("User").model
    check_mapping(config.consumer, user_model)
    check_subjects(config.subjects, user_model)


def lacking(config: PluginConfig, host: Host) -> str | None:
    """Return why this Kong cannot have the groups that are configured, or None if it can."""
    kinds = missing(config.groups.targets, host.targets)
    if not kinds:
        return None
    return (
        f"The plugin scim cannot work: config.groups.targets names {' and '.join(kinds)}, and this "
        f"Kong ({host.kong_version}) has no such entities: only Kong Enterprise has consumer "
        "groups. Use acl there"
    )


@dataclass(frozen=True)
class Provisioning:
    """The provisioning of one tenant, over the bridge of one request or one tick.

    Every method raises :class:`~kong_scim.bridge.BridgeError` (``READ_ONLY`` on a data plane that
    reaches no control plane). For a DB-less Kong it also raises :class:`NoDataError` without a data
    directory, and :class:`~kong_scim.dbless.local_store.StoreError` when the local store cannot be
    used.

    :param data: The directory of the local store of a DB-less Kong.
    """

    config: PluginConfig
    bridge: Bridge
    host: Host
    kinds: Kinds
    data: Path | None

    def directory(self, origin: Origin, *, may_give_roles: bool = True) -> Directory:
        """Return the tenant's resources. Each write is one commit, with its effects in Kong.

        :param origin: Who sent the request, for the event in the same commit.
        :param may_give_roles: Whether the caller may change roles and entitlements.
        """
        gateway = GatewayDatabase(self._gateway(), self.host.dialect)
        database, dry_run = TenantDatabase(gateway, self._scope), self.config.dry_run
        outbox = EventOutbox(database, origin, values=self.config.events.values, dry_run=dry_run)
        guard = None
        if self.config.quarantine.enabled:
            guard = QuarantineGuard(self._deprovisionings(database), outbox, dry_run=dry_run)
        return Directory(
            database,
            self.kinds,
            KongConsumerSync(
                self.config,
                gateway.consumers,
                Ownership(self.config, database),
                declared=self.host.database == "off",
                may_give_roles=may_give_roles,
            ),
            outbox,
            guard=guard,
            dry_run=dry_run,
        )

    def drift(self, config: PluginConfig | None = None) -> DriftSearch:
        """Return the search for differences between what SCIM wants and what Kong has.

        :param config: The configuration that says what is wanted; None for the present one.
        """
        gateway = self._gateway()
        return DriftSearch(
            config or self.config,
            EveryUser(self._database(gateway), self.kinds.in_role("User")),
            gateway,
            self.bridge,
            declared=self.host.database == "off",
        )

    def reconciler(self, origin: Origin) -> Reconciler:
        """Return what mends such differences.

        :param origin: Who asked for it, for the events.
        """
        return Reconciler(self.directory(origin), self.kinds.in_role("User"))

    def drift_tools(self) -> Tools:
        """Return what a pass in the background works with."""
        return Tools(
            self.drift(), self.reconciler(ACTOR), DriftState(self.database()), self.host.node_id
        )

    def quarantine(self, origin: Origin) -> QuarantineDecisions:
        """Return the tenant's quarantine.

        :param origin: Who sent the request, for the event in the same commit as a decision.
        """
        database = self.database()
        outbox = EventOutbox(database, origin)
        return QuarantineDecisions(self._deprovisionings(database), outbox)

    def review(self) -> ReviewReader:
        """Return what an access review of the tenant reads."""
        gateway = self._gateway()
        users = self.kinds.in_role("User")
        return ReviewReader(self._database(gateway), gateway, self.bridge, users, self.event_kind)

    def database(self) -> TenantDatabase:
        """Return where the tenant's rows are."""
        return self._database(self._gateway())

    def consumers(self, ids: Sequence[str]) -> list[Consumer]:
        """Return consumers of Kong by their ids; a missing one is left out."""
        return self._gateway().query(consumer_ids=ids).consumers

    def credentials(self, consumer_ids: Sequence[str]) -> list[Credential]:
        """Return the credentials of consumers, as :meth:`.Bridge.credentials`."""
        return self.bridge.credentials(consumer_ids)

    @property
    def event_kind(self) -> Kind:
        """The resource type of events."""
        return self.kinds.of("Event")

    def hold_names(self) -> bool:
        """Hold what is stored and not held yet, and return whether that was all; see `backfill`."""
        database = self.database()
        if self.config.dry_run:
            return True
        ownership = Ownership(self.config, database)
        return Backfill(self.config, database, self.kinds, ownership).run()

    def keep_kong_applied(self, epoch: str | None) -> None:
        """Write to a DB-less Kong's memory what it lacks; do nothing for a Kong with a database.

        :param epoch: What :meth:`~kong_scim.bridge.Bridge.wake` answered for :func:`epoch_key`.
        :raises Exception: Also the errors of :func:`~.reapply.keep_applied`.
        """
        if self.host.database != "off" or self.host.channel in WITHOUT_CHANNEL:
            return
        memory = self._memory()
        database = self._database(self._dbless())
        # DblessBridge would wait for the turn, which `keep_applied` has already.
        consumer_sync = KongConsumerSync(
            self.config, self.bridge, Ownership(self.config, database), declared=True
        )
        users = EveryUser(database, self.kinds.in_role("User"))
        tenant = Tenant(self._scope, users, consumer_sync, self._origin)
        keep_applied(self.bridge, memory, tenant, epoch)

    def is_kong_applied(self) -> bool | None:
        """Tell whether a DB-less Kong has all that is stored; None for a Kong with a database."""
        if self.host.database != "off":
            return None
        return is_applied(self.bridge, self._memory(), self._scope)

    def change_credential(self, request: AdminRequest) -> None:
        """Make or delete a credential, as an administrator of a DB-less Kong asked.

        :raises Exception: Also the errors of a commit.
        """
        dbless = self._dbless()
        origin = Origin(ADMIN, request.address, request.request_id)
        outbox = EventOutbox(self._database(dbless), origin)
        steps = [request.step, *outbox.of_credential(request.user, request.step.op)]
        try:
            dbless.commit(steps)
        except TransactionConflictError:
            dbless.commit(steps)  # nothing was read for these steps, so they are still right

    def _deprovisionings(self, database: TenantDatabase) -> Deprovisionings:
        users = self.kinds.in_role("User").name
        return Deprovisionings(database, users, self.config.quarantine)

    @property
    def _scope(self) -> Scope:
        return Scope(self.host.workspace, self.config.tenant)

    def _database(self, gateway: Gateway) -> TenantDatabase:
        return TenantDatabase(GatewayDatabase(gateway, self.host.dialect), self._scope)

    def _gateway(self) -> Gateway:
        """Return the gateway that writes the tenant's rows and Kong's consumers."""
        if self.host.channel in WITHOUT_CHANNEL:
            raise ReadOnlyError(WITHOUT_CHANNEL[self.host.channel])
        if self.host.database != "off":
            return self.bridge
        return self._dbless()

    def _dbless(self) -> DblessBridge:
        return DblessBridge(self.bridge, self._memory(), self._scope, self._origin)

    @property
    def _origin(self) -> str:
        return ready_rows.origin(self.config, self.host)

    def _memory(self) -> KongMemory:
        if self.data is None:
            raise NoDataError(
                "This Kong has no database, so the plugin server must keep what lasts: start it "
                "with --data DIR, a directory on a volume of its own"
            )
        return memory(self.data)
