"""``python -m worker submit FILE|- --endpoint WHERE``: one job on an endpoint, its pictures on disk."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from worker.cli.run import JOB_ERROR, bar, read_job
from worker.client import Endpoint, EndpointError, JobCancelled, JobFailed, JobTimedOut
from worker.errors import WorkerError
from worker.telemetry.progress import Progress

RUNPOD_HOST = "api.runpod.ai"


def main(argv: list[str]) -> int:
    """Submit a job; return 0, 1 when it failed (the answer is on stdout either way), 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m worker submit", description="Run one job on an endpoint; the answer goes to stdout as JSON."
    )
    parser.add_argument("job", metavar="FILE", help='a job: {"input": {…}} or the input itself; - reads standard input')
    parser.add_argument("--endpoint", required=True, metavar="WHERE", help="RunPod endpoint id, or a worker's URL")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where pictures go (out/)")
    parser.add_argument("--timeout", type=float, default=None, metavar="S", help="give up after so many seconds")
    options = parser.parse_args(argv)
    try:
        text = sys.stdin.read() if options.job == "-" else Path(options.job).read_text(encoding="utf-8")
        job = read_job(text)
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"{options.job} can't be read: {error}")
    except WorkerError as error:
        parser.error(error.message)
    variable = key_name(options.endpoint)
    try:
        endpoint = Endpoint(options.endpoint, api_key=os.environ.get(variable))
    except EndpointError as error:
        parser.error(f"{variable}: {error}")
    answer = _submit(endpoint, job, options.out, options.timeout)
    json.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return JOB_ERROR if "error" in answer else 0


def key_name(where: str) -> str:
    """Return the variable with the key for an endpoint: RunPod's goes to RunPod alone, never to an address at will."""
    return "RUNPOD_API_KEY" if "://" not in where or urlsplit(where).hostname == RUNPOD_HOST else "HTTP_API_KEY"


def _submit(endpoint: Endpoint, job: dict[str, Any], out: Path, timeout: float | None) -> dict[str, Any]:
    """Return the answer, its pictures replaced by the files they were written to."""
    more = {name: value for name, value in job.items() if name not in {"id", "input"}}
    running = None
    try:
        running = endpoint.run(job["input"], **more)
        print(f"job {running.id} at {endpoint.url}", file=sys.stderr)
        if job["input"].get("stream"):
            for picture in running.pictures(timeout):
                if picture.image is not None:
                    print(f"Picture: {picture.save(out)}", file=sys.stderr)
        with bar() as sink:
            for state in running.stream(timeout):
                sink(_progress(state.status, dict(state.progress)))
        answer = running.state.answer()
        paths = answer.save(out) if answer.images else []
    except KeyboardInterrupt:
        if running is not None:
            running.cancel()
        return {"error": "cancelled: the job was cancelled", "error_code": "cancelled"}
    except JobFailed:
        return dict(running.state.output) if running and isinstance(running.state.output, dict) else _said(running)
    except (EndpointError, JobCancelled, JobTimedOut) as error:
        return {"error": str(error), "error_code": type(error).__name__}
    for path in paths:
        print(f"Picture: {path}", file=sys.stderr)
    return {**answer, **({"images": [str(path) for path in paths]} if paths else {})}


def _said(running: Any) -> dict[str, Any]:
    return {"error": running.state.error or "the job failed", "error_code": ""}


def _progress(status: str, told: dict[str, Any]) -> Progress:
    fields = ("stage", "percent", "step", "steps", "eta_s", "image", "images", "message")
    known = {name: told[name] for name in fields if name in told}
    return Progress(**{"stage": status.lower().replace("_", " "), **known})
