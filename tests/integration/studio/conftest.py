from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, Store, running_store
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def store() -> Iterator[Store]:
    with running_store() as running:
        running.make_bucket("pics")
        yield running


def bucket(store: Store) -> dict[str, str]:
    """The settings of a worker whose pictures may go to the operator's bucket."""
    return {
        "BUCKET_ENDPOINT_URL": store.url,
        "BUCKET_NAME": "pics",
        "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
        "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
    }


@pytest.fixture(scope="package")
def studio_settings(store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"RERUNS": "0", "RESULTS_DIR": str(tmp_path_factory.mktemp("kept")), **bucket(store)}


@pytest.fixture(scope="package")
def studio(studio_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with running_host(tmp_path_factory.mktemp("studio"), studio_settings) as host:
        yield Worker(host)


@pytest.fixture
def worker(studio: Worker) -> Iterator[Worker]:
    studio.reset()
    yield studio
    studio.reset()
