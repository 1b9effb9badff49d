"""A schema registry at the socket: the part of Confluent's REST API that the client calls."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeRegistry:
    """Subjects and schemas in memory; ``refuse`` maps a subject to the HTTP status of its registration."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.refuse: dict[str, int] = {}
        self.requests: list[str] = []
        self.authorization: set[str] = set()
        self.url = ""

    def add(self, subject: str, text: str, **fields: Any) -> int:
        schema = {"schema": text, **fields}
        known = next((one for one, stored in self.schemas.items() if stored == schema), len(self.schemas) + 1)
        self.schemas[known] = schema
        versions = self.subjects.setdefault(subject, [])
        if known not in versions:
            versions.append(known)
        return known

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["schemas", "ids"]:
            found = self.schemas.get(int(parts[2]))
            return (200, found) if found else (404, {"error_code": 40403, "message": "Schema not found"})
        subject = parts[1]
        if method == "POST":
            if subject in self.refuse:
                return self.refuse[subject], {"error_code": self.refuse[subject], "message": "refused"}
            return 200, {"id": self.add(subject, body["schema"])}
        versions = self.subjects.get(subject)
        if versions is None:
            return 404, {"error_code": 40401, "message": "Subject not found"}
        if len(parts) == 3:
            return 200, list(range(1, len(versions) + 1))
        number = int(parts[3])
        known = versions[number - 1]
        return 200, {"subject": subject, "version": number, "id": known, **self.schemas[known]}


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[FakeRegistry]:
    """The fake on a free loopback port, with TLS if a context is given."""
    fake = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond("GET")

        def do_POST(self) -> None:
            self._respond("POST")

        def _respond(self, method: str) -> None:
            fake.requests.append(f"{method} {self.path}")
            fake.authorization.add(self.headers.get("Authorization", ""))
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, answer = fake.answer(method, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    fake.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
