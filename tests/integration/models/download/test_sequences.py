"""Any sequence of fetching, using, removing, crashing and tampering keeps the volume in order."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support import safetensors as make
from tests.support.loopback_http import Reply, Request, Server
from tests.support.model_store import fetch, ranged, store
from worker.contract.types.model_ref import ModelRef
from worker.models.download.partial import Partial
from worker.models.volume.eviction import Evictor
from worker.models.volume.registry import decode
from worker.models.volume.registry_file import RegistryFile

if TYPE_CHECKING:
    from worker.models.volume.model import LocalModel

MODELS = [make.safetensors(make.SDXL_LORA, pad_to=20_000 + 7 * n, fill=bytes([n + 1])) for n in range(4)]
DIGESTS = {len(body): hashlib.sha256(body).hexdigest() for body in MODELS}
numbers = st.integers(0, len(MODELS) - 1)


class Crash(BaseException):
    """The process is gone at this point."""


def _answer(request: Request) -> Reply:
    number = int(request.path.strip("/").split(".")[0])
    return ranged(request, MODELS[number], etag=f'"{number}"')


class Volume(RuleBasedStateMachine):
    """One volume, one worker after the other."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="volume-"))
        self.held: list[LocalModel] = []
        self.pinned: set[str] = set()
        self.holds = contextlib.ExitStack()

    def teardown(self) -> None:
        self.holds.close()
        self.store.close()
        shutil.rmtree(self.root)

    @initialize()
    def begin(self) -> None:
        self.store = store(self.root, self.server.url)

    def _ref(self, number: int) -> ModelRef:
        return ModelRef(url=f"{self.server.url}/{number}.safetensors")

    def _files(self) -> list[Path]:
        return sorted((self.root / "loras").glob("*.safetensors"))

    @rule(number=numbers)
    def use(self, number: int) -> None:
        """A job asks for a model and gets exactly it, fetched only when it was not there."""
        there = self.store.find(self._ref(number), "lora")
        before = len(self.server.seen)
        model = asyncio.run(fetch(self.store, self._ref(number)))
        assert model.path.read_bytes() == MODELS[number]
        assert (len(self.server.seen) > before) == (there is None)

    @rule(number=numbers)
    def hold(self, number: int) -> None:
        model = self.store.find(self._ref(number), "lora")
        if model is not None:
            self.holds.enter_context(self.store.holding([model]))
            self.held.append(model)

    @rule(number=numbers)
    def pin(self, number: int) -> None:
        model = self.store.find(self._ref(number), "lora")
        file = self.store.volume.look("lora", model.path.name) if model else None
        if file is not None:
            self.store.inventory.pin(file, pinned=True)
            self.pinned.add(file.path.name)

    @rule(need=st.integers(1, 80_000))
    def make_room(self, need: int) -> None:
        """Enough goes or nothing; never what is held or pinned."""
        space = Evictor(self.store.inventory, self.store.marks, floor=0, evict=True, free=lambda _: 0)
        before = {path.name: path.stat().st_size for path in self._files()}
        made = space.make_room(self.root / "loras", need, keep=frozenset())
        after = {path.name for path in self._files()}
        freed = sum(size for name, size in before.items() if name not in after)
        assert freed >= need if made else freed == 0
        kept = {model.path.name for model in self.held} | self.pinned
        assert kept & set(before) <= after

    @rule(number=numbers, where=st.sampled_from(["before record", "after record", "before name", "after name"]))
    def crash(self, number: int, where: str) -> None:
        """The worker dies at a point of a fetch; another one starts."""
        point: Any = RegistryFile.change if "record" in where else Partial.move_to

        def dying(*args: Any, **kwargs: Any) -> Any:
            if where.startswith("after"):
                point(*args, **kwargs)
            raise Crash

        owner, name = (RegistryFile, "change") if "record" in where else (Partial, "move_to")
        with contextlib.suppress(Crash), patch.object(owner, name, dying):
            asyncio.run(fetch(self.store, self._ref(number)))
        self._restart()

    @rule()
    def flush(self) -> None:
        self.store.inventory.flush()

    @rule()
    def rebuild(self) -> None:
        self.store.inventory.rebuild()
        written = decode((self.root / "cache_registry.json").read_bytes())[0]
        assert {entry.file for entry in written.values()} == {path.name for path in self._files()}

    @rule(junk=st.binary(max_size=40))
    def break_registry(self, junk: bytes) -> None:
        (self.root / "cache_registry.json").write_bytes(junk)
        self.pinned.clear()
        self._restart()

    @precondition(lambda self: self._files())
    @rule(data=st.data())
    def delete_by_hand(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(self._files()))
        path.unlink()
        self.held = [model for model in self.held if model.path != path]
        self.pinned.discard(path.name)

    def _restart(self) -> None:
        self.holds.close()
        self.held.clear()
        self.store.marks.close()
        self.store = store(self.root, self.server.url)

    @invariant()
    def nothing_is_torn(self) -> None:
        for path in self._files():
            body = path.read_bytes()
            assert hashlib.sha256(body).hexdigest() == DIGESTS.get(len(body))

    @invariant()
    def nothing_wrong_is_known(self) -> None:
        for path in self._files():
            file = self.store.volume.look("lora", path.name)
            assert file is not None
            entry = self.store.inventory.entry(file)
            assert entry.sha256 in {None, DIGESTS[file.size]}


@pytest.mark.parametrize(("examples", "steps"), [(8, 15), pytest.param(300, 40, marks=pytest.mark.slow)])
def test_any_sequence_keeps_the_volume_in_order(examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    server = Server(_answer)
    server.start()
    try:
        Volume.server = server
        checks = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
        run_state_machine_as_test(
            Volume,
            settings=settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=checks),
        )
    finally:
        server.stop()
