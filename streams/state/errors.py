"""What can go wrong with a store, by what the owner does about it."""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """Base. The changelog is the truth, so no store error loses anything by itself."""


class StoreClosed(StoreError):  # noqa: N818 - says what is the matter
    """The store was used after ``close()``: a bug of the caller."""


class StoreDamaged(StoreError):  # noqa: N818 - says what is the matter
    """What is on disk is missing, corrupt or of another layout: ``destroy`` it and restore it. Met while
    reading or writing: close the store and open it again, which says so too, and then does."""


class StoreLocked(StoreError):  # noqa: N818 - says what is the matter
    """Another process, or another store of this one, holds the directory: wait, or find the second worker."""


class StoreUnavailable(StoreError):  # noqa: N818 - says what is the matter
    """The disk is full, read-only or out of reach. Rebuilding would not help; a person must look."""


_ADVICE = (
    ("No space left", "the disk is full: free space there, or set CARILLON_DATA to a folder on another disk"),
    ("Disk quota exceeded", "the quota is used up: raise it, or set CARILLON_DATA to a folder elsewhere"),
    ("Read-only file system", "the file system takes no writes: mount it for writing"),
    ("Permission denied", "this user may not write there: give the folder to the user that runs the worker"),
    ("Too many open files", "raise the limit (ulimit -n): count 300 files for each partition"),
)
"""Parts of what RocksDB and the system say when the files may well be good, and what to do about it."""


def unavailable(path: Path, error: object) -> StoreUnavailable | None:
    """The error for a person if what ``error`` says is no damage of the files under ``path``."""
    text = str(error)
    for part, advice in _ADVICE:
        if part in text:
            return StoreUnavailable(
                f"{path}: {advice}; then start the worker again. Nothing is lost: the state is in the "
                f"changelogs. ({text})"
            )
    return None
