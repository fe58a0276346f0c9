"""The backend that is expected to be done first is chosen, and the choice is kept."""

import json
from dataclasses import replace
from types import SimpleNamespace

import keras
import pytest

import bench.execution.backend_choice
import bench.execution.speeds
import bench.runtime.backend_process
from bench.core.errors import SettingsError
from bench.core.file_locks import LockFileError
from bench.data.bundled import DIGITS
from bench.execution.backend_choice import choose_backend, measure
from bench.study.definition import Arm, BoundStudy, Study, StudySettings
from bench.study.search_space import Integers, Reals
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

SWEEP = {"learning_rate": Reals(1e-3, 1e-2, log=True)}
STUDY = Study(
    name="small",
    question="Which backend?",
    arms=(
        Arm(VAEConfig(hidden_sizes=(8,), latent_size=2), sweep=SWEEP),
        Arm(GlowConfig(levels=1, flow_depth=1, hidden_channels=4), sweep=SWEEP | {"flow_depth": Integers(1, 3)}),
    ),
)


@pytest.fixture
def bound(tmp_path):
    settings = StudySettings(output=tmp_path / "runs", trials=10, seeds=2, images=640, backend="auto")
    return BoundStudy(STUDY, settings, DIGITS, digest="not opened")


@pytest.fixture
def measured(monkeypatch):
    """Lets each backend answer with given seconds by arm, or fail with a message; holds which were asked."""
    asked = []

    def answers(**by_backend):
        def run(command, **options):
            asked.append(command[-1])
            answer = by_backend[command[-1]]
            if isinstance(answer, str):
                return SimpleNamespace(returncode=1, stdout="", stderr=f"a traceback\n{answer}\n")
            return SimpleNamespace(returncode=0, stdout=f"noise\n{json.dumps(answer)}\n", stderr="")

        monkeypatch.setattr(bench.runtime.backend_process.subprocess, "run", run)
        return asked

    return answers


def test_it_counts_the_first_step_of_each_shape_and_the_steps_of_each_run(bound, measured):
    measured(tensorflow={"vae": (1, 0.01), "glow": (10, 0.1)}, jax={"vae": (2, 0.001), "glow": (50, 0.02)})
    said = []
    # All 10 trials take 2 of 10 steps, 5 of them 3 more, and 3 the other 5: with two final runs 70 steps of each arm.
    # One shape of VAE, three of Glow: 1 + 0.7 + 30 + 7, against 2 + 0.07 + 150 + 1.4.
    assert choose_backend(bound, said.append) == "tensorflow"
    assert said[-1].endswith("as it was begun: tensorflow 39 s, jax 153 s")


def test_an_arm_that_sweeps_nothing_has_final_runs_alone(bound, measured):
    measured(tensorflow={"vae": (1, 0.1)}, jax={"vae": (2, 0.01)})
    said, unswept = [], replace(STUDY, arms=(replace(STUDY.arms[0], sweep={}),))
    choose_backend(BoundStudy(unswept, bound.settings, DIGITS, digest="not opened"), said.append)
    # Two runs of 10 steps.
    assert said[-1].endswith("tensorflow 3 s, jax 2 s")


def test_what_was_measured_is_not_measured_again_unless_something_else_is_asked(bound, measured, tmp_path):
    asked = measured(tensorflow={"vae": (1, 1), "glow": (1, 1)}, jax={"vae": (1, 0.1), "glow": (1, 0.1)})
    assert choose_backend(bound, lambda text: None) == "jax"
    assert choose_backend(bound, lambda text: None) == "jax"
    assert asked == ["tensorflow", "jax"]
    larger = bound.settings.model_copy(update={"images": 64_000})
    assert choose_backend(BoundStudy(STUDY, larger, DIGITS, digest="not opened"), lambda text: None) == "jax"
    assert len(asked) == 2
    other = bound.settings.model_copy(update={"batch_size": 32})
    assert choose_backend(BoundStudy(STUDY, other, DIGITS, digest="not opened"), lambda text: None) == "jax"
    assert len(asked) == 4


def test_a_backend_that_fails_is_not_chosen_and_where_all_do_the_reasons_are_named(bound, measured):
    measured(tensorflow="ValueError: no room", jax={"vae": (1, 1), "glow": (1, 1)})
    assert choose_backend(bound, lambda text: None) == "jax"
    other = bound.settings.model_copy(update={"batch_size": 32})
    measured(tensorflow="ValueError: no room", jax="RuntimeError: no device")
    with pytest.raises(SettingsError, match=r"tensorflow: ValueError: no room; jax: RuntimeError: no device"):
        choose_backend(BoundStudy(STUDY, other, DIGITS, digest="not opened"), lambda text: None)


