"""Facts about processes, as the system tells them: who listens on a port, holds memory, works or hangs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from tests.support.waiting import wait_until
from worker.webui.process.process_stats import WorkMeter, is_ours, resident_bytes


def test_a_port_of_this_process_group_is_told_from_another_groups() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert is_ours(port, os.getpgid(0)) is True
        assert is_ours(port, 2**22 + 1) is False


def test_a_port_on_which_nobody_listens_tells_nothing() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert is_ours(bound.getsockname()[1], os.getpgid(0)) is None


def test_memory_is_that_of_a_process_and_its_children() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        parent.stdout.readline()
        together = resident_bytes(parent.pid)
        alone = resident_bytes(os.getpid())
        parent.stdin.close()
    assert together > 10_000_000
    assert alone > 10_000_000
    assert resident_bytes(parent.pid) == 0


def test_a_process_that_computes_works_and_one_that_is_stopped_or_waits_does_not() -> None:
    code = "print(1, flush=True); input(); print(2, flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        now = 0.0
        meter = WorkMeter(process.pid, clock=lambda: now)
        try:
            assert meter.has_worked(), "nobody can tell at the first look"
            now = 3.0
            assert not meter.has_worked(), "it waits for a line"
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            assert wait_until(meter.has_worked)
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            meter.has_worked()
            now = 6.0
            assert not meter.has_worked(), "it is stopped"
        finally:
            process.kill()


def test_of_a_process_that_has_ended_nobody_can_tell() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert WorkMeter(process.pid, clock=lambda: 0.0).has_worked()
