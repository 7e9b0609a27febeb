"""Coverage-guided fuzzing of filters and PATCH paths (atheris): ``python coverage_guided.py``.

Whatever the text, parsing ends in a SCIM error of 400 or in an expression; libFuzzer's own options
apply, such as ``-max_total_time=60``, and a crash is written to a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kong_scim.protocol", "scim2_models", "scim2_server"]):
    from scim2_models import SCIMException

    from kong_scim.config.plugin import parse as parse_config
    from kong_scim.protocol.resources import provider
    from kong_scim.protocol.service import KongScimService

CORPUS = Path(__file__).parent / "corpus" / "expressions.txt"
PROVIDER = provider(parse_config({"tokens": [{"name": "t", "value": "t"}]}))
SERVICE = KongScimService(PROVIDER, tenant="fuzz", max_operations=10)
TYPES = list(PROVIDER.resource_types)[:2]


def parse(data: bytes) -> None:
    """Parse a text as a filter, as attributes and as the path of a PATCH."""
    text = data.decode("utf-8", "replace")
    patch = json.dumps({"Operations": [{"op": "add", "path": text, "value": "x"}]}).encode()
    for kind in TYPES:
        for read in (
            lambda kind=kind: SERVICE.read_search([kind], {"filter": text, "sortBy": text}),
            lambda kind=kind: SERVICE.read_response_parameters(kind, {"attributes": text}),
            lambda kind=kind: SERVICE.read_patch(kind, patch, "application/json"),
        ):
            try:
                with PROVIDER:
                    read()
            except SCIMException as error:
                if error.status not in {400, 413}:
                    raise


def seeds(directory: Path) -> Path:
    """Write the corpus as libFuzzer reads it, a file for each entry."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(CORPUS.read_text().splitlines()):
        (directory / str(number)).write_text(line)
    return directory


if __name__ == "__main__":
    atheris.Setup([*sys.argv, str(seeds(Path(".cache/fuzz")))], parse)
    atheris.Fuzz()