def kept(bound):
    return bound.settings.output / "backends.json"


@pytest.mark.parametrize(
    "altered",
    [
        "",
        "{",
        "[]",
        "nonsense",
        "{KEY: {}}",
        '{KEY: {"jax": "fast"}}',
        '{KEY: {"jax": NaN}}',
        '{KEY: {"jax": -1.0}}',
        '{KEY: {"jax": 1.0, "torch": 0.5}}',
        '{KEY: {"jax": 1.0}, "other": 3}',
        '{KEY: "jax"}',
        b"\xff\xfe",
    ],
)
def test_a_choice_that_was_altered_is_refused_with_the_way_out(bound, measured, altered):
    asked = measured(tensorflow={"vae": (1, 1), "glow": (1, 1)}, jax={"vae": (1, 0.1), "glow": (1, 0.1)})
    choose_backend(bound, lambda text: None)
    (key,) = json.loads(kept(bound).read_text())
    if isinstance(altered, str):
        altered = altered.replace("KEY", json.dumps(key)).encode()
    kept(bound).write_bytes(altered)
    with pytest.raises(SettingsError, match=r"backends\.json, which keeps .*altered.*remove it.*--backend") as raised:
        choose_backend(bound, lambda text: None)
    assert "\n" not in str(raised.value)
    assert kept(bound).read_bytes() == altered
    assert len(asked) == 2
    kept(bound).unlink()
    assert choose_backend(bound, lambda text: None) == "jax"


def test_a_choice_of_another_machine_is_left_there_and_not_taken(bound, measured, monkeypatch):
    measured(tensorflow={"vae": (1, 1), "glow": (1, 1)}, jax={"vae": (1, 0.1), "glow": (1, 0.1)})
    assert choose_backend(bound, lambda text: None) == "jax"
    monkeypatch.setattr(bench.execution.backend_choice, "processor", lambda: "another")
    measured(tensorflow={"vae": (1, 0.1), "glow": (1, 0.1)}, jax={"vae": (1, 1), "glow": (1, 1)})
    assert choose_backend(bound, lambda text: None) == "tensorflow"
    assert len(json.loads(kept(bound).read_text())) == 2


def test_a_link_in_place_of_its_lock_is_named(bound, measured):
    measured(tensorflow={"vae": (1, 1), "glow": (1, 1)}, jax={"vae": (1, 0.1), "glow": (1, 0.1)})
    lock = kept(bound).with_name("backends.json.lock")
    lock.parent.mkdir(parents=True)
    lock.symlink_to(lock)
    with pytest.raises(LockFileError, match=r"backends\.json\.lock is a symbolic link"):
        choose_backend(bound, lambda text: None)


def test_each_backend_is_given_the_files_of_the_users_models(bound, monkeypatch):
    """Without them a process of its own knows no such family."""
    monkeypatch.setattr(bench.execution.backend_choice, "code_extensions", lambda: [SimpleNamespace(path="mine.py")])
    monkeypatch.setattr(bench.execution.backend_choice, "installed_backends", lambda: ["jax"])
    jobs, loaded = [], []

    def run_on_backend(module, backend, job):
        jobs.append(job)
        return {"vae": (1.0, 1.0), "glow": (1.0, 1.0)}

    monkeypatch.setattr(bench.execution.backend_choice, "run_on_backend", run_on_backend)
    choose_backend(bound, lambda text: None)
    assert jobs[0]["extensions"] == ["mine.py"]
    monkeypatch.setattr(bench.execution.backend_choice, "select_backend", lambda name: None)
    monkeypatch.setattr(bench.execution.backend_choice, "load_extension", loaded.append)
    assert measure("jax", {**jobs[0], "configs": {}}) == {}
    assert loaded == ["mine.py"]


@pytest.mark.backend
@pytest.mark.slow_on_jax
def test_a_measurement_takes_real_steps(bound, monkeypatch):
    monkeypatch.setattr(bench.execution.speeds, "WARM_SECONDS", 0.01)
    job = bench.execution.backend_choice._make_job(bound)
    found = measure(keras.backend.backend(), {**job, "extensions": []})
    for first, step in found.values():
        assert first > step > 0
    assert set(found) == {"vae", "glow"}
