"""Who listens on a port, by Linux's tables."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from worker.webui.listener import is_ours, listening

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000 100 0 0 10 0
   1: 00000000:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4343 1 0000 100 0 0 10 0
   2: 0100007F:0BB8 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4444 1 0000 20 4 30 10 -1
"""


def test_only_sockets_that_listen_on_that_port_count() -> None:
    assert listening(TABLE, 3000) == {"4242"}
    assert listening(TABLE, 3001) == {"4343"}
    assert listening(TABLE, 3002) == frozenset()


def test_a_port_is_ours_only_where_one_of_our_processes_listens() -> None:
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        port = here.getsockname()[1]
        assert is_ours(port, os.getpgid(0)) is None, "nobody listens yet"
        here.listen()
        assert is_ours(port, os.getpgid(0)) is True
        with subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
        ) as other:
            assert is_ours(port, other.pid) is False
            other.communicate(b"\n")
