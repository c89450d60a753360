"""A volume that is full, on a real small file system."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support import disks
from tests.support import safetensors as make
from tests.support.loopback_http import Reply, Request, serve
from tests.support.model_store import fetch, leftovers, ranged, store
from worker.contract.types.model_ref import ModelRef
from worker.errors import DownloadFailed, NoSpace
from worker.models.format.filenames import short_hash
from worker.models.volume.leases import this_process

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
from worker.contract.types.model_ref import ModelRef
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


def test_a_dead_workers_lease_on_a_full_disk_stops_nobody(small_disk: Path) -> None:
    with serve(lambda request: ranged(request, BODY)) as server:
        where = store(small_disk, server.url)
        asyncio.run(fetch(where, ModelRef(url=f"{server.url}/old.safetensors")))
        ref = ModelRef(url=f"{server.url}/new.safetensors")
        dead = {**this_process().to_json(), "started": 1, "beat": 0}
        leases = small_disk / ".store/leases"
        leases.mkdir(parents=True, exist_ok=True)
        (leases / f"{short_hash(where.resolve(ref, 'lora').identity)}.lease").write_text(json.dumps(dead))
        disks.fill(small_disk / "something")
        assert asyncio.run(fetch(where, ref)).path.read_bytes() == BODY
        where.close()
    assert [path.name for path in leases.iterdir() if path.name.endswith(".tmp")] == []


def test_what_is_there_of_a_file_needs_no_room_a_second_time(small_disk: Path) -> None:
    """A fetch that was cut off has reserved the room of the whole file."""
    body, cut = make.safetensors(make.SDXL_LORA, pad_to=8_000_000), True

    def script(request: Request) -> Reply:
        whole = ranged(request, body)
        broken = {**whole.headers, "Content-Length": "9", "Connection": "close"}
        return replace(whole, body=b"", headers=broken) if cut else whole

    with serve(script) as server:
        where = store(small_disk, server.url)
        with pytest.raises(DownloadFailed):
            asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        assert leftovers(small_disk) != []
        cut = False
        assert asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors"))).size == len(body)
        where.close()


def test_what_a_worker_begins_to_use_on_a_full_disk_is_not_removed(small_disk: Path) -> None:
    with serve(lambda request: ranged(request, BODY)) as server:
        one, other = store(small_disk, server.url), store(small_disk, server.url)
        first, second = (
            asyncio.run(fetch(one, ModelRef(url=f"{server.url}/{name}.safetensors"))) for name in ("first", "second")
        )
        with one.holding([first]):  # as the checkpoint that a worker starts with
            disks.fill(small_disk / "something")
            with one.holding([second]):
                assert other.marks.others() >= {first.key, second.key}
                with pytest.raises(NoSpace):
                    asyncio.run(fetch(other, ModelRef(url=f"{server.url}/third.safetensors")))
                assert second.path.exists()
        one.close()
        other.close()


def test_a_corrupt_file_that_was_set_aside_makes_room_for_its_successor_and_keeps_its_pin(small_disk: Path) -> None:
    body = make.safetensors(make.SDXL_LORA, pad_to=6_000_000)
    with serve(lambda request: ranged(request, body)) as server:
        where = store(small_disk, server.url)
        ref = ModelRef(url=f"{server.url}/x.safetensors")
        model = asyncio.run(fetch(where, ref))
        file = where.volume.look("lora", model.path.name)
        assert file is not None
        where.inventory.pin(file, pinned=True)
        where.quarantine.put(model, "SafetensorError")
        again = asyncio.run(fetch(where, ref))
        assert again.fetched
        assert where.inventory.entries()[again.key].pinned
        where.close()


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
