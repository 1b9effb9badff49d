"""A record at which a process dies, as of a fault in a library: no exception, nothing to catch."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DEADLY = "what no decoder survives"
"""In a change's title."""

_SITECUSTOMIZE = f"""\
import os

from schemas.codec import Codec

_read_changes = Codec.read_changes


async def read_changes(self, kind, values):
    if any(value is not None and {DEADLY.encode()!r} in value for value in values):
        os._exit(139)
    return await _read_changes(self, kind, values)


Codec.read_changes = read_changes
"""


def mortal(folder: Path) -> dict[str, str]:
    """The environment variables of a process whose decoder dies of it. Python imports ``sitecustomize`` from
    its path before anything else (https://docs.python.org/3/library/site.html)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}
