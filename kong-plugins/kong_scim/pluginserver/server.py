"""Serves the methods of the RPC, and calls the plugin for each event.

A plugin server may have several processes. An event runs in the process that got its
``HandleEvent``, and an instance is started in each process that gets an event for it. The events
with workers of their own all run in the first process: the state of a tick is there.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Hashable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from kong_pdk.pdk import Kong

from kong_scim import processes
from kong_scim.pluginserver import context
from kong_scim.pluginserver.answers import refusal
from kong_scim.pluginserver.event import KongGoneError, NotWaitingError, PluginEvent
from kong_scim.pluginserver.ids import Ids
from kong_scim.pluginserver.instances import Instance, Instances, NoInstanceError
from kong_scim.pluginserver.peers import ASK, PeerGoneError, Peers
from kong_scim.pluginserver.pluginfile import PluginFile
from kong_scim.pluginserver.pool import Job, WorkerPool
from kong_scim.pluginserver.wire import Call, CallGoneError

log = logging.getLogger(__name__)

HANGUP_TIMEOUT = 5.0
"""Seconds that a step may take after Kong closed the connection of the last call. A DB-less Kong
that died must not block the store for the whole timeout of an event."""

WORKERS_APART = 2
"""Workers of each event with workers of its own. Kong sends one tick at a time, but also the next
one after it abandoned one."""

QUEUE_APART = 16

RESERVED = 4
"""For this many workers there is one further place for urgent requests only."""

BUSY = "The plugin server is busy."


class RpcError(Exception):
    """A call cannot be served. Kong logs the text."""


class PluginServer:
    """Serves one plugin.

    An event runs in two parts if the plugin calls :func:`.context.later`, else in one. The first
    part finds out who calls. It has threads of its own, so that slow requests do not delay it. The
    second part goes on in the same thread if it may begin at once, and otherwise waits in a queue
    that is shared fairly (:mod:`.pool`).

    :param workers: How many events run at a time, for each of the parts.
    :param queue: How many more may wait, for each of the parts; any further event is refused with
        503 at once. The plugin's attribute ``share`` names the group whose share of both an event
        uses.
    :param event_timeout: Seconds that Kong may take for a step before its event is dropped.
    :param hangup_timeout: The same after Kong hung up, see :class:`.event.PluginEvent`.
    :param apart: Events with workers of their own. Requests may wait for the work of these events,
        so these must never wait for requests.
    :param ids: The ids that this process gives.
    :param peers: The other processes, if there are any.
    """

    def __init__(
        self,
        plugin: PluginFile,
        *,
        workers: int,
        queue: int,
        event_timeout: float,
        hangup_timeout: float = HANGUP_TIMEOUT,
        apart: Collection[str] = ("tick",),
        ids: Ids | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._plugin = plugin
        self._ids = ids or Ids()
        self._peers = peers
        self._instances = Instances(plugin.plugin_class, self._ids)
        self._event_timeout = event_timeout
        self._hangup_timeout = hangup_timeout
        self._events: dict[int, PluginEvent] = {}
        self._events_changed = threading.Condition()
        self._draining = False
        reserved = max(1, workers // RESERVED)
        # A thread goes on with the second part, and leaves the place of the first one to others.
        self._pool = WorkerPool("worker", workers=workers, queue=queue, spare=workers + reserved)
        self._second_parts = WorkerPool("rest", workers=workers, queue=queue, reserved=reserved)
        self._apart = {
            phase: WorkerPool(phase, workers=WORKERS_APART, queue=QUEUE_APART) for phase in apart
        }
        self._methods: dict[str, Callable[[Call, Any], None]] = {
            "plugin.StartInstance": self._start_instance,
            "plugin.CloseInstance": self._close_instance,
            "plugin.InstanceStatus": self._instance_status,
            "plugin.GetStatus": self._get_status,
            "plugin.GetPluginInfo": self._get_plugin_info,
            "plugin.HandleEvent": self._handle_event,
            "plugin.StepError": partial(self._step, failed=True),
        }
        if peers is not None:
            processes.offer("instance", self._config_of)
            processes.offer("close-instance", self._close_here)
            processes.offer("status", lambda _: self._status())

    def handle(self, call: Call) -> None:
        """Answer a call, or submit it to a worker or to the process that will."""
        try:
            method, argument = self._method(call.method), next(iter(call.arguments), None)
            process = self._process_for(call.method, argument)
            if self._peers is None or process == self._ids.process:
                method(call, argument)
            else:
                self._peers.forward(call, process)
        except (RpcError, NoInstanceError, NotWaitingError, PeerGoneError) as error:
            log.info("%s: %s", call.method, error)
            call.fail(str(error))
        except CallGoneError:
            log.debug("%s: Kong did not wait for the answer", call.method)
        except Exception as error:
            log.exception("%s failed", call.method)
            call.fail(f"{call.method}: {type(error).__name__}")

    def handle_peer(self, call: Call) -> None:
        """Answer a call of another process, which may also call what is offered to it."""
        if call.method != ASK:
            self.handle(call)
            return
        try:
            call.answer(processes.answer(*call.arguments))
        except CallGoneError:
            log.debug("%s: the other process did not wait for the answer", ASK)
        except Exception as error:
            log.exception("%s failed", ASK)
            call.fail(f"{ASK}: {type(error).__name__}")

    def stop(self, grace: float) -> None:
        """Refuse new events, wait for the running ones, and end the workers.

        :param grace: Seconds to wait; an event that runs for longer is abandoned.
        """
        deadline = time.monotonic() + grace
        with self._events_changed:
            self._draining = True
            if not self._events_changed.wait_for(lambda: not self._events, grace):
                log.warning("stopping with %d events unfinished", len(self._events))
        for pool in (self._pool, self._second_parts, *self._apart.values()):
            pool.close(max(0.0, deadline - time.monotonic()))

    # -- The methods ------------------------------------------------------

    def _process_for(self, method: str, argument: Any) -> int:
        """Return the number of the process that serves a call."""
        match argument:
            case {"EventId": event} if method.startswith("plugin.Step"):
                return self._ids.process_of(event)
            case {"EventName": str(phase)} if method == "plugin.HandleEvent":
                return 0 if phase in self._apart else self._ids.process
        return self._ids.process

    def _method(self, name: str) -> Callable[[Call, Any], None]:
        method = self._methods.get(name)
        # StepCredential, StepMultiMap, ...: Python does not need the type that Kong names.
        if method is None and name.startswith("plugin.Step"):
            return self._step
        if method is None:
            raise RpcError(f"unknown method {name}")
        return method

    def _start_instance(self, call: Call, argument: Any) -> None:
        if _field(argument, "Name") != self._plugin.name:
            raise RpcError(f"no plugin {_field(argument, 'Name')!r}: this is {self._plugin.name!r}")
        instance, config = self._instances.start(argument.get("Config") or "")
        call.answer({**self._instance_info(instance), "Config": config})
        _keep_out_of_collections()

    def _close_instance(self, call: Call, argument: Any) -> None:
        closed = [self._close_here(argument), *processes.ask_others("close-instance", argument)]
        if not any(closed):
            raise NoInstanceError(f"no plugin instance #{argument}")
        call.answer({"Name": self._plugin.name, "Id": argument})

    def _instance_status(self, call: Call, argument: Any) -> None:
        call.answer(self._instance_info(self._instance(argument)))

    def _get_plugin_info(self, call: Call, argument: Any) -> None:
        if argument != self._plugin.name:
            raise RpcError(f"no plugin {argument!r}: this is {self._plugin.name!r}")
        call.answer(self._plugin.info())

    def _get_status(self, call: Call, argument: Any) -> None:
        del argument
        others = processes.ask_others("status")
        call.answer({**self._status(), **({"OtherProcesses": others} if others else {})})

    def _status(self) -> dict[str, Any]:
        instances = [self._instance_info(instance) for instance in self._instances.all()]
        return {
            "Pid": os.getpid(),
            "Plugins": {self._plugin.name: {**self._plugin.status(), "Instances": instances}},
            "Events": len(self._events),
            "Queued": self._pool.waiting + self._second_parts.waiting,
            "Workers": self._pool.size - self._second_parts.size,  # as many as first parts need
            "Threads": threading.active_count(),
        }

    def _handle_event(self, call: Call, argument: Any) -> None:
        instance = self._instance(_field(argument, "InstanceId"))
        # kong/plugins/scim-bridge/first_message.lua may send a text with the name.
        phase, _, text = str(_field(argument, "EventName")).partition(" ")
        if not self._plugin.handles(phase):
            raise RpcError(f"plugin {self._plugin.name} has no method {phase!r}")
        event = self._open_event(phase, call)
        if self._draining:
            event.finish(refusal(phase, 503, "The plugin server is stopping.", retry_after=1))
        else:
            run = partial(Context().run, self._run, event, instance, text)
            apart = self._apart.get(phase)
            job = Job(run, _share(instance))
            if not (self._pool.submit(job) if apart is None else apart.submit(Job(run))):
                self._refuse_full_queue(event)

    def _step(self, call: Call, argument: Any, *, failed: bool = False) -> None:
        event = self._events.get(_field(argument, "EventId"))
        if event is None:
            raise RpcError(f"event id {argument['EventId']} not found")
        value = argument.get("Data")  # absent for nil
        if failed:
            event.step(call, None, str(value or "Kong gave no reason"))
        else:
            event.step(call, value, None)

    # -- The worker's part ------------------------------------------------

    def _run(
        self, event: PluginEvent, instance: Instance, first_message: str
    ) -> Callable[[], None] | None:
        """Run the first part of an event; return what is to run without the place of the part."""
        if instance.plugin is None:
            log.error("instance %d never started: its requests are refused", instance.id)
            event.finish(refusal(event.phase, 503, "The plugin's configuration cannot be used."))
            return None
        put_off_jobs: list[Job] = []

        def put_off(rest: Callable[[], None], member: Hashable, urgent: bool) -> None:
            # The rest runs in a copy of this context, so that its log lines have the request's id.
            run = partial(copy_context().run, self._run_second_part, event, rest)
            put_off_jobs.append(Job(run, _share(instance), member, urgent))

        context.set_put_off(put_off)
        context.set_first_message(first_message)

        def begin() -> None:
            getattr(instance.plugin, event.phase)(Kong(event, lua_style=False).kong)

        if self._run_part(event, begin) and put_off_jobs:
            return partial(self._go_on, event, put_off_jobs[0])
        event.finish()
        return None

    def _run_part(self, event: PluginEvent, part: Callable[[], None]) -> bool:
        """Run a part of an event, and return whether it ended without an error."""
        if event.lost is None:  # otherwise Kong went away while the event was queued
            try:
                part()
            except KongGoneError:
                log.debug("event %d (%s): the plugin was told", event.id, event.phase)
            except BaseException:  # also SystemExit, since a dead worker is not replaced
                log.exception("event %d (%s): the plugin raised", event.id, event.phase)
                event.finish(refusal(event.phase, 500, "The request failed on an internal error."))
            else:
                return True
        if event.lost is not None:
            log.warning("event %d (%s) dropped: %s", event.id, event.phase, event.lost)
        return False

    def _run_second_part(self, event: PluginEvent, part: Callable[[], None]) -> None:
        if self._run_part(event, part):
            event.finish()

    def _go_on(self, event: PluginEvent, rest: Job) -> None:
        """Run the second part of an event, in this thread if no other one must go first."""
        second_parts = self._second_parts
        if not second_parts.run_here(rest) and not second_parts.submit(rest):
            self._refuse_full_queue(event)

    def _refuse_full_queue(self, event: PluginEvent) -> None:
        log.warning("event %d (%s) refused: the queue is full", event.id, event.phase)
        event.finish(refusal(event.phase, 503, BUSY, retry_after=1))

    # ---------------------------------------------------------------------

    def _open_event(self, phase: str, call: Call) -> PluginEvent:
        with self._events_changed:
            event = PluginEvent(
                self._ids.next(),
                phase,
                call,
                timeout=self._event_timeout,
                hangup_timeout=self._hangup_timeout,
                on_end=self._forget_event,
            )
            self._events[event.id] = event
        return event

    def _forget_event(self, event_id: int) -> None:
        with self._events_changed:
            self._events.pop(event_id, None)
            self._events_changed.notify_all()

    def _instance(self, instance_id: Any) -> Instance:
        """Return an instance, which is started if another process has its configuration.

        :raises NoInstanceError: When no process has it.
        """
        try:
            return self._instances.get(instance_id)
        except NoInstanceError:
            for config in processes.ask_others("instance", instance_id):
                if config is not None:
                    return self._instances.start(config, instance_id)[0]
            raise

    def _config_of(self, instance_id: Any) -> str | None:
        try:
            return self._instances.get(instance_id).config
        except NoInstanceError:
            return None

    def _close_here(self, instance_id: Any) -> bool:
        try:
            self._instances.close(instance_id)
        except NoInstanceError:
            return False
        return True

    def _instance_info(self, instance: Instance) -> dict[str, Any]:
        # The configuration is left out, since it contains secrets.
        return {"Name": self._plugin.name, "Id": instance.id, "StartTime": instance.started}


def _keep_out_of_collections() -> None:
    """Let the garbage collector pass over what is there now, most of which stays until the end.

    Otherwise it goes through a hundred thousand objects again and again, which takes a seventh of
    the processor time of a request. What a closed instance left is collected first, unless other
    processes share the memory: then looking at it would copy it.
    """
    if not processes.are_several():
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def _share(instance: Instance) -> Hashable:
    return getattr(instance.plugin, "share", None)


def _field(argument: Any, name: str) -> Any:
    try:
        return argument[name]
    except (KeyError, TypeError, IndexError):
        raise RpcError(f"the argument has no {name}") from None
