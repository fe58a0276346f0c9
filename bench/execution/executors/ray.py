"""Executor on a Ray cluster: each Ray task runs one work item, a queued trial or final run of the study.

Ray places its tasks; the storage's leases recover the work item of a Ray task that is lost.
"""

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
"""Interval of reading the cluster's resources, as nodes come and go."""
LOST_SECONDS = 15.0
"""Seconds without an answer from Ray's head node before the study stops. Ray ends this process after a minute."""
FAILURES_A_PLACE = 5
"""The study stops after this many failed Ray tasks in a row, times the room for them."""
UPLOAD_SECONDS = 20.0
"""A Ray task waits this long for its upload; the next one in its process uploads the rest."""
GRACE_SECONDS = 60.0
"""Time for cancelled Ray tasks to end before they are killed."""
ANY_CLUSTER = "auto"
"""Ray's address of the cluster that this machine belongs to."""


@dataclass(frozen=True)
class Resources:
    """What a Ray task requests of its node.

    Attributes:
        cpus: processors.
        gpus: accelerators; a fraction is a part of one, which several Ray tasks share.
    """

    cpus: float = 1.0
    gpus: float = 0.0

    def places(self, available: Mapping[str, float]) -> int:
        """How many Ray tasks fit a node."""
        asked = {"CPU": self.cpus, "GPU": self.gpus}
        # Ray rounds resources to ten-thousandths.
        return min(int(available.get(name, 0.0) / each + 1e-4) for name, each in asked.items() if each)

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"


@dataclass(frozen=True)
class Where:
    """Where a Ray task finds its study. Addresses are passed as arguments, which Ray does not log.

    Attributes:
        study_id: the study's identifier.
        storage: the storage's address; None for the output folder's.
        tracking_uri: the tracking server's; likewise.
        output: folder of the process's checkpoints, log and outbox.
        extensions: name and source of the user's files that the study needs.
    """

    study_id: str
    storage: str | None
    tracking_uri: str | None
    output: Path
    extensions: tuple[tuple[str, str], ...] = ()


def connect(address: str | None, resources: Resources) -> None:
    """Connect to a Ray cluster as its driver, and check that a node has the resources of a Ray task.

    Args:
        address: ``host:port`` of the head node; None for the cluster that this machine belongs to.
        resources: what a Ray task requests.

    Raises:
        SettingsError: Ray is not installed, there is no such cluster, or no node has these resources.
    """
    try:
        import ray
    except ImportError as error:
        raise SettingsError("engine='ray' needs Ray, which is not installed: pip install -e '.[ray]'") from error
    where = address or ANY_CLUSTER
    if "://" in where:
        raise SettingsError(
            f"address={where!r} is not HOST:PORT: run the command on a machine of the cluster (`ray start "
            "--address=HOST:PORT` adds this one), or submit it as a job"
        )
    if address is not None and not _answers(address):
        raise SettingsError(f"address={address!r}: no Ray cluster answers there; `ray start --head` starts one")
    # Otherwise Ray prints to the terminal, also every line that a Ray task prints.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=where, log_to_driver=False, configure_logging=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = _first_line(error)
        raise SettingsError(f"address={where!r}: no Ray cluster can be joined there ({reason})") from error
    nodes = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    if not any(resources.places(each) for each in nodes):
        has = "; ".join(sorted(f"{each.get('CPU', 0):g} CPUs and {each.get('GPU', 0):g} GPUs" for each in nodes))
        ray.shutdown()
        raise SettingsError(
            f"a trial requests {resources}, which no node of the cluster has (its nodes: {has or 'none'}): give other "
            "--cpus-per-trial and --gpus-per-trial"
        )


