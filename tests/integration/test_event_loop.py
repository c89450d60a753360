"""During a job the event loop's thread touches no file, no folder and no name server: another job may be waiting."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import models
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.app import Worker as App

AUDITED = {"open", "socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "import"}
AUDITED_PREFIXES = ("os.", "shutil.", "tempfile.", "subprocess.")
UNAUDITED_CALLS = ("stat", "lstat", "fsync", "access", "statvfs")


class Watch:
    """Notes every access that the watched thread makes, with the line of the worker that made it."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.seen: list[str] = []

    def note(self, what: str) -> None:
        if threading.get_ident() != self.thread:
            return
        self.thread, watched = None, self.thread  # a look at the stack reads files too
        frames = [frame for frame in traceback.extract_stack() if "/worker/" in frame.filename]
        where = " < ".join(f"{frame.filename.rpartition('/worker/')[2]}:{frame.lineno}" for frame in frames[-3:][::-1])
        self.seen.append(f"{what} by {where}")
        self.thread = watched

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.thread is not None and (event in AUDITED or event.startswith(AUDITED_PREFIXES)):
            self.note(f"{event} {arguments[:1]}")


WATCH = Watch()
sys.addaudithook(WATCH.hook)  # for good: it can't be removed, but does nothing unless a thread is watched


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any, **named: Any) -> Any:
            WATCH.note(f"os.{name} {arguments[:1]}")
            return call(*arguments, **named)

        return noting

    for name in UNAUDITED_CALLS:
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    WATCH.seen.clear()
    yield WATCH
    WATCH.thread = None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("loop")
    with running_host(folder, {"RESULTS_DIR": str(folder / "kept")}) as host:
        root = host.settings.models_root
        models.checkpoint(root / "checkpoints" / "Second_v1.safetensors")
        for name in ("one", "two"):
            models.lora(root / "loras" / f"{name}.safetensors")
        yield host


def run(host: App, watch: Watch, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Run jobs one after the other in one loop, all but the first one watched."""

    async def play() -> list[dict[str, Any]]:
        answers = []
        for number, job in enumerate(jobs):
            if number > 0:  # the first one warms up
                watch.thread = threading.get_ident()
            answers.append(await host.run({"id": f"job-{number}", **job}, on_progress=lambda _: None))
            watch.thread = None
        return answers

    return asyncio.run(play())


def plain(**more: Any) -> dict[str, Any]:
    return {"input": {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 5, **more}}


def test_the_watch_sees_files_folders_and_names(watch: Watch, tmp_path: Path) -> None:
    watch.thread = threading.get_ident()
    tmp_path.stat()
    list(tmp_path.iterdir())
    (tmp_path / "x").write_text("y", encoding="utf-8")
    watch.thread = None
    kinds = {line.split()[0] for line in watch.seen}
    assert {"os.stat", "open"} <= kinds
    assert kinds & {"os.listdir", "os.scandir"}


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(plain(), id="plain"),
        pytest.param(plain(checkpoint="Second_v1", loras=["one", {"name": "two", "scale": 0.5}]), id="models"),
        pytest.param(plain(prompt="a cat <lora:one:1>", recommended=True), id="tags and recommendations"),
        pytest.param(plain(seeds=[1, 2], seed=None), id="several pictures"),
        pytest.param(plain(checkpoint="Nobody_v9"), id="an unknown model"),
        pytest.param({"input": {"type": "checkpoints"}}, id="a listing"),
        pytest.param({"input": {"type": "refresh"}}, id="a refresh"),
        pytest.param({"input": {"type": "validate", "job": plain(loras=["one"])["input"]}}, id="a dry run"),
        pytest.param(
            {
                **plain(),
                "s3Config": {
                    "accessId": "a",
                    "accessSecret": "b",
                    "bucketName": "c",
                    "endpointUrl": "https://nobody.invalid",
                },
            },
            id="a store of its own",
        ),
    ],
)
def test_a_job_touches_no_file_folder_or_name_in_the_loop(host: App, watch: Watch, job: dict[str, Any]) -> None:
    answers = run(host, watch, plain(seed=1), job, job)
    assert "defect" not in str(answers[-1].get("error", ""))
    assert watch.seen == []
