"""A volume that is full, on a real small file system."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import disks
from tests.support import safetensors as make
from tests.support.loopback_http import serve
from tests.support.model_store import fetch, leftovers, ranged, store
from worker.contract.models import ModelRef
from worker.errors import NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = make.safetensors(make.SDXL_LORA, pad_to=3_000_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path, "size=10m") as disk:
        yield disk


def test_the_least_recently_used_models_make_room_on_a_small_disk(small_disk: Path) -> None:
    with serve(lambda request: ranged(request, BODY)) as server:
        where = store(small_disk, server.url)
        models = [asyncio.run(fetch(where, ModelRef(url=f"{server.url}/{n}.safetensors"))) for n in range(5)]
        where.close()
    assert [model.path.exists() for model in models] == [False, False, True, True, True]
    assert leftovers(small_disk) == []


def test_without_eviction_a_full_disk_is_told_and_nothing_is_left(small_disk: Path) -> None:
    with serve(lambda request: ranged(request, BODY)) as server:
        where = store(small_disk, server.url, MODEL_EVICT="false")
        for n in range(3):
            asyncio.run(fetch(where, ModelRef(url=f"{server.url}/{n}.safetensors")))
        with pytest.raises(NoSpace, match="no room"):
            asyncio.run(fetch(where, ModelRef(url=f"{server.url}/3.safetensors")))
        where.close()
    assert leftovers(small_disk) == []
    assert len(list((small_disk / "loras").glob("*.safetensors"))) == 3


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(small_disk: Path) -> None:
    """Other files take the room after it was found free: a source without a length can't be planned for."""
    body = make.safetensors(make.SDXL_LORA, pad_to=12_000_000)

    def unannounced(handler: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]  # the server's own handler
        handler.send_header("Connection", "close")  # type: ignore[attr-defined]  # as above
        handler.end_headers()  # type: ignore[attr-defined]  # as above
        handler.wfile.write(body)  # type: ignore[attr-defined]  # as above

    from tests.support.loopback_http import Reply

    with serve(lambda _: Reply(raw=unannounced)) as server:
        where = store(small_disk, server.url)
        with pytest.raises(NoSpace):
            asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        where.close()
    assert leftovers(small_disk) == []
    assert list((small_disk / "loras").glob("*.safetensors")) == []


_LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from tests.support.model_store import fetch, leftovers, store
from worker.contract.models import ModelRef
from worker.errors import NoSpace
root, url = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
where = store(Path(root), url)
try:
    asyncio.run(fetch(where, ModelRef(url=f"{url}/x.safetensors")))
except NoSpace:
    print("told", leftovers(Path(root)))
where.close()
"""


def test_a_limit_on_file_sizes_is_like_a_full_disk(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with serve(lambda request: ranged(request, BODY)) as server:
        done = subprocess.run(
            [sys.executable, "-c", _LIMITED, str(tmp_path), server.url], capture_output=True, text=True, check=False
        )
    assert done.stdout.strip() == "told []", done.stderr


def test_a_volume_that_can_not_be_written_still_serves_what_is_there(small_disk: Path) -> None:
    make.write(small_disk / "loras/mine.safetensors", make.SDXL_LORA)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with serve(lambda request: ranged(request, BODY)) as server:
        where = store(small_disk, server.url)
        model = asyncio.run(fetch(where, ModelRef(name="mine")))
        with where.holding([model]):
            where.inventory.flush()
        with pytest.raises(NoSpace, match="can't be written"):
            asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        where.close()
    assert where.inventory.read_only
