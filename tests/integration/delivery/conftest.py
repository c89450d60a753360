from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.servers.s3 import Store, running_store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    with running_store() as running:
        running.make_bucket("pics")
        yield running
