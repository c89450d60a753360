"""Several real processes on one volume, some of them killed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from filelock import SoftFileLease

from tests.support import model_storm
from tests.support import safetensors as make
from tests.support.loopback_http import Reply, Request, serve
from tests.support.model_store import fetch, leftovers, ranged, store
from tests.support.pace import stretched
from tests.support.waiting import wait_until
from worker.contract.types.model_ref import ModelRef
from worker.models.volume.leases import Lease, LeaseTable
from worker.models.volume.registry import decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from worker.models.download.download_progress import FetchProgress

_PROCESSES = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def _preload() -> None:
    _PROCESSES.set_forkserver_preload(["tests.support.model_storm"])


def _slowly(reply: Reply, served: Callable[[int], None], *, block: int = 65536, wait_s: float = 0.002) -> Reply:
    """Send a reply in small pieces, telling how much went out."""

    def raw(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        for position in range(0, len(reply.body), block):
            handler.wfile.write(reply.body[position : position + block])
            served(min(block, len(reply.body) - position))
            time.sleep(wait_s)  # the rate of a slow source

    return Reply(raw=raw)


class Depot:
    """Files of different sizes and how many bytes of each went out."""

    def __init__(self, count: int) -> None:
        self.bodies = [
            make.safetensors(make.SDXL_LORA, pad_to=2_000_000 + 1_500_000 * n, fill=bytes([n + 1]))
            for n in range(count)
        ]
        self.digests = {len(body): hashlib.sha256(body).hexdigest() for body in self.bodies}
        self.served: Counter[int] = Counter()
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        number = int(request.path.strip("/").split(".")[0])

        def count(size: int) -> None:
            with self._lock:
                self.served[number] += size

        return _slowly(ranged(request, self.bodies[number], etag=f'"{number}"'), count)

    def check(self, root: Path) -> None:
        """The registry parses and no file is torn, at any moment."""
        registry = root / "cache_registry.json"
        if registry.exists():
            decode(registry.read_bytes())
        for path in (root / "loras").glob("*.safetensors"):
            try:
                body = path.read_bytes()
            except FileNotFoundError:
                continue  # removed by a worker just now
            assert hashlib.sha256(body).hexdigest() == self.digests[len(body)], f"{path.name} is torn"


def _kill_at_random(
    start: Callable[[], BaseProcess], *, workers: int, kills: int, rng: random.Random, check: Callable[[], None]
) -> list[BaseProcess]:
    running = [start() for _ in range(workers)]
    for _ in range(kills):
        victim = rng.randrange(workers)
        running[victim].join(rng.uniform(0.1, 0.6))
        assert running[victim].exitcode is None, "a worker ended by itself"
        os.kill(running[victim].pid or 0, signal.SIGKILL)
        running[victim].join()
        running[victim] = start()
        check()
    return running


def _storm(tmp_path: Path, *, workers: int, models: int, kills: int, seed: int) -> None:
    """Let workers fetch while some are killed; check everything on the way and afterwards."""
    rng = random.Random(seed)
    depot, root = Depot(models), tmp_path / "models"
    with serve(depot.answer) as server:

        def start() -> BaseProcess:
            arguments = (str(tmp_path), server.url, models, rng.randrange(10**9))
            process = _PROCESSES.Process(target=model_storm.run, args=arguments)
            process.start()
            return process

        running = _kill_at_random(start, workers=workers, kills=kills, rng=rng, check=lambda: depot.check(root))
        (tmp_path / "stop").touch()
        for process in running:
            process.join(60)
        assert [process.exitcode for process in running] == [0] * workers
    depot.check(root)
    where = store(root, "http://127.0.0.1:9")
    entries, files = where.inventory.entries(), list((root / "loras").glob("*.safetensors"))
    for path in files:
        entry = entries[f"lora/{path.name}"]
        assert (entry.size, entry.sha256) == (path.stat().st_size, depot.digests[path.stat().st_size])
        assert entry.source is not None
    assert set(where.inventory.rebuild()) == {f"lora/{path.name}" for path in files}
    where.close()
    removed = Counter(int(line) for line in (tmp_path / "removed").read_text().split())
    for number, body in enumerate(depot.bodies):
        # sockets hold some bytes that a killed worker never wrote down: half a megabyte per connection
        assert depot.served[number] <= (1 + kills + removed[number]) * len(body) + kills * 4_000_000


def test_killed_workers_leave_nothing_torn(tmp_path: Path) -> None:
    _storm(tmp_path, workers=3, models=3, kills=8, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_workers_are_killed_a_hundred_times_and_nothing_is_torn(tmp_path: Path) -> None:
    _storm(tmp_path, workers=8, models=5, kills=100, seed=2)


def _fetch_one(root: str, url: str) -> None:
    from pathlib import Path

    where = store(Path(root), url)
    asyncio.run(fetch(where, ModelRef(url=f"{url}/x.safetensors")))
    where.close()


BODY = make.safetensors(make.SDXL_LORA, pad_to=16_000_000, fill=bytes(range(199)))


def test_a_second_worker_waits_for_the_first_with_its_progress(tmp_path: Path) -> None:
    served: Counter[str] = Counter()
    waiting: list[FetchProgress] = []
    with serve(lambda r: _slowly(ranged(r, BODY), lambda n: served.update({"x": n}), wait_s=0.04)) as server:
        first = _PROCESSES.Process(target=_fetch_one, args=(str(tmp_path), server.url))
        first.start()
        leases = tmp_path / ".store/leases"
        wait_until(lambda: list(leases.glob("*.lease")))
        where = store(tmp_path, server.url)
        wanted = [("loras[0]", ModelRef(url=f"{server.url}/x.safetensors"), "lora")]
        (model,) = asyncio.run(where.prepare(wanted, on_progress=waiting.append))  # type: ignore[arg-type]  # literals
        first.join()
        where.close()
    assert not model.fetched
    assert served["x"] == len(BODY)
    assert any(each.waiting and each.total == len(BODY) for each in waiting)


def test_a_killed_workers_bytes_are_not_fetched_again(tmp_path: Path) -> None:
    served: Counter[str] = Counter()
    with serve(lambda r: _slowly(ranged(r, BODY), lambda n: served.update({"x": n}), wait_s=0.02)) as server:
        first = _PROCESSES.Process(target=_fetch_one, args=(str(tmp_path), server.url))
        first.start()
        folder = tmp_path / "loras/.incoming"

        def is_a_third_there() -> bool:
            records = list(folder.glob("*.ranges"))
            done = json.loads(records[0].read_text())["done"] if records else []
            return bool(sum(end - begin for begin, end in done) > len(BODY) // 3)

        wait_until(is_a_third_there)
        os.kill(first.pid or 0, signal.SIGKILL)
        first.join()
        assert leftovers(tmp_path)
        where = store(tmp_path, server.url)
        began = time.monotonic()
        model = asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        where.close()
    assert model.fetched
    assert model.path.read_bytes() == BODY
    assert served["x"] < len(BODY) * 1.5
    assert time.monotonic() - began < stretched(10)
    assert leftovers(tmp_path) == []


def test_a_frozen_workers_lease_goes_to_another_and_both_end_well(tmp_path: Path) -> None:
    with serve(lambda r: _slowly(ranged(r, BODY), lambda _: None, wait_s=0.01)) as server:
        first = _PROCESSES.Process(target=_fetch_one, args=(str(tmp_path), server.url))
        first.start()
        folder = tmp_path / "loras/.incoming"
        wait_until(lambda: list(folder.glob("*.ranges")))
        os.kill(first.pid or 0, signal.SIGSTOP)
        where = store(tmp_path, server.url, MODEL_LEASE_S="1")
        model = asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        os.kill(first.pid or 0, signal.SIGCONT)
        first.join(30)
        where.close()
    assert model.path.read_bytes() == BODY
    assert first.exitcode == 0
    assert [path.name for path in (tmp_path / "loras").glob("*.safetensors")] == [model.path.name]
    assert leftovers(tmp_path) == []


def test_without_leases_everything_works_but_twice(tmp_path: Path) -> None:
    (tmp_path / ".store").mkdir()
    (tmp_path / ".store/leases").write_text("a file where a folder has to be: leases fail, for root too")
    with serve(lambda r: _slowly(ranged(r, BODY), lambda _: None, wait_s=0.001)) as server:
        workers = [_PROCESSES.Process(target=_fetch_one, args=(str(tmp_path), server.url)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
    (path,) = (tmp_path / "loras").glob("*.safetensors")
    assert path.read_bytes() == BODY
    assert leftovers(tmp_path) == []


def _hold_a_lease(folder: str, live_s: float) -> None:
    """Hold a lease; exit with 3 as soon as it is lost."""
    from pathlib import Path

    lease = LeaseTable(Path(folder), live_s=live_s).take("x")
    assert lease is not None
    wait_until(lambda: not lease.is_ours(), 600)
    lease.release()
    os._exit(3)


def _holder(folder: Path, *, live_s: float) -> BaseProcess:
    process = _PROCESSES.Process(target=_hold_a_lease, args=(str(folder), live_s))
    process.start()
    wait_until(lambda: list(folder.glob("*.progress")))
    return process


def _seconds_until_taken(table: LeaseTable) -> tuple[Lease, float]:
    began = time.monotonic()
    lease = wait_until(lambda: table.take("x"))
    assert lease is not None
    return lease, time.monotonic() - began


def test_a_killed_workers_lease_is_taken_over_in_well_under_a_second(tmp_path: Path) -> None:
    holder = _holder(tmp_path, live_s=100)
    table = LeaseTable(tmp_path, live_s=100)
    assert table.take("x") is None
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    lease, seconds = _seconds_until_taken(table)
    assert seconds < stretched(0.8)
    lease.release()
    assert list(tmp_path.iterdir()) == []


def test_a_frozen_workers_lease_is_taken_over_after_its_life_and_the_worker_is_told(tmp_path: Path) -> None:
    holder = _holder(tmp_path, live_s=1.5)
    os.kill(holder.pid or 0, signal.SIGSTOP)
    lease, seconds = _seconds_until_taken(LeaseTable(tmp_path, live_s=1.5))
    assert seconds > 0.5
    os.kill(holder.pid or 0, signal.SIGCONT)
    holder.join(20)
    assert holder.exitcode == 3
    assert lease.is_ours()
    lease.release()


def test_a_live_workers_lease_is_not_taken(tmp_path: Path) -> None:
    holder = _holder(tmp_path, live_s=0.6)
    table = LeaseTable(tmp_path, live_s=0.6)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert table.take("x") is None
        time.sleep(0.05)  # more than two of its beats have to pass
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()


def test_the_holders_own_setting_counts_where_workers_have_different_ones(tmp_path: Path) -> None:
    holder = _holder(tmp_path, live_s=1.5)
    os.kill(holder.pid or 0, signal.SIGSTOP)
    table = LeaseTable(tmp_path, live_s=100)
    assert table.take("x") is None
    lease, _ = _seconds_until_taken(table)
    os.kill(holder.pid or 0, signal.SIGKILL)
    os.kill(holder.pid or 0, signal.SIGCONT)
    holder.join()
    lease.release()


def test_a_lease_that_was_taken_over_is_not_released_by_its_old_owner(tmp_path: Path) -> None:
    one, two = LeaseTable(tmp_path, live_s=100), LeaseTable(tmp_path, live_s=100)
    old = one.take("x")
    assert old is not None
    one.path("x").unlink()  # as a worker that took it for dead does
    new = two.take("x")
    assert new is not None
    assert not old.is_ours()
    old.release()
    assert new.is_ours()
    assert one.take("x") is None
    new.release()
    assert one.take("x") is not None


def test_onlookers_see_how_far_the_holder_is(tmp_path: Path) -> None:
    table = LeaseTable(tmp_path, live_s=100)
    clock = iter([0.0, 0.0, 1.0, 1.0, 1.1])
    lock = SoftFileLease(table.path("x"), lease_duration=100, thread_local=False)
    lock.acquire()
    lease = Lease(lock, table.path("x").with_suffix(".progress"), now=lambda: next(clock))
    assert (table.look("x").done, table.look("x").total) == (0, None)
    lease.report(5, 9)
    assert (table.look("x").done, table.look("x").total) == (5, 9)
    lease.report(6, 9)  # a moment later: not written
    assert table.look("x").done == 5
    lease.release()
    assert table.look("x").done == 0
