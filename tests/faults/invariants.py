"""What must hold of a study after its end, whatever happened to it: nothing lost, nothing doubled, all as computed.

A task is settled once for each rung that it is trained to: each of its attempts that count reaches further than the one
before, and logs the whole learning curve from the first evaluation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from bench.core.results import RunState
from bench.core.seeds import derive_seed
from bench.execution.session import CHECKPOINTS_KEPT
from bench.search.queue import ALWAYS, DIED, MAX_DEATHS, Attempt, Queue
from bench.search.sampler import Search
from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord
from bench.study.config import RunConfig
from bench.study.definition import FINALS, BoundStudy
from bench.tracking.schema import EVALUATION_SUFFIX, KEY_TAG, STATUS
from tests.faults import expected

LONGEST_LIST = 12


@dataclass
class Findings:
    """What was found of a study.

    Attributes:
        counts: figures for a table.
        violations: what should not be, in sentences.
    """

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: object, count: str, what: str) -> None:
        """Note a violation of the kind ``count`` unless something holds."""
        self.counts[count] += not holds
        if not holds:
            self.violations.append(f"{count}: {what}")

    def assert_none(self) -> None:
        """Raises AssertionError: something is not as it should be."""
        shown = "\n".join(self.violations[:LONGEST_LIST])
        assert not self.violations, f"{len(self.violations)} violations:\n{shown}"


def check(bound: BoundStudy, tracking_uri: str) -> Findings:
    """Look at a study that is complete, in storage, tracking store and output folder."""
    found = Findings()
    storage = open_storage(bound.settings.storage_url)
    record = StudyRecord(storage, bound.study_id, bound.settings.lease)
    searches = {
        arm.name: Search(
            storage,
            f"{bound.study_id}/{arm.name}",
            space=arm.sweep,
            first=bound.first_values(arm),
            sampler=bound.sampler,
            pruner=bound.settings.pruner,
            evaluations=bound.base(arm).training.evaluations,
            seed=bound.settings.seed,
        )
        for arm in bound.study.arms
    }
    wanted = set(range(bound.settings.trials))
    queues: dict[str, tuple[Queue, set[int]]] = {name: (search, wanted) for name, search in searches.items()}
    for name, search in searches.items():
        settled = search.settled()
        short = [
            task.number
            for task in search.tasks(bound.settings.trials)
            if task.number not in settled or not task.is_settled_by(settled[task.number])
        ]
        found.expect(not short, "lost trials", f"{name} {short} were not trained as far as their rungs")
    finals = {each.number for each in record.finals.attempts()}
    found.expect(len(finals) >= bound.settings.seeds * len(queues), "lost trials", "final runs were never offered")
    queues[FINALS] = (record.finals, finals)
    attempts: dict[str, tuple[str, Attempt]] = {}
    for kind, (queue, wanted) in queues.items():
        _check_tasks(found, kind, queue.attempts(), wanted)
        attempts.update({each.key: (kind, each) for each in queue.attempts()})
    found.expect(record.watch_coordinator().observe().is_gone, "unended", "the storage has a coordinator")
    _check_runs(found, bound, attempts, MlflowClient(tracking_uri))
    may_remain = _kept_checkpoints(bound, searches, record.finals)
    for folder in ("outbox", "checkpoints"):
        files = [each for each in (bound.settings.output / folder).rglob("*") if each.is_file()]
        left = [str(each) for each in files if folder == "outbox" or each.name not in may_remain]
        found.expect(not left, f"{folder} left", f"{len(left)} files: {left[:4]}")
    found.counts["checkpoints kept"] += len(files)
    return found


def _kept_checkpoints(bound: BoundStudy, searches: dict[str, Search], finals: Queue) -> set[str]:
    """The names of those that a larger budget would continue; no half-written file has one of them."""
    names, selected = set(), set()
    for name, search in searches.items():
        names |= {f"{name}-{number}.npz" for number in search.foremost(CHECKPOINTS_KEPT)}
        best = search.best()
        if best is not None:
            selected.add(bound.configure(bound.study.arm(name), best.values).hash)
    of_finals = [each.number for each in finals.complete() if each.note["config_hash"] in selected]
    return names | {f"{FINALS}-{number}.npz" for number in of_finals}


def _check_tasks(found: Findings, kind: str, attempts: list[Attempt], wanted: set[int]) -> None:
    """Each task is settled, once a rung; its attempts are numbered; three deaths are the end of it, and not two."""
    by_task: dict[int, list[Attempt]] = defaultdict(list)
    for each in attempts:
        by_task[each.number].append(each)
    found.counts["tasks"] += len(wanted)
    found.counts["attempts"] += len(attempts)
    found.expect(set(by_task) == wanted, "lost trials", f"{kind}: {wanted ^ set(by_task)} offered or not")
    for number, those in sorted(by_task.items()):
        name = f"{kind} {number}"
        counting = [each for each in those if each.counts]
        found.expect(counting, "lost trials", f"{name} is not settled: {[each.state for each in those]}")
        reached = [each.reached for each in counting]
        found.expect(
            all(before < after for before, after in pairwise(reached)), "duplicates", f"{name} is settled at {reached}"
        )
        found.counts["attempts that continued a trial"] += max(0, len(counting) - 1)
        numbers = [each.attempt for each in those]
        found.expect(numbers == list(range(1, len(those) + 1)), "duplicates", f"{name} has the attempts {numbers}")
        states = [each.state for each in those if each.state in (None, RunState.RUNNING)]
        found.expect(not states, "unended", f"{name} has attempts that are {states}")
        found.counts["interrupted otherwise"] += sum(
            each.state == RunState.INTERRUPTED and each.reason != DIED for each in those
        )
        for rung in _by_rung(those):
            deaths = sum(each.reason == DIED and each.state == RunState.INTERRUPTED for each in rung)
            given_up = [each for each in rung if each.state == RunState.FAILED]
            found.counts["deaths"] += deaths + len(given_up)
            found.counts["given up after three deaths"] += len(given_up)
            found.expect(
                (deaths == MAX_DEATHS - 1 and "died" in given_up[0].reason) if given_up else deaths < MAX_DEATHS,
                "wrongly given up",
                f"{name} after {deaths} deaths: {[each.reason for each in rung]}",
            )


def _by_rung(attempts: list[Attempt]) -> list[list[Attempt]]:
    """The attempts at a task, those up to each that counts together."""
    counting = [sum(before.counts for before in attempts[:i]) for i in range(len(attempts))]
    return [[each for _, each in group] for _, group in groupby(zip(counting, attempts, strict=True), lambda x: x[0])]


def _check_runs(
    found: Findings, bound: BoundStudy, attempts: dict[str, tuple[str, Attempt]], client: MlflowClient
) -> None:
    experiment = client.get_experiment_by_name(f"reparam-bench/{bound.study.name}")
    assert experiment is not None
    everything: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], "", ViewType.ACTIVE_ONLY, 1000, page_token=token)
        everything += page
        token = page.token
        if not token:
            break
    made_by_hand = [run for run in everything if "reparam.role" not in run.data.tags]
    found.counts["runs made by hand"] += len(made_by_hand)
    everything = [run for run in everything if run not in made_by_hand]
    parents = [run for run in everything if run.data.tags["reparam.role"] == "study"]
    found.expect(len(parents) == 1, "duplicates", f"{len(parents)} runs of the study itself")
    found.expect(
        all(run.info.status == "FINISHED" for run in parents), "unended", f"study {[r.info.status for r in parents]}"
    )
    runs: dict[str, list[Any]] = defaultdict(list)
    for run in everything:
        if run not in parents:
            runs[run.data.tags[KEY_TAG]].append(run)
    found.counts["runs"] += len(everything) - len(parents)
    found.expect(not set(runs) - set(attempts), "duplicates", f"runs of no attempt: {set(runs) - set(attempts)}")
    for key, (kind, attempt) in attempts.items():
        own = runs.get(key, [])
        name = f"{kind} {attempt.number}, attempt {attempt.attempt} ({attempt.state})"
        needs_one = attempt.counts and attempt.state != RunState.FAILED
        found.expect(len(own) < 2, "duplicates", f"{name} has {len(own)} runs")
        found.expect(own or not needs_one, "lost trials", f"{name} has no run")
        for run in own:
            _check_run(found, bound, name, kind, attempt, run, client)
    for arm in bound.study.arms:
        models = client.search_registered_models(f"name = 'reparam-bench.{bound.study_id}.{arm.name}'")
        found.expect(models and "champion" in models[0].aliases, "lost models", f"{arm.name} has no champion")
        for model in models:
            versions = client.search_model_versions(f"name = '{model.name}'")
            distinct = {version.run_id for version in versions}
            found.expect(len(distinct) == len(versions), "duplicates", f"{arm.name} has a model registered twice")


def _check_run(
    found: Findings,
    bound: BoundStudy,
    name: str,
    kind: str,
    attempt: Attempt,
    run: Any,
    client: MlflowClient,
) -> None:
    state = attempt.state or RunState.RUNNING
    found.expect(run.info.status != "RUNNING", "RUNNING", f"{name}: its run {run.info.run_id}")
    found.expect(run.info.status == STATUS[state], "wrong ends", f"{name}: its run is {run.info.status}")
    logged, reason = run.data.tags.get("reparam.state"), run.data.tags.get("reparam.reason", "")
    found.expect(logged == state, "wrong ends", f"{name}: its run says {logged}")
    found.expect(
        bool(reason) == (state != RunState.COMPLETE), "wrong ends", f"{name}: its run gives the reason {reason!r}"
    )
    if kind == FINALS:
        config = RunConfig.model_validate(attempt.note["config"])
        seed = derive_seed(bound.settings.seed, FINALS, attempt.note["seed"])
    else:
        config = bound.configure(bound.study.arm(kind), attempt.values)
        seed = derive_seed(bound.settings.seed, kind, attempt.number)
    curve = expected.curve(config, seed)
    if attempt.counts and attempt.reached != ALWAYS:
        curve = curve[: attempt.reached]
    evaluations = _evaluations(client, run.info.run_id, f"{expected.VALUE}{EVALUATION_SUFFIX}")
    is_whole = state in (RunState.COMPLETE, RunState.DIVERGED) or attempt.stopped_at is not None
    due = curve if is_whole else curve[: len(evaluations)]
    found.counts["metrics"] += len(evaluations)
    steps = [step for step, _ in evaluations]
    found.counts["doubled metrics"] += len(steps) - len(set(steps))
    found.counts["lost metrics"] += len(set(range(1, len(due) + 1)) - set(steps))
    if evaluations != list(enumerate(due, 1)):
        found.violations.append(f"metrics of {name}, run {run.info.run_id}: {evaluations} instead of {due}")
    reported = attempt.frozen.intermediate_values
    if attempt.counts and state != RunState.FAILED:
        found.expect(
            reported == dict(enumerate(due, 1)), "lost metrics", f"{name} reported {reported} instead of {due}"
        )
    if state == RunState.COMPLETE:
        # A final run counts by the evaluation whose weights it keeps.
        due_objective = min(curve) if kind == FINALS else curve[-1]
        found.expect(attempt.objective == due_objective, "wrong objectives", f"{name} reached {attempt.objective}")
        split = "test" if kind == FINALS else "validation"
        found.expect(run.data.metrics.get(f"{split}/bits_per_dim") == curve[-1], "lost metrics", f"{name}: its figure")
        if kind == FINALS:
            outputs = run.outputs.model_outputs if run.outputs else []
            found.expect(len(outputs) == 1, "lost models", f"{name} has {len(outputs)} models")
            pictures = {each.path for each in client.list_artifacts(run.info.run_id, "pictures")}
            found.expect(pictures == {"pictures/samples.png"}, "lost files", f"{name} has {pictures}")


def _evaluations(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    """Steps and values in the order of the steps: timestamps are those of a clock that may be set."""
    history = client.get_metric_history(run_id, key)
    return sorted((each.step, each.value) for each in history)
