"""A hostile client: jobs made to cost time or memory, to reach inside, or to get past a check, beside the honest ones.

Each deserves a typed error, quickly, and must not be felt by anybody else.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from tests.chaos.asks import DEPOT, HARMLESS

MOST_RESIDENT_BYTES = 900 * 2**20
"""Of a worker's own process at any time of a run."""

_CAT = {**HARMLESS, "prompt": "a cat"}
_STAGES = {**_CAT, "type": "workflow"}
_AXES = {"x": "steps", "y": "width", "z": "seed"}
_CIRCLE = [{"name": "a", "type": "img2img", "from": "b"}, {"name": "b", "type": "img2img", "from": "a"}]
_FINAL = {"type": "upscale", "upscaler": "Lanczos", "scale": 2}


def _bomb() -> str:
    """Return a PNG of 60000x60000 pixels whose data are next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20), 9)
    signature = b"\x89PNG\r\n\x1a\n"
    return base64.b64encode(signature + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")).decode()


HOSTILE: tuple[dict[str, Any], ...] = (
    # time
    {**_CAT, "prompt": "<a:" * 6666},
    {**_CAT, "prompt": "a cat " + "[x]" * 400},
    {**_CAT, "prompt": "<lora:add_detail:1>" * 200},
    {**_CAT, "checkpoint": "0"},
    {**_CAT, "prompt": "{" * 3000 + "a" + "}" * 3000, "wildcards": True},
    {**_STAGES, "stages": [{"type": "txt2img"}, *[_FINAL] * 100_000]},
    {**_STAGES, "stages": _CIRCLE},
    {**_CAT, "accept": {"count": 10**9, "at_most": 10**9, "quality": {"least": 1}}},
    {**_CAT, "plot": {axis: {"field": name, "values": list(range(1, 100))} for axis, name in _AXES.items()}},
    {**_CAT, "pool": {"from": ["a", "b"], "count": [0, 10**9]}},
    {**_CAT, "init_images": [""], "script_name": "Loopback", "script_args": [10**9, 0.5, "Linear", "None"]},
    # memory
    {**_CAT, "init_images": [_bomb()], "type": "img2img"},
    {**_CAT, "prompt": [[] for _ in range(200_000)]},
    {**_CAT, "loras": [{"name": "add_detail"}] * 10_000},
    {**_CAT, "n_iter": 10**9},
    {**_CAT, "pool": {"from": ["x" * 1000] * 10_000 + ["y"], "count": 50}},
    {"type": "judge", "images": [_bomb()], "quality": {}},
    {**_STAGES, "stages": [{"type": "txt2img"}, *[{**_FINAL, "scale": 8}] * 10]},
    # inside
    {**_CAT, "loras": ["http://127.0.0.1:9/x.safetensors"]},
    {**_CAT, "loras": ["http://[::ffff:169.254.169.254]/latest/x.safetensors"]},
    {**_CAT, "loras": ["../../../etc/passwd"]},
    {**_CAT, "checkpoint": "file:///etc/passwd"},
    {**_CAT, "loras": ["s3://somebody-elses/x.safetensors"]},
    {"type": "continue", "keys": ["../../../etc/passwd.png"], "stages": [_FINAL]},
    {"type": "continue", "job": "../../somebody-elses", "stages": [_FINAL]},
    {"type": "judge", "images": ["key:../secret.png"], "quality": {}},
    {**_CAT, "accept": {"face": {"references": "../../etc/passwd"}}},
    # past a check
    {**_CAT, "prompt": "a cat <lora:add_detail:1e30>"},
    {**_CAT, "loras": [f"{DEPOT}/nobody.safetensors?fileId=1"]},
    {**_CAT, "checkpoint": "Deliberate_v6.safetensors [0123456789]"},
    {**_CAT, "loras": [{"name": "add_detail", "sha256": "00" * 32}]},
    {**_CAT, "prompt": "a cat <hypernet:x:1>"},
)
"""What deserves a typed error, and nothing else."""
