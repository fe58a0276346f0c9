"""``reparam-bench storage`` as a process, which tests start and kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from bench.core.errors import TrackingError
from bench.search.storage import open_storage
from tests.faults.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0


class StorageServer:
    """Serves a storage by gRPC on loopback while the block lasts.

    Args:
        folder: what it leaves lies there.
        storage: what it serves; a journal in the folder by default.

    Attributes:
        url: where the storage is found.
    """

    def __init__(self, folder: Path, storage: str | None = None) -> None:
        self.port = free_port()
        self.url = f"grpc://127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if storage is not None:
            self._environment["REPARAM_BENCH_STORAGE"] = storage

    def __enter__(self) -> StorageServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        program = "from studies.cli.main import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, "storage", "--port", str(self.port), "--output", self._folder],
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(6):
            try:
                # It waits for a while by itself.
                open_storage(self.url)
            except TrackingError:
                assert self._process.poll() is None
            else:
                return
        raise AssertionError("the storage server does not answer")

    def kill(self) -> None:
        """Kill it at once."""
        self._process.kill()
        self._process.wait(DEADLINE)

    def restart(self) -> None:
        """Kill it, and start it again."""
        self.kill()
        self.start()
