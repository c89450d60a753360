from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.jobsource import JobSource
from tests.support.ports import free_port
from tests.support.rig import Rig
from tests.support.servers.queue_endpoint import ENDPOINT, KEY, QueueEndpoint, queue_endpoint
from tests.support.webui_calls import forget_scripts
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bridged:
    """A bridge, and the endpoint behind it.

    Attributes:
        url: The bridge's.
        endpoint: The endpoint's.
        process: The bridge's.
        listings: The file in which it keeps listings.
    """

    url: str
    endpoint: QueueEndpoint
    process: WorkerProcess
    listings: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=60, **options)


@contextmanager
def bridge(folder: Path, endpoint: QueueEndpoint, *arguments: str) -> Iterator[Bridged]:
    """`python -m worker bridge` in front of an endpoint, until the context ends."""
    port, listings = free_port(), folder / "listings.json"
    environment = {"RUNPOD_ENDPOINT_BASE_URL": endpoint.url, "RUNPOD_API_KEY": KEY}
    command = ["-m", "worker", "bridge", "--endpoint", ENDPOINT, "--port", str(port), "--listings", str(listings)]
    with WorkerProcess([*command, *arguments], environment, folder) as process:
        process.wait_line("webui")
        process.assert_own(port)
        yield Bridged(f"http://127.0.0.1:{port}", endpoint, process, listings)
        process.terminate()
        assert process.wait(30) == 0, process.log
        process.assert_nothing_left()


@pytest.fixture(autouse=True)
def _own_scripts() -> None:
    forget_scripts()


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("rig")
    more = {"STANDIN_STEP_SECONDS": "0.01", "CONCURRENCY": "2"}
    with JobSource() as source, Rig(folder, source, **more) as running:
        yield running


@pytest.fixture(scope="session")
def bridged(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    """A bridge to an endpoint with one worker: handler.py on the stand-in."""
    with queue_endpoint(rig.source) as endpoint, bridge(tmp_path_factory.mktemp("bridge"), endpoint) as running:
        yield running
