from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import signal
from worker.telemetry import logs

logs.configure(level="info", json=True)
log = logs.get_logger("test")
signal.signal(signal.SIGALRM, lambda *_: log.info("inner"))
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
for _ in range(5000):
    log.info("outer")
signal.setitimer(signal.ITIMER_REAL, 0)
print("done")
"""


def test_a_signal_handler_may_log_while_a_line_is_being_logged() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "done\n", done.stderr[-2000:]
    assert done.stderr.count('"outer"') == 5000
    assert done.stderr.count('"inner"') > 10
    assert all(line.startswith("{") and line.endswith("}") for line in done.stderr.splitlines())
