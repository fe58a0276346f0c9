"""The speed of each arm is measured once, by a real training, and kept."""

import json

import pytest

import bench.execution.speeds
from bench.core.errors import SettingsError
from bench.data.bundled import DIGITS
from bench.execution.speeds import measure_speed, measured_speeds
from bench.study.definition import Arm, BoundStudy, Study
from bench.study.reference_model import NAME
from bench.study.search_space import Integers
from bench.study.speed import Speed, slowest
from models.autoregressive.config import AutoregressiveConfig
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

STUDY = Study(
    name="small",
    question="How fast?",
    arms=(
        Arm(VAEConfig(hidden_sizes=(8,), latent_size=2), {"latent_size": Integers(2, 9)}),
        Arm(GlowConfig(levels=1, flow_depth=1, hidden_channels=4)),
    ),
)


@pytest.fixture
def bound(settings_for, tmp_path):
    def bind(**settings):
        changes = {"images": None, "reference_model": True, **settings}
        return BoundStudy(STUDY, settings_for(tmp_path, **changes), DIGITS, digest="d")

    return bind


@pytest.fixture
def asked(monkeypatch):
    """The models that were measured, each as fast as any."""
    found = []

    def measure(config, image_shape, grey_levels):
        found.append(config.model)
        return Speed(first_seconds=1, step_seconds=0.1, likelihood_seconds=1e-3)

    monkeypatch.setattr(bench.execution.speeds, "measure_speed", measure)
    return found


def test_each_arm_is_measured_as_it_is_and_in_the_middle_of_its_sweep_and_the_reference_model_too(bound, asked):
    said = []
    assert set(measured_speeds(bound(time=600), said.append)) == {"vae", "glow", NAME}
    assert [model.family for model in asked] == ["vae", "vae", "glow", "autoregressive"]
    assert [model.latent_size for model in asked[:2]] == [2, 6]
    assert said[1] == "vae: 1,280 images/s of training after 1 s of compiling, 1,000 likelihoods/s"
    assert set(measured_speeds(bound(reference_model=False, seconds=3), said.append)) == {"vae", "glow"}


def test_what_was_measured_is_kept_whatever_the_budget_and_measured_again_where_it_may_differ(bound, asked):
    first = measured_speeds(bound(time=600), lambda line: None)
    for budget in ({"time": 1200}, {"seconds": 5}, {"trials": 3, "time": 600}):
        assert measured_speeds(bound(**budget), lambda line: None) == first
    assert len(asked) == 4
    measured_speeds(bound(time=600, batch_size=32), lambda line: None)
    assert len(asked) == 8


@pytest.mark.parametrize("altered", ["", "{", "[]", '{"KEY": {"vae": 3}}', '{"KEY": {"vae": {"first_seconds": -1}}}'])
def test_what_was_altered_is_refused_with_the_way_out(bound, asked, altered):
    measured_speeds(bound(time=600), lambda line: None)
    path = bound().settings.output / "speeds.json"
    (key,) = json.loads(path.read_text())
    path.write_text(altered.replace("KEY", key))
    with pytest.raises(SettingsError, match=r"speeds\.json, which keeps .* was altered: remove it"):
        measured_speeds(bound(time=600), lambda line: None)


def test_the_slower_of_an_arms_configurations_counts_and_one_that_cannot_be_trained_does_not(bound, monkeypatch):
    def measure(config, image_shape, grey_levels):
        if config.model.family == "autoregressive":
            raise MemoryError("no room")
        if config.model.family == "glow":
            return Speed(first_seconds=1, step_seconds=1, likelihood_seconds=1)
        if config.model.latent_size == 6:
            raise ValueError("too large")
        return Speed(first_seconds=2, step_seconds=0.5, likelihood_seconds=3)

    monkeypatch.setattr(bench.execution.speeds, "measure_speed", measure)
    said = []
    found = measured_speeds(bound(time=600), said.append)
    assert {name: speed.step_seconds for name, speed in found.items()} == {"vae": 0.5, "glow": 1.0}
    assert [line for line in said if "could not be measured" in line] == [
        "vae: its speed could not be measured, too large",
        f"{NAME}: its speed could not be measured, no room",
    ]


def test_an_arm_that_cannot_be_measured_has_no_budget(bound, monkeypatch):
    def fail(*arguments):
        raise ValueError("too large")

    monkeypatch.setattr(bench.execution.speeds, "measure_speed", fail)
    with pytest.raises(SettingsError, match="the speed of vae could not be measured: give epochs or images"):
        measured_speeds(bound(time=600), lambda line: None)


def test_speeds_of_other_batch_sizes_are_those_of_as_many_images():
    one = Speed(first_seconds=1, step_seconds=0.1, likelihood_seconds=3, step_joules=2.0).in_steps_of(4)
    assert (one.first_seconds, one.step_seconds, one.step_joules, one.likelihood_seconds) == (1, 0.4, 8, 3)
    other = Speed(first_seconds=2, step_seconds=0.2, likelihood_seconds=1)
    assert slowest([one, other]) == Speed(first_seconds=2, step_seconds=0.4, likelihood_seconds=3)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("small", "large"),
    [
        (STUDY.arms[0].model, VAEConfig(hidden_sizes=(1000, 1000), latent_size=8)),
        # Compiling it takes long, and it is measured as any other.
        pytest.param(
            AutoregressiveConfig(hidden_channels=4, blocks=1),
            AutoregressiveConfig(hidden_channels=32, blocks=1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["vae", "autoregressive"],
)
@pytest.mark.slow_on_jax
def test_a_larger_model_is_measured_to_be_slower(bound, monkeypatch, small, large):
    monkeypatch.setattr(bench.execution.speeds, "WARM_SECONDS", 0.2)
    config = bound().base(STUDY.arms[0])
    fast, slow = (measure_speed(config.model_copy(update={"model": model}), (8, 8, 1), 17) for model in (small, large))
    assert 0 < fast.step_seconds < slow.step_seconds
    assert 0 < fast.likelihood_seconds < slow.likelihood_seconds
    assert fast.first_seconds > fast.step_seconds
