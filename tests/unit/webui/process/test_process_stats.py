"""Who listens on a port, as the system tells it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from worker.webui.process.process_stats import is_ours, resident_bytes


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
