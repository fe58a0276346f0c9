"""Makes the C library's allocator keep freed memory for later arrays."""

from __future__ import annotations

import ctypes
import os
import platform

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
SETTINGS = {
    # Large arrays too are allocated on the heap, which does not shrink.
    _MMAP_THRESHOLD: 2**30,
    _TRIM_THRESHOLD: 2**31 - 1,
    # A thread's heap has at most 64 MiB, and is returned whole unless the padding is as large.
    _TOP_PAD: 2**26,
}
OWN_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")
"""Prefixes of environment variables by which a user configures the allocator."""


def keep_freed_memory() -> None:
    """Make glibc reuse memory of the process for arrays of up to 1 GiB.

    By default an array above a threshold of 128 KiB to 32 MiB is mapped from the system and unmapped when it is freed
    (mallopt(3)), and the system zeroes its pages at their first use. TensorFlow and XLA allocate several arrays per
    operation by ``malloc``: a model of small images may spend half of its time there. In exchange, the process keeps
    its peak memory.

    Nothing changes with another C library, or if the user configures the allocator by environment variables.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith(OWN_SETTINGS) for name in os.environ):
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in SETTINGS.items():
        mallopt(parameter, value)


def give_back_freed_memory() -> None:
    """Have glibc return to the system what it keeps for later arrays, such as what XLA needed to compile.

    Takes up to a second. Does nothing with another C library.
    """
    if platform.libc_ver()[0] == "glibc":
        trim = ctypes.CDLL(None).malloc_trim
        trim.argtypes = [ctypes.c_size_t]
        trim(0)
