"""A plugin that behaves as its configuration orders."""

import gc
import sys
import threading

from kong_scim.pluginserver.context import later, request_id

priority = 755
version = "1.2.3"
Schema = [{"order": {"type": "string"}}]

print("a plugin that prints when it is loaded")


class Plugin:
    gate = threading.Event()
    """What ``compute`` waits for, in the servers that run inside the tests."""
    seen: list[object] = []  # noqa: RUF012 - shared with the test on purpose

    def __init__(self, config):
        if config["order"] == "broken":
            raise ValueError("the token hunter2 is wrong")
        self.access_as = getattr(self, config["order"])
        if config["order"].endswith(("_later", "_urgently")):
            self.share = "tenant"

    def access(self, kong):
        self.access_as(kong)

    def tick(self, kong):
        self.seen.append(kong.test.value())
        raise RuntimeError("tick failed")

    def echo(self, kong):
        value = kong.test.value()
        kong.response.exit(200, value, {"x-type": type(value).__name__})

    def go_on(self, kong):
        kong.test.value()

    def raise_before(self, kong):
        raise RuntimeError("hunter2 before")

    def raise_between(self, kong):
        request_id.set(kong.test.value())
        raise RuntimeError("hunter2 between")

    def raise_after(self, kong):
        kong.response.exit(204)
        raise RuntimeError("hunter2 after")

    def leave(self, kong):
        raise SystemExit(3)

    def send_object(self, kong):
        kong.test.value(object())

    def call_after_exit(self, kong):
        kong.response.exit(200, "first")
        try:
            kong.test.value()
        except Exception as error:
            self.seen.append(type(error))
            raise

    def swallow(self, kong):
        try:
            kong.test.value()
        except Exception as error:
            self.seen.append(type(error))
            kong.response.exit(500, "my own")

    def pdk_error(self, kong):
        try:
            kong.test.value()
        except Exception as error:
            kong.response.exit(418, str(error))

    def compute(self, kong):
        self.seen.append("started")
        self.gate.wait(30)
        kong.response.exit(200, "computed")

    def compute_later(self, kong):
        later(lambda: self.compute(kong), member="token")

    def echo_urgently(self, kong):
        later(lambda: self.echo(kong), member="token", urgent=True)

    def raise_later(self, kong):
        def rest():
            raise RuntimeError("hunter2 later")

        request_id.set(kong.test.value())
        later(rest, member="token")

    def body(self, kong):
        kong.response.exit(200, kong.request.get_raw_body(0))

    def lua_error(self, kong):
        kong.request.get_header()  # wants a name, and says so with error()

    def blocks(self, kong):
        gc.collect()
        kong.response.exit(200, sys.getallocatedblocks())

    def who(self, kong):
        kong.response.exit(200, str(request_id.get()))
