"""Tasks of a Ray cluster as those that do the work. Ray places them; what is lost is found by the storage's leases."""

from __future__ import annotations

import io
import logging
import os
import signal
import site
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import SettingsError, StudyStoppedError
from bench.core.extensions import code_extensions

if TYPE_CHECKING:
    from bench.execution.session import StudySession
    from bench.execution.worker import Worker

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
ROOM_SECONDS = 5.0
"""Between two looks at what the cluster has room for, for its nodes come and go."""
LOST_SECONDS = 15.0
"""Without an answer from Ray's head node, and it is taken for lost. Ray itself ends this process after a minute."""
FAILURES_A_PLACE = 5
"""So many tasks in a row, for each that there is room for, and no more are begun: the fault is not the work's."""
UPLOAD_SECONDS = 20.0
"""That a task waits for the upload of what it logged; the rest is uploaded by the next one in its process."""
GRACE_SECONDS = 60.0
"""That tasks have to end in when they are asked to."""
ANY_CLUSTER = "auto"
"""Address of the cluster that this machine is a node of."""


@dataclass(frozen=True)
class Share:
    """What a task asks of its node.

    Attributes:
        cpus: processors.
        gpus: accelerators; a fraction is a part of one, which several tasks share.
    """

    cpus: float = 1.0
    gpus: float = 0.0

    def places(self, resources: Mapping[str, float]) -> int:
        """How many tasks a node has room for."""
        asked = {"CPU": self.cpus, "GPU": self.gpus}
        # Ray counts in ten-thousandths.
        return min(int(resources.get(name, 0.0) / each + 1e-4) for name, each in asked.items() if each)

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"


@dataclass(frozen=True)
class Where:
    """Where a task finds its study. Addresses are handed over as arguments, which Ray writes into no log.

    Attributes:
        study_id: the study's identifier.
        storage: the storage's address; None for the one in the output folder.
        tracking_uri: the tracking store's; likewise.
        output: folder for what the task's process leaves.
        extensions: name and source of the user's files that the study needs.
    """

    study_id: str
    storage: str | None
    tracking_uri: str | None
    output: Path
    extensions: tuple[tuple[str, str], ...] = ()


def connect(address: str | None, share: Share) -> None:
    """Join a Ray cluster as its driver, once its nodes are seen to have what a task asks for.

    Args:
        address: ``host:port`` of the head node; None for the cluster that this machine is a node of.
        share: what a task asks for.

    Raises:
        SettingsError: Ray is not installed, there is no such cluster, or none of its nodes has so much.
    """
    try:
        import ray
    except ImportError as error:
        raise SettingsError("engine='ray' needs Ray, which is not installed: pip install -e '.[ray]'") from error
    where = address or ANY_CLUSTER
    if "://" in where:
        raise SettingsError(
            f"address={where!r} is not HOST:PORT: run the command on a machine of the cluster (`ray start "
            "--address=HOST:PORT` makes this one such), or submit it as a job"
        )
    if address is not None and not _answers(address):
        raise SettingsError(f"address={address!r}: no Ray cluster answers there; `ray start --head` begins one")
    # Ray would otherwise tell of itself on the terminal, and of every line that a task writes.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=where, log_to_driver=False, configure_logging=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = _first_line(error)
        raise SettingsError(f"address={where!r}: no Ray cluster can be joined there ({reason})") from error
    nodes = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    if not any(share.places(each) for each in nodes):
        has = "; ".join(sorted(f"{each.get('CPU', 0):g} CPUs and {each.get('GPU', 0):g} GPUs" for each in nodes))
        ray.shutdown()
        raise SettingsError(
            f"a trial asks for {share}, which no node of the cluster has (its nodes: {has or 'none'}): give other "
            "--cpus-per-trial and --gpus-per-trial"
        )


