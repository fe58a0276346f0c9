"""A study under faults: its processes are started again whenever they end, while something breaks all the time."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.faults.clock import Clock
from tests.faults.hand_edits import HandEdits
from tests.faults.processes import HTTP_SECONDS, Place, Started, start_coordinator, start_worker
from tests.faults.proxy import Mode, Proxy

RESTART_SECONDS = 0.7
"""Between the end of a process and the start of the next in its place."""
OVER_SECONDS = 5.0
DEADLINE_SECONDS = 600.0
"""No scenario takes so long, unless it hangs."""
SECONDS_A_TRIAL = 6.0
"""Of a worker that is disturbed all the time."""
WORKERS_SECONDS = 120.0
"""That workers have to end in, once the study has."""
MORE_TRIALS = 12
"""Are asked for of each arm, when all are done before all faults are."""
NETWORK: dict[str, Mode] = {
    "server refuses": "refuse",
    "server answers 500": "error500",
    "server late": "delay",
    "answers lost": "drop_response",
    "connections reset": "reset",
}


class Database(Protocol):
    """The storage's server."""

    def kill(self) -> None:
        """End it without a shutdown."""

    def stop(self) -> None:
        """Shut it down, whoever is connected."""

    def start(self) -> None:
        """Start it again."""


class FullDisk:
    """A small file system of its own, where the system allows one."""

    def __init__(self, folder: Path, megabytes: int = 48) -> None:
        self.folder = folder
        self._filler = folder / ".filler"
        folder.mkdir(parents=True)
        self.mounted = not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)], check=False, capture_output=True
        ).returncode

    def fill(self) -> None:
        """Leave no byte on it."""
        with self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Take it away."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


def can_be_made_unwritable(folder: Path) -> bool:
    """Whether a folder can be made one that even root may not write to."""
    return _immutable(folder, True) and _immutable(folder, False)


def _immutable(folder: Path, is_it: bool) -> bool:
    return not subprocess.run(
        ["chattr", "+i" if is_it else "-i", str(folder)], check=False, capture_output=True
    ).returncode


@dataclass
class Tally:
    """What happened to a study."""

    faults: Counter[str] = field(default_factory=Counter)
    requests_hit: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    """Of processes that did not end by themselves and well, by role and status."""
    seconds: float = 0.0

    def __add__(self, later: Tally) -> Tally:
        return Tally(
            self.faults + later.faults,
            self.requests_hit + later.requests_hit,
            self.ends + later.ends,
            self.seconds + later.seconds,
        )


