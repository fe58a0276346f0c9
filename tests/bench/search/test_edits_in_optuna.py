"""What people add to a search in Optuna, or change or remove there, changes no result and crashes nothing."""

from __future__ import annotations

import re
import shutil

import optuna
import pytest
from optuna.trial import TrialState

from bench.core.errors import LostTrialError, StudyStoppedError
from bench.core.results import RunState
from bench.search.processes import this_process
from bench.search.queue import BY_HAND, NOT_BEGUN, Queue, Task, UnusableTaskError
from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord
from tests.bench.search.conftest import SPACE, objective

KINDS = {"depth": "int", "rate": "float", "kind": "choice"}
BEST = {"depth": 20, "rate": 1e-4, "kind": "a"}


@pytest.fixture(params=["journal", "sqlite"])
def address(request, tmp_path, empty_tables):
    """The storages that people open beside ours most easily."""
    if request.param == "journal":
        return str(tmp_path / "s.journal")
    return f"sqlite:///{shutil.copy(empty_tables, tmp_path / 's.db')}"


def by_hand(address, name="study/arm"):
    """The search as Optuna's own tools open it."""
    return optuna.load_study(study_name=name, storage=open_storage(address))


def distributions():
    return {
        "depth": optuna.distributions.IntDistribution(1, 64),
        "rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "kind": optuna.distributions.CategoricalDistribution(SPACE["kind"].values),
    }


def added(ended=TrialState.COMPLETE, **attributes):
    """A trial of somebody's, better than any of ours."""
    return optuna.trial.create_trial(
        params=BEST,
        distributions=distributions(),
        value=-100.0 if ended == TrialState.COMPLETE else None,
        state=ended,
        user_attrs=attributes,
        intermediate_values={1: -100.0},
    )


ADDED = {
    "enqueued": lambda study: study.enqueue_trial(BEST),
    "enqueued with other names": lambda study: study.enqueue_trial({"learning_rate": 1.0}),
    "added complete": lambda study: study.add_trial(added()),
    "added pruned": lambda study: study.add_trial(added(TrialState.PRUNED)),
    "added failed": lambda study: study.add_trial(added(TrialState.FAIL)),
    "asked": lambda study: study.ask(),
    "with attributes wiped": lambda study: study.add_trial(added(task=None, attempt=None, key=None, note=None)),
    "with attributes of another kind": lambda study: study.add_trial(added(task="a", attempt=[], key=3, note="x")),
    "with some attributes": lambda study: study.add_trial(added(task=0, state="complete", owner="me")),
}


def run(search, trials, edit=lambda: None):
    """Complete so many trials, with an edit after the second; what was proposed, and what was pruned."""
    search.offer(search.tasks(trials))
    found = []
    for number in range(trials):
        if number == 2:
            edit()
        claim = search.claim()
        claim.report(objective(claim.values), 1)
        found.append((claim.number, claim.values, claim.should_prune()))
        claim.end(RunState.COMPLETE, objective(claim.values))
    return found


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
@pytest.mark.parametrize("edit", ["added complete", "added pruned"])
def test_what_somebody_added_is_not_learnt_from(address, search, tmp_path, sampler, edit):
    pruner = {"pruner": "halving", "evaluations": 2}
    alone = run(search(str(tmp_path / "alone.journal"), sampler, **pruner), 8)
    one = search(address, sampler, **pruner)
    assert run(one, 8, lambda: [ADDED[edit](by_hand(address)) for _ in range(4)]) == alone
    assert one.best().objective > 0
    assert (len(one.attempts()), one.read()[1]) == (8, 4)


@pytest.mark.parametrize("edit", ADDED)
def test_what_somebody_added_is_ignored_and_counted(address, search, edit):
    one = search(address)
    one.offer(one.tasks(2))
    one.claim().end(RunState.COMPLETE, 2.0)
    before = one.attempts()
    if edit == "asked":
        # All that wait are given away first.
        one.claim().end(RunState.PRUNED)
        before = one.attempts()
    ADDED[edit](by_hand(address))
    again = search(address)
    assert again.read() == (before, 1)
    assert again.best().objective == 2.0
    assert again.reclaim() == []
    again.offer(again.tasks(2))
    assert again.living() is None
    assert again.waiting == sum(each.state is None for each in before)


