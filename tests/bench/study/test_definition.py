"""Settings and studies: what is refused, what is shrunk, and what makes a study another one."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.errors import SettingsError
from bench.data.bundled import DIGITS
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, BoundStudy, Study, StudySettings
from bench.study.search_space import Choices, Integers, Reals
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

VAE = Arm(VAEConfig(latent_size=4), sweep={"latent_size": Integers(2, 64)})
GLOW = Arm(GlowConfig(), sweep={"flow_depth": Integers(1, 8), "learning_rate": Reals(1e-4, 1e-2, log=True)})
BOTH = Study(name="both", question="Which?", arms=(VAE, GLOW))


def bind(*families, info=DIGITS, digest="d", study=BOTH, **settings):
    study = replace(study, families=families) if families else study
    return BoundStudy(study, StudySettings.checked(settings), info, digest)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"trials": 0}, r"trials=0: .*greater than or equal to 1"),
        ({"trials": 10**7}, r"trials=10000000: .*less than or equal to 1000000"),
        ({"epochs": 0}, r"epochs=0: .*greater than or equal to 1"),
        ({"images": -5}, r"images=-5: .*greater than or equal to 1"),
        ({"timeout": 0}, r"timeout=0: .*greater than 0"),
        ({"seed": -1}, r"seed=-1: .*greater than or equal to 0"),
        ({"seeds": 0}, r"seeds=0: .*greater than or equal to 1"),
        ({"batch_size": 0}, r"batch_size=0: .*greater than or equal to 1"),
        ({"selection_samples": 0}, r"selection_samples=0: .*greater than or equal to 1"),
        ({"importance_samples": 0}, r"importance_samples=0: .*greater than or equal to 1"),
        ({"evaluation_images": 1}, r"evaluation_images=1: .*greater than or equal to 2"),
        ({"grey_levels": 1}, r"grey_levels=1: .*greater than or equal to 2"),
        ({"sampler": "grid"}, r"sampler='grid': .*'tpe', 'qmc' or 'random'"),
        ({"backend": "torch"}, r"backend='torch' is unknown: one of tensorflow, jax"),
        ({"epochs": 3, "images": 100}, r"epochs=3 or images=100, not both"),
        ({"epoch": 3}, r"epoch=3: "),
        ({"engine": "dask"}, r"engine='dask': .*'local' or 'ray'"),
        ({"engine": "ray", "workers": 0}, r"workers=0 leaves the work to others"),
        ({"address": "host:6379"}, r"address='host:6379' is that of a Ray cluster: give engine='ray'"),
        ({"cpus_per_trial": 0}, r"cpus_per_trial=0: .*greater than 0"),
        ({"gpus_per_trial": -1}, r"gpus_per_trial=-1: .*greater than or equal to 0"),
        ({"gpus_per_trial": 1.5}, r"gpus_per_trial=1.5: a part of one, or whole ones"),
    ],
)
def test_a_bad_setting_is_refused_by_name_with_its_value_and_what_is_accepted(bad, message):
    with pytest.raises(SettingsError, match=message) as raised:
        StudySettings.checked(bad)
    assert "\n" not in str(raised.value)


def test_all_bad_settings_are_told_at_once():
    with pytest.raises(SettingsError, match=r"trials=0.*; seeds=0"):
        StudySettings.checked({"trials": 0, "seeds": 0})


def test_a_smoke_run_shrinks_everything_that_takes_time():
    smoke = StudySettings.checked({"smoke": True, "trials": 50, "epochs": 100, "importance_samples": 1000})
    assert (smoke.trials, smoke.epochs, smoke.images, smoke.seeds) == (2, None, 512, 2)
    assert (smoke.selection_samples, smoke.importance_samples, smoke.evaluation_images) == (2, 4, 128)
    assert smoke.training(TrainingConfig(), 60_000).evaluations == 2


def test_a_smoke_run_never_grows_what_is_small_already():
    small = {"trials": 1, "images": 64, "seeds": 1, "selection_samples": 1, "importance_samples": 1}
    smoke = StudySettings.checked({"smoke": True, "evaluation_images": 10, **small})
    assert {name: getattr(smoke, name) for name in small} == small
    assert smoke.evaluation_images == 10


@pytest.mark.parametrize(
    ("settings", "train_images", "images", "reports"),
    [
        ({}, 1000, 60_000, 60),
        ({}, 5000, 100_000, 20),
        ({}, 50_000, 500_000, 10),
        ({"epochs": 3}, 1000, 3000, 10),
        ({"epochs": 200}, 1000, 200_000, 200),
        ({"epochs": 2000}, 1000, 2_000_000, 400),
        ({"images": 5000}, 1000, 5000, 10),
        ({"images": 100}, 1000, 100, 1),
        ({"images": 300, "batch_size": 100}, 1000, 300, 3),
        ({"epochs": 1}, 30, 30, 1),
    ],
)
def test_a_budget_is_images_or_passes_over_the_training_split(settings, train_images, images, reports):
    training = StudySettings.checked(settings).training(TrainingConfig(learning_rate=0.5), train_images)
    assert (training.images, training.evaluations, training.learning_rate) == (images, reports, 0.5)
    assert training.steps >= reports


def test_everything_is_kept_in_the_output_folder_unless_told_otherwise(tmp_path):
    settings = StudySettings.checked({"output": tmp_path})
    assert settings.storage_url == str(tmp_path / "optuna.journal")
    assert settings.tracking == f"sqlite:///{tmp_path / 'mlflow.db'}"
    elsewhere = StudySettings.checked({"storage": "postgresql://h/o", "tracking_uri": "http://h:5000"})
    assert (elsewhere.storage_url, elsewhere.tracking) == ("postgresql://h/o", "http://h:5000")


CHANGES_TRIALS = {
    "the data": {"digest": "e"},
    "the question's name": {"study": replace(BOTH, name="other")},
    "a family's configuration": {"study": replace(BOTH, arms=(replace(VAE, model=VAEConfig(latent_size=5)), GLOW))},
    "a range": {"study": replace(BOTH, arms=(replace(VAE, sweep={"latent_size": Integers(2, 65)}), GLOW))},
    "its spacing": {"study": replace(BOTH, arms=(replace(VAE, sweep={"latent_size": Integers(2, 64, True)}), GLOW))},
    "its training": {"study": replace(BOTH, arms=(replace(VAE, training=TrainingConfig(decay="cosine")), GLOW))},
    "fewer families": {"study": replace(BOTH, arms=(VAE,))},
    "the study's sampler": {"study": replace(BOTH, sampler="random")},
    "sampler": {"sampler": "qmc"},
    "seed": {"seed": 1},
    "epochs": {"epochs": 61},
    "images": {"images": 512},
    "batch size": {"batch_size": 32},
    "selection samples": {"selection_samples": 8},
    "importance samples": {"importance_samples": 64},
    "evaluation images": {"evaluation_images": 100},
    "pruning": {"pruner": "none"},
    "backend": {"backend": "jax"},
}


def test_whatever_changes_the_trials_makes_another_study():
    ids = {name: bind(**changes).study_id for name, changes in CHANGES_TRIALS.items()}
    assert len({bind().study_id, *ids.values()}) == len(ids) + 1


@pytest.mark.parametrize(
    "same",
    [
        {"trials": 99},
        {"seeds": 9},
        {"timeout": 1.0},
        {"output": Path("elsewhere")},
        {"storage": "sqlite:///x.db"},
        {"tracking_uri": "http://h"},
        {"sampler": "tpe"},
        {"epochs": 60},
        {"engine": "ray", "address": "host:6379", "cpus_per_trial": 2.0, "gpus_per_trial": 0.5},
    ],
    ids=lambda same: next(iter(same)),
)
def test_whatever_does_not_change_the_trials_finds_the_study_again(same):
    assert bind(**same).study_id == bind().study_id


def test_the_identifier_names_study_and_data():
    assert bind().study_id.rsplit("-", 1)[0] == "both-digits"


def test_images_that_a_family_cannot_take_are_refused_before_any_work():
    with pytest.raises(SettingsError, match=r"^glow cannot be trained on odd: .*7x7 can be halved not even once"):
        bind(info=replace(DIGITS, name="odd", image_shape=(7, 7, 1)))
    with pytest.raises(SettingsError, match=r"^glow cannot be trained on digits: .*levels=4 .* levels <= 3"):
        bind(Arm(GlowConfig(levels=1), sweep={"levels": Integers(1, 4)}))


def test_a_swept_name_that_no_setting_has_is_refused_with_those_that_exist():
    with pytest.raises(SettingsError, match=r"^vae cannot be trained on digits: no setting is called 'depth': one of "):
        bind(Arm(VAEConfig(), sweep={"depth": Integers(1, 2)}))


def test_an_end_of_a_range_that_a_setting_refuses_is_named_with_its_value():
    with pytest.raises(SettingsError, match=r"latent_size=0: .*greater than or equal to 1"):
        bind(Arm(VAEConfig(), sweep={"latent_size": Integers(0, 16)}))


def test_every_choice_is_checked_not_only_the_first_and_the_last():
    with pytest.raises(SettingsError, match=r"activation='rleu'"):
        bind(Arm(VAEConfig(), sweep={"activation": Choices(("relu", "rleu", "tanh"))}))


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"latent_size": Integers(2, 8)}, r"latent_size=16 .* 2 … 8"),
        ({"activation": Choices(("elu", "tanh"))}, r"activation='relu' .* elu \| tanh"),
    ],
)
def test_a_base_configuration_outside_its_own_sweep_is_refused(sweep, message):
    with pytest.raises(SettingsError, match=message):
        bind(Arm(VAEConfig(), sweep=sweep))


def test_two_families_of_one_name_are_refused_for_their_trials_would_mix():
    dense, convolutional = Arm(VAEConfig(), sweep={}), Arm(VAEConfig(network="convolutional"), sweep={})
    with pytest.raises(SettingsError, match="vae"):
        bind(dense, convolutional)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Integers(8, 2), r"8 … 2"),
        (lambda: Reals(1e-2, 1e-4), r"0.01 … 0.0001"),
        (lambda: Reals(0.0, 1.0, log=True), r"0 … 1, log"),
        (lambda: Integers(0, 4, log=True), r"0 … 4, whole, log"),
        (lambda: Choices(()), r"Choices"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused_where_it_is_declared(declare, message):
    with pytest.raises(SettingsError, match=message):
        declare()


def test_the_first_trial_is_the_familys_own_configuration():
    bound = bind()
    assert bound.first_values(VAE) == {"latent_size": 4}
    assert bound.configure(GLOW, bound.first_values(GLOW)) == bound.base(GLOW)