class Chaos:
    """Runs a study, breaks things under a seed until so many are broken, and lets it come to its end.

    Args:
        place: where the study is run.
        workers: how many work on it.
        faults: kinds of faults, and how likely each is beside the others.
        count: how many faults are injected in all.
        pause: seconds between two of them, on average.
        seed: of what breaks when.
        proxy: before the tracking server.
        database: the storage's server.
        disk: that of the output folder.
        clock: that the processes follow.
        tracking_uri: where a person edits the study: the tracking server, not the proxy.
    """

    def __init__(
        self,
        place: Place,
        workers: int,
        faults: dict[str, float],
        count: int,
        pause: float,
        seed: int,
        proxy: Proxy | None = None,
        database: Database | None = None,
        disk: FullDisk | None = None,
        clock: Clock | None = None,
        tracking_uri: str = "",
    ) -> None:
        self.place = place
        self.proxy, self.database, self.disk, self.clock = proxy, database, disk, clock
        self.tally = Tally()
        # About as many as the workers do while faults are injected; if they do more, more are asked for.
        self.trials = max(MORE_TRIALS, round(count * pause * workers / SECONDS_A_TRIAL / 2))
        self._faults = faults
        self._left = count
        self._pause = pause
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._edits = HandEdits(place.bound(1), tracking_uri, self._rng).kinds
        self._coordinator: Started | None = None
        self._workers: list[Started | None] = [None] * workers
        self._ended: dict[str, float] = {}
        self._stopped: set[int] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._broken: set[str] = set()
        self._mended = 0.0
        self._coordinator_began = 0.0

    def run(self) -> Tally:
        """Until the study is complete, after all faults."""
        began = time.monotonic()
        due = float("inf")
        try:
            while True:
                now = time.monotonic()
                if now - began > DEADLINE_SECONDS:
                    raise TimeoutError(f"not over after {DEADLINE_SECONDS:.0f} s; logs are in {self.place.logs}")
                self._mend(now)
                self._tend_workers(now)
                if self._tend_coordinator(now):
                    if self._left or self._later:
                        self.trials += MORE_TRIALS
                    elif self._coordinator_began > self._mended:
                        break
                    # One that ended while something was broken may have left what a later one uploads.
                    self._coordinator = None
                if due == float("inf") and (self.place.output / "outbox").exists():
                    due = now
                if self._left and now > due:
                    due = now + self._rng.uniform(0.5, 1.5) * self._pause
                    self._break()
                time.sleep(0.05)
            self._await_workers()
        finally:
            self._mend(float("inf"))
            for process in [self._coordinator, *self._workers]:
                if process is not None:
                    process.kill()
        self.tally.seconds = time.monotonic() - began
        self.tally.requests_hit = self.proxy.faults if self.proxy else 0
        return self.tally

    def _tend_workers(self, now: float) -> None:
        for i, process in enumerate(self._workers):
            if process is None or not process.is_alive():
                name = f"worker {i}"
                if process is not None:
                    self._note("worker", process)
                    self._workers[i] = None
                    # One that has found the study to be over would find so again until it is continued.
                    self._ended[name] = now + (0 if process.exitcode else OVER_SECONDS)
                elif now - self._ended.get(name, 0.0) > RESTART_SECONDS:
                    self._workers[i] = start_worker(self.place)

    def _tend_coordinator(self, now: float) -> bool:
        """Whether it has ended well."""
        process = self._coordinator
        if process is None:
            if now - self._ended.get("coordinator", 0.0) > RESTART_SECONDS:
                self._coordinator = start_coordinator(self.place, self.trials)
                self._coordinator_began = now
            return False
        if process.is_alive():
            return False
        if process.exitcode == 0:
            return True
        self._note("coordinator", process)
        self._coordinator = None
        self._ended["coordinator"] = now
        return False

    def _await_workers(self) -> None:
        """They see by themselves that the study is over."""
        until = time.monotonic() + WORKERS_SECONDS
        for process in self._workers:
            if process is not None and not process.join(max(0.1, until - time.monotonic())):
                raise TimeoutError(f"worker {process.pid} runs after the study's end; logs are in {self.place.logs}")

    def _note(self, role: str, process: Started) -> None:
        self._stopped.discard(process.pid)
        process.terminal.close()
        if process.exitcode:
            self.tally.ends[f"{role} {process.exitcode}"] += 1

    def _mend(self, now: float) -> None:
        """Undo what was broken for long enough."""
        for due, mend in [each for each in self._later if each[0] <= now]:
            self._later.remove((due, mend))
            mend()
            self._mended = now

    def _break(self) -> None:
        kinds = [kind for kind in self._faults if kind not in self._broken]
        # Each kind once before any twice.
        kinds = [kind for kind in kinds if kind not in self.tally.faults] or kinds
        kind = self._rng.choices(kinds, [self._faults[each] for each in kinds])[0]
        if self._inject(kind):
            self.tally.faults[kind] += 1
            self._left -= 1

    def _inject(self, kind: str) -> bool:
        """Whether there was something to break."""
        lease = self.place.lease
        if kind in NETWORK:
            self._for(kind, self._rng.uniform(0.5, 3.0), lambda: self._network(NETWORK[kind]), self._network_passes)
            return True
        if kind in ("database killed", "database restarted"):
            assert self.database is not None
            down = self.database.kill if kind == "database killed" else self.database.stop
            self._for(kind, self._rng.uniform(0.1, 2.0), down, self.database.start)
            self._broken |= {"database killed", "database restarted"}
            return True
        if kind == "disk full":
            assert self.disk is not None
            self._for(kind, self._rng.uniform(0.3, 2.5), self.disk.fill, self.disk.empty)
            return True
        if kind == "outbox not writable":
            return self._close_outbox(kind)
        if kind == "clock steps":
            assert self.clock is not None
            self.clock.step(self._rng.choice((-1, 1)) * self._rng.uniform(1.0, 120.0))
            return True
        if kind == "images altered":
            return self._alter_images(kind)
        if kind in self._edits:
            undo = self._edits[kind]()
            if undo is not None:
                self._for(kind, self._rng.uniform(0.3, 2.5), lambda: None, undo)
            return undo is not None
        role, _, what = kind.partition(" ")
        process = self._coordinator if role == "coordinator" else self._some_worker()
        if process is None or not process.is_alive() or process.pid in self._stopped:
            return False
        if what == "killed":
            os.kill(process.pid, signal.SIGKILL)
        elif what == "terminated":
            os.kill(process.pid, signal.SIGTERM)
        elif what == "hung up":
            os.kill(process.pid, signal.SIGHUP)
        elif what == "lost its terminal":
            process.terminal.close()
        else:
            shorter, longer = (0.1, 0.6), (1.3, 2.5)
            self._stop(process, lease * self._rng.uniform(*(shorter if what == "stopped shortly" else longer)))
        return True

    def _for(self, kind: str, seconds: float, down: Callable[[], None], up: Callable[[], None]) -> None:
        """Have something broken for a while."""

        def mend() -> None:
            up()
            self._broken -= {kind, *(("database killed", "database restarted") if kind.startswith("database") else ())}
            if kind in NETWORK:
                self._broken -= set(NETWORK)

        self._broken.add(kind)
        if kind in NETWORK:
            self._broken |= set(NETWORK)
        down()
        self._later.append((time.monotonic() + seconds, mend))

    def _network(self, mode: Mode) -> None:
        assert self.proxy is not None
        self.proxy.seconds = self._rng.uniform(0.2, 2.0) * HTTP_SECONDS
        self.proxy.mode = mode

    def _network_passes(self) -> None:
        assert self.proxy is not None
        self.proxy.mode = "pass"

    def _close_outbox(self, kind: str) -> bool:
        folders = [each for each in (self.place.output / "outbox").glob("*") if each.is_dir()]
        if not folders or not _immutable(folders[0], True):
            return False
        self._for(kind, self._rng.uniform(0.3, 2.5), lambda: None, lambda: _open_again(folders[0]))
        return True

    def _alter_images(self, kind: str) -> bool:
        """Overwrite the copy of the images that the processes share; later, do what the error message says."""
        copies = [each for each in (self.place.output / "data").glob("[!.]*") if each.is_dir()]
        if not copies:
            return False
        images = copies[0] / f"{self._rng.choice(('train', 'validation', 'test'))}.npy"
        size = images.stat().st_size
        images.chmod(0o600)
        with images.open("r+b") as file:
            file.seek(size // 2)
            file.write(b"\0" * (size // 2))
        images.chmod(0o444)
        self._for(kind, self._rng.uniform(0.3, 2.5), lambda: None, lambda: shutil.rmtree(copies[0]))
        return True

    def _some_worker(self) -> Started | None:
        living = [each for each in self._workers if each is not None and each.is_alive()]
        return self._rng.choice(living) if living else None

    def _stop(self, process: Started, seconds: float) -> None:
        pid = process.pid
        os.kill(pid, signal.SIGSTOP)
        self._stopped.add(pid)

        def go_on() -> None:
            self._stopped.discard(pid)
            if process.is_alive():
                os.kill(pid, signal.SIGCONT)

        self._later.append((time.monotonic() + seconds, go_on))


def _open_again(folder: Path) -> None:
    if not _immutable(folder, False):
        raise OSError(f"{folder} cannot be made writable again")
