"""Files with secrets, as an agent or an orchestrator changes them."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, content: str) -> None:
    """Put a new file into the place of an old one."""
    new = path.with_suffix(".new")
    new.write_text(content)
    os.replace(new, path)
