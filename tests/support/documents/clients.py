"""`python -m worker serve` on the stand-in, for tests of clients: address, key, and what its WebUI was asked."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from urllib3.util import Retry

from tests.support.ports import free_port
from tests.support.webui_dir import environment
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KEY = "a-key-for-clients"


@dataclass(frozen=True, slots=True)
class Served:
    """A served worker.

    Attributes:
        url: Its root.
        key: Its HTTP_API_KEY.
        webui: The stand-in's root.
        process: The worker's.
    """

    url: str
    key: str
    webui: str
    process: WorkerProcess

    def sent(self, path: str) -> list[dict[str, Any]]:
        """The bodies that the WebUI got at `path` since the last reset."""
        entries = requests.get(f"{self.webui}/standin/requests", timeout=10).json()
        return [entry["json"] for entry in entries if entry["path"] == path]

    def fault(self, fault: str, count: int = 1, **parameters: Any) -> None:
        """Switch a fault of the WebUI on."""
        body = {"fault": fault, "count": count, **parameters}
        requests.post(f"{self.webui}/standin/faults", json=body, timeout=10).raise_for_status()

    def reset(self) -> None:
        """Forget requests and faults."""
        requests.post(f"{self.webui}/standin/reset", timeout=10).raise_for_status()

    def jobs(self) -> dict[str, int]:
        """How many jobs there are by state."""
        counts: dict[str, int] = requests.get(f"{self.url}/health", timeout=10).json()["jobs"]
        return counts


@contextmanager
def served_worker(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A worker that is ready for jobs."""
    port = free_port()
    variables = environment(folder, {"HTTP_PORT": str(port), "HTTP_API_KEY": KEY, **(more or {})})
    with WorkerProcess(["-m", "worker", "serve"], variables, folder) as process:
        process.wait_line(r'"event":"ready"|ready  ')
        process.assert_own(port)
        process.assert_own(int(variables["WEBUI_PORT"]))
        url = f"http://127.0.0.1:{port}"
        session = requests.Session()
        session.mount(
            "http://",
            requests.adapters.HTTPAdapter(max_retries=Retry(total=12, backoff_factor=0.1, status_forcelist=(503,))),
        )
        assert session.get(f"{url}/ready", timeout=30).status_code == 200
        yield Served(url, KEY, f"http://127.0.0.1:{variables['WEBUI_PORT']}", process)
