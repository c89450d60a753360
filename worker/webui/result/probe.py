"""Proof by tiny pictures of what A1111 answers 200 to and does not do, where its log can't tell.

An upscaler whose weights are missing or refused makes a plain resize; a LoRA whose shapes do not fit changes nothing; a
WebUI that has lost its way may apply none any more. The infotext names them all the same. A small picture is made with
each and without; what makes no difference does nothing. A server whose pictures don't depend on what was asked for (a
mock of a WebUI) can't be judged so, and is taken at its word.
"""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from worker.webui.api_paths import TXT2IMG, UPSCALE
from worker.webui.result.response import Findings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.webui.names.catalog import Catalog
    from worker.webui.request.body import Request

Post = Callable[[str, dict[str, Any]], Any]
"""Sends a body to a path and returns the answer; blocking."""

PLAIN = frozenset({"None", "Lanczos", "Nearest"})
"""Upscalers that are nothing but a resize, and what one without its weights falls back to."""
_SIDE = 32
_SCALES = (1.0, 4.0)
"""A LoRA that is meant to do little still shows at four times its strength."""
LOOK_AGAIN = 10
"""Jobs with a LoRA after which it is looked at once more."""
_SEEN = 1.0
"""Of 255, on average: more than the rounding by which two runs of the same request may differ on a GPU."""


class Probe:
    """Remembers what it has seen; one for the life of a WebUI's process."""

    def __init__(self) -> None:
        self._effective: dict[tuple[str, str], int] = {}
        """The LoRAs that have been seen to change a picture of a checkpoint, with the jobs since then."""
        self._proven: set[tuple[str, str]] = set()
        """Those that have ever been seen to."""
        self._idle: set[tuple[str, str]] = set()
        self._plain: dict[str, bytes] = {}
        self._upscaling: set[str] = set()

    def request(self, request: Request, post: Post) -> Findings:
        """Return what of a txt2img or img2img request has no effect.

        Raises:
            WorkerError: as `post` does; what was not seen is looked at the next time.
        """
        title = _title(request)
        unfit, stopped = {}, []
        for lora in dict.fromkeys(lora.name for lora in request.expect.loras if lora.scale):
            known = (title, lora) in self._proven
            if self._works(title, lora, post):
                continue
            if known:
                stopped.append(lora)
            else:
                unfit[lora] = 0
        upscaler = request.body.get("hr_upscaler") if request.body.get("enable_hr") else None
        latent = isinstance(upscaler, str) and upscaler.startswith("Latent")
        named = [upscaler] if isinstance(upscaler, str) and not latent else []
        return Findings(unfit, tuple(self.idle_upscalers(named, post)), tuple(stopped))

    def due(self, request: Request, loras: Iterable[str]) -> list[str]:
        """Return those of the LoRAs that are to be looked at after this request; counts it for the others."""
        title = _title(request)
        found = []
        for lora in loras:
            if (title, lora) in self._idle:
                continue
            uses = self._effective.get((title, lora), LOOK_AGAIN)
            if uses < LOOK_AGAIN:
                self._effective[title, lora] = uses + 1
            else:
                found.append(lora)
        return found

    def stopped(self, request: Request, loras: Iterable[str], post: Post) -> tuple[str, ...]:
        """Return those of the LoRAs that had an effect and have none any more.

        One that never had any is not asked for again: its weights may be zeros. Raises what `post` raises.
        """
        title = _title(request)
        found = []
        for lora in loras:
            known = (title, lora) in self._proven
            if not self._works(title, lora, post):
                if known:
                    found.append(lora)
                else:
                    self._idle.add((title, lora))
        return tuple(found)

    def unproven(self, request: Request, catalog: Catalog) -> list[str]:
        """Return the LoRAs of a request whose effect nothing tells, those without a hash, where a look is due."""
        rows = {lora.name: catalog.lora(lora.name) for lora in request.expect.loras if lora.scale}
        unnamed = [name for name, row in rows.items() if row is None or row.told_hash is None]
        return self.due(request, unnamed) if unnamed else []

    def unseen(self, upscalers: Iterable[str]) -> list[str]:
        """Return those of the upscalers that have yet to be looked at."""
        return [name for name in upscalers if name not in PLAIN and name not in self._upscaling]

    def idle_upscalers(self, names: Iterable[str], post: Post) -> list[str]:
        """Return those of the upscalers `names` that only resize. Raises what `post` raises."""
        idle = []
        for name in self.unseen(names):
            picture = _pattern()

            def enlarged(upscaler: str, picture: str = picture) -> bytes:
                return _pixels(post(UPSCALE, _upscaling(picture, upscaler))["image"])

            resized = enlarged("Lanczos")
            if enlarged(name) == resized and enlarged("Nearest") != resized:
                idle.append(name)
            else:
                self._upscaling.add(name)
        return idle

    def _works(self, title: str, lora: str, post: Post) -> bool:
        """Return whether a LoRA changes a picture of the checkpoint with this title."""
        uses = self._effective.get((title, lora), LOOK_AGAIN)
        if uses < LOOK_AGAIN:
            self._effective[title, lora] = uses + 1
            return True
        if title not in self._plain:
            self._plain[title] = made(tiny_body(title), post)
        plain = self._plain[title]
        differing = any(
            difference(made(tiny_body(title, f" <lora:{lora}:{scale:g}>"), post), plain) >= _SEEN for scale in _SCALES
        )
        if differing or difference(made(tiny_body(title, seed=2), post), plain) < _SEEN:
            self._effective[title, lora] = 1
            self._proven.add((title, lora))
            return True
        self._effective.pop((title, lora), None)
        return False


def _title(request: Request) -> str:
    return request.expect.checkpoint.title


def made(body: dict[str, Any], post: Post) -> bytes:
    """Return the pixels of the picture that `body` asks for. Raises what `post` raises."""
    return _pixels(post(TXT2IMG, body)["images"][0])


def tiny_body(title: str, tag: str = "", *, seed: int = 1, hires: bool = False) -> dict[str, Any]:
    """Return the body of a txt2img request for a small picture of the checkpoint with this title."""
    body: dict[str, Any] = {
        "prompt": f"a photo of a house by the sea{tag}",
        "steps": 2,
        "width": 64,
        "height": 64,
        "seed": seed,
        "sampler_name": "Euler",
        "override_settings": {"sd_model_checkpoint": title},
    }
    second_pass = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    return {**body, **second_pass} if hires else body


def _upscaling(picture: str, upscaler: str) -> dict[str, Any]:
    return {"image": picture, "upscaling_resize": 2, "upscaler_1": upscaler}


def _pattern() -> str:
    """Return base64 of a small picture with edges, which no two ways of resizing treat alike.

    No two are the same: the WebUI may answer a picture that it has had from memory, with a failure of then.
    """
    from PIL import Image  # noqa: PLC0415 - not before the WebUI was spawned

    picture, tint = Image.new("RGB", (_SIDE, _SIDE)), secrets.token_bytes(_SIDE)
    picture.putdata([(tint[x], y * 8, 255 * ((x // 3 + y // 5) % 2)) for y in range(_SIDE) for x in range(_SIDE)])
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def difference(one: bytes, other: bytes) -> float:
    """Return by how much of 255 two pictures differ on average; those of another size, wholly."""
    if len(one) != len(other):
        return 255.0
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def _pixels(text: str) -> bytes:
    from PIL import Image  # noqa: PLC0415 - not before the WebUI was spawned

    with Image.open(io.BytesIO(base64.b64decode(text.rpartition(",")[2]))) as picture:
        pixels: bytes = picture.convert("RGB").tobytes()
    return pixels
