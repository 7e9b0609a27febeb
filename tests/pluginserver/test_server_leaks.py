"""After 20,000 requests, 5 % of them faulty, the server holds what it held after 200."""

from __future__ import annotations

from pathlib import Path

import pytest
from kong_side import ConnectionClosedError, KongSide, Wire
from served import eventually, serving_process

BLOCKS_TOLERANCE = 3000
"""Of the interpreter's allocated blocks. Its caches take some 1,300 in the first 5,000 requests and
100 in the next 35,000; an event that is kept has 10 or more, which makes 10,000 for the faults."""

RSS_TOLERANCE = 8 * 1024
"""In KiB. The C allocator's arenas grow by 5 MiB in the first 10,000 requests and then no more; one
kilobyte kept for each request would be 20 MiB."""


def rss(pid: int) -> int:
    """Resident memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Traffic:
    def __init__(self, kong: KongSide) -> None:
        self.kong = kong
        self.good = kong.start("echo")
        self.raising = kong.start("raise_between")
        self.blocks = kong.start("blocks")
        self.after_exit = kong.start("call_after_exit")

    def run(self, requests: int) -> None:
        for number in range(requests):
            if number % 20:
                assert self.kong.handle(self.good, pdk=lambda *_: "v" * 200).exit[0] == 200
            else:
                FAULTS[number // 20 % len(FAULTS)](self)

    def raise_(self) -> None:
        assert self.kong.handle(self.raising, pdk=lambda *_: "id").exit[0] == 500

    def vanish(self) -> None:
        """Kong ended the request after a PDK call of it failed: no step ever comes."""
        self.kong.begin(self.good)

    def close(self) -> None:
        wire = Wire(self.kong.path)
        wire.send("plugin.HandleEvent", {"InstanceId": self.good, "EventName": "access"})
        wire.close()

    def garbage(self) -> None:
        wire = Wire(self.kong.path)
        wire.send_raw(b"\xc1 garbage")
        with pytest.raises((ConnectionClosedError, ConnectionResetError)):
            wire.receive()
        wire.close()

    def call_after_exit(self) -> None:
        assert self.kong.handle(self.after_exit).exit[0] == 200


FAULTS = (
    Traffic.raise_,
    Traffic.vanish,
    Traffic.close,
    Traffic.garbage,
    Traffic.call_after_exit,
)


def test_nothing_is_left_of_20000_requests_with_faults(tmp_path):
    path = tmp_path / "s.sock"
    with serving_process(path, "--event-timeout", "0.2", "--log-level", "ERROR") as process:
        kong = KongSide(path)
        traffic = Traffic(kong)

        def measure() -> tuple[dict[str, int], int, int]:
            eventually(lambda: kong.status()["Events"] == 0)
            eventually(lambda: threads(process.pid) == kong.status()["Threads"])
            counts = {
                "threads": threads(process.pid),
                "descriptors": descriptors(process.pid),
                "instances": len(kong.status()["Plugins"]["puppet"]["Instances"]),
                "workers": kong.status()["Workers"],
                "queued": kong.status()["Queued"],
            }
            return counts, kong.handle(traffic.blocks).exit[1], rss(process.pid)

        traffic.run(200)
        counts, blocks, memory = measure()
        traffic.run(19_800)
        counts_after, blocks_after, memory_after = measure()
        kong.close()
    assert counts_after == counts
    assert blocks_after - blocks < BLOCKS_TOLERANCE
    assert memory_after - memory < RSS_TOLERANCE
