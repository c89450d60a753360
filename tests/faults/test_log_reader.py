"""A reader of the worker's output that has stopped reading, as a stuck log collector does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from tests.support import webui_dir
from tests.support.jobsource import JobSource
from tests.support.rig import SMALL
from tests.support.workerproc import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_that_nobody_reads_stops_neither_jobs_nor_sigterm(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with JobSource(hold_s=1.0) as source:
        environment = {
            **webui_dir.environment(tmp_path),
            **source.worker_env(),
            "PYTHONPATH": str(ROOT),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
            "IDLE_TIMEOUT_S": "2",
        }
        worker = subprocess.Popen(
            [sys.executable, str(ROOT / "handler.py")],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            start_new_session=True,
        )
        try:
            ids = [source.offer({"input": {**SMALL, "seed": seed}}) for seed in range(30)]
            for job_id in ids:
                assert "images" in source.wait_result(job_id, 60).output
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
            assert len(os.read(reader, 8192)) > 3000, "the pipe was not full"
        finally:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(worker.pid).children(recursive=True):
                    child.kill()
            worker.kill()
            worker.wait(10)
            os.close(reader)
            os.close(writer)