class RayTasks:
    """Tasks of the cluster that :func:`connect` joined, each of which does one task.

    Ray retries none: the storage gives a lost task to another task, and two that retry would do it twice.

    Args:
        study: the study, whose tasks are done.
        share: what each task asks of its node.
        count: most tasks at once; by default what the cluster has room for.
    """

    def __init__(self, study: StudySession, share: Share, count: int | None = None) -> None:
        import ray

        settings = study.bound.settings
        self._ray = ray
        self._study = study
        self._share = share
        self._most = count
        files = tuple((each.path.name, each.path.read_text()) for each in code_extensions())
        self._where = Where(
            study.bound.study_id, settings.storage, settings.tracking_uri, settings.output.resolve(), files
        )
        self._head = ray.get_runtime_context().gcs_address
        self._submit = ray.remote(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_retries=0,
            name=f"{study.bound.study_id} task",
            runtime_env={"env_vars": _environment(share)},
        )(do_task)
        self._tasks: list[Any] = []
        self._failures = 0
        self._room, self._room_due = 0, 0.0
        self._answered = time.monotonic()

    def poll(self) -> None:
        """Begin tasks while tasks wait and there is room, then collect those that have ended.

        Raises:
            StudyStoppedError: Ray is gone, or one task after the other fails.
        """
        if not self._is_there():
            time.sleep(POLL_SECONDS)
            return
        room = self._most_at_once()
        missing = min(room - len(self._tasks), self._waiting())
        self._tasks += [self._submit.remote(self._where) for _ in range(missing)]
        if not self._tasks:
            time.sleep(POLL_SECONDS)
            return
        ended, self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=POLL_SECONDS)
        for task in ended:
            self._collect(task, room)

    def _is_there(self) -> bool:
        """Whether Ray's head node answers now.

        Asked by hand, for every call of Ray's own waits for its return, and at last ends this process.
        """
        now = time.monotonic()
        if _answers(self._head):
            self._answered = now
            return True
        if now - self._answered > LOST_SECONDS:
            self._tasks = []
            self._ray.shutdown()
            raise StudyStoppedError(
                f"Ray's head node {self._head} has not answered for {LOST_SECONDS:.0f} s: the same command goes on "
                "once it is back, and without --engine it goes on here"
            )
        return False

    def _most_at_once(self) -> int:
        """The most tasks to have under way."""
        if time.monotonic() >= self._room_due:
            alive = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
            self._room = sum(self._share.places(each) for each in alive)
            self._room_due = time.monotonic() + ROOM_SECONDS
        return self._room if self._most is None else min(self._most, self._room)

    def _waiting(self) -> int:
        return sum(queue.waiting for queue in self._study.queues.values())

    def _collect(self, task: Any, room: int) -> None:
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            self._failures += 1
            # Of an error of the task's own; Ray's text of it is a traceback.
            reason = _first_line(getattr(error, "cause", None) or error)
            log.warning("a Ray task is lost, and its task is taken back by its lease: %s", reason)
            if self._failures >= FAILURES_A_PLACE * max(1, room):
                raise StudyStoppedError(
                    f"{self._failures} Ray tasks in a row failed, the last one by: {reason}; once that is mended, the "
                    "same command goes on"
                ) from error
        else:
            self._failures = 0

    def shutdown(self) -> None:
        """Cancel what is under way, by force what does not end, and leave the cluster."""
        if self._tasks:
            for task in self._tasks:
                self._ray.cancel(task)
            _, left = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=GRACE_SECONDS)
            for task in left:
                log.warning("a Ray task did not end in %.0f s and is ended by force", GRACE_SECONDS)
                self._ray.cancel(task, force=True)
            self._tasks = []
        self._ray.shutdown()


_joined: dict[Where, Worker] = {}
"""What this process of Ray's works on: it joins a study once, and is given one task after the other."""


def do_task(where: Where) -> bool:
    """Do one task of a study, in a process of Ray's; whether one waited.

    Ray gives tasks to the main thread of such a process, and cancels by the signal of Ctrl-C.
    """
    from bench.core.signals import StopRequest

    with StopRequest() as stop:
        worker = _joined.get(where)
        if worker is None:
            worker = _joined[where] = _join(where)
        worker.stop = stop
        try:
            return stop.run_interruptible(worker.work)
        except KeyboardInterrupt:
            # It has marked its task.
            return True
        finally:
            with _uninterrupted():
                worker.study.tracker.drain(UPLOAD_SECONDS)


def _join(where: Where) -> Worker:
    from bench.execution.session import join_session, open_data

    folder = Path(tempfile.mkdtemp(prefix="reparam-bench-"))
    files = [folder / name for name, _ in where.extensions]
    for file, (_, source) in zip(files, where.extensions, strict=True):
        file.write_text(source)
    study = join_session(where.study_id, where.storage, where.tracking_uri, where.output, files)

    from rich.console import Console

    from bench.core.signals import StopRequest
    from bench.execution.progress import StudyProgress
    from bench.execution.worker import Worker

    progress = StudyProgress(Console(file=io.StringIO(), quiet=True), runs=1)
    return Worker(study, open_data(study.bound), progress, StopRequest())


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no cancellation cut the block short: it comes to its end soon."""
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _environment(share: Share) -> dict[str, str]:
    """Of Ray's processes: where this code is, unless it is installed, and their part of an accelerator's memory."""
    environment = {}
    root = str(Path(__file__).resolve().parents[3])
    if root not in site.getsitepackages():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    if share.gpus:
        environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * min(1.0, share.gpus):.3f}"
    return environment


def _answers(address: str) -> bool:
    """Whether somebody listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
            return True
    except (OSError, ValueError):
        return False


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
