"""A proxy on loopback before an HTTP server, which does to requests what networks and servers do."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, get_args

Mode = Literal["pass", "refuse", "error500", "delay", "drop_response", "reset"]
"""What becomes of a request.

``pass``: it is forwarded. ``refuse``: the connection is cut before it is read. ``error500``: it is not forwarded, and
answered with status 500. ``delay``: it is forwarded, but late, whether or not the client still waits.
``drop_response``: it is forwarded, and the connection is cut instead of an answer. ``reset``: the connection is cut
within the request.
"""
MODES: tuple[Mode, ...] = get_args(Mode)
FAULTS: tuple[Mode, ...] = MODES[1:]


def at_random(faults: dict[Mode, float], seed: int) -> Callable[[str, str], Mode]:
    """A mode that changes from request to request.

    Args:
        faults: how likely each is.
        seed: of the choice.
    """
    rng, lock = random.Random(seed), threading.Lock()  # noqa: S311 - no secret
    modes, weights = ["pass", *faults], [1 - sum(faults.values()), *faults.values()]

    def choose(method: str, path: str) -> Mode:
        with lock:
            return rng.choices(modes, weights)[0]  # type: ignore[return-value]

    return choose


class Proxy:
    """Forwards to a port of this machine while its block lasts.

    Args:
        target: the port of the server.

    Attributes:
        mode: what becomes of the next requests: one for all, or a function of their method and path.
        seconds: how long ``delay`` delays.
        injected: how often each fault was done.
        forwarded: how often each request reached the server: ``POST /api/2.0/mlflow/runs/create``.
        port: where it listens.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.mode: Mode | Callable[[str, str], Mode] = "pass"
        self.seconds = 1.0
        self.injected: Counter[str] = Counter()
        self.forwarded: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._counting = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def faults(self) -> int:
        """How many faults were done in all."""
        return self.injected.total()

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def fate(self, method: str, path: str) -> Mode:
        """What becomes of a request; counted."""
        mode = self.mode(method, path) if callable(self.mode) else self.mode
        if mode != "pass":
            with self._counting:
                self.injected[mode] += 1
        return mode

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
        """The server's answer, read."""
        with self._counting:
            self.forwarded[f"{method} {path.partition('?')[0]}"] += 1
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def wait(self) -> None:
        """Let the time of a delay pass, or what is left of the proxy's life."""
        self._stopped.wait(self.seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no errors here."""


class _Handler(BaseHTTPRequestHandler):
    owner: Proxy
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        mode = self.owner.fate(self.command, self.path)
        if mode == "refuse":
            self._cut()
            return
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length // 2 if mode == "reset" else length)
        if mode == "reset":
            self._cut()
        elif mode == "error500":
            self._answer(500, [("Content-Type", "text/html")], b"<h1>Internal Server Error</h1>")
        else:
            if mode == "delay":
                self.owner.wait()
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
            response = self.owner.forward(self.command, self.path, headers, body)
            content = response.read()
            if mode == "drop_response":
                self._cut()
            else:
                kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _OWN]
                self._answer(response.status, kept, content)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in [*headers, ("Content-Length", str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _cut(self) -> None:
        """Reset the connection, as a machine does that has no such connection any more."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that is overridden
        """Nothing is logged."""


_OWN = {"accept-encoding", "connection", "content-encoding", "content-length", "host", "transfer-encoding"}
"""Headers of a connection, not of what goes over it; contents are asked for as they are."""
