"""A tracking store, and the outboxes of the runs that wait to be uploaded to it.

A study's own run is written directly. The runs of its models go to outboxes on disk, which a thread uploads, so that
training neither waits for the store nor stops while it is unreachable.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from bench.core.databases import MLFLOW, check_database, is_database, parse_url, sqlite_file
from bench.core.errors import OutboxError, TrackingError
from bench.core.logs import shorten
from bench.core.redaction import redact
from bench.tracking.location import settle, store_name
from bench.tracking.new_database import create_database
from bench.tracking.outbox.inside import RefusedPathError
from bench.tracking.outbox.outbox import Outbox, count_runs, outboxes
from bench.tracking.outbox.retry import is_transient
from bench.tracking.outbox.upload import RunRejectedError, Upload
from bench.tracking.outbox.uploader import Uploader

Result = TypeVar("Result")

DRAIN_SECONDS = 30.0
"""Seconds that a command waits at its end for its uploads; a later command uploads the rest."""
PAUSES = (0.5, 1.0)
"""Seconds between attempts at direct requests."""


class Waiting(NamedTuple):
    """The number of runs that wait to be uploaded, and of their records."""

    runs: int
    records: int


class Tracker:
    """A tracking store and the outboxes of the runs that wait to be uploaded to it.

    Args:
        uri: any MLflow tracking URI; ``sqlite:///path`` keeps everything in one file.
        artifacts: folder for artifacts of an embedded store; a server configures its own.
        outbox: folder that keeps what is logged until the store has it.
    """

    def __init__(self, uri: str, artifacts: Path, outbox: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self.outbox = outbox
        self.store = store_name(uri)
        """The URI without its credentials."""
        self.refused: dict[Path, str] = {}
        """Why outboxes of dead processes are not uploaded: they are damaged, or the store rejects them or fails."""
        self._settled: IO[bytes] | None = None
        self.uploader = Uploader(lambda: self.client, self.store, outbox)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client; the first use opens a database, which may fail, and settles its addresses."""
        if is_database(self.uri):
            # MLflow itself would change the tables of an earlier version, and create them where others can see them
            # half made.
            held = check_database(self.uri, MLFLOW, "tracking store")
            file = sqlite_file(parse_url(self.uri))
            if file is not None and not held:
                create_database(file)
        client = MlflowClient(tracking_uri=self.uri)
        self._settled = settle(self.uri)
        return client

    def open(self) -> None:
        """Open the store now, and not at the first request; rewrites the addresses of a folder that was moved.

        Raises:
            TrackingError: it cannot be opened.
            SettingsError: its addresses cannot be rewritten.
        """
        self.request(lambda: self.client, "cannot be opened")

    def request(self, call: Callable[[], Result], fault: str = "cannot be reached") -> Result:
        """Make requests to the store, and repeat them after a transient failure.

        Args:
            call: makes the requests, which must be repeatable.
            fault: what the error message says about the store.

        Returns:
            What ``call`` returns.

        Raises:
            TrackingError: the requests failed.
        """
        pauses = list(PAUSES)
        while True:
            try:
                return call()
            except (MlflowException, SQLAlchemyError, OSError) as error:
                if not pauses or not is_transient(error):
                    reason = shorten(str(error))
                    raise TrackingError(f"tracking store {redact(self.uri)} {fault}: {reason}") from error
            time.sleep(pauses.pop(0))

    def upload_orphans(self) -> int:
        """Upload what dead processes logged; runs that their process did not end become interrupted.

        Several processes may do so at once: one of them uploads each run.

        Returns:
            The number of uploaded runs.

        Raises:
            TrackingError: the store cannot be reached; what is left waits.
            OutboxError: the disk cannot be written.
        """
        self.refused.clear()
        try:
            return sum(self._upload(outbox) for outbox in self._orphans())
        finally:
            for reason in self.refused.values():
                self.uploader.report(reason)

    def _orphans(self) -> Iterator[Outbox]:
        for folder in outboxes(self.outbox):
            try:
                outbox = Outbox.take_over(folder, self.store)
            except RefusedPathError as error:
                self._refuse(folder, str(error))
                continue
            if outbox is not None:
                yield outbox

    def _upload(self, outbox: Outbox) -> bool:
        """Upload a dead process's outbox; False if the store rejects the run, or it leads outside its folder."""
        try:
            outbox.end_if_lost()
            Upload(self.client, outbox, self.uploader.report).send()
        except RunRejectedError as error:
            outbox.release()
            self.refused[outbox.folder] = (
                f"the tracking store rejected a run ({error}); what it logged is kept in {outbox.folder}"
            )
            return False
        except RefusedPathError as error:
            outbox.release()
            self._refuse(outbox.folder, str(error))
            return False
        except Exception as error:
            outbox.release()
            if isinstance(error, OutboxError | TrackingError):
                raise
            reason = shorten(str(error)) or type(error).__name__
            if self._answers():
                failure = f"the tracking store fails on {outbox.folder} ({reason}): it is tried again"
                self._refuse(outbox.folder, failure)
                return False
            waiting = self._count_orphans()
            raise TrackingError(
                f"tracking store {redact(self.uri)} cannot be reached: {reason}; {waiting.records} "
                f"records of {waiting.runs} runs wait in {self.outbox}: `reparam-bench upload` uploads them"
            ) from error
        outbox.finish()
        return True

    def _refuse(self, folder: Path, reason: str) -> None:
        self.refused[folder] = f"an outbox is not uploaded: {reason}"

    def _answers(self) -> bool:
        """Whether the store answers, so that what failed concerns one run alone."""
        try:
            self.client.search_experiments(max_results=1)
        except (MlflowException, SQLAlchemyError, OSError):
            return False
        return True

    def waiting(self) -> Waiting:
        """What :meth:`upload_orphans` would upload."""
        self.refused.clear()
        return self._count_orphans()

    def _count_orphans(self) -> Waiting:
        runs = records = 0
        for outbox in self._orphans():
            runs, records = runs + 1, records + outbox.num_unsent()
            outbox.release()
        return Waiting(runs, records)

    def waiting_elsewhere(self) -> dict[str, int]:
        """The number of runs that wait for other stores, by their URIs without credentials."""
        return {store: runs for store, runs in count_runs(self.outbox).items() if store != self.store}

    def drain(self, seconds: float = math.inf) -> int:
        """Wait until everything that this process logged is uploaded.

        Args:
            seconds: the longest wait.

        Returns:
            The number of records that are left.
        """
        return self.uploader.drain(seconds)

    def problems(self) -> list[str]:
        """What the store rejected so far, in sentences."""
        return list(self.uploader.problems)

    def close(self) -> None:
        """Stop uploading; a later process uploads what is left, and ends runs that have not ended."""
        self.uploader.close()
        if self._settled is not None:
            self._settled.close()


def keep_folder(uri: str, run_id: str, folder: Path, name: str) -> None:
    """Log a folder as artifacts of a run.

    Args:
        uri: the tracking URI.
        run_id: MLflow's identifier of the run.
        folder: the folder.
        name: the artifacts' folder.

    Raises:
        TrackingError: the store cannot be reached.
    """
    try:
        MlflowClient(tracking_uri=uri).log_artifacts(run_id, str(folder), name)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = shorten(str(error))
        raise TrackingError(f"tracking store {redact(uri)} does not take {name}: {reason}") from error
