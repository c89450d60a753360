from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from worker.common.malloc import return_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if not return_large_blocks():
    sys.exit(3)
bytes(30_000_000)  # glibc would now keep all blocks up to this size
before = resident()
blocks = [b"x" * 2_000_000 for _ in range(20)]
last = b"y" * 1000
del blocks
sys.exit(0 if resident() - before < 5_000_000 else 1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
def test_the_memory_of_pictures_goes_back_to_the_system() -> None:
    code = subprocess.run([sys.executable, "-c", PROGRAM], check=False, timeout=60).returncode
    assert code in {0, 3}  # 3: another C library