def test_a_waiting_trial_that_somebody_asked_for_is_repeated_whatever_they_make_of_it(address, search):
    one = search(address, lease=0.3)
    one.offer(one.tasks(1))
    study = by_hand(address)
    study.tell(study.ask(), -100.0)
    assert one.best() is None
    assert [(each.state, each.reason) for each in one.attempts()] == [(RunState.INTERRUPTED, BY_HAND)]
    one.offer(one.tasks(1))
    again = one.claim()
    assert (again.number, again.attempt) == (0, 2)
    again.end(RunState.COMPLETE, 2.0)
    assert one.best().objective == 2.0


ENDED = {
    "complete": lambda study: study.tell(0, -100.0),
    "pruned": lambda study: study.tell(0, state=TrialState.PRUNED),
    "failed": lambda study: study.tell(0, state=TrialState.FAIL),
}


@pytest.mark.parametrize("end", ENDED)
def test_a_running_trial_of_ours_that_somebody_ended_is_repeated_and_not_learnt_from(address, search, tmp_path, end):
    one, alone = search(address), search(str(tmp_path / "alone.journal"))
    for each in (one, alone):
        each.offer(each.tasks(9))
    claim = one.claim()
    alone.claim().end(RunState.INTERRUPTED)
    claim.report(-100.0, 1)
    ENDED[end](by_hand(address))
    assert one.best() is None
    assert [each.state for each in one.attempts()] == [RunState.INTERRUPTED] + [None] * 8
    assert one.attempts()[0].reason == BY_HAND
    with pytest.raises(LostTrialError, match=f"was taken away: .* or {BY_HAND}"):
        claim.end(RunState.COMPLETE, 1.0)
    assert [complete_next(one) for _ in range(8)] == [complete_next(alone) for _ in range(8)]
    one.offer(one.tasks(9))
    again = one.claim()
    assert (again.number, again.attempt, again.values) == (0, 2, claim.values)


def complete_next(search):
    claim = search.claim()
    claim.end(RunState.COMPLETE, objective(claim.values))
    return claim.values


def test_a_trial_that_somebody_failed_as_it_ended_is_repeated(address, search):
    """Its process has written how it ends, and not ended it yet."""
    one = search(address)
    one.offer(one.tasks(1))
    claim = one.claim()
    write = claim.write

    def write_slowly(name, value):
        write(name, value)
        if name == "state":
            by_hand(address).tell(0, state=TrialState.FAIL)

    claim.write = write_slowly
    with pytest.raises(LostTrialError):
        claim.end(RunState.COMPLETE, 1.0)
    assert [(each.state, each.objective) for each in one.attempts()] == [(RunState.INTERRUPTED, None)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("owner", "me"),
        ("owner", {"pid": "x"}),
        # Its own identifier: that of a process differs from one test process to another.
        pytest.param("owner", {**this_process(), "pid": -4}, id="owner-no process"),
        ("owner", None),
        ("beat", "x"),
        ("state", "done"),
        ("state", "running"),
        ("reason", [1]),
    ],
    ids=str,
)
def test_an_edited_attribute_of_a_running_trial_changes_no_result(address, search, name, value):
    one = search(address, lease=0.2)
    one.offer(one.tasks(1))
    claim = one.claim()
    one.storage.set_trial_user_attr(one._id(0), name, value)
    again = search(address, lease=0.2)
    assert [(each.number, each.state) for each in again.attempts()] == [(0, RunState.RUNNING)]
    assert again.reclaim() == []
    living = again.living()
    assert living is None if name == "owner" else living.owner == this_process()
    claim.end(RunState.COMPLETE, 2.0)
    assert [(each.state, each.objective) for each in again.attempts()] == [(RunState.COMPLETE, 2.0)]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("x", "'x' gives no values by name"),
        ({"depth": "x"}, "depth='x' is not in 1 … 64, whole"),
        ({"depth": 65}, "depth=65 is not in 1 … 64, whole"),
        ({"depth": None}, "depth=None is not in 1 … 64, whole"),
        ({"kind": "z"}, "kind='z' is not in a | b | c"),
        ({"mine": 1}, "'mine' is not swept: depth, rate, kind"),
    ],
    ids=str,
)
@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_a_waiting_trial_with_values_that_cannot_be_used_fails_and_the_next_is_claimed(
    address, search, sampler, values, problem
):
    one = search(address, sampler)
    one.offer(one.tasks(2))
    one.storage.set_trial_system_attr(one._id(0), "fixed_params", values)
    other = search(address, sampler)
    with pytest.raises(UnusableTaskError, match=re.escape(problem)):
        other.claim()
    assert other.claim().number == 1
    failed = one.attempts()[0]
    assert (failed.state, failed.reason, failed.could_begin) == (RunState.FAILED, f"{NOT_BEGUN}{problem}", False)


