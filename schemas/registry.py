"""Where schemas and their ids come from: a schema registry over HTTP, or none at all (embedded mode).

Ids are looked up outside the hot path: ``schema`` answers from memory or raises ``UnknownSchemaId``, then
``fetch`` asks the registry once, and from then on ``schema`` knows either the text or why there is none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from schemas.contracts import CONTRACTS, PUBLISHED_BY_OTHERS, TOPICS
from schemas.errors import DecodeError, RegistryError, UnknownSchemaId

_ABSENT_FOR = 60.0
"""Seconds for which an id that the registry did not know is not asked for again: publishers may register
late, and a flood of garbage ids must not become a flood of requests."""
_MAX_ABSENT = 100_000
"""More than any batch has records, so that what one fetch notes is still there when the batch is decoded."""


class Registry(Protocol):
    """What the codec needs."""

    @property
    def ids(self) -> Mapping[str, int]:
        """Schema id by contract name, complete once ``register_all`` has returned."""

    def schema(self, schema_id: int) -> str:
        """The schema's JSON, from memory. UnknownSchemaId: ``fetch`` it first. DecodeError
        ``unknown_schema``: the registry has none that can be used."""

    async def fetch(self, schema_ids: Iterable[int]) -> None:
        """Makes ``schema`` answer for these ids. RegistryError when the registry can't be reached."""

    async def register_all(self, topics: Mapping[str, str] = TOPICS) -> None:
        """Registers the contract of each topic (name to contract) under ``<topic>-value``. Idempotent.
        RegistryError when the registry can't be reached, or refuses a contract of our own topics."""

    async def preload(self, topics: Iterable[str]) -> None:
        """Fetches every version under ``<topic>-value``, so that values kept from before a restart can be
        decoded without waiting. Topics unknown to the registry are passed over."""


class EmbeddedRegistry:
    """No registry: an id is made of its contract's text, so that all processes agree without talking."""

    def __init__(self) -> None:
        self.ids: Mapping[str, int] = {name: contract.fingerprint for name, contract in CONTRACTS.items()}
        self._texts = {contract.fingerprint: contract.text for contract in CONTRACTS.values()}

    def schema(self, schema_id: int) -> str:
        try:
            return self._texts[schema_id]
        except KeyError:
            raise DecodeError(
                "unknown_schema", f"schema id {schema_id} is none of the embedded mode"
            ) from None

    async def fetch(self, schema_ids: Iterable[int]) -> None:
        """Nothing to do: everything is known."""

    async def register_all(self, topics: Mapping[str, str] = TOPICS) -> None:
        """Nothing to do: the contracts are part of the program."""

    async def preload(self, topics: Iterable[str]) -> None:
        """Nothing to do: everything is known."""


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """How to reach a registry. ``url`` is ``http(s)://host:port/path``, several separated by commas, without
    credentials in it; the rest are file paths and basic authentication. ``time_out`` is in seconds."""

    url: str
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    time_out: float = 10.0

    def __post_init__(self) -> None:
        if any("@" in urlsplit(url).netloc for url in self.url.split(",")):
            # A URL ends up in logs and error messages.
            raise RegistryError(
                "the schema registry's URL has credentials in it: set user and password apart"
            )


