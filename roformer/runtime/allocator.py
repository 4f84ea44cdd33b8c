"""Keeps freed memory in the process, because asking the system for it again costs more than many a computation."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt(3)


def disable_malloc_trim() -> None:
    """Configures glibc never to return freed memory to the system; does nothing where the C library is another.

    By default every large tensor is a mapping of its own, gone when it is freed, so that each training step pays for
    millions of page faults. The same memory serves the next step instead. Call it before the work starts.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
