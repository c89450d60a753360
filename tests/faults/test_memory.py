"""Limits of memory on the WebUI's process, set by the kernel: what it raises there, and what it is killed for."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.jobsource import JobSource
from tests.support.rig import Rig, pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    """A group of processes that may have 150 MB in all."""
    group = GROUPS / f"worker-test-{tmp_path.name}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(150 * 2**20))
    except OSError:
        pytest.skip("may not limit memory here")  # no cgroup v1 that this user may write; RLIMIT below needs none
    yield group
    with contextlib.suppress(OSError):
        group.rmdir()


def test_a_webui_that_the_kernel_kills_for_its_memory_is_replaced_and_the_picture_made(
    tmp_path: Path, group: Path
) -> None:
    with JobSource(hold_s=1.0) as source, Rig(tmp_path, source) as rig:
        right = pixels(rig.run()["images"][0])
        before = rig.webui()
        (group / "cgroup.procs").write_text(str(before.pid))
        rig.fault("memory-growth", mb=400)
        answer = rig.run()
        assert pixels(answer["images"][0]) == right
        before.wait(20)
        assert pixels(rig.run()["images"][0]) == right
        assert "SIGKILL" in rig.worker.log
        assert rig.webui().pid != before.pid


@pytest.mark.slow
def test_a_webui_that_gets_no_memory_is_survived(tmp_path: Path) -> None:
    with JobSource(hold_s=1.0) as source, Rig(tmp_path, source) as rig:
        right = pixels(rig.run()["images"][0])
        webui = rig.webui()
        limit = webui.memory_info().vms + 4 * 2**20
        resource.prlimit(webui.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        rig.fault("memory-growth", mb=400)
        answer = rig.run(batch_size=4)
        assert "images" in answer or answer["error_code"] == "out_of_memory", answer
        resource.prlimit(webui.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert pixels(rig.run()["images"][0]) == right
