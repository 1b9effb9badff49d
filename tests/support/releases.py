"""The release before this one, as a folder that workers can be started from."""

from __future__ import annotations

import tarfile
from pathlib import Path

ARCHIVE = Path(__file__).parents[1] / "data" / "release-1.tar.xz"


def unpack(folder: Path) -> dict[str, str]:
    """Unpacks the release before this one into ``folder``; the environment variables of a process that runs
    ``python -m console`` of it, with the packages that are installed here."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    # Else ``-m`` would look into the current folder first, which has the present release.
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(folder)}
