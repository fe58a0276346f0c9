"""Interrupted and continued is the same as never interrupted; a checkpoint is whole, its own training's, or none."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bench.evaluation.cost.energy
import bench.execution.trial
import bench.training.checkpoint
import bench.training.loop
from bench.core.errors import CheckpointError, ReparamBenchError
from bench.core.results import EvaluationRecord
from bench.training.checkpoint import Checkpoint
from bench.training.history import TrainingLog
from bench.training.loop import compile_for_training
from models.registry import build_model
from tests.bench.training.checkpointed import (
    EVALUATIONS,
    MODELS,
    SEED,
    TRAINING,
    at_step,
    checkpoint_of,
    config_of,
    data,
    trial,
)

pytestmark = pytest.mark.backend

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("checkpointed.py")


class InterruptedTestError(Exception):
    """Stands for whatever ends a process."""


def interrupt(*arguments, **options):
    raise InterruptedTestError


@pytest.fixture(scope="module", autouse=True)
def _every_look():
    """The state after each evaluation is saved, however little time has passed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.training.checkpoint, "LARGEST_SHARE", float("inf"))
        yield


@pytest.fixture(autouse=True)
def _quick_trials(monkeypatch):
    """Without pictures, and without compiling anew what an interruption drops: it would take most of the time."""
    monkeypatch.setattr(bench.execution.trial, "trial_pictures", lambda *arguments: [])
    monkeypatch.setattr(bench.execution.trial, "_forget", lambda compiled: None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "vae-search-0.npz"


@cache
def uninterrupted(name):
    return trial(name)


def assert_same(found, expected):
    assert found.bound == expected.bound
    assert found.curve == expected.curve
    assert len(found.variables) == len(expected.variables)
    for each, other in zip(found.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(each, other)


def during_the_first_evaluation(patch):
    patch.setattr(bench.training.loop, "_check_finite", at_step(1, 2, interrupt))


def after_a_look_but_before_saving(patch):
    return lambda record: interrupt() if record.evaluation == 2 else None


def after_saving(patch):
    save = Checkpoint.save

    def interrupted(checkpoint, model, log, *others):
        save(checkpoint, model, log, *others)
        if len(log.records) == 2:
            interrupt()

    patch.setattr(Checkpoint, "save", interrupted)


def within_a_late_evaluation(patch):
    patch.setattr(bench.training.loop, "_check_finite", at_step(EVALUATIONS, 3, interrupt))


def during_evaluation(patch):
    patch.setattr(bench.execution.trial, "log_likelihood", interrupt)


INTERRUPTIONS = {
    during_the_first_evaluation: 0,
    after_a_look_but_before_saving: 1,
    after_saving: 2,
    within_a_late_evaluation: EVALUATIONS - 1,
    during_evaluation: EVALUATIONS,
}


@pytest.mark.parametrize(
    ("name", "interruption", "kept"),
    [
        *((name, each, kept) for name in MODELS if name != "glow" for each, kept in INTERRUPTIONS.items()),
        # What a family adds is its initialisation by data, which the first evaluation alone repeats.
        *(("glow", each, INTERRUPTIONS[each]) for each in (during_the_first_evaluation, within_a_late_evaluation)),
    ],
)
def test_interrupted_and_continued_is_the_same_as_uninterrupted(monkeypatch, path, name, interruption, kept):
    expected = uninterrupted(name)
    with monkeypatch.context() as patch:
        on_evaluation = interruption(patch) or (lambda record: None)
        with pytest.raises(InterruptedTestError):
            trial(name, checkpoint_of(name, path), on_evaluation)
    replayed = checkpoint_of(name, path).records()
    logs = []
    found = trial(name, checkpoint_of(name, path), logs.append)
    assert_same(found, expected)
    assert len(replayed) == kept
    assert found.log.records == replayed + logs
    assert found.log.starts == ([0, kept] if kept else [0])
    seconds = [record.seconds for record in found.log.records]
    assert seconds[0] > 0
    assert seconds == sorted(seconds)


def test_what_was_read_of_a_checkpoint_is_what_training_continues_from_though_another_process_saves_meanwhile(path):
    with pytest.raises(InterruptedTestError):
        trial("vae", checkpoint_of("vae", path), lambda record: interrupt() if record.evaluation == 3 else None)
    checkpoint = checkpoint_of("vae", path)
    replayed = checkpoint.records()
    # It was stopped for long, and does not know yet that its work was taken away.
    trial("vae", checkpoint_of("vae", path))
    logs = []
    found = trial("vae", checkpoint, logs.append)
    assert_same(found, uninterrupted("vae"))
    assert found.log.records == replayed + logs


def test_interrupted_again_and_again_is_the_same_as_uninterrupted(monkeypatch, path):
    for _ in range(EVALUATIONS - 1):
        with monkeypatch.context() as patch:
            patch.setattr(bench.training.loop, "_check_finite", at_step(2, 1, interrupt))
            with pytest.raises(InterruptedTestError):
                trial("glow", checkpoint_of("glow", path))
    found = trial("glow", checkpoint_of("glow", path))
    assert_same(found, uninterrupted("glow"))
    assert found.log.starts == list(range(EVALUATIONS))


def run_script(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], env=environment, check=False)


def test_a_process_that_is_killed_is_continued_by_another(path):
    """Nothing but the file passes from the one to the other."""
    killed = run_script("vae", path, 3, 2)
    assert killed.returncode == -signal.SIGKILL
    checkpoint = checkpoint_of("vae", path)
    assert checkpoint.records()
    found = trial("vae", checkpoint)
    assert_same(found, uninterrupted("vae"))
    assert len(found.log.starts) == 2


def complete(path):
    """The checkpoint of a trial that has trained to its end."""
    with pytest.MonkeyPatch.context() as patch:
        during_evaluation(patch)
        with pytest.raises(InterruptedTestError):
            trial("vae", checkpoint_of("vae", path))


def corrupt(path):
    """Flip one bit of a weight."""
    content = bytearray(path.read_bytes())
    with np.load(path) as kept:
        content[content.index(kept["model_0"].tobytes()) + 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def rewrite(path, change):
    with np.load(path) as kept:
        arrays = dict(kept)
    change(arrays)
    np.savez(path, **arrays)


def without_a_header(path):
    rewrite(path, lambda arrays: arrays.pop("header"))


def with_a_header_of_something_else(path):
    rewrite(path, lambda arrays: arrays.update(header=np.frombuffer(b'{"a": 1}', np.uint8)))


def without_a_variable(path):
    rewrite(path, lambda arrays: arrays.pop("optimizer_1"))


def with_a_variable_of_another_shape(path):
    rewrite(path, lambda arrays: arrays.update(model_0=np.zeros((3, 3), np.float32)))


class Malicious:
    """Whose unpickling makes a file."""

    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


def with_pickled_objects(path):
    objects = np.empty(1, dtype=object)
    objects[0] = Malicious()
    rewrite(path, lambda arrays: arrays.update(model_0=objects))


def with_an_array_larger_than_the_file(path):
    def change(arrays):
        arrays["model_0"] = np.zeros(10**6)

    rewrite(path, change)
    with np.load(path) as kept:
        np.savez_compressed(path, **dict(kept))


OF_ANOTHER = {"config_hash": "0" * 12, "seed": SEED + 1, "code_version": "abd"}
SPOILT = (
    corrupt,
    truncate,
    empty,
    without_a_header,
    with_a_header_of_something_else,
    with_pickled_objects,
    with_an_array_larger_than_the_file,
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "checkpoint.npz"
    complete(path)
    return path.read_bytes()


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_file_that_cannot_be_read_is_reported_and_ignored(path, kept, spoil, caplog, monkeypatch):
    monkeypatch.chdir(path.parents[1])
    path.parent.mkdir()
    path.write_bytes(kept)
    assert len(checkpoint_of("vae", path).records()) == EVALUATIONS
    spoil(path)
    checkpoint, model = checkpoint_of("vae", path), small_model()
    assert checkpoint.records() == []
    assert_untouched(model, lambda: checkpoint.restore(model))
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "bench.training.checkpoint"]
    assert warning.startswith(f"checkpoint {path} is ignored, training starts again: ")
    assert "\n" not in warning
    assert not Path("unpickled").exists()


def assert_untouched(model, restore):
    before = [np.array(each) for each in [*model.variables, *model.optimizer.variables]]
    assert restore() is None
    for each, other in zip([*model.variables, *model.optimizer.variables], before, strict=True):
        np.testing.assert_array_equal(each, other)


def test_where_a_checkpoint_is_ignored_training_is_as_if_there_were_none_and_saves_its_own(path, kept):
    path.parent.mkdir()
    path.write_bytes(kept)
    corrupt(path)
    found = trial("vae", checkpoint_of("vae", path))
    assert_same(found, uninterrupted("vae"))
    assert found.log.starts == [0]
    assert len(checkpoint_of("vae", path).records()) == EVALUATIONS


@pytest.mark.parametrize("changed", OF_ANOTHER)
def test_a_checkpoint_of_another_training_is_reported_and_ignored(path, kept, changed, caplog):
    path.parent.mkdir()
    path.write_bytes(kept)
    checkpoint = checkpoint_of("vae", path, **{changed: OF_ANOTHER[changed]})
    assert checkpoint.records() == []
    model = small_model()
    assert_untouched(model, lambda: checkpoint.restore(model))
    assert f"it is of another training: config_hash='{config_of('vae').hash}' seed=3 code_version='abc'" in caplog.text


@pytest.mark.parametrize("spoil", [without_a_variable, with_a_variable_of_another_shape])
def test_variables_that_are_not_the_models_leave_it_untouched(path, kept, spoil, caplog):
    path.parent.mkdir()
    path.write_bytes(kept)
    spoil(path)
    model = small_model()
    assert_untouched(model, lambda: checkpoint_of("vae", path).restore(model))
    assert "its variables are not those of the model" in caplog.text


@cache
def small_model():
    """Never trained: what is put into it, and what not, is all that it is for."""
    model = build_model(MODELS["vae"], (8, 8, 1), 17)
    compile_for_training(model, TRAINING["vae"])
    return model


def log_of(count):
    records = [EvaluationRecord(i + 1, 10 * (i + 1), 0.1 + i / 3, {"train/loss": 1 / (i + 3)}) for i in range(count)]
    return TrainingLog(records, [0.1 + i / 7 for i in range(count)], 10)


def test_nothing_is_there_at_first(path, caplog):
    checkpoint = checkpoint_of("vae", path)
    assert checkpoint.records() == []
    assert checkpoint.restore(small_model()) is None
    assert caplog.records == []


def test_the_log_comes_back_as_it_was_with_its_pictures(path):
    model, log = small_model(), log_of(3)
    log.records[1] = replace(log.records[1], samples=bytes(range(256)))
    checkpoint_of("vae", path).save(model, log, {})
    assert checkpoint_of("vae", path).records() == log.records
    assert checkpoint_of("vae", path).restore(model) == log


def test_samples_drawn_while_training_are_kept_with_their_record(path):
    logs, config = [], config_of("vae")
    bench.execution.trial._train(
        bench.execution.trial._compiled_model(config, data(), SEED),
        config,
        data(),
        SEED,
        logs.append,
        checkpoint_of("vae", path),
        lambda evaluation: b"\x89PNG" * evaluation if evaluation % 2 else None,
    )
    assert [record.samples for record in logs] == [b"\x89PNG", None, b"\x89PNG" * 3, None]
    assert checkpoint_of("vae", path).records() == logs


def test_a_checkpoint_that_was_removed_is_gone(path):
    checkpoint = checkpoint_of("vae", path)
    checkpoint.remove()
    checkpoint.save(small_model(), log_of(1), {})
    (path.parent / f".{path.name}.x.tmp").write_bytes(b"half")
    checkpoint.remove()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(("evaluations", "is_kept"), [(3, True), (2, False)])
def test_a_checkpoint_that_is_too_long_for_a_training_is_removed_and_not_restored(path, evaluations, is_kept):
    checkpoint_of("vae", path).save(small_model(), log_of(3), {})
    checkpoint = checkpoint_of("vae", path)
    assert len(checkpoint.records()) == 3
    checkpoint.remove_longer(evaluations)
    assert path.exists() == is_kept
    assert len(checkpoint.records()) == 3 * is_kept
    assert (checkpoint.restore(small_model()) is not None) == is_kept


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(path):
    checkpoint_of("vae", path).save(small_model(), log_of(2), {})
    half = path.with_name(f".{path.name}.abc.tmp")
    others = path.with_name(f".other-{path.name}.abc.tmp")
    for file in (half, others):
        file.write_bytes(b"half")
    assert checkpoint_of("vae", path).restore(small_model()) is not None
    assert sorted(path.parent.iterdir()) == sorted([path, others])


def full_while_synchronising(patch):
    patch.setattr(bench.training.checkpoint.os, "fsync", failing(errno.ENOSPC))


def full_while_moving_into_place(patch):
    patch.setattr(Path, "replace", failing(errno.EDQUOT))


def in_a_read_only_folder(patch):
    patch.setattr(bench.training.checkpoint.tempfile, "NamedTemporaryFile", failing(errno.EROFS))


def failing(number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return fail


REASONS = {
    full_while_synchronising: "No space left on device",
    full_while_moving_into_place: "Disk quota exceeded",
    in_a_read_only_folder: "Read-only file system",
}


@pytest.mark.parametrize(("fails", "reason"), REASONS.items())
def test_a_full_disk_or_a_read_only_folder_is_a_clear_error_and_leaves_the_earlier_state(
    path, monkeypatch, fails, reason
):
    checkpoint = checkpoint_of("vae", path)
    model = small_model()
    checkpoint.save(model, log_of(1), {})
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        fails(patch)
        with pytest.raises(CheckpointError) as raised:
            checkpoint.save(model, log_of(2), {})
    assert isinstance(raised.value, ReparamBenchError)
    assert str(raised.value) == f"the checkpoint {path} cannot be written: {reason}"
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("n_bytes", [0, 100, 5_000])
def test_a_file_that_may_grow_no_further_is_a_clear_error_and_leaves_the_earlier_state(path, n_bytes):
    checkpoint = checkpoint_of("vae", path)
    model = small_model()
    checkpoint.save(model, log_of(1), {})
    before = path.read_bytes()
    assert len(before) > 5_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"npz cannot be written: File too large$"):
            checkpoint.save(model, log_of(2), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    checkpoint = checkpoint_of("vae", tmp_path / "file" / "vae.npz")
    with pytest.raises(CheckpointError, match=r"vae\.npz cannot be written: "):
        checkpoint.save(small_model(), log_of(1), {})


def test_an_error_of_saving_ends_training(path, monkeypatch):
    with monkeypatch.context() as patch:
        full_while_synchronising(patch)
        with pytest.raises(CheckpointError):
            trial("vae", checkpoint_of("vae", path))
    assert list(path.parent.iterdir()) == []
    assert checkpoint_of("vae", path).records() == []


def test_a_save_is_left_out_where_it_would_cost_more_than_its_share(path, monkeypatch):
    now = 0.0

    def write(checkpoint, content):
        nonlocal now
        now += 1.0
        written.append(len(json.loads(content["header"].tobytes())["log"]["records"]))

    written = []
    monkeypatch.setattr(bench.training.checkpoint, "LARGEST_SHARE", 0.01)
    monkeypatch.setattr(bench.training.checkpoint, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(Checkpoint, "_write", write)
    checkpoint, model = checkpoint_of("vae", path), small_model()
    for evaluation in range(1, 12):
        now += 4.0
        checkpoint.save(model, log_of(evaluation), {})
    # Before the first, 0.05 s are taken for it: 4 s of training are too few, 8 s are enough. It takes 1 s, so that the
    # next is due after 100 s.
    assert written == [2]
    now += 100.0
    checkpoint.save(model, log_of(12), {})
    assert written == [2, 12]


def test_the_energy_of_one_process_is_not_taken_for_that_of_all(path, monkeypatch):
    joules = iter(range(100))
    meter = bench.evaluation.cost.energy._Counter
    monkeypatch.setattr(bench.evaluation.cost.energy, "_read", lambda: [meter("meter", float(next(joules)), None)])

    def measured():
        outcome = bench.execution.trial.run_trial(
            config_of("vae"), data(), SEED, 1, lambda record: None, checkpoint_of("vae", path)
        )
        return {row.metric: row.value for row in outcome.measurements}

    first, again = measured(), measured()
    # It is read at the beginning, at each evaluation and at the end.
    assert first["training_joules"] == EVALUATIONS + 1.0
    assert "training_joules" not in again
    assert again["training_seconds"] == first["training_seconds"]


@pytest.mark.parametrize("run", ["run_final", "train_model"])
def test_final_runs_and_models_trained_again_keep_their_state_too(path, monkeypatch, run):
    given = []

    def fake(model, data, config, seed, on_evaluation, checkpoint, *others):
        given.append(checkpoint)
        interrupt()

    monkeypatch.setattr(bench.execution.trial, "train", fake)
    checkpoint = checkpoint_of("vae", path)
    arguments = {"run_final": (None, SEED, None, interrupt, interrupt), "train_model": (SEED, interrupt)}[run]
    with pytest.raises(InterruptedTestError):
        getattr(bench.execution.trial, run)(config_of("vae"), data(), *arguments, checkpoint)
    assert given == [checkpoint]
