from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.waiting import wait_until
from worker.settings import read_settings
from worker.telemetry import logs
from worker.telemetry.lines import LINE_LIMIT, json_line
from worker.telemetry.output import BoundedWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
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
    program = "from worker.telemetry import logs, output\noutput.unblock_standard_streams()\n"
    program += "logs.configure(level='info', json=True)\n"
    program += "logs.get_logger('test').info('a line')\nprint('another', flush=True)\nprint('one more')\n"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=full, timeout=60, check=False
        )
    assert done.returncode == 0


def test_what_can_be_written_is_written_in_order() -> None:
    program = "from worker.telemetry import output\noutput.unblock_standard_streams()\n"
    program += "print('one')\nprint('two \\ud800', end='')\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"one\ntwo \\ud800"


LIBRARY = """
import logging
from worker.telemetry import logs

logs.configure(level="info", json=True, secrets=["sesame", 'quo"ted'])
logging.getLogger("urllib3").warning("retrying with %s", "sesame")
logging.getLogger("botocore").info("not that loud")
logging.getLogger("broken").warning("%d", "text")
log = logs.get_logger("test")
log.warning("all", text="x" * 3990 + "sesame", deep={"list": ["sesame"]}, other='quo"ted')
"""


def test_what_libraries_log_is_a_line_like_the_worker_s_own_without_secrets() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert (lines[0]["part"], lines[0]["level"], lines[0]["event"]) == ("urllib3", "warning", "retrying with ***")
    assert lines[-1]["deep"] == {"list": ["***"]}
    assert "sesam" not in done.stderr
    assert "quo" not in done.stderr
    assert "not that loud" not in done.stderr


def test_a_long_line_keeps_its_short_values_and_of_a_log_the_end() -> None:
    event = {
        "event": "job failed",
        "job_id": "7",
        "error": "E" * 5000,
        "log": [f"line {number}" for number in range(900)],
        "details": {"deep": ["x" * 3000] * 3},
    }
    told = json.loads(json_line(event))
    assert (told["event"], told["job_id"]) == ("job failed", "7")
    assert told["error"].startswith("EEE")
    assert told["log"].endswith("line 899")
    assert "(5002 bytes)" in told["error"]
    assert len(told["error"]) > 1000


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3000)
    | st.just("😀" * 1500)
    | st.just("\n" * 4000)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=300), values, max_size=12))
def test_no_line_is_longer_than_the_platform_takes(event: dict[str, Any]) -> None:
    line = json_line(event)
    assert len(line.encode()) <= LINE_LIMIT
    assert "\n" not in line
    assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("many", [1000, 20])
def test_many_long_values_fit_as_well(many: int) -> None:
    assert len(json_line({f"field {number}": "x" * 500 for number in range(many)}).encode()) <= LINE_LIMIT


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    root, worker = logging.getLogger(), logging.getLogger("worker")
    before = root.handlers[:], root.level, worker.level
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    worker.setLevel(before[2])


def _fail(message: str) -> None:
    raise ValueError(message)


Lines = Callable[[], list[dict[str, Any]]]


def test_a_line_has_its_part_level_and_time_and_the_fields_of_its_job(lines: Lines) -> None:
    logs.configure(level="info", json=True)
    log = logs.get_logger("service")
    with logs.bound(job_id="7"):
        log.info("job done", images=2)
    log.warning("gone", path=Path("/x"))
    first, second = lines()
    assert datetime.fromisoformat(first.pop("timestamp").replace("Z", "+00:00")).tzinfo is not None
    assert first == {"part": "service", "job_id": "7", "images": 2, "event": "job done", "level": "info"}
    assert (second["path"], second["level"], "job_id" in second) == ("/x", "warning", False)


def test_lines_below_the_level_are_left_out(lines: Lines) -> None:
    logs.configure(level="warning", json=True)
    log = logs.get_logger("x")
    log.debug("a")
    log.info("b")
    log.error("c")
    assert [line["event"] for line in lines()] == ["c"]


def test_secrets_are_replaced_wherever_they_appear(lines: Lines) -> None:
    logs.configure(level="info", json=True, secrets=["hunter22", "hunter22-long", "abc"])
    logs.get_logger("x").info("token hunter22-long abc", nested={"a": ["hunter22"]})
    (line,) = lines()
    assert (line["event"], line["nested"]) == ("token *** abc", {"a": ["***"]})


