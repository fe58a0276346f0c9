"""A training that diverges is taken back to its last evaluation and repeats what follows at a lower rate."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import pytest

import bench.execution.trial
import bench.training.checkpoint
import bench.training.loop
from bench.core.errors import DivergedError
from bench.runtime.backend import select_backend
from bench.study.config import RunConfig, TrainingConfig
from bench.training.checkpoint import Checkpoint
from bench.training.early_stopping import REDUCTION, decide
from bench.training.history import RESCUES, TrainingLog
from models.registry import build_model
from models.vae.config import VAEConfig
from tests.bench.training.checkpointed import BUDGET, EVALUATIONS, SEED, STEPS, data

pytestmark = pytest.mark.backend

RATE = BUDGET["learning_rate"]
MODEL = VAEConfig(hidden_sizes=(8,), latent_size=2, kl_warmup_steps=30)
WAYS = {
    "constant": {},
    "cosine": {"decay": "cosine", "warmup_steps": 4, "weight_average": 0.9, "optimizer": "adamax", "clip_norm": 0.1},
    "staged": {"decay": "staged", "weight_decay": 0.01},
    "plateau": {"decay": "plateau", "patience": 1, "weight_average": 0.5},
}


def config_of(rescues=0, **changes):
    training = TrainingConfig(**BUDGET | changes, rescues=rescues)
    return RunConfig(model=MODEL, training=training, dataset_digest="digits", backend=keras.backend.backend())


@dataclass
class Result:
    variables: list[np.ndarray]
    log: TrainingLog
    measured: dict[str, float]
    said: list[str]

    @property
    def curve(self):
        """Without the number of rescues, which a training that needs none does not have."""
        return [{k: v for k, v in record.values.items() if k != RESCUES} for record in self.log.records]


def trial(config, on_evaluation=lambda record: None, checkpoint=None, on_rescue=lambda line: None):
    select_backend(config.backend)
    said = []

    def rescued(line):
        said.append(line)
        on_rescue(line)

    outcome = bench.execution.trial.run_trial(config, data(), SEED, 2, on_evaluation, checkpoint, rescued)
    model = outcome.model
    variables = [np.array(each) for each in [*model.variables, *model.optimizer.variables]]
    return Result(variables, outcome.log, {row.key: row.value for row in outcome.measurements}, said)


def assert_same(found, expected):
    assert found.curve == expected.curve
    for each, other in zip(found.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(each, other)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Without pictures; programs stay compiled after an interruption; a step at a time, and every state is saved."""
    monkeypatch.setattr(bench.execution.trial, "trial_pictures", lambda *arguments: [])
    monkeypatch.setattr(bench.execution.trial, "_forget", lambda compiled: None)
    monkeypatch.setattr(bench.training.loop, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(bench.training.checkpoint, "LARGEST_SHARE", float("inf"))


def diverges(monkeypatch, *steps):
    """Have training diverge at steps, from 1, each while the base rate is a certain one.

    The step spoils every weight, every moment and the state of the noise, as a real one may.
    """
    kind = type(bench.training.loop.training_program(build_model(MODEL, (8, 8, 1), 17)))
    original = kind.train

    def train(program, images, labels, order, start, stop):
        logs, model = original(program, images, labels, order, start, stop), program.model
        taken, rate = int(model.optimizer.iterations), float(model.optimizer.base_rate)
        if not any(step == taken and rate == pytest.approx(its) for step, its in steps):
            return logs
        for variable in [*model.trainable_variables, *model.optimizer.variables]:
            if variable is not model.optimizer.iterations:
                variable.assign(np.full(variable.shape, np.nan, variable.dtype))
        model.seed_generator.state.assign(np.array(model.seed_generator.state) + 7)
        return logs | {"loss": np.full(stop - start, np.nan, np.float32)}

    monkeypatch.setattr(kind, "train", train)


def diverges_around_a_plateau(monkeypatch):
    """Training diverges; its second evaluation is worse than the first, which it takes back; then it diverges again."""
    original = bench.training.loop._evaluate

    def evaluate(model, validation, program):
        optimizer, values = model.optimizer, original(model, validation, program)
        worse = int(optimizer.iterations) == 2 * STEPS and float(optimizer.base_rate) == pytest.approx(RATE * REDUCTION)
        return {name: value + 100.0 * worse for name, value in values.items()}

    monkeypatch.setattr(bench.training.loop, "_evaluate", evaluate)
    # The steps count from the first evaluation once its state is taken back.
    diverges(monkeypatch, (2, RATE), (STEPS + 2, RATE * REDUCTION**2))


@pytest.fixture
def optimizers(monkeypatch):
    """The optimizers of the trainings that have begun."""
    begun, original = [], bench.execution.trial.train

    def watched(model, *arguments):
        begun.append(model.optimizer)
        return original(model, *arguments)

    monkeypatch.setattr(bench.execution.trial, "train", watched)
    return begun


@pytest.mark.parametrize(
    ("way", "step"),
    [
        ("constant", 1),
        ("cosine", 2),
        ("staged", 3),
        *(
            pytest.param(way, step, marks=pytest.mark.slow)
            for way, steps in (("constant", (2, 3)), ("cosine", (1, 3)), ("staged", (1, 2)))
            for step in steps
        ),
    ],
)
def test_a_rescued_training_is_one_that_took_the_lower_rate_from_that_evaluation(monkeypatch, optimizers, way, step):
    def lower(record):
        if record.evaluation == 2:
            optimizers[-1].base_rate.assign(RATE * REDUCTION)

    expected = trial(config_of(**WAYS[way]), lower)
    diverges(monkeypatch, (2 * STEPS + step, RATE))
    found = trial(config_of(1, **WAYS[way]))
    assert_same(found, expected)
    assert [record.values[RESCUES] for record in found.log.records] == [0, 0, 1, 1]
    assert found.measured["cost/rescues"] == found.log.rescues == 1
    assert found.said == [
        f"training loss became nan at step {2 * STEPS + step}: "
        "rescue 1 of 1, from evaluation 2 on at the learning rate 0.00333"
    ]
    assert [record.images for record in found.log.records] == [STEPS * 48 * (i + 1) for i in range(EVALUATIONS)]


@pytest.mark.parametrize("way", ["constant", "cosine", "staged"])
def test_before_the_first_evaluation_a_rescue_starts_again_at_the_lower_rate(monkeypatch, way):
    expected = trial(config_of(**WAYS[way] | {"learning_rate": RATE * REDUCTION**2}))
    diverges(monkeypatch, (2, RATE), (3, RATE * REDUCTION))
    found = trial(config_of(2, **WAYS[way]))
    assert_same(found, expected)
    assert [record.values[RESCUES] for record in found.log.records] == [2] * EVALUATIONS
    assert [line.partition(": ")[2] for line in found.said] == [
        "rescue 1 of 2, from the start at the learning rate 0.00333",
        "rescue 2 of 2, from the start at the learning rate 0.00111",
    ]


def test_plateau_and_rescues_lower_the_rate_together(monkeypatch, optimizers):
    """The rate is the first one times a third for each reduction and each rescue, whichever comes first."""
    config, used = config_of(2, **WAYS["plateau"]), []
    diverges_around_a_plateau(monkeypatch)
    log = trial(config, lambda record: used.append(float(optimizers[-1].base_rate))).log
    reductions = [decide(log.validation[:i], config.training).reductions for i in range(len(log.records))]
    rescues = [record.values[RESCUES] for record in log.records]
    assert (reductions, rescues) == ([0, 0, 1, 1], [1, 1, 2, 2])
    assert used == pytest.approx([RATE * REDUCTION**times for times in (1, 1, 3, 3)])


def test_a_validation_that_is_no_number_is_rescued_too(monkeypatch):
    original, asked = bench.training.loop._evaluate, []

    def evaluate(model, validation, program):
        values = original(model, validation, program)
        asked.append(float(model.optimizer.base_rate))
        return dict.fromkeys(values, float("inf")) if len(asked) == 2 else values

    monkeypatch.setattr(bench.training.loop, "_evaluate", evaluate)
    found = trial(config_of(1))
    assert asked == pytest.approx([RATE, RATE, *[RATE * REDUCTION] * 3])
    assert [record.values[RESCUES] for record in found.log.records] == [0, 1, 1, 1]
    assert found.said[0].startswith("validation/bits_per_dim became inf in evaluation 2: rescue 1 of 1")


@pytest.mark.parametrize("way", WAYS)
def test_rescues_that_are_not_needed_change_nothing(way):
    expected = trial(config_of(**WAYS[way]))
    found = trial(config_of(3, **WAYS[way]))
    assert_same(found, expected)
    assert found.said == []
    assert found.measured["cost/rescues"] == 0
    assert "cost/rescues" not in expected.measured
    assert all(RESCUES not in record.values for record in expected.log.records)


@pytest.mark.parametrize(
    ("rescues", "after"), [(0, ""), (1, r", after 1 rescue"), (2, r", after 2 rescues")], ids=["none", "one", "two"]
)
def test_a_training_that_diverges_once_more_than_it_may_ends_as_diverged(monkeypatch, rescues, after):
    diverges(monkeypatch, *((STEPS + 2, RATE * REDUCTION**i) for i in range(3)))
    seen = []
    with pytest.raises(DivergedError, match=rf"^training loss became nan at step {STEPS + 2}{after}$"):
        trial(config_of(rescues), seen.append)
    assert [record.evaluation for record in seen] == [1]


def test_the_time_of_what_is_repeated_counts_and_says_nothing_of_the_speed(monkeypatch):
    diverges(monkeypatch, (STEPS + 1, RATE))
    found = trial(config_of(1)).log
    assert len(found.interval_seconds) == EVALUATIONS
    assert found.images_per_second() == pytest.approx(48 * STEPS / np.array(found.interval_seconds[2:]))
    assert found.seconds >= sum(found.interval_seconds)


class InterruptedTestError(Exception):
    """Stands for whatever ends a process."""


class Events:
    """Names what happens in a training, and ends it before event ``at``, from 0."""

    def __init__(self, monkeypatch, at=None):
        self.names, self.at = [], at
        kind = type(bench.training.loop.training_program(build_model(MODEL, (8, 8, 1), 17)))
        for owner, name in ((kind, "train"), (Checkpoint, "save"), (bench.training.loop, "_evaluate")):
            monkeypatch.setattr(owner, name, self.before(name, getattr(owner, name)))

    def before(self, name, method=lambda *arguments: None):
        """A method before which its event happens."""

        def observed(*arguments):
            if len(self.names) == self.at:
                raise InterruptedTestError
            self.names.append(name)
            return method(*arguments)

        return observed

    def trial(self, config, path):
        return trial(config, self.before("record"), checkpoint_of(config, path), self.before("rescue"))


def checkpoint_of(config, path):
    return Checkpoint(path, config.hash, SEED, "abc")


def test_interrupted_anywhere_and_continued_is_the_same_as_uninterrupted(monkeypatch, tmp_path):
    config = config_of(2, **WAYS["plateau"])
    diverges_around_a_plateau(monkeypatch)
    with monkeypatch.context() as patch:
        events = Events(patch)
        expected = events.trial(config, tmp_path / "whole.npz")
    names = events.names
    assert len(expected.said) == expected.log.rescues == 2
    assert decide(expected.log.validation, config.training).reductions == 1
    # Steps are alike, but the second one after a rescue.
    for at in (i for i, name in enumerate(names) if name != "train" or names[max(i - 2, 0)] == "rescue"):
        path = tmp_path / f"{at}.npz"
        with monkeypatch.context() as patch, pytest.raises(InterruptedTestError):
            Events(patch, at).trial(config, path)
        found = trial(config, checkpoint=checkpoint_of(config, path))
        assert_same(found, expected)
        for name in ("values", "images"):
            assert [getattr(r, name) for r in found.log.records] == [getattr(r, name) for r in expected.log.records]


def test_the_order_of_the_images_of_a_repeated_interval_is_the_same(monkeypatch):
    orders = []
    stream = bench.training.loop.ImageStream(256, 48, STEPS, SEED)
    diverges(monkeypatch, (STEPS + 2, RATE))
    kind = type(bench.training.loop.training_program(build_model(MODEL, (8, 8, 1), 17)))
    original = kind.train

    def recording(program, images, labels, order, start, stop):
        orders.extend(order[start:stop].tolist())
        return original(program, images, labels, order, start, stop)

    monkeypatch.setattr(kind, "train", recording)
    trial(config_of(1))
    intervals = [stream.interval(i).tolist() for i in range(EVALUATIONS)]
    assert orders == [*intervals[0], *intervals[1][:2], *intervals[1], *intervals[2], *intervals[3]]
