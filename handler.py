"""RunPod's entry point: settings → WebUI → worker → jobs.

The WebUI is spawned before runpod and boto3 are imported: their two seconds then pass while it boots.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from worker.app import Worker
from worker.common.malloc import return_large_blocks
from worker.errors import WorkerError
from worker.ingress import refuse_sdk_workers, serves_http
from worker.settings import read_settings
from worker.telemetry import logs, output


def main() -> int:
    """Run the worker until it is told to stop; return the exit code."""
    if serves_http(os.environ, sys.argv[1:]):
        from worker.cli.serve import serve_http  # noqa: PLC0415 - on load-balancing endpoints alone

        return serve_http()
    return_large_blocks()
    output.unblock_standard_streams()
    logs.configure(level="info", json=not sys.stderr.isatty())
    log = logs.get_logger("handler")
    worker: Worker | None = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the SDK has a better answer; also as process 1
    try:
        refuse_sdk_workers(sys.argv[1:])
        settings = read_settings(os.environ)
        local = not settings.in_production and "RUNPOD_REALTIME_PORT" not in os.environ
        is_watched = local and sys.stderr.isatty() and "LOG_LEVEL" not in os.environ
        logs.configure_from(settings, os.environ, level="warning" if is_watched else None)
        if local:
            from worker.cli.job_file import sdk_arguments  # noqa: PLC0415 - local runs only

            sys.argv[1:] = sdk_arguments(sys.argv[1:], Path.cwd())  # before gigabytes are loaded for a slip in the job
        if settings.runpod_log_level is not None:
            os.environ["RUNPOD_LOG_LEVEL"] = settings.runpod_log_level.upper()  # read by the SDK when it is imported
        worker = Worker(settings, os.environ)
        worker.spawn()
        worker.wait_ready(meanwhile=["worker.runpod_adapter"])

        from worker.runpod_adapter import serve  # noqa: PLC0415 - imported while the WebUI booted

        return serve(worker, settings)
    except WorkerError as error:
        return logs.cannot_start(log, error)
    finally:
        if worker is not None:
            worker.close()


if __name__ == "__main__":
    code = main()
    output.flush()
    os._exit(code)  # a thread that still waits for somebody else's answer must not keep a worker that is done
