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
from worker.client import Endpoint, EndpointError, Job, JobCancelled, JobFailed, JobTimedOut
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
    parser.add_argument("--timeout", type=float, default=None, metavar="S", help="cancel the job after so many seconds")
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
        parser.error(f"--endpoint, {variable}: {error}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {options.out} can't be made: {error.strerror}")
    answer = _submit(endpoint, job, options.out, options.timeout)
    json.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return JOB_ERROR if "error" in answer else 0


def key_name(where: str) -> str:
    """Return the variable with the key for an endpoint: RunPod's goes to RunPod alone, never to an address at will."""
    return "RUNPOD_API_KEY" if "://" not in where or urlsplit(where).hostname == RUNPOD_HOST else "HTTP_API_KEY"


def _submit(endpoint: Endpoint, job: dict[str, Any], out: Path, timeout: float | None) -> dict[str, Any]:
    """Return the answer, its pictures replaced by the files they were written to.

    Codes besides the worker's own: ``cancelled``, ``timed_out``, ``endpoint`` (refused or out of reach), ``not_saved``.
    """
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
    except JobFailed:
        return dict(running.state.output) if running and isinstance(running.state.output, dict) else _said(running)
    except (KeyboardInterrupt, JobCancelled, JobTimedOut, EndpointError, OSError, ValueError) as error:
        return _ended(error, running)
    for path in paths:
        print(f"Picture: {path}", file=sys.stderr)
    return {**answer, **({"images": [str(path) for path in paths]} if paths else {})}


def _ended(error: BaseException, running: Job | None) -> dict[str, Any]:
    """Return what is told of a job whose answer did not come or could not be kept; nobody waits for it any longer."""
    if isinstance(error, (KeyboardInterrupt, JobTimedOut)) and running is not None and not running.state.over:
        running.cancel()
    codes = {
        KeyboardInterrupt: "cancelled",
        JobCancelled: "cancelled",
        JobTimedOut: "timed_out",
        EndpointError: "endpoint",
    }
    code = codes.get(type(error))
    if code is not None:
        return _own(code, str(error) or "the job was cancelled")
    # the disk, a link out of reach (requests' errors are OSErrors), broken base64: the answer must not be lost
    return {**_own("not_saved", error), "output": running.state.output if running is not None else None}


def _own(code: str, why: object) -> dict[str, Any]:
    return {"error": f"{code}: {why}", "error_code": code}


def _said(running: Any) -> dict[str, Any]:
    return {"error": running.state.error or "the job failed", "error_code": ""}


def _progress(status: str, told: dict[str, Any]) -> Progress:
    fields = ("stage", "percent", "step", "steps", "eta_s", "image", "images", "message")
    known = {name: told[name] for name in fields if name in told}
    return Progress(**{"stage": status.lower().replace("_", " "), **known})
