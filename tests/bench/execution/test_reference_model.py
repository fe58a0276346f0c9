"""The reference model's run: exact, the same each time, continued where it stopped, and no study's end if it fails."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import bench.execution.reference_model
from bench.core.errors import (
    AlteredDataError,
    CheckpointError,
    DivergedError,
    OutOfMemoryError,
    StudyStoppedError,
    TrackingError,
)
from bench.core.metrics import REFERENCE_MODEL_CODE
from bench.core.results import REFERENCE_MODEL, Measurement
from bench.core.seeds import derive_seed
from bench.core.signals import StopRequest
from bench.data.choice import fixed_choice
from bench.evaluation.likelihood import log_likelihood
from bench.execution.progress import StudyProgress
from bench.execution.reference_model import measure_reference_model
from bench.execution.session import limit_validation
from bench.execution.trial import train_model
from bench.runtime.backend import backend_errors
from bench.study.definition import BoundStudy
from bench.study.reference_model import NAME, reference_study
from bench.training.checkpoint import Checkpoint

EVALUATIONS = 4


class Session:
    """A study's session as far as the reference model needs it."""

    def __init__(self, bound, folder):
        self.bound = bound
        self.logged = []
        self.parent = SimpleNamespace(log_reference_codes=self.logged.append)
        self.file = folder / "reference.npz"
        self.printed = io.StringIO()
        self.is_kept = False

    def checkpoint(self, kind, task, config, seed):
        return Checkpoint(self.file, config.hash, seed, "code")

    def remove_checkpoint(self, kind, task):
        assert (kind, task) == (NAME, 0)
        if self.is_kept:
            raise CheckpointError("the checkpoint cannot be removed")
        self.file.unlink(missing_ok=True)

    def measure(self, dataset, check_lock=lambda: None):
        with StopRequest() as stop, StudyProgress(Console(file=self.printed, width=1000), runs=1) as progress:
            shown, real = [], progress.show_evaluation
            progress.show_evaluation = lambda record: (shown.append(record.evaluation), real(record))
            self.on_evaluation(shown, stop)
            measure_reference_model(self, reference_study(self.bound), dataset, progress, stop, check_lock)
        return shown

    def on_evaluation(self, shown, stop):
        """What a test arranges."""


class Interrupted(Session):
    """Stops after the second evaluation."""

    def on_evaluation(self, shown, stop):
        check = stop.check
        stop.check = lambda: setattr(stop, "made", stop.made or len(shown) == 2) or check()


def opened_in(folder, tiny_study, settings_for, digits, kind=Session):
    settings = settings_for(folder / "runs", evaluation_images=40, reference_model=True)
    return kind(BoundStudy(tiny_study, settings, digits.info, digits.digest), folder)


@pytest.fixture
def session(tiny_study, settings_for, digits, tmp_path):
    return partial(opened_in, tmp_path, tiny_study, settings_for, digits)


@pytest.fixture(scope="module")
def whole(tiny_study, settings_for, digits, tmp_path_factory):
    """A session that measured it without an interruption, and the evaluations that it showed."""
    ran = opened_in(tmp_path_factory.mktemp("whole"), tiny_study, settings_for, digits)
    return ran, ran.measure(digits)


@pytest.mark.slow_on_jax
@pytest.mark.backend
def test_it_is_the_exact_likelihood_of_the_test_images_under_the_model_that_its_configuration_and_seed_give(
    whole, digits
):
    ran, shown = whole
    assert shown == [1, 2, 3, 4]
    (codes,) = ran.logged
    rows = {row.metric: row for row in codes.measured}
    assert {row.split for row in rows.values()} == {REFERENCE_MODEL}
    assert codes.unavailable == {}
    assert not ran.file.exists()
    reference = reference_study(ran.bound)
    config = reference.base(reference.study.arms[0])
    assert config.training.evaluations == EVALUATIONS
    seed = derive_seed(ran.bound.settings.seed, NAME)
    model, _ = train_model(config, limit_validation(digits, 40), seed, lambda record: None)
    images = digits.open_test().some(40).images
    own = log_likelihood(model, images, 7, 123).measurements("test")[0]
    row = rows[REFERENCE_MODEL_CODE]
    assert (row.value, row.standard_error, row.n, row.conditions) == (own.value, own.standard_error, 40, "")
    assert own.bound.importance_samples == 1
    assert 0 < own.value < np.log2(17) + 0.5
    assert rows["parameters"].value == config.model.size((8, 8, 1), 17).parameters
    assert rows["training_images"].value == 512
    assert rows["training_seconds"].value > 0
    assert f"{NAME}: {own.value:.4f} bits/dim on test, exact" in ran.printed.getvalue()


