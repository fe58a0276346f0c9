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
        "started": _started(os.getpid()),
    }


def as_owner(value: object) -> Owner | None:
    """What a storage holds as an owner, which people can edit; None if it identifies no process."""
    if not isinstance(value, dict) or not {"host", "boot", "pid"} <= value.keys():
        return None
    pid = value["pid"]
    return value if isinstance(pid, int) and not isinstance(pid, bool) and pid > 0 else None


def is_this_machine(owner: Owner) -> bool:
    """Whether a process runs on this machine, so that its number identifies it."""
    return bool((owner["host"], owner["boot"]) == (socket.gethostname(), _boot()))


def is_surely_dead(owner: Owner) -> bool:
    """Whether a process of this machine has ended; False for other machines and containers, which is unknown."""
    if not is_this_machine(owner):
        return False
    try:
        # A process that has ended keeps its number until its parent waits for it.
        zombie = psutil.Process(owner["pid"]).status() == psutil.STATUS_ZOMBIE
        # An owner of an earlier version has no such time: its lease decides.
        return zombie or ("started" in owner and _started(owner["pid"]) != owner["started"])
    except (psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
        return True


def _started(pid: int) -> float:
    """When a process began: on Linux in clock ticks since the boot, which a step of the wall clock leaves as they are.

    Raises:
        FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess: there is no such process.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").is_file():
        return psutil.Process(pid).create_time()
    # The name, in parentheses, may hold anything; field 22 of all is the 20th behind it.
    return float(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19])


def _boot() -> str:
    """Identifies this boot of the machine, and this namespace of process numbers."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.is_file() and namespace.exists():
        return f"{boot.read_text().strip()}/{namespace.stat().st_ino}"
    return str(psutil.boot_time())