class HttpRegistry:
    """Confluent's REST API (https://docs.confluent.io/platform/current/schema-registry/develop/api.html),
    by Confluent's client, whose blocking calls run in a thread."""

    def __init__(self, config: RegistryConfig, monotonic: Callable[[], float] = time.monotonic) -> None:
        """RegistryError when the settings do not fit together; nothing is contacted yet."""
        # Imported here: the embedded mode does without the HTTP stack behind it.
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415

        self.ids: Mapping[str, int] = {}
        self._where = config.url
        self._monotonic = monotonic
        self._texts: dict[int, str] = {}
        self._absent: dict[int, tuple[float, str]] = {}
        try:
            self._client: Any = SchemaRegistryClient(_client_settings(config))
        except (ValueError, TypeError, OSError) as error:
            raise RegistryError(
                f"schema registry {self._where}: the settings do not fit: {error}. "
                "Check the URL, the CA file, and the client certificate with its key."
            ) from None

    def __repr__(self) -> str:
        return f"HttpRegistry({self._where!r})"

    def schema(self, schema_id: int) -> str:
        text = self._texts.get(schema_id)
        if text is not None:
            return text
        absent = self._absent.get(schema_id)
        if absent is None or absent[0] < self._monotonic():
            raise UnknownSchemaId((schema_id,))
        raise DecodeError("unknown_schema", absent[1])

    async def fetch(self, schema_ids: Iterable[int]) -> None:
        for schema_id in schema_ids:
            if schema_id not in self._texts:
                await asyncio.to_thread(self._fetch, schema_id)

    async def register_all(self, topics: Mapping[str, str] = TOPICS) -> None:
        self.ids = await asyncio.to_thread(self._register_all, dict(topics))

    async def preload(self, topics: Iterable[str]) -> None:
        await asyncio.to_thread(self._preload, tuple(topics))

    # --- in a thread

    def _fetch(self, schema_id: int) -> None:
        found = self._call(lambda: self._client.get_schema(schema_id), absent=404)
        if found is None:
            self._note_absent(schema_id, f"schema id {schema_id} is not in the registry {self._where}")
        else:
            self._keep(schema_id, found)

    def _keep(self, schema_id: int, found: Any) -> None:
        if (found.schema_type or "AVRO") != "AVRO":
            self._note_absent(schema_id, f"schema id {schema_id} is {found.schema_type}, Avro is expected")
        elif found.references:
            self._note_absent(schema_id, f"schema id {schema_id} refers to other schemas: publish it as one")
        else:
            self._texts[schema_id] = found.schema_str

    def _note_absent(self, schema_id: int, why: str) -> None:
        if len(self._absent) >= _MAX_ABSENT:
            self._absent.clear()
        self._absent[schema_id] = self._monotonic() + _ABSENT_FOR, why

    def _register_all(self, topics: Mapping[str, str]) -> dict[str, int]:
        from confluent_kafka.schema_registry import Schema  # noqa: PLC0415 - as above

        ids: dict[str, int] = {}
        for topic, name in topics.items():
            text = CONTRACTS[name].text
            # A publisher's own schema may stand here already, with which ours need not be compatible.
            absent = 409 if name in PUBLISHED_BY_OTHERS else None
            schema_id = self._call(
                lambda topic=topic, text=text: self._client.register_schema(  # type: ignore[misc] # bound now
                    f"{topic}-value", Schema(text, "AVRO")
                ),
                absent=absent,
            )
            if schema_id is not None:
                ids[name] = schema_id
                self._texts[schema_id] = text
        return ids

    def _preload(self, topics: Iterable[str]) -> None:
        for topic in topics:
            subject = f"{topic}-value"
            versions = self._call(lambda s=subject: self._client.get_versions(s), absent=404)  # type: ignore[misc] # bound now
            for version in versions or ():
                found = self._call(
                    lambda s=subject, v=version: self._client.get_version(s, v),  # type: ignore[misc] # bound now
                    absent=404,
                )
                if found is not None:
                    self._keep(found.schema_id, found.schema)

    def _call(self, request: Callable[[], Any], absent: int | None) -> Any:
        """The client's answer; None for the HTTP status ``absent``."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415 - as above

        try:
            return request()
        except SchemaRegistryError as error:
            if error.http_status_code == absent:
                return None
            raise RegistryError(self._explain(error)) from None
        except Exception as error:  # noqa: BLE001 - refused, DNS, TLS, time-out: the bundled HTTP library's own
            raise RegistryError(
                f"schema registry {self._where} can't be reached ({type(error).__name__}: {error}). "
                "Check that it runs, the URL, and the TLS files in the settings."
            ) from None

    def _explain(self, error: Any) -> str:
        status = error.http_status_code
        advice = {
            401: "Check the registry's user and password.",
            403: "The registry's user may not do this: grant it read and write on the subjects.",
            409: "The contract is incompatible with what is registered: run python -m schemas.compatibility.",
            422: "The registry rejects the schema as invalid.",
        }.get(status, "Check the registry's own log.")
        return f"schema registry {self._where} answered {status}: {error.error_message}. {advice}"


def _client_settings(config: RegistryConfig) -> dict[str, Any]:
    settings: dict[str, Any] = {"url": config.url, "timeout": config.time_out}
    if config.ca_file:
        settings["ssl.ca.location"] = config.ca_file
    if config.certificate_file:
        settings["ssl.certificate.location"] = config.certificate_file
    if config.key_file:
        settings["ssl.key.location"] = config.key_file
    if config.user:
        settings["basic.auth.user.info"] = f"{config.user}:{config.password}"
    return settings


def open_registry(config: RegistryConfig | None) -> Registry:
    """The registry that the settings name; None: the embedded mode's."""
    return EmbeddedRegistry() if config is None else HttpRegistry(config)
