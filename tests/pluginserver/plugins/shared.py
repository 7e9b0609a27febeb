"""A plugin that uses what the processes of a plugin server share."""

import os

from kong_scim.auth.authenticator import USES
from kong_scim.auth.rate_limit import RATE_LIMITS
from kong_scim.counts import counts_of, take_all

priority = 755
version = "1.2.3"
Schema = [{"order": {"type": "string"}}]


class Plugin:
    def __init__(self, config):
        self.config = config

    def access(self, kong):
        order = self.config["order"]
        kong.response.exit(200, getattr(self, order)(kong))

    def tick(self, kong):
        kong.test.ran_in(os.getpid())

    def where(self, kong):
        """Answer with the process of the event, after one step."""
        return [os.getpid(), kong.test.value()]

    def where_twice(self, kong):
        return [os.getpid(), kong.test.value(), kong.test.value()]

    def limited(self, _):
        return RATE_LIMITS.over_limit(("tenant", "token"), 60) is None

    def guess(self, _):
        RATE_LIMITS.failed(("tenant", "address"), 10)
        return RATE_LIMITS.blocked(("tenant", "address"), 10) is not None

    def count(self, _):
        counts_of("tenant").add("events", "user.create")
        return os.getpid()

    def take(self, _):
        return [[*key, count] for key, count in take_all("tenant").items()]

    def use(self, _):
        USES.note("tenant", f"token of {os.getpid()}")

    def uses(self, _):
        return sorted(USES.of("tenant"))
