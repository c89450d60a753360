"""Two workers are killed (SIGKILL) in the middle of writing `cache_registry.json`, again and again."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support import model_storm, models
from tests.support.model_store import store
from tests.support.model_storm import MOMENTS, Death
from worker.models.volume.registry import Entry, decode, encode
from worker.models.volume.registry_file import DEAD_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

_PROCESSES = multiprocessing.get_context("forkserver")
NAMES = ("one", "two")
BALLAST = 300
"""Models besides: they make the file so large that it is written in several pieces."""


@pytest.fixture(scope="module", autouse=True)
def _preload() -> None:
    _PROCESSES.set_forkserver_preload(["tests.support.model_storm"])


@dataclass
class Volume:
    """A volume with many models, and two workers' notes about theirs."""

    folder: Path
    ballast: dict[str, Entry] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "models"

    @property
    def registry(self) -> Path:
        return self.root / "cache_registry.json"

    def write(self) -> None:
        for name in NAMES:
            self.sizes[name] = models.lora(self.root / f"loras/{name}.safetensors").stat().st_size
        for number in range(BALLAST):
            path = self.root / f"loras/ballast_{number}.safetensors"
            path.write_bytes(b"x")
            words = tuple(f"word {number} {count}" for count in range(20))
            entry = Entry("lora", path.name, 1, sha256="1" * 64, base_model="SD 1.5", trigger_words=words)
            self.ballast[entry.key] = entry
        self.registry.write_bytes(encode(self.ballast))

    def temporaries(self) -> list[str]:
        return [path.name for path in self.root.glob(".cache_registry.json.*.tmp")]

    def counts(self, kind: str, name: str) -> list[int]:
        path = self.folder / f"{name}.{kind}"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def check(self) -> None:
        """The registry is whole, has lost nothing that was written, and holds nothing that nobody wrote."""
        entries, migrated = decode(self.registry.read_bytes())
        assert not migrated
        for name in NAMES:
            entry = entries.pop(f"lora/{name}.safetensors", None)
            done, begun = self.counts("done", name), self.counts("begun", name)
            if entry is None:
                assert not done, f"{name} was written and is not there"
            else:
                assert entry.uses in begun
                assert entry.uses >= max([*done[-1:], self.seen.get(name, 0)]), "what was written is gone again"
                self.seen[name] = entry.uses
                assert entry.size == self.sizes[name]
        assert entries == self.ballast

    def start(self, name: str, first: int, death: Death | None = None) -> BaseProcess:
        arguments = (str(self.folder), name, self.sizes[name], first, death)
        process = _PROCESSES.Process(target=model_storm.note, args=arguments)
        process.start()
        return process


def _deaths(rng: random.Random, size: int) -> Iterator[Death]:
    """Every moment in turn, after some whole writes; the bytes from none to all but one."""
    for number in itertools.count():
        moment = MOMENTS[number % len(MOMENTS)]
        yield Death(moment, passed=rng.randrange(3), byte=rng.choice((0, 1, size - 1, rng.randrange(size))))


def storm(folder: Path, *, rounds: int, seed: int) -> None:
    """Let two workers be killed in the middle of a write, `rounds` times each; check everything after each."""
    rng = random.Random(seed)
    volume = Volume(folder)
    volume.write()
    size = volume.registry.stat().st_size
    chosen = {name: _deaths(rng, size) for name in NAMES}
    next(chosen[NAMES[1]])  # another moment than the other's
    for number in range(rounds):
        deaths = {name: next(chosen[name]) for name in NAMES}
        before = set(volume.temporaries())
        running = [volume.start(name, (number + 1) * 1_000_000, death) for name, death in deaths.items()]
        for process, death in zip(running, deaths.values(), strict=True):
            process.join(30)
            process.kill()  # one that did not die would write for ever
            by = signal.SIGXFSZ if death.moment == "bytes" else signal.SIGKILL
            assert process.exitcode == -by, f"{death}: {process.exitcode}"
        left = [volume.root / name for name in set(volume.temporaries()) - before]
        wanted = [death.byte for death in deaths.values() if death.moment == "bytes"]
        whole = [path for path in left if path.stat().st_size >= size]
        assert sorted(path.stat().st_size for path in left if path not in whole) == sorted(wanted)
        assert len(whole) == sum(death.moment == "before the rename" for death in deaths.values())
        volume.check()
    for process in [volume.start(name, 10**9) for name in NAMES]:  # the next workers find nothing in their way
        deadline = time.monotonic() + 30
        while not any(max(volume.counts("done", name), default=0) >= 10**9 for name in NAMES):
            assert time.monotonic() < deadline, "nobody can write any more"
            time.sleep(0.01)  # another process's file wakes nobody here
        process.kill()
        process.join()
    volume.check()
    where = store(volume.root, "http://127.0.0.1:9")
    assert set(where.inventory.rebuild()) == {*volume.ballast, *(f"lora/{name}.safetensors" for name in NAMES)}
    where.close()


def test_two_workers_killed_while_they_write_leave_a_registry_that_is_whole_and_true(tmp_path: Path) -> None:
    storm(tmp_path, rounds=8, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_a_hundred_times(tmp_path: Path) -> None:
    storm(tmp_path, rounds=100, seed=2)


def test_what_a_killed_writer_left_is_removed_by_a_later_one(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.write()
    old, young = (volume.root / f".cache_registry.json.{pid}-00.tmp" for pid in (1, 2))
    for path in (old, young):
        path.write_bytes(b'{"schema": ')
    then = time.time() - DEAD_AFTER_S - 60
    os.utime(old, (then, then))
    where = store(volume.root, "http://127.0.0.1:9")
    where.inventory.record(Entry("lora", "one.safetensors", volume.sizes["one"], uses=1))
    where.close()
    assert volume.temporaries() == [young.name], "its writer may be alive"
