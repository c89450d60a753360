from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.jobsource import JobSource
from tests.support.rig import POISON, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def source() -> Iterator[JobSource]:
    with JobSource(hold_s=1.0) as source:
        yield source


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, source: JobSource) -> Iterator[Rig]:
    """One worker for the tests of a module: each leaves it able to work."""
    faults = f"die:prompt={POISON}:count=-1"
    settings = {"RESTARTS": "100", "RESTART_WINDOW_S": "0.1", "STALL_TIMEOUT_S": "1", "STANDIN_FAULTS": faults}
    with Rig(tmp_path_factory.mktemp("rig"), source, **settings) as rig:
        yield rig
        rig.worker.terminate()
        assert rig.worker.wait() == 0
        rig.worker.assert_nothing_left()
