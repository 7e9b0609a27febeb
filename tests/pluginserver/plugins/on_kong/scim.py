"""The puppet under the name and the schema of the real plugin; its tenant is the order."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from puppet import Plugin as Puppet

from kong_scim.config.kong_schema import fields

priority = 755
version = "0.0.1"
Schema = fields()


class Plugin(Puppet):
    def __init__(self, config):
        super().__init__({"order": config["tenant"]})
        self.received = config

    def config(self, kong):
        kong.response.exit(200, json.dumps(self.received))