def test_an_exception_is_told_with_its_traceback(lines: Lines) -> None:
    logs.configure(level="info", json=True)
    try:
        _fail("why")
    except ValueError:
        logs.get_logger("x").exception("failed")
    (line,) = lines()
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: why")


@pytest.mark.usefixtures("lines")
def test_text_for_people_names_what_it_tells(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", json=False)
    logs.get_logger("x").info("ready", model="a b", empty="", n=3)
    try:
        int("why")
    except ValueError:
        logs.get_logger("x").exception("failed")
    first, second, *trace = capsys.readouterr().err.splitlines()
    assert "info" in first
    assert "ready" in first
    assert first.endswith("part=x model='a b' empty='' n=3")
    assert "failed" in second
    assert trace[-1] == "ValueError: invalid literal for int() with base 10: 'why'"


def test_every_module_of_the_worker_is_heard_and_libraries_from_warnings_on(lines: Lines) -> None:
    logs.configure(level="info", json=True)
    logging.getLogger("worker.models.space").info("removed %s (%d bytes)", "a.safetensors", 7)
    logging.getLogger("worker.models.space").debug("not that much")
    logging.getLogger("botocore").info("not that loud")
    (line,) = lines()
    assert (line["part"], line["event"]) == ("models.space", "removed a.safetensors (7 bytes)")


def test_credentials_in_urls_are_hidden_whoever_logs_them(lines: Lines) -> None:
    logs.configure(level="info", json=True)
    logs.get_logger("metrics").warning("can't be pushed", url="http://me:sesame@gateway/?token=sesame")
    logging.getLogger("urllib3").warning("retrying %s", "https://h/f?X-Amz-Signature=sesame&part=1")
    first, second = lines()
    assert first["url"] == "http://***@gateway/?token=***"
    assert second["event"] == "retrying https://h/f?X-Amz-Signature=***&part=1"


def test_secrets_of_settings_and_environment_are_hidden_and_misspelt_variables_are_told(lines: Lines) -> None:
    environment = {"HF_TOKEN": "hf_sesame", "HTTPS_PROXY": "http://me:passphrase@proxy", "MAX_PIXEL": "1"}
    logs.configure_from(read_settings(environment), environment)
    logs.get_logger("x").info("with hf_sesame through passphrase")
    warning, line = lines()
    assert "did you mean MAX_PIXELS?" in warning["event"]
    assert line["event"] == "with *** through ***"


def test_output_that_nobody_reads_is_dropped_and_counted_without_waiting() -> None:
    reader, writer = os.pipe()
    try:
        bounded = BoundedWriter(writer, most_pending=100)
        bounded.drop_notice = lambda number: b"dropped %d\n" % number
        for _ in range(2000):
            bounded.put(b"x" * 999 + b"\n")
        assert bounded.dropped > 1000
        assert not bounded.flush(0.05)
        os.set_blocking(reader, True)
        seen = b""
        while b"dropped" not in seen or not seen.endswith(b"\n"):
            seen += os.read(reader, 65536)
        lines = seen.splitlines()
        assert all(line == b"x" * 999 for line in lines if not line.startswith(b"dropped"))
        assert b"dropped %d" % bounded.dropped in lines
        assert bounded.flush(10)
    finally:
        os.close(writer)
        os.close(reader)


STUCK = """
import signal, sys, threading
from worker.telemetry import logs, output

output.unblock_standard_streams()
logs.configure(level="info", json=True)
signal.signal(signal.SIGTERM, lambda *_: (logs.get_logger("test").info("stopping"), sys.exit(7)))
for number in range(20_000):
    logs.get_logger("test").info("a line", text="x" * 500)
    print("y" * 500, file=sys.stderr)
open(sys.argv[1], "w").close()
threading.Event().wait()
"""


def test_a_reader_that_stopped_reading_stops_neither_the_program_nor_its_end(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with subprocess.Popen([sys.executable, "-c", STUCK, str(ready)], cwd=ROOT, stderr=subprocess.PIPE) as program:
        wait_until(ready.exists, 60)
        program.terminate()
        assert program.wait(30) == 7


def test_a_forked_child_logs_as_well() -> None:
    program = (
        "import os\nfrom worker.telemetry import logs, output\nlogs.configure(level='info', json=True)\n"
        "logs.get_logger('test').info('parent')\noutput.flush()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    logs.get_logger('test').info('child')\n    output.flush()\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["parent", "child"]