class RayTasks:
    """Ray tasks on the cluster of :func:`connect`, each of which runs one work item.

    Ray must not retry a task: the storage requeues the work item of a lost one, which a retry would run twice.

    Args:
        study: the study whose queues the Ray tasks work on.
        resources: what each Ray task requests of its node.
        count: most Ray tasks at once; by default as many as fit the cluster.
    """

    def __init__(self, study: StudySession, resources: Resources, count: int | None = None) -> None:
        import ray

        settings = study.bound.settings
        self._ray = ray
        self._study = study
        self._resources = resources
        self._most = count
        files = tuple((each.path.name, each.path.read_text()) for each in code_extensions())
        self._where = Where(
            study.bound.study_id, settings.storage, settings.tracking_uri, settings.output.resolve(), files
        )
        self._head = ray.get_runtime_context().gcs_address
        self._submit = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_retries=0,
            name=f"{study.bound.study_id} task",
            runtime_env={"env_vars": _environment(resources)},
        )(run_queued_trial)
        self._tasks: list[Any] = []
        self._failures = 0
        self._room, self._room_due = 0, 0.0
        self._answered = time.monotonic()

    def poll(self) -> None:
        """Start Ray tasks while work items are queued and there is room, then collect those that have ended.

        Raises:
            StudyStoppedError: Ray is gone, or one Ray task after the other fails.
        """
        if not self._is_there():
            time.sleep(POLL_SECONDS)
            return
        room = self._most_at_once()
        missing = min(room - len(self._tasks), self._count_queued())
        self._tasks += [self._submit.remote(self._where) for _ in range(missing)]
        if not self._tasks:
            time.sleep(POLL_SECONDS)
            return
        ended, self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=POLL_SECONDS)
        for task in ended:
            self._collect(task, room)

    def _is_there(self) -> bool:
        """Whether Ray's head node answers now.

        Checked by a connection, as Ray's own calls block until the node returns, and finally end this process.
        """
        now = time.monotonic()
        if _answers(self._head):
            self._answered = now
            return True
        if now - self._answered > LOST_SECONDS:
            self._tasks = []
            self._ray.shutdown()
            raise StudyStoppedError(
                f"Ray's head node {self._head} has not answered for {LOST_SECONDS:.0f} s: the same command continues "
                "once it is back, or here without --engine"
            )
        return False

    def _most_at_once(self) -> int:
        """The largest number of Ray tasks to run at once."""
        if time.monotonic() >= self._room_due:
            alive = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
            self._room = sum(self._resources.places(each) for each in alive)
            self._room_due = time.monotonic() + ROOM_SECONDS
        return self._room if self._most is None else min(self._most, self._room)

    def _count_queued(self) -> int:
        return sum(queue.waiting for queue in self._study.queues.values())

    def _collect(self, task: Any, room: int) -> None:
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            self._failures += 1
            # The task's own error, if there is one: Ray's text of it is a traceback.
            reason = _first_line(getattr(error, "cause", None) or error)
            log.warning("a Ray task is lost; its work item is requeued at the end of its lease: %s", reason)
            if self._failures >= FAILURES_A_PLACE * max(1, room):
                raise StudyStoppedError(
                    f"{self._failures} Ray tasks in a row failed, the last one by: {reason}; once that is fixed, the "
                    "same command continues"
                ) from error
        else:
            self._failures = 0

    def shutdown(self) -> None:
        """Cancel the running Ray tasks, kill those that do not end, and disconnect."""
        if self._tasks:
            for task in self._tasks:
                self._ray.cancel(task)
            _, left = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=GRACE_SECONDS)
            for task in left:
                log.warning("a Ray task did not end in %.0f s and is killed", GRACE_SECONDS)
                self._ray.cancel(task, force=True)
            self._tasks = []
        self._ray.shutdown()


_joined: dict[Where, Worker] = {}
"""The studies that this process of Ray's has joined, each once for all of its Ray tasks."""


def run_queued_trial(where: Where) -> bool:
    """Run one work item of a study, in a process of Ray's; False if none is queued.

    Ray runs tasks in the main thread of such a process, and cancels them by SIGINT.
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
            # The worker has marked its work item as interrupted.
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
    """Ignore SIGINT in the block, which ends soon."""
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _environment(resources: Resources) -> dict[str, str]:
    """Environment of Ray's processes: the path of this code, unless installed, and their share of an accelerator."""
    environment = {}
    root = str(Path(__file__).resolve().parents[3])
    if root not in site.getsitepackages():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    if resources.gpus:
        environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * min(1.0, resources.gpus):.3f}"
    return environment


def _answers(address: str) -> bool:
    """Whether ``host:port`` accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
            return True
    except (OSError, ValueError):
        return False


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
