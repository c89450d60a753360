"""RunPod's entry point: settings → WebUI → worker → jobs.

The WebUI is spawned before runpod and boto3 are imported: their two seconds then pass while it boots.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.host import Host as HostType


def main() -> int:
    """Run the worker until it is told to stop; return the exit code."""
    gc.disable()  # until the WebUI is spawned: nothing of what is imported can be collected

    from worker.allocator import return_large_blocks  # noqa: PLC0415 - after the line above
    from worker.errors import WorkerError  # noqa: PLC0415 - as above
    from worker.host import Host  # noqa: PLC0415 - as above
    from worker.settings import read_settings  # noqa: PLC0415 - as above
    from worker.telemetry import logs, output  # noqa: PLC0415 - as above

    return_large_blocks()
    output.unblock_standard_streams()
    logs.configure(level="info", json=not sys.stderr.isatty())
    log = logs.get_logger("handler")
    host: HostType | None = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the SDK has a better answer; also as process 1
    try:
        settings = read_settings(os.environ)
        logs.configure_from(settings, os.environ)
        if settings.runpod_log_level is not None:
            os.environ["RUNPOD_LOG_LEVEL"] = settings.runpod_log_level.upper()  # read by the SDK when it is imported
        host = Host(settings, os.environ)
        host.spawn()
        gc.enable()
        host.wait_ready(meanwhile=["worker.runpod_adapter"])

        from worker.runpod_adapter import serve  # noqa: PLC0415 - imported while the WebUI booted

        return serve(host, settings)
    except WorkerError as error:
        return logs.cannot_start(log, error)
    finally:
        if host is not None:
            host.close()


if __name__ == "__main__":
    code = main()

    from worker.telemetry.output import flush  # imported by `main`, after it has set the collector up

    flush()
    os._exit(code)  # a thread that still waits for somebody else's answer must not keep a worker that is done
