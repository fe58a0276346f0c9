"""The C library's allocator, told to keep what arrays give back for the arrays that come after them."""

from __future__ import annotations

import ctypes
import os
import platform

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
SETTINGS = {
    # Arrays lie in the heap, and what is freed of it stays with the process.
    _MMAP_THRESHOLD: 2**30,
    _TRIM_THRESHOLD: 2**31 - 1,
    # Threads have heaps of at most 64 MiB each, which go back whole unless that much is to be kept in reserve.
    _TOP_PAD: 2**26,
}
OWN_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")
"""How environment variables begin by which a user sets the allocator."""


def keep_freed_memory() -> None:
    """Have glibc serve arrays of up to 1 GiB from memory that the process has already.

    By default each array of more than 128 KiB to 32 MiB is fetched from the system and given back when it is freed
    (mallopt(3)), and the system clears its pages each time that they are touched for the first time. TensorFlow and XLA
    allocate on a processor by ``malloc``, several arrays an operation: a model on small images may spend half of its
    time so. The process then holds as much as it ever needed at once.

    Nothing is changed where the C library is another one, or where the user has set its allocator by the environment.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith(OWN_SETTINGS) for name in os.environ):
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in SETTINGS.items():
        mallopt(parameter, value)
