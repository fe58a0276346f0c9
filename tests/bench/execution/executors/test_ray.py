"""Ray's tasks as an executor, with a stand-in for Ray: no cluster is needed."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bench.core.errors import SettingsError, StudyStoppedError
from bench.execution.executors import ray as ray_executor
from bench.execution.executors.ray import FAILURES_A_PLACE, RayTasks, Resources, connect

ADDRESS = "postgresql://me:secret@host/db"


class RayError(Exception):
    pass


class FakeRay(ModuleType):
    """A cluster in which tasks end as a test wants them to."""

    def __init__(self, head):
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.head = head
        self.resources = [{"CPU": 2.0}, {"CPU": 1.0, "GPU": 1.0}]
        self.options, self.submitted, self.ended, self.cancelled = {}, [], {}, []
        self.obstinate = False
        self.connected = False

    def init(self, **options):
        self.connected = True

    def shutdown(self):
        self.connected = False

    def nodes(self):
        gone = {"Alive": False, "Resources": {"CPU": 64.0}}
        return [gone, *({"Alive": True, "Resources": each} for each in self.resources)]

    def get_runtime_context(self):
        return SimpleNamespace(gcs_address=self.head)

    def remote(self, **options):
        self.options = options
        return lambda function: SimpleNamespace(remote=self._submit)

    def _submit(self, *arguments):
        self.submitted.append(arguments)
        return len(self.submitted)

    def wait(self, tasks, num_returns, timeout):
        ended = [task for task in tasks if task in self.ended]
        return ended, [task for task in tasks if task not in self.ended]

    def get(self, task):
        if isinstance(self.ended[task], Exception):
            raise self.ended[task]
        return self.ended[task]

    def cancel(self, task, force=False):
        self.cancelled.append((task, force))
        if force or not self.obstinate:
            self.ended[task] = RayError("cancelled")


@pytest.fixture
def head():
    """A port that answers, as the head node's does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def ray(monkeypatch, head):
    fake = FakeRay(f"127.0.0.1:{head.getsockname()[1]}")
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_executor, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(ray_executor, "ROOM_SECONDS", 0.0)
    return fake


@pytest.fixture
def executor(ray, tmp_path):
    """Makes an executor of a study in which so many tasks wait."""

    def make(waiting, count=None, share=None):
        settings = SimpleNamespace(storage=ADDRESS, tracking_uri=None, output=tmp_path)
        queues = {"vae": SimpleNamespace(waiting=waiting), "final": SimpleNamespace(waiting=0)}
        study = SimpleNamespace(bound=SimpleNamespace(study_id="tiny-1", settings=settings), queues=queues)
        return RayTasks(study, share or Resources(), count)

    return make


@pytest.mark.parametrize(
    ("waiting", "count", "share", "tasks"),
    [
        (9, None, Resources(), 3),
        (9, 2, Resources(), 2),
        (9, 64, Resources(), 3),
        (2, None, Resources(), 2),
        (0, None, Resources(), 0),
        (9, None, Resources(0.5), 6),
        (12, None, Resources(0.1, 0.1), 10),
        (9, None, Resources(2.0), 1),
        (9, None, Resources(1.0, 1.0), 1),
    ],
)
def test_so_many_tasks_are_under_way_as_tasks_wait_and_the_cluster_has_room_for(
    executor, ray, waiting, count, share, tasks
):
    executor(waiting, count, share).poll()
    assert len(ray.submitted) == tasks
    assert (ray.options["num_cpus"], ray.options["num_gpus"]) == (share.cpus, share.gpus)


def test_ended_tasks_make_room_for_others(executor, ray):
    running = executor(9)
    running.poll()
    ray.ended = {1: True, 3: True}
    running.poll()
    running.poll()
    assert len(ray.submitted) == 5


def test_ray_retries_nothing_and_is_given_no_address_that_it_would_write_down(executor, ray):
    executor(1).poll()
    assert ray.options["max_retries"] == 0
    assert "secret" not in repr(ray.options)
    ((where,),) = ray.submitted
    assert where.storage == ADDRESS


