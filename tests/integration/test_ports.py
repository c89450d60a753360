"""The ports that tests give to the programs they start: a test that meets another one's program proves nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.ports import BLOCK, FIRST, LAST, free_port, listener
from tests.support.workerproc import ROOT, WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

TAKE = "from tests.support.ports import free_port; print(*(free_port() for _ in range(150)))"


def test_no_port_is_given_twice_whichever_process_asks() -> None:
    command = [sys.executable, "-c", TAKE]
    others = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    given = [free_port() for _ in range(BLOCK + 20)]
    for other in others:
        given += [int(port) for port in other.communicate(timeout=60)[0].split()]
    assert len(given) == len(set(given)) == BLOCK + 20 + 2 * 150
    assert min(given) > FIRST
    assert max(given) <= LAST


def test_none_of_them_is_the_systems_to_give() -> None:
    bound = []
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as server:
            bound.append(server.getsockname()[1])
    assert max(free_port() for _ in range(BLOCK)) < min(bound)


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    port = free_port()
    while (port + 1 - FIRST) % BLOCK == 0:  # the next one is another block's
        port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        assert free_port() != port + 1


def test_a_stranger_on_a_workers_port_fails_the_test(tmp_path: Path) -> None:
    port = free_port()
    with WorkerProcess(["-c", "input()"], {}, tmp_path) as worker, socket.create_server(("127.0.0.1", port)):
        found = listener(port)
        assert found is not None
        assert found.pid == os.getpid()
        with pytest.raises(AssertionError, match=f"a stranger listens on port {port}"):
            worker.assert_own(port)