@pytest.mark.backend
@pytest.mark.slow_on_jax
def test_after_an_interruption_the_same_command_continues_it_to_the_very_same_figure(
    session, whole, digits, monkeypatch
):
    monkeypatch.setattr("bench.training.checkpoint.LARGEST_SHARE", 1e9)
    stopped = session(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        stopped.measure(digits)
    assert stopped.logged == []
    assert stopped.file.exists()
    continued = session()
    trained = []
    real = bench.execution.reference_model.train_model

    def train(config, data, seed, on_evaluation, checkpoint):
        return real(config, data, seed, lambda r: (trained.append(r.evaluation), on_evaluation(r)), checkpoint)

    monkeypatch.setattr(bench.execution.reference_model, "train_model", train)
    assert continued.measure(digits) == [1, 2, 3, 4]
    assert trained == [3, 4]
    assert continued.logged[0].measured[0] == whole[0].logged[0].measured[0]
    assert not continued.file.exists()


FAILURES = {
    "diverged": (lambda: DivergedError("training loss became nan at step 3"), "training loss became nan at step 3"),
    "no memory": (MemoryError, "the host ran out of memory"),
    "no device memory": (lambda: OutOfMemoryError("RESOURCE_EXHAUSTED"), "RESOURCE_EXHAUSTED"),
    "backend": (lambda: RuntimeError("INTERNAL: a kernel\nand more"), "RuntimeError: INTERNAL: a kernel"),
    "shapes": (lambda: ValueError("shapes differ"), "ValueError: shapes differ"),
    "file": (lambda: OSError("no space"), "OSError: no space"),
}


def fails(monkeypatch, make):
    def train(config, data, seed, on_evaluation, checkpoint):
        raise make()

    monkeypatch.setattr(bench.execution.reference_model, "train_model", train)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_costs_the_reference_alone_and_its_reason_is_logged(session, digits, monkeypatch, name):
    make, reason = FAILURES[name]
    fails(monkeypatch, make)
    ran = session()
    ran.file.write_bytes(b"earlier")
    ran.measure(digits)
    (codes,) = ran.logged
    assert (codes.measured, codes.unavailable) == ([], {REFERENCE_MODEL_CODE: reason})
    assert f"{NAME}: {reason}; the study is complete without it" in ran.printed.getvalue()
    assert not ran.file.exists()


def test_a_checkpoint_of_a_larger_budget_is_not_continued(session, digits, monkeypatch):
    limits = []
    monkeypatch.setattr(Checkpoint, "remove_longer", lambda checkpoint, evaluations: limits.append(evaluations))
    fails(monkeypatch, lambda: DivergedError("it diverged"))
    session().measure(digits)
    assert limits == [EVALUATIONS]


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one_to_the_same_command(session, digits, monkeypatch):
    fails(monkeypatch, lambda: CheckpointError("the disk is full"))
    ran = session()
    ran.file.write_bytes(b"earlier")
    with pytest.raises(CheckpointError, match="the disk is full"):
        ran.measure(digits)
    assert (ran.logged, ran.file.read_bytes()) == ([], b"earlier")


def test_a_checkpoint_that_cannot_be_removed_is_named_and_the_run_counts(session, digits, monkeypatch, caplog):
    caplog.set_level("INFO")
    fails(monkeypatch, lambda: DivergedError("it diverged"))
    ran = session()
    ran.is_kept = True
    ran.measure(digits)
    assert len(ran.logged) == 1
    assert "1 of 1 runs" in caplog.text
    assert "the checkpoint cannot be removed; nothing needs it, and the same command tries it again" in (
        ran.printed.getvalue()
    )


def test_of_many_test_images_it_is_measured_on_a_fixed_choice_which_its_row_says(session, digits, monkeypatch):
    seen = []

    trained = SimpleNamespace(trainable_weights=[]), SimpleNamespace(seconds=1.0, records=[SimpleNamespace(images=64)])
    found = SimpleNamespace(
        bound=np.zeros(7), measurements=lambda split, kind: (Measurement(split, "bits_per_dim", 1.0, 0.1, 7), None)
    )
    monkeypatch.setattr(bench.execution.reference_model, "train_model", lambda *a: trained)
    monkeypatch.setattr(
        bench.execution.reference_model, "log_likelihood", lambda model, images, *a, **o: seen.append(images) or found
    )
    monkeypatch.setattr(bench.execution.reference_model, "most_test_images", lambda info: 7)
    ran = session()
    ran.measure(digits)
    np.testing.assert_array_equal(seen[0], fixed_choice(digits.open_test().some(40).images, 7))
    assert ran.logged[0].measured[0].conditions == "on 7 of the 40 test images"


@pytest.mark.backend
def test_an_error_of_the_backend_s_own_is_one_of_them(session, digits, monkeypatch):
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        error = jax.errors.JaxRuntimeError("INTERNAL: a kernel")
        assert backend_errors() == ()
    else:
        import tensorflow as tf

        error = tf.errors.InternalError(None, None, "a kernel")
    fails(monkeypatch, lambda: error)
    ran = session()
    ran.measure(digits)
    assert "a kernel" in ran.logged[0].unavailable[REFERENCE_MODEL_CODE]


def test_a_model_that_gives_a_test_image_no_probability_has_diverged(session, digits, monkeypatch):
    infinite = SimpleNamespace(bound=np.array([-1.0, -np.inf]))
    model = SimpleNamespace(trainable_weights=[])
    monkeypatch.setattr(bench.execution.reference_model, "train_model", lambda *a: (model, None))
    monkeypatch.setattr(bench.execution.reference_model, "log_likelihood", lambda *a, **o: infinite)
    ran = session()
    ran.measure(digits)
    assert ran.logged[0].unavailable == {REFERENCE_MODEL_CODE: "the test bound is not finite for 1 of 2 images"}


def test_it_leaves_the_checkpoint_to_a_process_that_took_the_study_over(session, digits, monkeypatch):
    def lost():
        raise StudyStoppedError("another process took over")

    ran = session()
    ran.file.write_bytes(b"of the other")
    with pytest.raises(StudyStoppedError):
        ran.measure(digits, lost)
    assert (ran.logged, ran.file.read_bytes()) == ([], b"of the other")


@pytest.mark.parametrize(
    ("error", "is_kept"), [(AlteredDataError("the images changed"), False), (KeyboardInterrupt(), True)]
)
def test_altered_images_and_a_request_to_stop_are_no_failure_of_the_reference(
    session, digits, monkeypatch, error, is_kept
):
    """Nothing is continued from weights that were trained on altered images."""
    fails(monkeypatch, lambda: error)
    ran = session()
    ran.file.write_bytes(b"earlier")
    with pytest.raises(type(error)):
        ran.measure(digits)
    assert ran.logged == []
    assert ran.file.exists() == is_kept


def test_while_the_tracking_server_takes_nothing_its_checkpoint_is_kept(session, digits, monkeypatch):
    def away(codes):
        raise TrackingError("it is away")

    fails(monkeypatch, lambda: DivergedError("it diverged"))
    ran = session()
    ran.file.write_bytes(b"earlier")
    ran.parent = SimpleNamespace(log_reference_codes=away)
    with pytest.raises(TrackingError):
        ran.measure(digits)
    assert ran.file.exists()


def test_studies_whose_arms_see_as_many_images_have_the_same_one(session):
    bound = session().bound
    other = replace(bound, study=replace(bound.study, arms=bound.study.arms[:1], question="Another?"))
    first, second = (reference_study(each) for each in (bound, other))
    assert first.base(first.study.arms[0]) == second.base(second.study.arms[0])