def test_the_code_is_found_where_it_is_not_installed_and_memory_is_shared(executor, ray):
    executor(1, share=Resources(1.0, 0.25))
    environment = ray.options["runtime_env"]["env_vars"]
    assert environment["PYTHONPATH"].startswith(str(Path(ray_executor.__file__).parents[3]))
    assert environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.225"


def test_a_lost_task_is_reported_in_a_line_and_another_takes_its_place(executor, ray, caplog):
    running = executor(1)
    running.poll()
    ray.ended[1] = RayError("the node died\nand much more")
    running.poll()
    running.poll()
    assert len(ray.submitted) > 1
    assert [each.getMessage() for each in caplog.records] == [
        "a Ray task is lost; its work item is requeued at the end of its lease: RayError: the node died"
    ]


def test_many_lost_tasks_in_a_row_stop_the_study_with_the_last_reason(executor, ray):
    running = executor(1, count=1)
    error = RayError("a traceback")
    error.cause = ImportError("no module named bench")
    ray.ended = dict.fromkeys(range(1, 3 * FAILURES_A_PLACE), error) | {FAILURES_A_PLACE: True}
    for _ in range(2 * FAILURES_A_PLACE - 1):
        running.poll()
    with pytest.raises(StudyStoppedError, match=r"5 Ray tasks in a row failed, .* by: ImportError: no module named b"):
        running.poll()


def test_a_head_node_that_is_gone_stops_the_study_with_the_way_out(executor, ray, head, monkeypatch):
    running = executor(9)
    running.poll()
    head.close()
    ray.connected = True
    running.poll()
    assert (len(ray.submitted), ray.connected) == (3, True)
    monkeypatch.setattr(ray_executor, "LOST_SECONDS", 0.0)
    with pytest.raises(StudyStoppedError, match=f"head node {ray.head} has not answered .* or here without --engine"):
        running.poll()
    running.shutdown()
    assert (ray.cancelled, ray.connected) == ([], False)


@pytest.mark.parametrize("obstinate", [False, True])
def test_at_a_shutdown_tasks_are_cancelled_and_those_that_do_not_end_are_forced_to(executor, ray, obstinate):
    running = executor(2)
    running.poll()
    ray.connected, ray.obstinate = True, obstinate
    running.shutdown()
    asked, forced = [(1, False), (2, False)], [(1, True), (2, True)]
    assert ray.cancelled == (asked + forced if obstinate else asked)
    assert not ray.connected
    running.shutdown()
    assert len(ray.cancelled) == (4 if obstinate else 2)


@pytest.mark.parametrize("share", [Resources(4.0), Resources(2.0, 1.0), Resources(1.0, 2.0)])
def test_what_no_node_has_is_refused_at_once_with_what_there_is(ray, share):
    with pytest.raises(SettingsError, match=r"its nodes: 1 CPUs and 1 GPUs; 2 CPUs and 0 GPUs\)"):
        connect(ray.head, share)
    assert not ray.connected


def test_a_cluster_that_has_room_is_joined(ray):
    connect(ray.head, Resources(1.0, 0.5))
    assert ray.connected


def test_an_address_at_which_nobody_answers_is_named(ray, head):
    head.close()
    with pytest.raises(SettingsError, match=f"address='{ray.head}': no Ray cluster answers there"):
        connect(ray.head, Resources())


def test_a_cluster_that_cannot_be_joined_is_named(ray, monkeypatch):
    def refuse(**options):
        raise ConnectionError("Could not find any running Ray instance.\nDetails")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(SettingsError, match=r"address='auto': .*\(ConnectionError: Could not find .* instance\.\)"):
        connect(None, Resources())


def test_the_address_of_a_client_is_refused(ray):
    with pytest.raises(SettingsError, match="is not HOST:PORT"):
        connect("ray://host:10001", Resources())


def test_missing_ray_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install -e '\.\[ray\]'"):
        connect(None, Resources())
