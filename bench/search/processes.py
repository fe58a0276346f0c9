"""Identifies processes across machines, and finds out whether they are alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import psutil

Owner = dict[str, Any]
"""Identifies a process, among all others past and present with the same number."""


def this_process() -> Owner:
    """This process, as an owner."""
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
    }


def is_this_machine(owner: Owner) -> bool:
    """Whether a process runs on this machine, so that its number identifies it."""
    return bool((owner["host"], owner["boot"]) == (socket.gethostname(), _boot()))


def is_surely_dead(owner: Owner) -> bool:
    """Whether a process of this machine has ended; False for other machines and containers, which is unknown."""
    if not is_this_machine(owner):
        return False
    try:
        process = psutil.Process(owner["pid"])
        # A process that has ended keeps its number until its parent waits for it.
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(owner["created"])) > 1.0
    except psutil.NoSuchProcess:
        return True


def _boot() -> str:
    """Identifies this boot of the machine, and this namespace of process numbers."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.is_file() and namespace.exists():
        return f"{boot.read_text().strip()}/{namespace.stat().st_ino}"
    return str(psutil.boot_time())
