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


def test_neither_a_log_line_nor_a_print_fails_for_want_of_space() -> None:
    program = "from worker.telemetry import logs\nlogs.spare_stdout()\nlogs.configure(level='info', json=True)\n"
    program += "logs.get_logger('test').info('a line')\nprint('another', flush=True)\nprint('one more')\n"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=full, timeout=60, check=False
        )
    assert done.returncode == 0


def test_what_can_be_written_is_written_in_order() -> None:
    program = "from worker.telemetry import logs\nlogs.spare_stdout()\nprint('one')\nprint('two \\ud800', end='')\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"one\ntwo \\ud800"
