"""What load balancers, orchestrators and Prometheus ask over HTTP, answered beside the jobs.

``/ping``: 200 when jobs can be taken, 204 while the WebUI starts (what RunPod's load balancing expects), 503 when it is
over. ``/ready``: 200 or 503, for those to whom any 2xx means ready (Kubernetes). ``/health``: the state as JSON, 503
when it is over. ``/metrics``: the figures, where they are kept.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

READY = ("ready", "busy")
COMING = ("starting", "recovering")


def status(state: str) -> int:
    """Return the HTTP status that says how a worker in this state is."""
    if state in READY:
        return 200
    return 204 if state in COMING else 503


def readiness(state: str) -> int:
    """Return 200 where jobs can be taken in this state, else 503."""
    return 200 if state in READY else 503


class Probes:
    """A small HTTP server in threads of its own.

    Args:
        port: Where it listens, on every interface; 0: the system chooses.
        health: Returns the worker's state (``state``) and more.
        metrics: Returns the figures; None: there is no ``/metrics``.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self, port: int, health: Callable[[], Mapping[str, Any]], metrics: Callable[[], bytes] | None = None
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path in {"/ping", "/health"}:
                    told = health()
                    code = status(str(told.get("state")))
                    self._answer(200 if path == "/health" and code != 503 else code, _json(told), "application/json")  # noqa: PLR2004 - HTTP's own
                elif path == "/ready":
                    told = health()
                    self._answer(readiness(str(told.get("state"))), _json(told), "application/json")
                elif path == "/metrics" and metrics is not None:
                    self._answer(200, metrics(), "text/plain; version=0.0.4; charset=utf-8")
                else:
                    self._answer(404, b'{"error": "there is /ping, /ready and /health"}\n', "application/json")

            def _answer(self, code: int, body: bytes, kind: str) -> None:
                body = b"" if code == 204 else body  # noqa: PLR2004 - HTTP's own
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing: probes come every second."""

        self._server = ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104 - probes come from other machines
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name=f"probes-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _json(told: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(told)) + "\n").encode()
