"""Which process does a piece of work, and whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import psutil

Owner = dict[str, Any]
"""What tells a process from all others, past and present, that have its number."""


def this_process() -> Owner:
    """The owner that this process is."""
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
    }


def is_this_machine(owner: Owner) -> bool:
    """Whether a process is one of this machine since its last start, so that it can be looked for by its number."""
    return bool((owner["host"], owner["boot"]) == (socket.gethostname(), _boot()))


def is_surely_dead(owner: Owner) -> bool:
    """Whether a process of this machine has ended; one of another machine, or container, may well be alive."""
    if not is_this_machine(owner):
        return False
    try:
        process = psutil.Process(owner["pid"])
        # One that has ended keeps its number until its parent asks for it, which may be never.
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(owner["created"])) > 1.0
    except psutil.NoSuchProcess:
        return True


def _boot() -> str:
    """Tells this start of this machine's kernel, and this namespace of process numbers, from all others."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.is_file() and namespace.exists():
        return f"{boot.read_text().strip()}/{namespace.stat().st_ino}"
    return str(psutil.boot_time())
