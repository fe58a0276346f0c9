import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.data.bundled import DIGITS
from bench.data.keras_datasets import CIFAR10
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, BoundStudy, Study, StudySettings
from bench.study.plan import expected_memory, plan, too_long_warmups, total_seconds
from bench.study.search_space import Choices, Integers
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
from studies.cli.loading import load_study

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("keras", "tensorflow", "jax", "mlflow", "optuna", "pandas", "sklearn", "scipy")

SPREAD = {
    "digits, dense": (VAEConfig.preset("iwae"), (8, 8, 1), 17),
    "digits, latent 64": (VAEConfig(latent_size=64, hidden_sizes=(16,)), (8, 8, 1), 17),
    "digits, one width": (VAEConfig(hidden_sizes=(16, 8), hidden_width=24, dropout=0.1), (8, 8, 1), 17),
    "mnist, sketch": (VAEConfig.preset("sketch"), (28, 28, 1), 256),
    "odd, convolutional": (VAEConfig(network="convolutional", hidden_channels=4, downsamplings=3), (9, 13, 1), 2),
    "odd, residual": (VAEConfig(network="residual", hidden_channels=4, blocks=1), (7, 7, 3), 33),
    "digits, glow": (GlowConfig.preset("small"), (8, 8, 1), 17),
    "cifar, deep": (GlowConfig(levels=3, flow_depth=2, hidden_channels=8), (32, 32, 3), 256),
    "variational": (GlowConfig(hidden_channels=8, dequantisation="variational"), (8, 12, 1), 2),
}


@pytest.mark.backend
@pytest.mark.parametrize("name", SPREAD)
def test_the_size_in_a_plan_is_that_of_the_model_that_is_trained(name):
    from models.registry import build_model

    config, image_shape, grey_levels = SPREAD[name]
    model = build_model(config, image_shape, grey_levels)
    built = sum(math.prod(weight.shape) for weight in model.trainable_variables)
    assert config.size(image_shape, grey_levels).parameters == built


def planned(study, **settings):
    bound = BoundStudy(study, StudySettings.from_options(settings), DIGITS, "d")
    plans = plan(bound)
    return plans, total_seconds(bound, plans)


@pytest.fixture(autouse=True)
def _steady_processor(monkeypatch):
    monkeypatch.setattr("bench.study.speed.multiplications_per_second", lambda: 1e10)


def test_a_plan_lists_each_arm_with_finite_positive_times(tiny_study):
    plans, total = planned(tiny_study)
    s = StudySettings()
    assert [p.arm.name for p in plans] == ["vae", "glow"]
    for p in plans:
        assert 0 < p.trial_seconds < math.inf
        assert 0 < p.final_seconds < math.inf
        assert 0 < p.smallest.parameters < p.largest.parameters
    _, alone = planned(tiny_study, reference_model=False)
    assert alone == pytest.approx(sum(p.search_seconds + p.times.finals(s.seeds) for p in plans))
    assert all(p.search_seconds < s.trials * p.trial_seconds for p in plans)
    assert total > alone


def test_in_a_given_time_trials_that_are_not_trained_to_the_end_have_no_bound_there(tiny_study):
    def searched(trials):
        glow = planned(tiny_study, time=3600, trials=trials, epochs=None)[0][1]
        return glow.search_seconds - glow.times.beginning, glow.times

    seconds, times = searched(4)
    assert seconds == pytest.approx(2 * 0.25 * times.training, rel=0.1)
    seconds, times = searched(8)
    assert seconds == pytest.approx((4 * 0.25 + 2 * 0.5) * times.training + 2 * times.selection, rel=0.1)


@pytest.mark.parametrize(
    "more",
    [{"trials": 99}, {"seeds": 99}, {"epochs": 90}, {"images": 10**6}, {"selection_samples": 17}, {"batch_size": 32}],
    ids=lambda more: next(iter(more)),
)
def test_more_of_anything_takes_longer(tiny_study, more):
    assert planned(tiny_study, **more)[1] > planned(tiny_study)[1]


