"""``worker submit FILE|- --endpoint WHERE``: one job on an endpoint, its pictures on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.endpoint_option import named_endpoint
from worker.cli.printing import complain
from worker.cli.single_job.job_file import read_job
from worker.cli.single_job.progress_bar import progress_bar
from worker.cli.single_job.run import AsJson, JobFile, read_file, show
from worker.client import Answer, Endpoint, EndpointError, EndpointJob, JobCancelled, JobFailed, JobTimedOut
from worker.errors import WorkerError
from worker.serving.local_result import SavedResult
from worker.telemetry.progress import Progress

app = typer.Typer(add_completion=False)


@app.command()
def submit(
    job: JobFile,
    *,
    endpoint: Annotated[str, typer.Option(metavar="WHERE", help="RunPod endpoint id, or a worker's URL.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where pictures go.")] = Path("out"),
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Cancel the job after this many seconds.")] = None,
    in_full: AsJson = False,
) -> None:
    """Run one job on an endpoint, and leave its pictures and its answer in a folder.

    The key is read from RUNPOD_API_KEY, for a worker's own URL from HTTP_API_KEY. Where standard output is no terminal,
    the answer goes there as JSON. Exit code 1 when the job failed, 130 after Ctrl-C; the error answer is on standard
    output then.
    """
    try:
        wanted = read_job(read_file(job), "standard input" if job == "-" else job)
    except WorkerError as error:
        raise typer.BadParameter(error.message) from error
    client = named_endpoint(endpoint)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"--out {out} can't be made: {error.strerror}") from error
    answer, saved = _submit(client, wanted, out, timeout)
    show(answer, saved, in_full=in_full)


def _submit(
    endpoint: Endpoint, job: dict[str, Any], out: Path, timeout: float | None
) -> tuple[dict[str, Any], SavedResult | None]:
    """Return the answer, and the files that it and its pictures were written to.

    Codes besides the worker's own: ``cancelled``, ``timed_out``, ``endpoint`` (refused or out of reach), ``not_saved``.
    """
    more = {name: value for name, value in job.items() if name not in {"id", "input"}}
    running, told = None, None
    try:
        running = endpoint.run(job["input"], **more)
        complain(f"job {running.id} at {endpoint.url}")
        if job["input"].get("stream"):
            for picture in running.pictures(timeout):
                if picture.image is not None:
                    complain(f"Picture: {picture.save(out)}")
        with progress_bar("waiting for the endpoint") as sink:
            for state in running.stream(timeout):
                if state.waits_for not in (None, told):
                    told = state.waits_for
                    complain(f"Still in the queue: {told}")
                sink(_progress(state.status, dict(state.progress)))
        answer = running.state.answer()
        return dict(answer), _save(answer, out)
    except JobFailed:
        failed = running.state.output if running else None
        return (dict(failed) if isinstance(failed, dict) else _said(running)), None
    except (KeyboardInterrupt, JobCancelled, JobTimedOut, EndpointError, OSError, ValueError) as error:
        return _ended(error, running), None


def _save(answer: Answer, out: Path) -> SavedResult:
    paths = answer.save(out) if answer.images else []
    file = out / "answer.json"
    content = {**answer, **({"images": [path.name for path in paths]} if paths else {})}
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return SavedResult(file, tuple(str(path) for path in paths))


def _ended(error: BaseException, running: EndpointJob | None) -> dict[str, Any]:
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
