"""The C library's allocator: freed blocks of the size of pictures go back to the system."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
LARGE = 256 * 1024


def return_large_blocks() -> bool:
    """Make glibc return large freed blocks to the system; return whether that worked.

    glibc raises its threshold for that with every large block it sees freed, up to 32 MB, and then keeps what one large
    answer took, in the heap of each thread that touched it. Other C libraries and allocators need no such word.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE))
