"""A study keeps to its time, whatever its trials really take: simulated, with a stand-in for training."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

import bench.execution.coordinator
import bench.execution.study_clock
import bench.execution.study_tracking
from bench.core.errors import DivergedError, StudyStoppedError
from bench.core.results import EvaluationRecord, RunState
from bench.core.seeds import derive_seed
from bench.core.signals import StopRequest
from bench.execution.coordinator import Coordinator
from bench.execution.executors.base import InProcess
from bench.execution.session import Selection
from bench.execution.study_clock import MOST_LATE, StudyClock, TimeKeeper
from bench.execution.worker import Worker
from bench.search.queue import ALWAYS, Attempt
from bench.study.budget import END_SECONDS, plan_time
from bench.study.config import TrainingConfig
from bench.study.definition import FINALS, Arm, BoundStudy, Study
from bench.study.plan import Times
from bench.study.search_space import Integers
from bench.study.speed import Speed
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

pytestmark = pytest.mark.usefixtures("short_patience")

TRAINING = TrainingConfig(decay="plateau", patience=50)
STUDY = Study(
    name="timed",
    question="Which, in this time?",
    arms=(
        Arm(VAEConfig(hidden_sizes=(8,), latent_size=2), {"latent_size": Integers(2, 64)}, TRAINING),
        Arm(GlowConfig(levels=1, flow_depth=1, hidden_channels=4), {"hidden_channels": Integers(4, 8)}, TRAINING),
    ),
)
SPEED = Speed(first_seconds=1.0, step_seconds=0.01, likelihood_seconds=0.0)
TIME = 600.0
SEED = 0
BEGAN = 1000.0


class Simulated:
    """A clock that stands still but while something is trained or measured.

    Attributes:
        now: seconds.
        step: by arm, seconds of a training step.
        measuring: seconds that a final run takes beside training.
    """

    def __init__(self) -> None:
        self.now = BEGAN
        self.step = {"vae": 0.01, "glow": 0.01}
        self.measuring = 5.0
        self.reached: dict[tuple, int] = {}
        self.read: set[int] = set()
        """Evaluations that trials report: the rungs of all attempts so far, and halves of them."""
        self.trained: list[tuple[str, str, int, int]] = []
        """Role, arm, and the evaluations from which and to which each run was trained."""
        self.took: dict[tuple, float] = {}
        """Seconds of an attempt: of a trial by the arm's swept value, of a final run by its configuration and seed,
        and by the evaluation to which it was trained."""

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def train(self, role, config, key, until) -> None:
        begun, began = self.reached.get((role, *key), 0), self.now
        steps = (until - begun) * config.training.steps_per_evaluation
        self.now += SPEED.first_seconds * (begun == 0)
        self.now += steps * self.step[config.model.family]
        self.reached[(role, *key)] = until
        if role == "search":
            name = "latent_size" if config.model.family == "vae" else "hidden_channels"
            self.took[(name, getattr(config.model, name), until)] = self.now - began
        self.trained.append((role, config.model.family, begun, until))

    def finish(self, key, until, began) -> None:
        self.now += self.measuring
        self.took[(*key, until)] = self.now - began


@pytest.fixture
def simulated(monkeypatch, trainer, unlogged):
    clock = Simulated()
    for module in (bench.execution.coordinator, bench.execution.study_clock, bench.execution.study_tracking):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))

    def run_trial(config, data, seed, samples, on_evaluation, checkpoint, on_rescue, until=None):
        last = until or config.training.evaluations
        # Reporting takes most of a simulated study's time, and only rungs and halves of them are read.
        clock.read |= {last >> halvings for halvings in range(last.bit_length())}

        def on_some(record):
            if record.evaluation in clock.read:
                on_evaluation(record)

        clock.train("search", config, (config.hash, seed), last)
        return trainer.run_trial(config, data, seed, samples, on_some, checkpoint, on_rescue, until)

    def run_final(config, data, test, seed, *others):
        key, until, began = (config.hash, seed), config.training.evaluations, clock.now
        clock.train("final", config, key, until)
        clock.finish(key, until, began)
        outcome = trainer.run_final(config, data, test, seed, *others)
        # It reaches its last evaluation, as one that its patience does not end.
        others[1](EvaluationRecord(config.training.evaluations, 1, 1.0, {"validation/bits_per_dim": 2.0}))
        return outcome

    monkeypatch.setattr(bench.execution.worker, "run_trial", run_trial)
    monkeypatch.setattr(bench.execution.worker, "run_final", run_final)

    def records(self, name, trial):
        training = self.study.bound.base(STUDY.arm(name)).training
        seconds = training.steps_per_evaluation * clock.step[name]
        return [EvaluationRecord(i, i, i * seconds, {}) for i in (1, 2, 3)]

    monkeypatch.setattr(TimeKeeper, "_records", records)
    monkeypatch.setattr(TimeKeeper, "_measuring", lambda self, final, config: clock.measuring)

    def seconds(self):
        if "seed" in self.note:
            seed = derive_seed(SEED, FINALS, self.note["seed"])
            return clock.took.get((self.note["config_hash"], seed, self.evaluations), 0.0)
        return clock.took.get((*next(iter(self.values.items()), ()), self.evaluations), 0.0)

    # By the machines' clocks an attempt takes no time here.
    monkeypatch.setattr(Attempt, "seconds", property(seconds))
    return clock


@pytest.fixture
def run(settings_for, keep_classifier, digits, tmp_path, simulated):
    """Runs the study in some seconds; what it took, and its session."""
    from tests.bench.conftest import StudyInThisProcess

    def begin(seconds=TIME, study=STUDY, say=None, **settings):
        changes = {
            "pruner": "halving",
            "images": None,
            "time": seconds,
            "trials": 4,
            "seeds": 2,
            "seed": SEED,
            **settings,
        }
        bound = BoundStudy(study, settings_for(tmp_path, **changes), digits.info, digits.digest, digits.labels_digest)
        planned = plan_time(bound, {arm.name: SPEED for arm in study.arms})
        bound = BoundStudy(
            *(getattr(bound, name) for name in ("study", "settings", "info", "digest", "labels")), images=planned.images
        )
        keep_classifier(digits.tuning, tmp_path)
        runner = StudyInThisProcess(bound)
        began = simulated.now
        if not runner.shared.record.seconds_spent:
            simulated.now += planned.start
        try:
            with StopRequest() as stop:
                worker = Worker(runner.shared, digits, runner.progress, stop)
                Coordinator(runner.shared, InProcess(worker), runner.progress, stop, plan=planned, began=began).run()
        finally:
            runner.shared.tracker.close()
            if say is not None:
                say.append(runner.progress.console.file.getvalue())
        return simulated.now - began, runner.shared

    return begin


@pytest.mark.parametrize(("vae", "glow"), [(0.02, 0.005), (0.005, 0.02)])
def test_a_study_ends_in_its_time_although_its_arms_are_slower_or_faster_than_was_measured(run, simulated, vae, glow):
    simulated.step = {"vae": vae, "glow": glow}
    seconds, session = run()
    assert seconds == pytest.approx(TIME - END_SECONDS, rel=0.05)
    spent = session.record.seconds_spent
    assert spent == pytest.approx(seconds)


def _spent(simulated, session, roles=("search", "final")):
    """Seconds of training by arm."""
    spent = dict.fromkeys(session.searches, 0.0)
    for role, arm, begun, until in simulated.trained:
        if role in roles:
            steps = session.bound.base(session.bound.study.arm(arm)).training.steps_per_evaluation
            spent[arm] += (until - begun) * steps * simulated.step[arm]
    return spent


@pytest.mark.parametrize("trials", [4, 8])
def test_final_runs_of_an_arm_are_trained_for_equally_long_and_both_arms_in_equal_time(run, simulated, trials):
    simulated.step = {"vae": 0.005, "glow": 0.02}
    _, session = run(trials=trials)
    finals = [(arm, until) for role, arm, _, until in simulated.trained if role == "final"]
    assert [arm for arm, _ in finals] == ["vae"] * 2 + ["glow"] * 2
    assert len(set(finals)) == 2
    spent = _spent(simulated, session)
    assert spent["vae"] == pytest.approx(spent["glow"], rel=0.1)


@pytest.mark.parametrize("arm", ["vae", "glow"])
def test_final_runs_of_a_slow_arm_see_the_planned_images_and_its_search_is_shorter(run, simulated, arm):
    """Its trials are continued only in the time that those leave."""
    simulated.step |= {arm: 0.016}
    _, session = run(trials=8)
    planned = session.bound.base(STUDY.arm(arm)).training.evaluations
    (final,) = {until for role, name, _, until in simulated.trained if role == "final" and name == arm}
    furthest = {
        name: max(until for role, each, _, until in simulated.trained if role == "search" and each == name)
        for name in session.searches
    }
    assert final >= 0.9 * planned > furthest[arm]
    (other,) = {"vae", "glow"} - {arm}
    assert furthest[other] == session.bound.base(STUDY.arm(other)).training.evaluations
    spent = _spent(simulated, session)
    assert spent["vae"] == pytest.approx(spent["glow"], rel=0.1)


def test_an_arm_that_is_faster_than_was_planned_takes_nothing_of_the_other_s_final_runs(run, simulated):
    simulated.step = {"vae": 0.002, "glow": 0.01}
    run()
    reached = {role: until for role, arm, _, until in sorted(simulated.trained) if arm == "glow"}
    assert reached["final"] >= 0.9 * reached["search"]


def test_an_arm_without_a_search_has_its_share_for_its_final_runs(run, simulated):
    vae, glow = STUDY.arms
    _, session = run(study=replace(STUDY, arms=(vae, replace(glow, sweep={}))))
    spent = _spent(simulated, session)
    assert spent["vae"] == pytest.approx(spent["glow"], rel=0.15)


def test_a_search_that_takes_as_long_as_planned_has_the_trials_that_were_asked_for(run, simulated):
    _, session = run()
    assert {len(search.settled()) for search in session.searches.values()} == {4}
    planned = plan_time(session.bound, {arm.name: SPEED for arm in STUDY.arms}).times
    finals = {arm: until for role, arm, _, until in simulated.trained if role == "final"}
    for arm, until in finals.items():
        whole = session.bound.base(STUDY.arm(arm)).training.evaluations
        assert until >= 0.95 * planned[arm].longer * whole
    searched = _spent(simulated, session, roles=("search",))
    share = sum(_spent(simulated, session).values()) / 2
    assert all(0.2 * share < seconds < 0.4 * share for seconds in searched.values())


def test_of_more_trials_than_the_time_is_planned_for_as_many_begin_and_the_best_is_trained_to_the_end(run, simulated):
    _, session = run(seconds=90.0, trials=60, study=replace(STUDY, arms=STUDY.arms[:1]))
    planned = plan_time(session.bound, {"vae": SPEED}).trials["vae"]
    assert 1 < planned < 60
    assert len(session.searches["vae"].settled()) == planned
    whole = session.bound.base(STUDY.arm("vae")).training.evaluations
    assert max(until for role, _, _, until in simulated.trained if role == "search") == whole


def test_where_trials_are_slow_fewer_begin_and_final_runs_come_further_than_they(run, simulated):
    simulated.step = {"vae": 0.04, "glow": 0.01}
    said = []
    _, session = run(trials=16, study=replace(STUDY, arms=STUDY.arms[:1]), say=said)
    settled = session.searches["vae"].settled()
    assert 2 <= len(settled) < 16
    assert f"vae: after {len(settled)} of 16 trials, which were slow, no further one begins" in said[0]
    trials = [until for role, _, _, until in simulated.trained if role == "search"]
    assert len(trials) <= 1.5 * len(settled)
    assert all(until > max(trials) for role, _, _, until in simulated.trained if role == "final")


def test_a_search_ends_where_time_is_left_and_no_attempt_fits_into_it(run, simulated, monkeypatch):
    monkeypatch.setattr(TimeKeeper, "next_seconds", lambda self, name, targets: 1e9)
    _, session = run(study=replace(STUDY, arms=STUDY.arms[:1]))
    assert len(session.searches["vae"].settled()) == 1
    assert [role for role, *_ in simulated.trained] == ["search", "final", "final"]


@pytest.mark.parametrize(
    ("reached", "targets", "expected"),
    [
        ({}, {0: 2, 1: 2}, {0: 2, 1: 2}),
        # All come to the nearest rung first, the best two before the others, and these one after the other.
        ({0: 4, 1: 2, 2: 2}, {0: 8, 1: 4, 2: 4}, {0: 4, 1: 2, 2: 4}),
        ({0: 4, 1: 2, 2: 4}, {0: 8, 1: 4, 2: 4}, {0: 4, 1: 4, 2: 4}),
        ({0: 2, 1: 2, 2: 2}, {0: 4, 1: 4, 2: 4}, {0: 2, 1: 4, 2: 4}),
        ({0: 4, 1: 4, 2: 4}, {0: 8, 1: 8, 2: 4}, {0: 8, 1: 8, 2: 4}),
        # One that would be alone at a rung stays where it is, unless another has been there, or a person promoted it.
        ({0: 4, 1: 4}, {0: 8, 1: 4}, {0: 4, 1: 4}),
        ({0: 4, 1: 8}, {0: 8, 1: 8}, {0: 8, 1: 8}),
        ({3: 4, 1: 4}, {3: 8, 1: 4}, {3: 8, 1: 4}),
        # The first of those that are to begin is not alone.
        ({}, {0: 2}, {0: 2}),
        ({}, {}, {}),
    ],
)
def test_trials_come_to_the_nearest_rung_first_and_none_is_continued_alone(reached, targets, expected):
    assert _round_of({number: _reached(number, at) for number, at in reached.items()}, targets) == expected


def test_a_trial_that_would_follow_only_a_failed_one_to_a_rung_stays_where_it_is():
    settled = {0: _reached(0, 4), 1: SimpleNamespace(reached=ALWAYS, is_out=True)}
    assert _round_of(settled, {0: 8, 1: 8}) == {0: 4, 1: 8}


def test_a_promoted_trial_for_which_there_is_no_time_holds_up_no_other():
    settled = {number: _reached(number, at) for number, at in {3: 4, 1: 2, 2: 2}.items()}
    targets = {3: 16, 1: 4, 2: 4}
    assert _round_of(settled, targets, fits=True) == {3: 16, 1: 2, 2: 4}
    assert _round_of(settled, targets, fits=False) == {3: 4, 1: 2, 2: 4}


def _reached(number, at):
    """A trial that came to an evaluation, the better the higher its number."""
    frozen = SimpleNamespace(intermediate_values={at: 2.0 - 0.1 * number})
    return SimpleNamespace(number=number, reached=at, is_out=False, frozen=frozen)


def _round_of(settled, targets, fits=True):
    """The next round of these trials, of which a person promoted the third."""
    search = SimpleNamespace(settled=lambda: settled, promoted={3: 2})
    keeper = TimeKeeper(SimpleNamespace(searches={"vae": search}), None, None)
    keeper._fits = lambda name, trial, until: fits
    return keeper.next_round("vae", targets)


class _Keeper(TimeKeeper):
    """Of trials whose intervals between evaluations take known seconds, by number."""

    left = math.inf

    def _interval_seconds(self, name, trial):
        return {1: 10.0, 2: 14.0, 3: 40.0, 4: 40.0, 5: 10.0}[trial.number], 10.0

    def _planned_evaluations(self, name, trial):
        return 16

    def _share_left(self, name):
        return self.left

    def _config(self, name, trial):
        return SimpleNamespace(hash=f"of {trial.number}")

    def _key(self, name, trial):
        return f"{name} {trial.number}"


NO_FINALS = SimpleNamespace(complete=list)


def _ended(number, value, objective=None, further=None, state=RunState.PRUNED, evaluations=16):
    """A trial with its value at evaluation 4, and at 8 if it came so far."""
    values = {4: value} if further is None else {4: value, 8: further}
    frozen = SimpleNamespace(intermediate_values=values, last_step=max(values))
    common = {"key": str(number), "number": number, "values": {}, "is_out": False, "state": state}
    ended = {"objective": objective, "reached": max(values), "frozen": frozen, "evaluations": evaluations}
    return SimpleNamespace(**common, **ended)


@pytest.mark.parametrize(
    ("trials", "slow", "best"),
    [
        ([_ended(1, 1.4), _ended(2, 1.3), _ended(3, 0.7)], {3}, 2),
        # Complete ones are compared by the bound at their end, and one alone by what it was where others are.
        ([_ended(1, 1.4, 1.4), _ended(2, 1.3, 1.5), _ended(3, 0.7, 0.7)], {3}, 1),
        ([_ended(1, 1.4, 1.4), _ended(2, 1.3), _ended(3, 0.7, 0.7)], {3}, 2),
        # What one was later, where no other has been, is not compared.
        ([_ended(1, 1.4, further=1.0), _ended(2, 1.3)], set(), 2),
        ([_ended(1, 1.2, further=1.1), _ended(2, 1.3)], set(), 1),
        ([_ended(1, 1.2, further=1.1), _ended(2, 1.3, further=1.0)], set(), 2),
        ([_ended(3, 1.4), _ended(4, 1.3)], set(), 4),
        ([_ended(2, 1.4), _ended(3, 1.3)], {3}, 2),
        ([], set(), None),
    ],
)
def test_a_trial_is_not_continued_nor_retrained_where_final_runs_of_others_see_far_more_images(trials, slow, best):
    times = Times(search=0.0, beginning=0.0, first=0.0, training=160.0, selection=0.0, test=0.0)
    plan = SimpleNamespace(times={"vae": times}, seeds=2)
    record = SimpleNamespace(timed_evaluations={}, finals=NO_FINALS)
    search = SimpleNamespace(
        settled=lambda: {each.number: each for each in trials},
        complete=lambda: [each for each in trials if each.objective is not None],
        evaluations=16,
    )
    keeper = _Keeper(SimpleNamespace(searches={"vae": search}, record=record), plan, None)
    assert keeper.too_slow("vae") == slow
    chosen = keeper.best("vae")
    assert (chosen and chosen.number) == best
    for each in trials:
        # Once final runs of this time were decided, the trial stays.
        record.timed_evaluations = {f"vae {each.number}": 8}
        assert keeper.best("vae") is each


@pytest.mark.parametrize(
    ("settled", "best"),
    [
        ({1: _ended(1, 1.2, 1.2), 2: _ended(2, 1.3, 1.3)}, 1),
        # The second was continued, and the first was not: they are compared where both have been.
        ({1: _ended(1, 1.2, 1.2), 2: _ended(2, 1.3, further=1.0)}, 1),
        # Both were, and changed places; a third one that came as far is lower than they.
        ({1: _ended(1, 1.2, further=1.1), 2: _ended(2, 1.3, further=1.0)}, 2),
        ({1: _ended(1, 1.2, further=1.1), 2: _ended(2, 1.3, further=1.0), 5: _ended(5, 1.4, further=0.9)}, 5),
        # A slower one is not chosen though it is lower: final runs of the others see more images.
        ({1: _ended(1, 1.2, further=1.1), 2: _ended(2, 1.3, further=0.9), 4: _ended(4, 1.3, further=0.85)}, 2),
        # The second is complete by the longer time too, and alone: its bound there is of more images.
        ({1: _ended(1, 1.2, 1.2), 2: _ended(2, 1.3, 1.0, further=1.0)}, 1),
    ],
)
def test_trials_that_were_complete_by_a_shorter_time_are_compared_with_what_the_longer_one_trained(settled, best):
    times = Times(search=0.0, beginning=0.0, first=0.0, training=160.0, selection=0.0, test=0.0)
    complete = [_ended(1, 1.2, 1.2), _ended(2, 1.3, 1.3)]
    search = SimpleNamespace(settled=lambda: settled, complete=lambda: complete, evaluations=16)
    study = SimpleNamespace(searches={"vae": search}, record=SimpleNamespace(timed_evaluations={}, finals=NO_FINALS))
    keeper = _Keeper(study, SimpleNamespace(times={"vae": times}, seeds=2), None)
    keeper.too_slow = lambda name: set()
    assert keeper.best("vae").number == best


def _keeper_of(trials, finals=NO_FINALS, evaluations=16):
    times = Times(search=0.0, beginning=0.0, first=0.0, training=160.0, selection=0.0, test=0.0, others=0.0)
    search = SimpleNamespace(
        settled=lambda: {each.number: each for each in trials},
        complete=lambda: [each for each in trials if each.objective is not None],
        attempts=lambda: trials,
        evaluations=evaluations,
    )
    study = SimpleNamespace(
        searches={"vae": search}, record=SimpleNamespace(timed_evaluations={}, finals=finals), seeds=2
    )
    return _Keeper(study, SimpleNamespace(times={"vae": times}, seeds=2), None)


def test_a_trial_that_its_patience_ended_gains_nothing_more_also_where_its_checkpoint_is_gone(monkeypatch):
    monkeypatch.setattr(TimeKeeper, "_records", lambda self, name, trial: [])
    patient = _ended(1, 1.4, further=1.10, state=RunState.COMPLETE)
    patient.reached, patient.seconds = ALWAYS, 30.0
    # The second one is expected to gain more than it is behind; what the first had gained is not of those that do.
    keeper = _keeper_of([patient, _ended(2, 1.4, further=1.12)], evaluations=8)
    assert keeper.best("vae").number == 2
    assert keeper._ended_early("vae", patient) == 30.0
    assert keeper._ended_early("vae", _ended(2, 1.4, further=1.12)) is None
    flat = [patient, _ended(2, 1.12, further=1.12)]
    assert _keeper_of(flat, evaluations=8).best("vae").number == 1
    # The only one beyond the level: what it gained there counts, and no more is expected of it.
    for other, best in ((1.20, 1), (1.05, 5)):
        assert _keeper_of([patient, _ended(5, other)], evaluations=8).best("vae").number == best


def test_in_a_longer_time_a_trial_counts_with_the_final_runs_that_it_has_and_others_with_the_time_that_is_left():
    trials = [_ended(1, 1.4, further=1.100), _ended(5, 1.4, further=1.099)]
    note = {"arm": "vae", "config_hash": "of 1"}
    done = [SimpleNamespace(note={**note, "seed": seed}, evaluations=12) for seed in (0, 1)]
    keeper = _keeper_of(trials, SimpleNamespace(complete=lambda: done))
    # Of 320 s, 240 were spent on the first one's final runs.
    keeper.left = 80.0
    assert keeper._evaluations_of_finals("vae", trials) == {1: 16, 5: 4}
    assert keeper.best("vae").number == 1
    keeper.left = 320.0
    assert keeper._evaluations_of_finals("vae", trials) == {1: 16, 5: 16}
    assert keeper.best("vae").number == 5


def test_nothing_more_is_kept_for_a_slow_trial_where_its_final_runs_see_a_trials_images_in_the_planned_time():
    trials = [_ended(2, 1.4, further=1.1)]
    keeper = _keeper_of(trials)
    for longer, missing in ((1.0, 2 * (0.4 * 160.0 + 0.4 * 60.0)), (3.0, 0.0)):
        keeper.plan.times["vae"] = replace(keeper.plan.times["vae"], test=60.0, longer=longer)
        assert keeper._missing_seconds("vae") == pytest.approx(missing)


def test_the_speed_of_a_trial_whose_checkpoint_is_gone_is_that_of_its_attempts(monkeypatch):
    training = SimpleNamespace(steps_per_evaluation=10, batch_size=10)
    monkeypatch.setattr(TimeKeeper, "_config", lambda self, name, trial: SimpleNamespace(training=training))
    monkeypatch.setattr(TimeKeeper, "_records", lambda self, name, trial: [])
    attempts = [
        SimpleNamespace(number=number, seconds=seconds, frozen=SimpleNamespace(last_step=last))
        for number, seconds, last in ((1, 30.0, 2), (1, 90.0, 6), (2, 5.0, 1))
    ]
    study = SimpleNamespace(searches={"vae": SimpleNamespace(attempts=lambda: attempts)})
    times = Times(search=0.0, beginning=0.0, first=0.0, training=160.0, selection=0.0, test=0.0)
    keeper = TimeKeeper(study, SimpleNamespace(times={"vae": times}, images={"vae": 1600}), None)
    assert keeper._interval_seconds("vae", Selection(1, {})) == (20.0, 10.0)
    assert keeper._interval_seconds("vae", Selection(3, {})) == (10.0, 10.0)


def test_an_arm_whose_first_trial_fails_has_another_though_the_arm_before_took_its_time(run, simulated, monkeypatch):
    simulated.step = {"vae": 0.2, "glow": 0.01}
    real, failed = bench.execution.worker.run_trial, []

    def fail_once(config, *others, **named):
        if config.model.family == "glow" and not failed:
            failed.append(config)
            raise DivergedError("the loss became NaN at step 3")
        return real(config, *others, **named)

    monkeypatch.setattr(bench.execution.worker, "run_trial", fail_once)
    run()
    assert failed
    assert [arm for role, arm, _, _ in simulated.trained if role == "final"] == ["vae"] * 2 + ["glow"] * 2


def test_an_arm_alone_has_the_whole_time(run, simulated):
    seconds, _ = run(study=replace(STUDY, arms=STUDY.arms[:1]))
    assert seconds == pytest.approx(TIME - END_SECONDS, rel=0.05)


@pytest.mark.parametrize("measuring", [4.0, 14.0, 40.0])
def test_the_second_arm_is_trained_like_the_first_although_measuring_took_longer_than_planned(
    run, simulated, measuring
):
    """The study then ends late, by at most a share of its time: beyond it, the second arm is trained for less."""
    simulated.measuring = measuring
    seconds, session = run()
    trained = _spent(simulated, session, roles=("final",))
    planned = plan_time(session.bound, {arm.name: SPEED for arm in STUDY.arms}).times
    over = 2 * max(0.0, measuring - planned["vae"].measuring)
    late = MOST_LATE * TIME
    assert seconds <= TIME - END_SECONDS + min(2 * over, late) + 0.03 * TIME
    assert seconds >= TIME - END_SECONDS - 0.05 * TIME
    assert trained["glow"] >= 0.9 * trained["vae"] - max(0.0, 2 * over - late)


def test_a_study_of_one_arm_does_not_end_late(run, simulated):
    simulated.measuring = 40.0
    seconds, session = run(study=replace(STUDY, arms=STUDY.arms[:1]))
    planned = plan_time(session.bound, {"vae": SPEED}).times["vae"]
    # Its own measuring becomes known when it is done.
    assert seconds <= TIME - END_SECONDS + 2 * (40.0 - planned.measuring) + 0.03 * TIME


@pytest.mark.slow
def test_a_fast_search_adds_trials_until_its_time_is_over(run, simulated):
    simulated.step = {"vae": 0.005, "glow": 0.005}
    _, session = run(trials=2)
    assert all(len(search.settled()) > 2 for search in session.searches.values())


def test_the_same_command_trains_nothing_again_and_says_that_what_it_promotes_needs_more_time(run, simulated):
    _, session = run()
    trained, said = list(simulated.trained), []
    settled = {name: search.settled() for name, search in session.searches.items()}
    name, number = next((name, n) for name, each in settled.items() for n, last in each.items() if last.stopped_at)
    seconds, _ = run(promote=(f"{name}:{number}",), say=said)
    assert simulated.trained == trained
    assert seconds == 0
    line = f"{name}:{number}: time=600 leaves the search none to train what is promoted by hand: give a longer time"
    assert line in said[0]


def test_of_two_trials_that_come_to_a_rung_the_second_does_not_wait_in_vain_where_the_first_fails(
    run, simulated, monkeypatch
):
    """It was queued with the first: it is taken back, and neither trained in the time of others nor selected after."""
    real = bench.execution.worker.run_trial
    rungs, out = [], []

    def fail_at_the_end(config, *others, **named):
        until = named.get("until") or others[-1] or config.training.evaluations
        if config.model.family == "vae" and until == config.training.evaluations:
            rungs.append(until)
            out.append(config)
            simulated.now += until / 2 * config.training.steps_per_evaluation * simulated.step["vae"]
            raise DivergedError("the loss became NaN")
        return real(config, *others, **named)

    monkeypatch.setattr(bench.execution.worker, "run_trial", fail_at_the_end)
    _, session = run(trials=8)
    assert len(out) == 1
    roles = [role for role, *_ in simulated.trained]
    assert roles == sorted(roles, key=["search", "final"].index)
    spent = session.record.seconds_of_arms
    assert spent["vae"] == pytest.approx(spent["glow"], rel=0.1)


def test_an_interrupted_run_counts_for_its_arm(run, simulated, monkeypatch):
    real, done = simulated.train, []

    def interrupt(role, config, key, until):
        done.append(role)
        if len(done) == 5:
            simulated.now += 60.0
            raise KeyboardInterrupt
        real(role, config, key, until)

    monkeypatch.setattr(simulated, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(trials=8)
    _, session = run(trials=8)
    seconds = session.record.seconds_of_arms
    assert seconds["vae"] == pytest.approx(seconds["glow"], rel=0.1)
    spent = _spent(simulated, session)
    assert spent["glow"] - spent["vae"] == pytest.approx(60.0, rel=0.4)


def test_a_study_that_was_killed_ends_in_its_time(run, simulated, monkeypatch):
    real, count, save = simulated.train, [], StudyClock.save
    # A process that is killed records nothing at its end.
    monkeypatch.setattr(StudyClock, "save", lambda self, at_once=False: None if at_once else save(self))

    def die(*arguments):
        count.append(1)
        if len(count) == 10:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(simulated, "train", die)
    with pytest.raises(KeyboardInterrupt):
        run()
    first = simulated.now - BEGAN
    monkeypatch.setattr(StudyClock, "save", save)
    simulated.now += 10_000
    second, _ = run()
    assert first + second == pytest.approx(TIME - END_SECONDS, rel=0.05)


def test_once_final_runs_have_begun_no_trial_is_added_although_time_is_left(run, simulated, monkeypatch):
    real = bench.execution.worker.run_final

    def end_early(*arguments):
        began = simulated.now
        outcome = real(*arguments)
        simulated.now = began
        return outcome

    monkeypatch.setattr(bench.execution.worker, "run_final", end_early)
    run()
    trained = list(simulated.trained)
    run()
    assert simulated.trained == trained


def test_twice_the_time_continues_every_final_run_and_repeats_nothing(run, simulated):
    run()
    _, session = run(2 * TIME)
    assert session.record.seconds_spent == pytest.approx(2 * TIME - END_SECONDS, rel=0.05)
    assert all(until > begun for _, _, begun, until in simulated.trained)
    finals = [each for each in simulated.trained if each[0] == "final"]
    assert sum(begun > 0 for _, _, begun, _ in finals) >= 2


def test_a_time_that_is_used_up_lets_final_runs_have_the_first_rungs_budget(run, simulated):
    simulated.step = {"vae": 0.08, "glow": 0.08}
    _, session = run()
    planned = session.bound.base(STUDY.arm("glow")).training.evaluations
    finals = {(arm, until) for role, arm, _, until in simulated.trained if role == "final"}
    assert dict(finals)["glow"] == pytest.approx(planned / 4, rel=0.05)


def test_a_search_that_had_no_time_says_so(run, simulated, monkeypatch):
    late = property(lambda self: TIME)
    monkeypatch.setattr(StudyClock, "seconds", late)
    with pytest.raises(StudyStoppedError, match=r"the search's share of time=600 ended before any vae trial did"):
        run()