class FaultySampler(optuna.samplers.RandomSampler):
    def sample_independent(self, *arguments):
        raise ValueError("a fault of the sampler's own")


def test_a_fault_of_the_sampler_is_no_trial_s(address, search):
    one = search(address, FaultySampler())
    one.offer(one.tasks(5))
    one.claim().end(RunState.COMPLETE, 1.0)
    with pytest.raises(ValueError, match="a fault of the sampler's own"):
        one.claim()
    assert [each.state for each in one.attempts()] == [RunState.COMPLETE, RunState.RUNNING, None, None, None]


def test_another_kind_of_range_in_the_storage_stops_the_study_with_a_line(address, search):
    one = search(address)
    one.offer(one.tasks(2))
    by_hand(address).add_trial(
        optuna.trial.create_trial(
            params={"depth": "deep"},
            distributions={"depth": optuna.distributions.CategoricalDistribution(("deep", "flat"))},
            value=1.0,
        )
    )
    with pytest.raises(StudyStoppedError, match=r"another kind of range for 'depth' .* `reparam-bench delete study`"):
        search(address).claim()


@pytest.mark.parametrize("what", ["study/arm", "study/final"])
def test_a_search_that_is_removed_meanwhile_says_so(address, search, what):
    one = search(address) if what == "study/arm" else StudyRecord(open_storage(address), "study", 60.0).finals
    note = dict.fromkeys(("arm", "trial", "values", "config", "config_hash", "seed"), "x")
    one.set_open(True)
    one.offer([Task(number, note=note) for number in range(2)])
    claim = one.claim()
    optuna.delete_study(study_name=what, storage=open_storage(address))
    for use in (
        one.attempts,
        one.settled,
        one.best,
        one.reclaim,
        one.claim,
        lambda: one.waiting,
        lambda: one.set_open(False),
        lambda: one.offer([Task(5)]),
        lambda: claim.end(RunState.COMPLETE, 1.0),
        lambda: claim.end(RunState.INTERRUPTED),
    ):
        with pytest.raises(StudyStoppedError, match=rf"{what} is not in the storage any more.*bench delete study`"):
            use()


def test_tickets_that_somebody_asked_for_are_none(address):
    record = StudyRecord(open_storage(address), "study", 60.0)
    by_hand(address, "study/final/coordinator").ask()
    assert record.watch_coordinator().observe().is_gone
    with record.coordinator_lock() as heartbeat:
        by_hand(address, "study/final/coordinator").ask()
        assert not record.watch_coordinator().observe().is_gone
        assert not heartbeat.lost
    assert record.watch_coordinator().observe().is_gone


def test_a_lock_that_is_removed_while_it_is_held_is_released(address):
    record = StudyRecord(open_storage(address), "study", 60.0)
    with record.coordinator_lock():
        optuna.delete_study(study_name="study/final/coordinator", storage=open_storage(address))


def test_a_final_run_without_its_note_is_none_of_ours(address):
    finals = StudyRecord(open_storage(address), "study", 60.0).finals
    finals.offer([Task(0, note={"arm": "vae"})])
    assert finals.read() == ([], 1)


def test_another_study_beside_ours_changes_nothing(address, search):
    one = search(address)
    one.offer(one.tasks(1))
    optuna.create_study(study_name="mine", storage=open_storage(address)).add_trial(added())
    assert len(Queue(open_storage(address), "study/arm").attempts()) == 1
    assert (search(address).read()[1], search(address).waiting) == (0, 1)
