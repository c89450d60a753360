from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.app import Worker as App
    from worker.telemetry.progress import Progress

STYLES = """name,prompt,negative_prompt
Detailed,"photo of {prompt}, highly detailed",blurry
Film,film grain,
"""


class Worker:
    """A ready worker on the stand-in, with the stand-in's controls."""

    def __init__(self, host: App) -> None:
        self.host = host
        self.url = host.backend.plan.url
        self.progress: list[Progress] = []

    def run(self, **job: Any) -> dict[str, Any]:
        """Run one job with these input fields, small and quick unless said otherwise."""
        return self.run_job({"input": {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42, **job}})

    def run_job(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a whole job as the platform hands it over."""
        return asyncio.run(self.host.run({"id": "job-1", **job}, on_progress=self.progress.append))

    def fault(self, fault: str, count: int = 1, **parameters: Any) -> None:
        """Switch a fault of the stand-in on."""
        answer = requests.post(
            f"{self.url}/standin/faults", json={"fault": fault, "count": count, **parameters}, timeout=10
        )
        assert answer.status_code == 200, answer.text

    def sent(self) -> list[dict[str, Any]]:
        """The bodies of the txt2img requests that the WebUI got since the last reset."""
        entries = requests.get(f"{self.url}/standin/requests", timeout=10).json()
        return [entry["json"] for entry in entries if entry["path"] == "/sdapi/v1/txt2img"]

    def reset(self) -> None:
        requests.post(f"{self.url}/standin/reset", timeout=10).raise_for_status()
        self.progress.clear()


@pytest.fixture(scope="session")
def shared_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    # No second runs: these tests look at what the worker makes of a single answer.
    folder = tmp_path_factory.mktemp("worker")
    styles = folder / "styles.csv"
    styles.write_text(STYLES, encoding="utf-8")
    with running_host(folder, {"RERUNS": "0", "WEBUI_ARGS": f"--styles-file {styles}"}) as host:
        yield Worker(host)


@pytest.fixture
def worker(shared_worker: Worker) -> Iterator[Worker]:
    """The session's worker; faults are off and requests forgotten before and after."""
    shared_worker.reset()
    yield shared_worker
    shared_worker.reset()
