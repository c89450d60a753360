"""RunPod's entry point: settings → WebUI → worker → jobs.

The WebUI is spawned before runpod and boto3 are imported: their two seconds then pass while it boots.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is quiet from here on, while the worker is imported too

from worker.app import Worker
from worker.common.malloc import return_large_blocks
from worker.errors import WorkerError
from worker.ingress import refuse_sdk_workers, serves_http
from worker.settings import read_settings
from worker.telemetry import logs, output
from worker.telemetry.local_run import LocalRun

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""


def main() -> int:
    """Run the worker until it is told to stop; return the exit code."""
    if serves_http(os.environ, sys.argv[1:]):
        from worker.cli.serve import serve_http  # noqa: PLC0415 - on load-balancing endpoints alone

        return serve_http()
    return_large_blocks()
    output.unblock_standard_streams()
    local = LocalRun()
    try:
        with ExitStack() as at_end:
            code = _run(local, at_end)
    except KeyboardInterrupt:
        return INTERRUPTED
    output.flush()  # what was written to the terminal by way of standard error comes first
    sys.stdout.write("".join(f"{line}\n" for line in local.lines))
    return code


def _run(local: LocalRun, at_end: ExitStack) -> int:
    logs.configure(level="info", json=not sys.stderr.isatty())
    log = logs.get_logger("handler")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the SDK has a better answer; also as process 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        refuse_sdk_workers(sys.argv[1:])
        is_local = not {"RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_REALTIME_PORT"} & set(os.environ)
        if is_local:
            from worker.common.dotenv_file import load_dotenv_file  # noqa: PLC0415 - local runs only

            load_dotenv_file(Path.cwd(), os.environ)
        settings = read_settings(os.environ)
        is_watched = is_local and sys.stderr.isatty() and "LOG_LEVEL" not in os.environ
        level = "warning" if is_watched else None
        logs.configure_from(settings, os.environ, level=level, failed_jobs=not is_watched)
        if is_local:
            from worker.cli.single_job.job_file import sdk_arguments  # noqa: PLC0415 - local runs only
            from worker.cli.single_job.progress_bar import progress_bar  # noqa: PLC0415 - local runs only

            sys.argv[1:] = sdk_arguments(sys.argv[1:], Path.cwd())  # before gigabytes are loaded for a slip in the job
            if "--test_input" in sys.argv:  # one job; the SDK's own server has none to show
                local.on_progress = at_end.enter_context(progress_bar())
        if settings.runpod_log_level is not None:
            os.environ["RUNPOD_LOG_LEVEL"] = settings.runpod_log_level.upper()  # read by the SDK when it is imported
        worker = Worker(settings, os.environ)
        at_end.callback(worker.close)
        at_end.callback(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once
        worker.spawn()
        worker.wait_ready(meanwhile=["worker.runpod_adapter"])

        from worker.runpod_adapter import serve  # noqa: PLC0415 - imported while the WebUI booted

        return serve(worker, settings, local)
    except WorkerError as error:
        return logs.cannot_start(log, error)


if __name__ == "__main__":
    code = main()
    output.flush()
    os._exit(code)  # a thread that still waits for somebody else's answer must not keep a worker that is done
