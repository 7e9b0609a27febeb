"""Makes the PDK calls of the recording, in its order."""

import json
from pathlib import Path

RECORDED = Path(__file__).parents[1] / "recorded_frames.jsonl"


def _calls():
    for line in RECORDED.read_text().splitlines():
        frame = json.loads(line)
        result = frame["message"][3]
        if frame["from"] == "plugin server" and isinstance(result.get("Data"), dict):
            yield result["EventId"], result["Data"]["Method"], result["Data"]["Args"]


class Plugin:
    values: list[object] = []  # noqa: RUF012 - shared with the test on purpose

    def __init__(self, config):
        pass

    def tick(self, kong):
        self._replay(kong, 0)

    def access(self, kong):
        self._replay(kong, 1)

    def _replay(self, kong, event):
        for event_id, method, arguments in _calls():
            if event_id == event:
                function = kong
                for name in method.split(".")[1:]:
                    function = getattr(function, name)
                value = function(*arguments)
                if method != "kong.response.exit":
                    self.values.append(value)
