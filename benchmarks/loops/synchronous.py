"""A synchronous handler."""

from __future__ import annotations

from typing import Any

import runpod

from benchmarks.loops import common

if __name__ == "__main__":
    common.start()
    upload = common.uploader()

    def handler(job: dict[str, Any]) -> dict[str, Any]:
        return {"images": [upload(job["id"], common.picture(job["input"]))]}

    runpod.serverless.start({"handler": handler})
