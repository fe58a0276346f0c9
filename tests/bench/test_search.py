"""The search: what it proposes, what it remembers, and what it takes back from processes that are gone."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import TrackingError
from bench.results import RunState
from bench.search import Search
from bench.space import Choices, Integers, Reals

ROOT = Path(__file__).resolve().parents[2]
SPACE = {"depth": Integers(1, 64), "rate": Reals(1e-4, 1e-1, log=True), "kind": Choices(("a", "b", "c"))}
FIRST = {"depth": 4, "rate": 1e-3, "kind": "b"}
SAMPLERS = ("tpe", "qmc", "random")


@pytest.fixture
def storage(tmp_path):
    return str(tmp_path / "search.journal")


def search(storage, sampler="tpe", space=SPACE, first=FIRST, **changes):
    settings = {"pruning": False, "reports": 10, "seed": 0, **changes}
    return Search("study/family", storage, space, first, sampler, **settings)


def objective(values):
    return abs(values["depth"] - 20) + values.get("rate", 0.0)


def run(search, trials):
    """Complete so many trials; their values."""
    proposed = []
    for _ in range(trials):
        proposal = search.ask()
        proposed.append(proposal.values)
        proposal.end(RunState.COMPLETE, objective(proposal.values))
    return proposed


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_trial_is_the_base_configuration_and_all_others_lie_in_the_space(storage, sampler):
    proposed = run(search(storage, sampler), 10)
    assert proposed[0] == FIRST
    assert all(value in SPACE[name] for values in proposed for name, value in values.items())
    assert len({json.dumps(values) for values in proposed}) == 10


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_interrupted_after_each_trial_proposes_what_an_uninterrupted_one_does(tmp_path, sampler):
    whole = run(search(str(tmp_path / "whole.journal"), sampler), 9)
    parts = str(tmp_path / "parts.journal")
    assert [run(search(parts, sampler), 1)[0] for _ in range(9)] == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_interrupted_in_the_midst_of_trials_proposes_the_same_values_in_the_same_order(tmp_path, sampler):
    whole = run(search(str(tmp_path / "whole.journal"), sampler), 8)
    parts = str(tmp_path / "parts.journal")
    finished = []
    for number in range(8):
        if number in (0, 2, 5):
            search(parts, sampler).ask().end(RunState.INTERRUPTED)
        finished += run(search(parts, sampler), 1)
    assert finished == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_seed_proposes_other_values(tmp_path, sampler):
    one, other = (run(search(str(tmp_path / f"{seed}.journal"), sampler, seed=seed), 5)[1:] for seed in (0, 1))
    assert all(a != b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_failing_first_trials_do_not_make_a_search_repeat_itself(storage, sampler):
    failing = search(storage, sampler)
    proposed = []
    for _ in range(5):
        proposal = failing.ask()
        proposed.append(json.dumps(proposal.values))
        proposal.end(RunState.DIVERGED)
    assert len(set(proposed)) == 5


def test_tpe_looks_where_trials_were_good(storage):
    def mean_distance(sampler):
        proposed = run(search(f"{storage}.{sampler}.journal", sampler, {"depth": Integers(1, 640)}, {"depth": 600}), 30)
        return sum(abs(values["depth"] - 20) for values in proposed[-15:])

    assert mean_distance("tpe") < 0.5 * mean_distance("random")


def test_quasi_random_values_cover_the_space_evenly(storage):
    proposed = run(search(storage, "qmc", {"depth": Integers(0, 63)}, {"depth": 0}), 17)[1:]
    assert sorted(values["depth"] // 8 for values in proposed) == sorted([*range(8)] * 2)


def test_every_end_is_remembered_with_its_state_and_counted_once(storage):
    states = [s for s in RunState if s not in (RunState.RUNNING, RunState.INTERRUPTED)]
    one = search(storage)
    for state in states:
        one.ask().end(state, 1.5 if state == RunState.COMPLETE else None)
    again = search(storage)
    assert [trial.state for trial in again.trials()] == states
    assert [trial.number for trial in again.trials()] == list(range(len(states)))
    assert again.done() == len(states)
    best = again.best()
    assert (best.number, best.values, best.objective, best.state) == (0, FIRST, 1.5, RunState.COMPLETE)


def test_the_best_is_the_complete_trial_with_the_lowest_objective(storage):
    one = search(storage)
    assert one.best() is None
    for state, value in ((RunState.COMPLETE, 0.5), (RunState.COMPLETE, -0.25), (RunState.COMPLETE, 0.0)):
        one.ask().end(state, value)
    pruned = one.ask()
    pruned.report(-9.0, 1)
    pruned.end(RunState.PRUNED)
    assert one.best().number == 1


def test_a_trial_that_lags_behind_is_pruned_but_neither_early_nor_among_the_first(storage):
    one = search(storage, pruning=True, reports=10)
    asked = {}
    for number, level in enumerate((3.0, 1.0, 1.0, 5.0)):
        proposal = one.ask()
        asked[number] = [proposal.report(level, step) for step in range(1, 11)]
        proposal.end(RunState.COMPLETE, level)
    assert not any(asked[0] + asked[1] + asked[2])
    assert asked[3][:4] == [False] * 4
    assert any(asked[3])


def test_nothing_is_pruned_where_pruning_is_off(storage):
    one = search(storage, pruning=False)
    for level in (1.0, 1.0, 1.0, 99.0):
        proposal = one.ask()
        assert not any(proposal.report(level, step) for step in range(1, 11))
        proposal.end(RunState.COMPLETE, level)


def test_an_interrupted_trial_is_queued_again_and_not_counted(storage):
    one = search(storage, "random")
    run(one, 2)
    stopped = one.ask()
    stopped.end(RunState.INTERRUPTED)
    assert one.done() == 2
    assert one.trials()[2].state == RunState.INTERRUPTED
    again = search(storage, "random").ask()
    assert again.values == stopped.values
    assert again.number != stopped.number


ASK_AND_WAIT = """
import sys, time
from bench.search import Search
from bench.space import Integers
search = Search("study/family", sys.argv[1], {"depth": Integers(1, 64)}, {"depth": 4}, "tpe", False, 10, 0)
proposal = search.ask()
proposal.report(1.0, 1)
print(proposal.number, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_trial_is_taken_back_from_a_killed_process_but_not_from_a_living_one(tmp_path, kind):
    storage = str(tmp_path / "s.journal") if kind == "journal" else f"sqlite:///{tmp_path / 's.db'}"
    settings = {"space": {"depth": Integers(1, 64)}, "first": {"depth": 4}}
    process = subprocess.Popen(
        [sys.executable, "-c", ASK_AND_WAIT, storage], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().strip() == "0"
        while_it_lives = search(storage, **settings)
        assert while_it_lives.reclaim() == []
        assert while_it_lives.done() == 0
    finally:
        process.kill()
        process.communicate()
    after = search(storage, **settings)
    assert after.reclaim() == [0]
    assert after.reclaim() == []
    assert (after.done(), after.trials()[0].state) == (0, RunState.INTERRUPTED)
    assert after.ask().values == {"depth": 4}


def test_the_base_configuration_is_not_lost_with_a_process_that_dies_before_it_knows_its_values(storage, monkeypatch):
    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bench.search._suggest", die)
        gone = {"host": socket.gethostname(), "pid": 2**22 + 1, "created": 0}
        patch.setattr("bench.search._this_process", lambda: gone)
        with pytest.raises(KeyboardInterrupt):
            search(storage).ask()
    later = search(storage)
    assert later.reclaim() == [0]
    assert later.ask().values == FIRST


def test_a_process_does_not_take_back_its_own_trial(storage):
    one = search(storage)
    one.ask()
    assert one.reclaim() == []


def test_a_trial_of_another_machine_is_left_alone(storage, monkeypatch):
    one = search(storage)
    monkeypatch.setattr("bench.search.socket.gethostname", lambda: "elsewhere")
    one.ask()
    monkeypatch.undo()
    assert one.reclaim() == []


def test_a_process_that_has_inherited_a_number_is_not_the_owner(storage, monkeypatch):
    one = search(storage)
    this = one.ask()
    owner = this._trial.user_attrs["owner"]
    this._trial.set_user_attr("owner", owner | {"created": owner["created"] - 1000})
    assert one.reclaim() == [this.number]


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql+pymysql", "nonsense"])
def test_an_unreachable_storage_is_told_without_its_credentials(scheme):
    with pytest.raises(TrackingError) as raised:
        search(f"{scheme}://user:secret@localhost:1/x")
    assert str(raised.value).startswith(f"study storage {scheme}://***@localhost:1/x cannot be opened")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_storage_in_a_folder_that_is_not_there_or_is_no_database_is_told(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 100)
    for bad in (f"sqlite:///{tmp_path}/none/x.db", f"sqlite:///{tmp_path}/text.db", f"{tmp_path}/none/x.journal"):
        with pytest.raises(TrackingError, match="cannot be opened"):
            search(bad)
