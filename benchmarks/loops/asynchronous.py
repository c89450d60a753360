"""An asynchronous handler that gets one job at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import runpod

from benchmarks.loops import common

if __name__ == "__main__":
    common.start()
    upload = common.uploader()

    def work(job: dict[str, Any]) -> dict[str, Any]:
        return {"images": [upload(job["id"], common.picture(job["input"]))]}

    async def handler(job: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(work, job)

    runpod.serverless.start({"handler": handler})
