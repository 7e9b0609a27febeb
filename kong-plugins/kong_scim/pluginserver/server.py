"""Serves the methods of the RPC, and calls the plugin for each event."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Hashable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from kong_pdk.pdk import Kong

from kong_scim.pluginserver import context
from kong_scim.pluginserver.answers import refusal
from kong_scim.pluginserver.event import KongGoneError, NotWaitingError, PluginEvent
from kong_scim.pluginserver.instances import Instance, Instances, NoInstanceError, random_base
from kong_scim.pluginserver.pluginfile import PluginFile
from kong_scim.pluginserver.pool import Job, WorkerPool
from kong_scim.pluginserver.wire import Call, CallGoneError

log = logging.getLogger(__name__)

HANGUP_TIMEOUT = 5.0
"""Seconds that a step may take where Kong closed the connection over which it was asked for it: a
DB-less Kong that died must not hold up the store until the next one's time-out."""

WORKERS_APART = 2
"""Kong sends one tick at a time, and the next one when it gave one up."""

QUEUE_APART = 16

RESERVED = 4
"""Beside so many workers there is one place more that only urgent requests may take."""

BUSY = "The plugin server is busy."


class RpcError(Exception):
    """A call that cannot be served. Kong logs the text."""


class PluginServer:
    """Serves one plugin.

    An event runs in one go, or in two where the plugin calls :func:`.context.later`: the first part
    finds out whose request it is, on threads of its own, so that nothing that is slow stands before
    it; the rest waits for its turn among those of others (:mod:`.pool`).

    :param workers: How many events run at a time, of either part.
    :param queue: How many more may wait; above that, an event is refused with 503 at once. The
        plugin's attribute ``share`` says whose part of both an event takes; without it, nobody's.
    :param event_timeout: In seconds: how long Kong may take for a step before its event is dropped.
    :param hangup_timeout: The same where Kong hung up, see :class:`.event.PluginEvent`.
    :param apart: Events with workers of their own: requests may wait for what these do, and however
        many do, these must not wait for them.
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
    ) -> None:
        self._plugin = plugin
        self._instances = Instances(plugin.plugin_class)
        self._event_timeout = event_timeout
        self._hangup_timeout = hangup_timeout
        self._events: dict[int, PluginEvent] = {}
        self._events_changed = threading.Condition()
        self._next_event = random_base()
        self._draining = False
        self._pool = WorkerPool("worker", workers=workers, queue=queue)
        self._rests = WorkerPool(
            "rest", workers=workers, queue=queue, reserved=max(1, workers // RESERVED)
        )
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

    def handle(self, call: Call) -> None:
        """Serve a call: answer it, or see to it that a worker does."""
        try:
            self._method(call.method)(call, call.arguments[0] if call.arguments else None)
        except (RpcError, NoInstanceError, NotWaitingError) as error:
            log.info("%s: %s", call.method, error)
            call.fail(str(error))
        except CallGoneError:
            log.debug("%s: Kong did not wait for the answer", call.method)
        except Exception as error:
            log.exception("%s failed", call.method)
            call.fail(f"{call.method}: {type(error).__name__}")

    def stop(self, grace: float) -> None:
        """Refuse new events, let those that run finish, and end the workers.

        :param grace: In seconds; what runs for longer is left behind.
        """
        deadline = time.monotonic() + grace
        with self._events_changed:
            self._draining = True
            if not self._events_changed.wait_for(lambda: not self._events, grace):
                log.warning("stopping with %d events unfinished", len(self._events))
        for pool in (self._pool, self._rests, *self._apart.values()):
            pool.close(max(0.0, deadline - time.monotonic()))

    # -- The methods ------------------------------------------------------

    def _method(self, name: str) -> Callable[[Call, Any], None]:
        method = self._methods.get(name)
        # StepCredential, StepMultiMap, ...: the type Kong names is of no use to Python.
        if method is None and name.startswith("plugin.Step"):
            return self._step
        if method is None:
            raise RpcError(f"unknown method {name}")
        return method

    def _start_instance(self, call: Call, argument: Any) -> None:
        if _field(argument, "Name") != self._plugin.name:
            raise RpcError(f"no plugin {_field(argument, 'Name')!r}: this is {self._plugin.name!r}")
        instance, config = self._instances.start(argument.get("Config") or "")
        call.answer({**self._described(instance), "Config": config})

    def _close_instance(self, call: Call, argument: Any) -> None:
        self._instances.close(argument)
        call.answer({"Name": self._plugin.name, "Id": argument})

    def _instance_status(self, call: Call, argument: Any) -> None:
        call.answer(self._described(self._instances.get(argument)))

    def _get_plugin_info(self, call: Call, argument: Any) -> None:
        if argument != self._plugin.name:
            raise RpcError(f"no plugin {argument!r}: this is {self._plugin.name!r}")
        call.answer(self._plugin.info())

    def _get_status(self, call: Call, argument: Any) -> None:
        del argument
        instances = [self._described(instance) for instance in self._instances.all()]
        call.answer(
            {
                "Pid": os.getpid(),
                "Plugins": {self._plugin.name: {**self._plugin.status(), "Instances": instances}},
                "Events": len(self._events),
                "Queued": self._pool.waiting + self._rests.waiting,
                "Workers": self._pool.size,
                "Threads": threading.active_count(),
            }
        )

    def _handle_event(self, call: Call, argument: Any) -> None:
        instance = self._instances.get(_field(argument, "InstanceId"))
        phase = _field(argument, "EventName")
        if not self._plugin.handles(phase):
            raise RpcError(f"plugin {self._plugin.name} has no method {phase!r}")
        event = self._open_event(phase, call)
        if self._draining:
            event.finish(refusal(phase, 503, "The plugin server is stopping.", retry_after=1))
        else:
            run = partial(Context().run, self._run, event, instance)
            apart = self._apart.get(phase)
            job = Job(run, _share(instance))
            if not (self._pool.submit(job) if apart is None else apart.submit(Job(run))):
                self._refuse_for_want_of_room(event)

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

    def _run(self, event: PluginEvent, instance: Instance) -> None:
        if instance.plugin is None:
            log.error("instance %d never started: its requests are refused", instance.id)
            event.finish(refusal(event.phase, 503, "The plugin's configuration cannot be used."))
            return
        rests: list[Job] = []

        def put_off(rest: Callable[[], None], member: Hashable, urgent: bool) -> None:
            # Of the event's context: the rest logs the request's id, too.
            run = partial(copy_context().run, self._run_part, event, rest)
            rests.append(Job(run, _share(instance), member, urgent))

        context.set_put_off(put_off)

        def begin() -> None:
            getattr(instance.plugin, event.phase)(Kong(event, lua_style=False).kong)

        self._run_part(event, begin, rests)

    def _run_part(
        self, event: PluginEvent, part: Callable[[], None], rests: list[Job] | None = None
    ) -> None:
        """Run a part of an event, and end the event unless the rest of it was put off."""
        if event.lost is None:  # else Kong went away while it waited for a worker
            try:
                part()
            except KongGoneError:
                log.debug("event %d (%s): the plugin was told", event.id, event.phase)
            except BaseException:  # SystemExit too: a worker that dies is not replaced
                log.exception("event %d (%s): the plugin raised", event.id, event.phase)
                event.finish(refusal(event.phase, 500, "The request failed on an internal error."))
            else:
                if not rests:
                    event.finish()
                elif not self._rests.submit(rests[0]):
                    self._refuse_for_want_of_room(event)
        if event.lost is not None:
            log.warning("event %d (%s) dropped: %s", event.id, event.phase, event.lost)

    def _refuse_for_want_of_room(self, event: PluginEvent) -> None:
        log.warning("event %d (%s) refused: the queue is full", event.id, event.phase)
        event.finish(refusal(event.phase, 503, BUSY, retry_after=1))

    # ---------------------------------------------------------------------

    def _open_event(self, phase: str, call: Call) -> PluginEvent:
        with self._events_changed:
            event = PluginEvent(
                self._next_event,
                phase,
                call,
                timeout=self._event_timeout,
                hangup_timeout=self._hangup_timeout,
                on_end=self._forget_event,
            )
            self._next_event += 1
            self._events[event.id] = event
        return event

    def _forget_event(self, event_id: int) -> None:
        with self._events_changed:
            self._events.pop(event_id, None)
            self._events_changed.notify_all()

    def _described(self, instance: Instance) -> dict[str, Any]:
        # Without the configuration: it holds secrets.
        return {"Name": self._plugin.name, "Id": instance.id, "StartTime": instance.started}


def _share(instance: Instance) -> Hashable:
    return getattr(instance.plugin, "share", None)


def _field(argument: Any, name: str) -> Any:
    try:
        return argument[name]
    except (KeyError, TypeError, IndexError):
        raise RpcError(f"the argument has no {name}") from None
