from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.bridge.conftest import bridge
from tests.support.jobsource import JobSource
from tests.support.rig import Rig
from tests.support.served import Served, serving, webui_settings
from tests.support.servers.queue_endpoint import queue_endpoint
from tests.support.webui_calls import forget_scripts

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a-key-for-clients"


@pytest.fixture(autouse=True)
def _own_scripts() -> None:
    forget_scripts()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A worker without a key, on this machine's own address."""
    settings = {"STANDIN_STEP_SECONDS": "0.01", "LIVE_PREVIEWS": "cheap", "LIVE_PREVIEW_EVERY_S": "0.5"}
    with serving(tmp_path_factory.mktemp("served"), **settings) as worker:
        yield worker


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A worker with a key, which may stand in addresses."""
    settings = {"HTTP_API_KEY": KEY, "HTTP_KEY_IN_URL": "true", "STANDIN_STEP_SECONDS": "0.01"}
    with serving(tmp_path_factory.mktemp("guarded"), **settings) as worker:
        yield worker


@pytest.fixture(scope="session")
def bridged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A bridge without a key to a queue endpoint, whose one worker has a WebUI like that of `served`."""
    folder = tmp_path_factory.mktemp("endpoint")
    settings = {**webui_settings(folder), "STANDIN_STEP_SECONDS": "0.01"}
    with (
        JobSource() as source,
        Rig(folder, source, **settings) as rig,
        queue_endpoint(source) as endpoint,
        bridge(tmp_path_factory.mktemp("bridge"), endpoint) as running,
    ):
        yield Served(running.url, rig.url, running.process)


@pytest.fixture(params=["served", "bridged"])
def door(request: pytest.FixtureRequest) -> Served:
    """Each of the two programs that answer A1111's API."""
    found: Served = request.getfixturevalue(request.param)
    return found
