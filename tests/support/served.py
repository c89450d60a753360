"""`python -m worker serve` on the stand-in, for tests of what its clients see."""

from __future__ import annotations

import base64
import io
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from PIL import Image

from tests.support import models
from tests.support.ports import free_port
from tests.support.webui_dir import environment
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CANNY = "control_v11p_sd15_canny"
EXTENSIONS = "controlnet,adetailer"
STYLES = 'name,prompt,negative_prompt\nDetailed,"photo of {prompt}, highly detailed",blurry\n'


class Served:
    """A worker that serves HTTP, and the controls of its WebUI."""

    def __init__(self, url: str, webui: str, process: WorkerProcess) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.webui = webui
        self.process = process

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=60, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=body, timeout=60, **options)

    def sent(self, path: str = "txt2img") -> list[dict[str, Any]]:
        """The bodies that the WebUI got at a path."""
        entries = requests.get(f"{self.webui}/standin/requests", timeout=10).json()
        return [entry["json"] for entry in entries if entry["path"] == f"/sdapi/v1/{path}"]

    def options(self) -> dict[str, Any]:
        """The WebUI's own options."""
        return dict(requests.get(f"{self.webui}/sdapi/v1/options", timeout=10).json())

    def wait_until(self, seen: Callable[[dict[str, Any]], bool], **options: Any) -> dict[str, Any]:
        """Poll the client's progress until it is as wanted."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            told = self.get("/sdapi/v1/progress", **options).json()
            if seen(told):
                return dict(told)
        raise AssertionError(told)

    def wait_idle(self) -> None:
        """Wait until the WebUI itself works on nothing."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if not requests.get(f"{self.webui}/sdapi/v1/progress", timeout=10).json()["state"]["job_count"]:
                return
        raise AssertionError("the WebUI goes on")


def webui_settings(folder: Path, extensions: str = EXTENSIONS) -> dict[str, str]:
    """Put the files of a WebUI with a style and these extensions into `folder`; return a worker's settings for it."""
    styles = folder / "styles.csv"
    styles.write_text(STYLES, encoding="utf-8")
    more = {
        "STANDIN_EXTENSIONS": extensions,
        "WEBUI_ARGS": f"--styles-file {styles} --data-dir {folder / 'webui'}",
    }
    if "controlnet" in extensions:
        (folder / "webui/extensions/sd-webui-controlnet").mkdir(parents=True)
        control = folder / "controlnet"
        control.mkdir()
        models.checkpoint(control / f"{CANNY}.safetensors")
        more["CONTROLNET_DIR"] = str(control)
    if "adetailer" in extensions:
        detectors = folder / "webui/models/adetailer"
        detectors.mkdir(parents=True)
        (detectors / "face_yolov8n.pt").write_bytes(b"a detector")
    return more


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Served]:
    """Run `serve` with ControlNet and ADetailer until the context ends."""
    port = free_port()
    webui = webui_settings(folder, settings.get("STANDIN_EXTENSIONS", EXTENSIONS))
    variables = environment(folder, {"HTTP_PORT": str(port), **webui, **settings})
    with WorkerProcess(["-m", "worker", "serve"], variables, folder) as process:
        process.wait_line(r'"event":"ready"|ready  ')
        process.assert_own(port)
        process.assert_own(int(variables["WEBUI_PORT"]))
        served = Served(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{variables['WEBUI_PORT']}", process)
        deadline = time.monotonic() + 30
        while served.get("/ready").status_code != 200:
            assert time.monotonic() < deadline, process.log
        yield served
        process.terminate()
        assert process.wait(30) == 0, process.log


def picture(size: tuple[int, int] = (64, 64), colour: str = "gray") -> Image.Image:
    image = Image.new("RGB", size, colour)
    image.paste("white", (8, 8, 40, 40))
    return image


def base64_png(image: Image.Image | None = None) -> str:
    out = io.BytesIO()
    (image or picture()).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def decoded(image: str) -> Image.Image:
    """A picture as clients decode it: bare base64, PNG by its first characters."""
    assert image.startswith("iVBORw0KGgo")
    opened = Image.open(io.BytesIO(base64.b64decode(image, validate=True)))
    opened.load()
    return opened


def warnings_of(response: requests.Response) -> list[str]:
    return list(json.loads(response.headers.get("X-Worker-Warnings", "[]")))
