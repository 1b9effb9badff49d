"""What can go wrong with a store, by what the owner does about it."""

from __future__ import annotations


class StoreError(Exception):
    """Base. The changelog is the truth, so no store error loses anything by itself."""


class StoreClosed(StoreError):  # noqa: N818 - says what is the matter
    """The store was used after ``close()``: a bug of the caller."""


class StoreDamaged(StoreError):  # noqa: N818 - says what is the matter
    """What is on disk is missing, corrupt or of another layout: ``destroy`` it and restore it."""


class StoreLocked(StoreError):  # noqa: N818 - says what is the matter
    """Another process, or another store of this one, holds the directory: wait, or find the second worker."""


class StoreUnavailable(StoreError):  # noqa: N818 - says what is the matter
    """The disk is full, read-only or out of reach. Rebuilding would not help; a person must look."""
