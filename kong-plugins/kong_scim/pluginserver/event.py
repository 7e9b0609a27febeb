"""An event is one phase of one request (or a tick), from ``HandleEvent`` to its last message.

An event is the channel that kong-pdk's PDK object talks through. The plugin's call of a PDK
function travels as the *answer* to Kong's last call (``HandleEvent`` or a step), and the function's
value comes with Kong's next one, on whatever connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from kong_pdk.pdk import non_return_methods

from kong_scim import cpu
from kong_scim.pluginserver.answers import RETURN
from kong_scim.pluginserver.wire import Call, CallGoneError

_HANGUP = object()
"""Among the steps: the connection has ended that the plugin's last call of the PDK went over."""


class EventOverError(Exception):
    """A PDK call came when the event was over, and nobody is there to answer it."""


class AlreadyAnsweredError(EventOverError):
    """The plugin made a PDK call after it had ended the request: a defect of the plugin."""


class KongGoneError(EventOverError):
    """Kong gave the request up: it closed the connection, or did not answer in time."""


class NotWaitingError(Exception):
    """Kong sent a step to an event that had not asked for one."""


class PluginEvent:
    """One event.

    :param event_id: Kong repeats it in each step.
    :param call: The ``HandleEvent`` that waits for the plugin's first message.
    :param timeout: In seconds: how long Kong may take for a step.
    :param hangup_timeout: In seconds: how long it may take where it closed the connection that it
        was asked over. It may have done so for want of places in its pool, and mostly is gone.
    :param on_end: Run with the id when the event ends, before Kong hears of it; maybe twice.
    """

    def __init__(
        self,
        event_id: int,
        phase: str,
        call: Call,
        *,
        timeout: float,
        hangup_timeout: float,
        on_end: Callable[[int], None],
    ) -> None:
        self.id = event_id
        self.phase = phase
        self._timeout = timeout
        self._hangup_timeout = hangup_timeout
        self._on_end = on_end
        self._lock = threading.Lock()
        self._over: EventOverError | None = None
        self._call: Call | None = call
        self._asked_by: Call | None = None
        self._steps: SimpleQueue[Any] = SimpleQueue()
        call.on_gone = self._on_call_gone
        call.on_hangup = self._on_hangup

    @property
    def lost(self) -> str | None:
        """Why Kong does not wait for this event any more, if it gave it up."""
        return str(self._over) if isinstance(self._over, KongGoneError) else None

    # -- Kong's side: the threads of connections --------------------------

    def step(self, call: Call, value: object, error: str | None) -> None:
        """Hand the plugin the value of its PDK call, or the error; ``call`` waits for what follows.

        :raises NotWaitingError: When the plugin waits for nothing.
        """
        with self._lock:
            if self._over is not None or self._call is not None:
                raise NotWaitingError(f"event id {self.id} does not wait for a step")
            self._call, self._asked_by = call, None
        call.on_gone = self._on_call_gone
        call.on_hangup = self._on_hangup
        self._steps.put((value, error))

    def _on_call_gone(self, call: Call) -> None:
        with self._lock:
            waiting = self._call is call
        if waiting:
            self._drop("Kong closed the connection or gave the call up")

    def _on_hangup(self, call: Call) -> None:
        with self._lock:
            if self._asked_by is call and self._over is None:
                self._steps.put(_HANGUP)

    # -- The plugin's side: the thread of a worker ------------------------

    def put(self, message: dict[str, Any]) -> None:
        """Ask Kong to call a PDK function (kong-pdk's side of the channel).

        :raises EventOverError: When there is nobody to ask any more.
        :raises TypeError: For an argument MsgPack has no form for (or OverflowError, or
            UnicodeEncodeError); the event goes on.
        """
        self._send(message, last=message["Method"] in non_return_methods)

    def get(self) -> tuple[Any, str | None]:
        """Wait for the value of the PDK call, as ``(value, None)`` or ``(None, error)``.

        :raises KongGoneError: When Kong gave the request up, or does not answer in time.
        """
        answer: tuple[Any, str | None] | None = self._next_step()
        if answer is None:
            raise KongGoneError(self.lost)
        return answer

    def _next_step(self) -> Any:
        deadline, reason = time.monotonic() + self._timeout, f"no step within {self._timeout:g} s"
        while True:
            try:
                with cpu.waiting():
                    found = self._steps.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                self._drop(reason)
                return None
            if found is not _HANGUP:
                return found
            sooner = time.monotonic() + self._hangup_timeout
            if sooner < deadline:
                deadline = sooner
                reason = f"Kong hung up, and no step came within {self._hangup_timeout:g} s"

    def finish(self, answer: dict[str, Any] | str = RETURN) -> None:
        """End the event where the plugin did not."""
        with suppress(EventOverError):
            self._send(answer, last=True)

    # ---------------------------------------------------------------------

    def _send(self, data: dict[str, Any] | str, *, last: bool) -> None:
        with self._lock:
            if self._over is not None:
                # A new one: an exception keeps the frames it was raised through.
                raise type(self._over)(*self._over.args)
            if self._call is None:
                raise RuntimeError("the PDK takes one call at a time")
            # Before the call is taken: an argument that cannot travel leaves Kong to be answered.
            answer = self._call.encode_answer({"Data": data, "EventId": self.id})
            call, self._call = self._call, None
            self._asked_by = call
            if last:
                self._over = AlreadyAnsweredError("the request was already answered")
        if last:
            self._on_end(self.id)
        try:
            call.send(answer)
        except CallGoneError as error:
            self._drop(str(error))
            raise KongGoneError(str(error)) from None

    def _drop(self, reason: str) -> None:
        with self._lock:
            self._over = KongGoneError(reason)
            call, self._call = self._call, None
        self._on_end(self.id)
        self._steps.put(None)
        if call is not None:
            call.fail(f"event id {self.id} was dropped: {reason}")
