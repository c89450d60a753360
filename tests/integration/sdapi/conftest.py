from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.served import serving
from tests.support.webui_calls import forget_scripts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.served import Served

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