def test_an_arm_that_is_warmed_up_for_more_than_half_of_its_training_is_named():
    arms = (
        Arm(VAEConfig(kl_warmup_steps=200), training=TrainingConfig(warmup_steps=30), name="slow"),
        Arm(VAEConfig(kl_warmup_steps=100), training=TrainingConfig(), name="quick"),
        Arm(VAEConfig(), sweep={"kl_warmup_steps": Choices((0, 10_000))}, training=TrainingConfig(), name="swept"),
    )
    study = Study("warm", "?", arms)

    def named(images, **settings):
        options = StudySettings.from_options({"images": images, **settings})
        return too_long_warmups(BoundStudy(study, options, DIGITS, "d"))

    assert named(40_000) == []
    assert [said.partition(" rises")[0] for said in named(10_000)] == [
        "slow: its weight of the KL",
        "quick: its weight of the KL",
    ]
    assert named(2_000, smoke=True) == []
    said = named(2_000)
    assert [each.partition(":")[0] for each in said] == ["slow", "slow", "quick"]
    assert "its learning rate rises over warmup_steps=30, and a run takes 30 steps: give it a larger budget" in said[1]


def memory(study, info=DIGITS, **settings):
    bound = BoundStudy(study, StudySettings.from_options(settings), info, "d")
    return expected_memory(bound, plan(bound))


MEASURED = {
    # Largest resident set in GiB, on TensorFlow: the flagship study, and a small one of 100,000 colour images.
    "flagship": (load_study("vae_vs_glow"), DIGITS, {}, 2.64),
    "colours": (
        Study("s", "?", (Arm(VAEConfig(), {"latent_size": Integers(2, 16)}), Arm(GlowConfig(levels=1), name="g"))),
        replace(CIFAR10, sizes={"train": 70_000, "validation": 10_000, "test": 20_000}),
        {"trials": 4, "seeds": 1},
        2.64,
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_the_expected_memory_is_near_what_was_measured(name):
    study, info, settings, measured = MEASURED[name]
    assert 1 / 1.5 < memory(study, info, **settings).process / 2**30 / measured < 1.5


def test_memory_is_that_of_the_images_once_and_of_what_grows_with_runs(tiny_study):
    wide = replace(DIGITS, grey_levels=257)
    assert memory(tiny_study).images == 1797 * 64
    assert memory(tiny_study, wide).images == 2 * 1797 * 64
    assert memory(tiny_study, trials=1, seeds=1).process < memory(tiny_study).process
    assert memory(tiny_study, trials=50).process == memory(tiny_study, trials=500).process
    assert memory(tiny_study, backend="auto").process == memory(tiny_study).process


def test_the_ends_of_the_sweep_give_the_smallest_and_the_largest_model(tiny_study):
    (vae, glow), _ = planned(tiny_study)
    sizes = [VAEConfig(hidden_sizes=(16,), latent_size=latent_size).size((8, 8, 1), 17) for latent_size in (2, 16)]
    assert [vae.smallest, vae.largest] == sizes
    glow_sizes = [
        GlowConfig(levels=1, flow_depth=1, hidden_channels=channels).size((8, 8, 1), 17) for channels in (4, 12)
    ]
    assert [glow.smallest, glow.largest] == glow_sizes


def test_a_plan_counts_the_images_that_training_will_see(tiny_study):
    plans, _ = planned(tiny_study, images=6400, batch_size=64)
    assert [(p.images, p.evaluations) for p in plans] == [(6400, 10)] * 2


def test_the_processor_is_measured_as_some_multiplications_per_second(monkeypatch):
    monkeypatch.undo()
    from bench.study.speed import multiplications_per_second

    assert 1e7 < multiplications_per_second() < 1e14


@pytest.mark.parametrize(
    "statement",
    [
        "import bench.study.plan",
        "from studies.cli.main import main; sys.argv = ['reparam-bench', 'study', 'vae_vs_glow', '--dry-run']; main()",
        "from studies.cli.main import main; sys.argv = ['reparam-bench', '--help']; main()",
    ],
    ids=["estimate", "dry run", "help"],
)
def test_a_plan_imports_no_framework(statement, tmp_path):
    program = f"""
import atexit, sys
heavy = {HEAVY!r}
atexit.register(lambda: print("imported:", sorted(set(heavy) & set(sys.modules)), file=sys.stderr))
sys.path.insert(0, {str(ROOT)!r})
{statement}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "imported: []"
    assert list(tmp_path.iterdir()) == []
