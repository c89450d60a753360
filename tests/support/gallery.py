"""A gallery on loopback, folders of pictures to show in it, and an endpoint that finishes them."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from tests.support.loopback_http import Reply, Request, Server, serve
from tests.support.ports import free_port
from worker.client import Endpoint
from worker.gallery.live_gallery import Gallery
from worker.gallery.store.folder import Folder
from worker.gallery.web.access import TOKEN_HEADER, Access
from worker.gallery.web.gallery_server import server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.gallery.store.picture_store import PictureStore

JOB = {"type": "workflow", "workflow": "portrait", "prompt": "a lighthouse", "until": "base"}


def drawing(number: int, width: int = 96, height: int = 128) -> Image.Image:
    """Return a picture unlike those of other numbers."""
    image = Image.new("RGB", (width, height), ((number * 67) % 256, (number * 29) % 256, (number * 151) % 256))
    draw = ImageDraw.Draw(image)
    for step in range(6):
        x, y = (number * 37 + step * 53) % width, (number * 91 + step * 31) % height
        draw.ellipse((x - 14, y - 14, x + 14, y + 14), fill=((number * step * 13) % 256, (step * 40) % 256, 200))
    return image


def png(number: int, infotext: str = "", width: int = 96, height: int = 128) -> bytes:
    """Return `drawing` as a PNG with its notes."""
    notes, out = PngInfo(), BytesIO()
    if infotext:
        notes.add_text("parameters", infotext)
    drawing(number, width, height).save(out, "PNG", pnginfo=notes)
    return out.getvalue()


def infotext(number: int) -> str:
    return (
        f"a lighthouse at dusk <lora:film:0.8>\nNegative prompt: blurry\n"
        f"Steps: {20 + number % 3}, Sampler: Euler, Seed: {1000 + number}, Size: 96x128, Model: model-{number % 2}"
    )


def fill(folder: Path, count: int, *, candidates: bool = False) -> list[str]:
    """Write pictures with notes; `candidates` have the JSON of a workflow's first stage beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number:04}-{1000 + number}.png" for number in range(count)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(png(number, infotext(number)))
        if candidates:
            job = {**JOB, "seed": 1000 + number}
            facts = {
                "seed": 1000 + number,
                "stage": "base",
                "job": job,
                "checks": {"face": {"similarity": number / count}},
            }
            (folder / name).with_suffix(".json").write_text(json.dumps({**facts, "prompt": "a lighthouse"}))
    return names


def journal(folder: Path) -> list[dict[str, Any]]:
    path = folder / "curation.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass(frozen=True, slots=True)
class Served:
    """A gallery that is being served.

    Attributes:
        url: Of its page.
        gallery: The gallery itself.
        token: What requests that change something carry.
    """

    url: str
    gallery: Gallery
    token: str

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> requests.Response:
        given = {TOKEN_HEADER: self.token} if headers is None else dict(headers)
        return requests.post(self.url + path, json=body, headers=given, timeout=30)

    def pictures(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = self.get("api/pictures").json()["pictures"]
        return told

    def ids(self) -> dict[str, str]:
        return {told["name"]: told["id"] for told in self.pictures() if "name" in told}

    def mark(self, name: str, **change: Any) -> requests.Response:
        return self.post("api/decisions", {"decisions": [{"id": self.ids()[name], "set": change}]})


@contextmanager
def served(
    pictures: Path | PictureStore,
    cache: Path,
    *,
    key: str | None = None,
    may_delete: bool = False,
    endpoint: str | None = None,
) -> Iterator[Served]:
    """Serve a folder or store until the block ends."""
    store = Folder(pictures) if isinstance(pictures, Path) else pictures
    runs = None if endpoint is None else Endpoint(endpoint)
    gallery = Gallery(store, cache, may_delete=may_delete, endpoint=runs)
    gallery.catalog.scan()
    gallery.start()
    access = Access(key)
    port = free_port()
    running = server(gallery, access, "127.0.0.1", port)
    started = threading.Event()
    startup = running.startup

    async def tell_started(sockets: Any = None) -> None:
        await startup(sockets)
        started.set()

    running.startup = tell_started  # type: ignore[method-assign]
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        assert started.wait(30)
        yield Served(f"http://127.0.0.1:{port}/gallery/", gallery, access.token)
    finally:
        running.should_exit = True
        thread.join()
        gallery.close()


class FinishingEndpoint:
    """Answers jobs over HTTP as the worker does: every job makes one picture, finals twice as large.

    Attributes:
        jobs: The inputs it was sent.
        held: While set, jobs stay at half their way.
        refusal: Answer of every job instead of a picture.
    """

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.held = threading.Event()
        self.asked = threading.Event()
        self.cancelled: set[str] = set()
        self.refusal: dict[str, Any] | None = None

    def answer(self, request: Request) -> Reply:
        *_, action, job_id = ["", *request.path.split("/")] if request.path != "/run" else ["run", ""]
        if request.path == "/run":
            self.jobs.append(json.loads(request.body)["input"])
            return self._json({"id": f"job-{len(self.jobs) - 1}", "status": "IN_QUEUE"})
        if action == "cancel":
            self.cancelled.add(job_id)
            return self._json({"id": job_id, "status": "CANCELLED"})
        self.asked.set()
        if job_id in self.cancelled:
            return self._json({"id": job_id, "status": "CANCELLED"})
        if self.held.is_set():
            return self._json({"id": job_id, "status": "IN_PROGRESS", "output": {"stage": "final", "percent": 50}})
        if self.refusal is not None:
            return self._json({"id": job_id, "status": "COMPLETED", "output": self.refusal})
        return self._json({"id": job_id, "status": "COMPLETED", "output": self._output(self.jobs[int(job_id[4:])])})

    def _output(self, job: dict[str, Any]) -> dict[str, Any]:
        seed = job.get("seed", 7)
        scale = 1 if job.get("until") else 2
        image = base64.b64encode(png(seed + 10_000, "", 96 * scale, 128 * scale)).decode()
        if job.get("type") == "continue":
            return {"parts": [{"key": job["keys"][0], "status": "made", "images": [image]}]}
        return {
            "images": [image],
            "seeds": [seed],
            "pictures": [{"index": 0, "seed": seed, "prompt": job.get("prompt")}],
        }

    @staticmethod
    def _json(told: Mapping[str, Any]) -> Reply:
        return Reply(200, json.dumps(told).encode(), {"Content-Type": "application/json"})


@contextmanager
def finishing_endpoint() -> Iterator[tuple[FinishingEndpoint, Server]]:
    endpoint = FinishingEndpoint()
    with serve(endpoint.answer) as running:
        yield endpoint, running
