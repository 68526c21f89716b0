"""As much of a client of Kubernetes' API as the test bed needs: JSON over HTTPS, and watches."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

Object = dict[str, Any]


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """`address`: host and port; `ca`: the file of the authority that the server's certificate is of."""

    def __init__(self, address: str, ca: str, token: str) -> None:
        self.address, self.token = address, token
        self.tls = ssl.create_default_context(cafile=ca)

    def _send(self, method: str, path: str, body: Object | None, kind: str, timeout: float) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(self.address, timeout=timeout, context=self.tls)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Connection": "close"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise ApiError(response.status, response.read().decode(errors="replace"))
        return response

    def call(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """What the API answers."""
        with self._send(method, path, body, kind, timeout=30) as response:
            return json.loads(response.read() or b"{}")  # type: ignore[no-any-return]

    def patch(self, path: str, body: Object) -> Object:
        """A merge patch."""
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            with self._send("GET", "/readyz", None, "application/json", timeout=5) as response:
                return response.status == 200
        except (OSError, http.client.HTTPException, ApiError):
            return False

    def watch(self, path: str, **selectors: str) -> Iterator[tuple[str, Object]]:
        """What is there as `ADDED`, then what changes, until the server ends the watch."""
        found = self.call("GET", f"{path}?{urllib.parse.urlencode(selectors)}")
        for item in found.get("items", []):
            yield "ADDED", item
        query = {**selectors, "watch": "1", "resourceVersion": found["metadata"]["resourceVersion"]}
        with self._send("GET", f"{path}?{urllib.parse.urlencode(query)}", None, "", timeout=600) as response:
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event["type"], event["object"]


def follow(api: Api, path: str, obey: Callable[[str, Object], None], ended: threading.Event, **selectors: str) -> None:
    """Watches for as long as the test bed runs, over ends of the server."""
    while not ended.is_set():
        try:
            for kind, item in api.watch(path, **selectors):
                obey(kind, item)
        except (OSError, http.client.HTTPException, ApiError, ValueError):
            # The server may be down for as long as a test wants it to be.
            ended.wait(0.2)
