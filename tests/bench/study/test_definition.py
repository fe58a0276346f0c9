"""Settings and studies: what is refused, what is shrunk, and what makes a study another one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from bench.core.errors import SettingsError
from bench.data.bundled import DIGITS
from bench.data.preparation import Preparation
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, BoundStudy, Earlier, Study, StudySettings
from bench.study.search_space import Choices, Integers, Reals, from_json, is_swept, to_json
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

VAE = Arm(VAEConfig(latent_size=4), sweep={"latent_size": Integers(2, 64)})
GLOW = Arm(GlowConfig(), sweep={"flow_depth": Integers(1, 8), "learning_rate": Reals(1e-4, 1e-2, log=True)})
BOTH = Study(name="both", question="Which?", arms=(VAE, GLOW))


def bind(*arms, info=DIGITS, digest="d", study=BOTH, **settings):
    study = replace(study, arms=arms) if arms else study
    return BoundStudy(study, StudySettings.from_options(settings), info, digest)


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
        ({"train_images": 1}, r"train_images=1: .*greater than or equal to 2"),
        ({"grey_levels": 1}, r"grey_levels=1: .*greater than or equal to 2"),
        ({"resize": "32x"}, r"resize='32x': a size is HEIGHTxWIDTH, such as 32x48, or one number for both"),
        ({"resize": 0}, r"resize=0: a size is HEIGHTxWIDTH"),
        ({"sampler": "grid"}, r"sampler='grid': one of tpe, qmc, random, or the name of a sampler of Optuna's"),
        ({"pruner": "halve"}, r"pruner='halve': one of halving, none, or the name of a pruner of Optuna's"),
        ({"pruner": "random-2"}, r"pruner='random-2': one of halving"),
        ({"backend": "torch"}, r"backend='torch' is unknown: one of tensorflow, jax"),
        ({"promote": ["glow"]}, r"promote.0='glow': an arm and the number of one of its trials, such as glow:5"),
        ({"promote": ["glow:-1"]}, r"promote.0='glow:-1': an arm and the number"),
        (
            {"promote": ["glow:1", "vae:2"], "pruner": "none"},
            r"promote=glow:1, vae:2: with pruner='none' no trial is stopped at a rung.*pruner='halving' does that",
        ),
        ({"epochs": 3, "images": 100}, r"epochs=3 or images=100, not both"),
        ({"epoch": 3}, r"epoch=3: "),
        ({"engine": "dask"}, r"engine='dask': .*'local' or 'ray'"),
        ({"engine": "ray", "workers": 0}, r"workers=0 leaves the work to other processes"),
        ({"address": "host:6379"}, r"address='host:6379' is that of a Ray cluster: give engine='ray'"),
        ({"cpus_per_trial": 0}, r"cpus_per_trial=0: .*greater than 0"),
        ({"gpus_per_trial": -1}, r"gpus_per_trial=-1: .*greater than or equal to 0"),
        ({"gpus_per_trial": 1.5}, r"gpus_per_trial=1.5: a fraction of one, or a whole number"),
        ({"gpus_per_trial": 1}, r"gpus_per_trial=1 is what Ray reserves for a trial: give engine='ray'"),
        ({"cpus_per_trial": 2}, r"cpus_per_trial=2 is what Ray reserves for a trial: give engine='ray'"),
    ],
)
def test_a_bad_setting_is_refused_by_name_with_its_value_and_what_is_accepted(bad, message):
    with pytest.raises(SettingsError, match=message) as raised:
        StudySettings.from_options(bad)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "misspelt"),
    [
        (lambda: Arm(VAEConfig(), swep={}), "swep"),
        (lambda: Study("s", "?", (VAE,), sampelr="random"), "sampelr"),
        (lambda: Integers(1, 8, lgo=True), "lgo"),
        (lambda: Reals(1e-4, 1e-2, lgo=True), "lgo"),
        (lambda: Choices((1, 2), whne={}), "whne"),
    ],
)
def test_a_misspelt_argument_is_refused(make, misspelt):
    with pytest.raises(ValidationError, match=rf"{misspelt}\n  Unexpected keyword argument"):
        make()


def test_all_bad_settings_are_named_at_once():
    with pytest.raises(SettingsError, match=r"trials=0.*; seeds=0"):
        StudySettings.from_options({"trials": 0, "seeds": 0})


def test_a_smoke_run_shrinks_everything_that_takes_time():
    smoke = StudySettings.from_options({"smoke": True, "trials": 50, "epochs": 100, "importance_samples": 1000})
    assert (smoke.trials, smoke.epochs, smoke.images, smoke.seeds) == (2, None, 512, 2)
    assert (smoke.selection_samples, smoke.importance_samples, smoke.evaluation_images) == (2, 4, 128)
    assert smoke.training(TrainingConfig(), 60_000).evaluations == 2


def test_a_smoke_run_never_grows_what_is_small_already():
    small = {"trials": 1, "images": 64, "seeds": 1, "selection_samples": 1, "importance_samples": 1}
    smoke = StudySettings.from_options({"smoke": True, "evaluation_images": 10, **small})
    assert {name: getattr(smoke, name) for name in small} == small
    assert smoke.evaluation_images == 10


@pytest.mark.parametrize(
    ("settings", "train_images", "images", "evaluations"),
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
def test_a_budget_is_images_or_passes_over_the_training_split(settings, train_images, images, evaluations):
    training = StudySettings.from_options(settings).training(TrainingConfig(learning_rate=0.5), train_images)
    assert (training.images, training.evaluations, training.learning_rate) == (images, evaluations, 0.5)
    assert training.steps >= evaluations


@pytest.mark.parametrize(
    ("settings", "images", "evaluations"),
    [({}, 100_000, 200), ({"images": 5000}, 5000, 10), ({"epochs": 20}, 10_000, 20)],
)
def test_as_many_images_are_seen_of_a_part_of_the_data_as_of_all_of_it(settings, images, evaluations):
    chosen = StudySettings.from_options(settings).training(TrainingConfig(), 500, chosen_from=5000)
    assert (chosen.images, chosen.evaluations) == (images, evaluations)
    info = replace(DIGITS, sizes={**DIGITS.sizes, "train": 500}, chosen_from=1259)
    # The nearest whole number of whole intervals between its own evaluations.
    assert bind(info=info).base(VAE).training.images == pytest.approx(60 * 1259, rel=0.01)
    assert bind(info=info, epochs=20).base(VAE).training.images == 10_000


def test_everything_is_kept_in_the_output_folder_unless_it_is_set_otherwise(tmp_path):
    settings = StudySettings.from_options({"output": tmp_path})
    assert settings.storage_url == str(tmp_path / "optuna.journal")
    assert settings.tracking == f"sqlite:///{tmp_path / 'mlflow.db'}"
    elsewhere = StudySettings.from_options({"storage": "postgresql://h/o", "tracking_uri": "http://h:5000"})
    assert (elsewhere.storage_url, elsewhere.tracking) == ("postgresql://h/o", "http://h:5000")


CHANGES_TRIALS = {
    "the data": {"digest": "e"},
    "the question's name": {"study": replace(BOTH, name="other")},
    "an arm's configuration": {"study": replace(BOTH, arms=(replace(VAE, model=VAEConfig(latent_size=5)), GLOW))},
    "a range": {"study": replace(BOTH, arms=(replace(VAE, sweep={"latent_size": Integers(2, 65)}), GLOW))},
    "its spacing": {"study": replace(BOTH, arms=(replace(VAE, sweep={"latent_size": Integers(2, 64, True)}), GLOW))},
    "an arm's name": {"study": replace(BOTH, arms=(replace(VAE, name="dense"), GLOW))},
    "its training": {"study": replace(BOTH, arms=(replace(VAE, training=TrainingConfig(decay="cosine")), GLOW))},
    "fewer arms": {"study": replace(BOTH, arms=(VAE,))},
    "the study's sampler": {"study": replace(BOTH, sampler="random")},
    "sampler": {"sampler": "qmc"},
    "seed": {"seed": 1},
    "the budget of a schedule that depends on it": {
        "study": replace(BOTH, arms=(replace(VAE, training=TrainingConfig(decay="cosine")), GLOW)),
        "epochs": 7,
    },
    "the budget of a swept schedule": {
        "study": replace(BOTH, arms=(replace(VAE, sweep={"decay": Choices(("plateau", "cosine"))}), GLOW)),
        "epochs": 7,
    },
    "that swept schedule": {
        "study": replace(BOTH, arms=(replace(VAE, sweep={"decay": Choices(("plateau", "cosine"))}), GLOW)),
    },
    "evaluations of the first budget": {
        "study": replace(BOTH, arms=(replace(VAE, training=TrainingConfig(evaluations=9)), GLOW)),
    },
    "a smoke run": {"smoke": True, "selection_samples": 2, "importance_samples": 4, "evaluation_images": 128},
    "its own settings": {"selection_samples": 2, "importance_samples": 4, "evaluation_images": 128},
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
        {"epochs": 61},
        {"images": 512},
        {"equivalence": 0.5},
        {"engine": "ray", "address": "host:6379", "cpus_per_trial": 2.0, "gpus_per_trial": 0.5},
    ],
    ids=lambda same: next(iter(same)),
)
def test_whatever_does_not_change_the_trials_finds_the_study_again(same):
    assert bind(**same).study_id == bind().study_id


@pytest.mark.parametrize("size", [32, "32", "32x32", (32, 32)])
def test_a_size_is_given_in_several_ways_and_kept_in_one(size):
    settings = StudySettings.from_options({"resize": size, "grey": True, "grey_levels": 17})
    assert settings.model_dump(mode="json")["resize"] == "32x32"
    assert settings.preparation == Preparation(17, (32, 32), True)
    assert Preparation.from_settings(settings.model_dump(mode="json")) == settings.preparation
    assert Preparation.from_settings({}) == StudySettings().preparation == Preparation()
    assert StudySettings(train_images=9).preparation == Preparation(train_images=9)


def test_the_identifier_names_study_and_data():
    assert bind().study_id.rsplit("-", 1)[0] == "both-digits"


@pytest.mark.parametrize(
    ("arm", "info", "message"),
    [
        (GLOW, replace(DIGITS, name="odd", image_shape=(7, 7, 1)), r"glow .* odd: .*7x7 can be halved not even once"),
        (Arm(GlowConfig(levels=1), {"levels": Integers(1, 4)}), DIGITS, r"glow .* digits: .*levels=4 .* levels <= 3"),
        (Arm(GlowConfig(classes=9)), DIGITS, r"glow .* digits: classes=9, and the data has 10"),
        (Arm(GlowConfig(classes=2)), replace(DIGITS, classes=0), r"classes=2, and the data has no labels"),
        (Arm(VAEConfig(), {"latent_size": Integers(0, 16)}), DIGITS, r"latent_size=0: .*greater than or equal to 1"),
        (Arm(VAEConfig(), {"activation": Choices(("relu", "rleu", "tanh"))}), DIGITS, r"activation='rleu'"),
        (Arm(VAEConfig(), {"latent_size": Integers(2, 8)}), DIGITS, r"latent_size=16 .* 2 … 8"),
        (Arm(VAEConfig(), {"activation": Choices(("elu", "tanh"))}), DIGITS, r"activation='relu' .* elu \| tanh"),
    ],
    ids=[
        "images",
        "levels",
        "classes",
        "no labels",
        "an end",
        "a choice between",
        "first trial below",
        "first trial of other choice",
    ],
)
def test_an_arm_that_does_not_fit_the_data_or_its_own_sweep_is_refused_before_any_work(arm, info, message):
    with pytest.raises(SettingsError, match=message):
        bind(arm, info=info)


TWO = Choices(("adam", "adamax"))


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"depth": Integers(1, 2)}, r"no setting is called 'depth': one of .*latent_size.*learning_rate"),
        ({"model.learning_rate": Reals(0.1, 1.0)}, r"no setting is called 'model.learning_rate'"),
        ({"data.latent_size": Integers(1, 2)}, r"no setting is called 'data.latent_size'"),
        (
            {"learning_rate": Reals(1e-3, 1e-2), "training.learning_rate": Reals(1e-4, 1e-1)},
            r"learning_rate is swept twice by vae, under two names",
        ),
        (
            {"weight_decay": Reals(0, 1, when={"optimizer": "adamax"})},
            r"weight_decay is swept when optimizer has a value: it must be swept before it \(none\)",
        ),
        (
            {"weight_decay": Reals(0, 1, when={"optimizer": "adamax"}), "optimizer": TWO},
            r"weight_decay is swept when optimizer has a value: it must be swept before it",
        ),
        ({"optimizer": TWO, "patience": Integers(0, 9, when={"optimizer": "sgd"})}, r"is 'sgd', which is not in adam"),
        (
            {"latent_size": Integers(2, 64), "beta": Reals(0.1, 1.0, when={"latent_size": (2, 65)})},
            r"beta is swept when latent_size is 65, which is not in 2 … 64",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_where_the_arm_is_declared(sweep, message):
    with pytest.raises(SettingsError, match=message) as raised:
        Arm(VAEConfig(), sweep)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "final"}, "an arm cannot be called 'final'"),
        ({"name": "a/b"}, "pattern"),
        ({"name": "x" * 65}, "pattern"),
        ({"model": "vae"}, "is not the configuration of a model, such as VAEConfig"),
        ({"sweep": {"latent_size": (1, 2)}}, "sweep"),
    ],
)
def test_what_is_no_arm_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        Arm(**{"model": VAEConfig(), **given})


def test_arms_of_one_family_have_names_of_their_own():
    dense, convolutional = Arm(VAEConfig(), name="dense"), Arm(VAEConfig(network="convolutional"))
    bound = bind(dense, convolutional)
    assert [(arm.name, arm.family) for arm in bound.study.arms] == [("dense", "vae"), ("vae", "vae")]
    assert bound.study.arm("dense") is dense
    with pytest.raises(SettingsError, match=r"two arms of both are called 'vae': give each a name"):
        bind(convolutional, Arm(VAEConfig()))
    with pytest.raises(SettingsError, match="both has no arms"):
        bind(study=replace(BOTH, arms=()))


def test_an_arm_of_which_nothing_is_swept_has_final_runs_alone():
    assert bind(Arm(VAEConfig()), GLOW, trials=7, seeds=2, pruner="none").runs == 2 + 7 + 2


def test_of_seven_trials_halving_continues_four_and_two_of_these():
    bound = bind(GLOW, trials=7, seeds=2, epochs=40)
    assert bound.search(GLOW) == [(7, 0.25), (4, 0.25), (2, 0.5)]
    assert bound.runs == 7 + 4 + 2 + 2


@pytest.mark.parametrize(
    ("trials", "expected"),
    [(7, [(7, 0.25), (4, 0.25), (2, 0.5)]), (4, [(4, 0.25), (2, 0.25)]), (2, [(2, 0.25)]), (1, [(1, 0.25)])],
)
def test_in_a_given_time_no_trial_is_planned_to_be_continued_alone(trials, expected):
    bound = bind(GLOW, trials=trials, time=600)
    assert bound.search(GLOW, 40) == expected


@pytest.mark.parametrize("more", [{"epochs": 60}, {"epochs": 61}, {"images": 10**6}])
def test_a_larger_budget_keeps_the_intervals_of_the_study_that_was_begun(more):
    begun = bind(epochs=10)
    base = begun.base(VAE).training
    later = replace(bind(**more), earlier={"vae": Earlier(base.images // base.evaluations, base.evaluations)})
    longer = later.base(VAE).training
    assert later.study_id == begun.study_id
    assert longer.evaluations > base.evaluations
    assert longer.steps_per_evaluation == base.steps_per_evaluation
    assert later.base(VAE).hash == begun.base(VAE).hash


def test_a_smaller_budget_than_a_study_has_had_does_not_shrink_it():
    had = Earlier(1000, 40)
    training = replace(bind(epochs=1), earlier={"vae": had}).base(VAE).training
    assert (training.images, training.evaluations) == (40_000, 40)


def test_evaluations_by_which_trials_are_compared_are_not_swept():
    with pytest.raises(SettingsError, match="vae cannot sweep evaluations"):
        Arm(VAEConfig(), {"evaluations": Integers(2, 20)})


def test_names_and_conditions_are_written_as_parameters_are_logged():
    rate = Reals(1e-4, 1e-2, when={"model.latent_size": 16, "training.optimizer": ("adam",)})
    arm = Arm(
        VAEConfig(), {"model.latent_size": Choices((8, 16)), "training.optimizer": TWO, "training.learning_rate": rate}
    )
    assert list(arm.sweep) == ["latent_size", "optimizer", "learning_rate"]
    assert arm.sweep["learning_rate"].when == {"latent_size": 16, "optimizer": ("adam",)}
    assert set(arm.sweep) < set(bind(arm).base(arm).parameters())


def test_batch_size_optimizer_and_choices_of_the_model_are_swept_within_the_budget():
    arm = Arm(VAEConfig(), {"batch_size": Integers(16, 256), "optimizer": TWO, "activation": Choices(("relu", "elu"))})
    bound = bind(arm, images=2560)
    swept = bound.configure(arm, {"batch_size": 256, "optimizer": "adamax", "activation": "elu"})
    assert (swept.training.optimizer, swept.model.activation) == ("adamax", "elu")
    assert (swept.training.batch_size, swept.training.steps) == (256, 10)
    assert bound.first_values(arm) == {"batch_size": 64, "optimizer": "adam", "activation": "relu"}
    with pytest.raises(
        SettingsError, match="batch_size=32: vae sweeps batch_size, and would have it in its first trial"
    ):
        bind(arm, batch_size=32)


def test_numbers_of_images_are_swept_as_they_stand_also_where_they_fill_no_whole_intervals():
    training = TrainingConfig(images=100_000)
    arm = Arm(VAEConfig(), {"images": Choices((50_000, 100_000))}, training=training)
    bound = bind(arm)
    assert bound.base(arm).training.images != 100_000
    assert bound.first_values(arm) == {"images": 100_000}
    assert bound.configure(arm, bound.first_values(arm)).training.images == 100_000


def test_a_setting_that_is_a_tuple_is_swept_among_tuples():
    arm = Arm(VAEConfig(), {"hidden_sizes": Choices(((100,), (200, 200), (400, 200, 100)))})
    bound = bind(arm)
    assert bound.first_values(arm) == {"hidden_sizes": "[200, 200]"}
    chosen = [
        bound.configure(arm, {"hidden_sizes": value}).model.hidden_sizes for value in arm.sweep["hidden_sizes"].values
    ]
    assert chosen == [(100,), (200, 200), (400, 200, 100)]
    assert from_json(json.loads(json.dumps(to_json(arm.sweep)))) == arm.sweep
    # Optuna keeps texts and numbers alone.
    assert {type(value) for value in arm.sweep["hidden_sizes"].values} == {str}


@pytest.mark.parametrize("when", [(200, 200), ((200, 200),), ((100,), (200, 200)), "[200, 200]"])
def test_a_condition_may_be_a_value_that_is_a_tuple_or_several(when):
    sizes = Choices(((100,), (200, 200)))
    arm = Arm(VAEConfig(), {"hidden_sizes": sizes, "dropout": Reals(0.0, 0.5, when={"hidden_sizes": when})})
    assert bind(arm).first_values(arm) == {"hidden_sizes": "[200, 200]", "dropout": 0.0}
    back = from_json(json.loads(json.dumps(to_json(arm.sweep))))
    assert is_swept(back["dropout"], {"hidden_sizes": "[200, 200]"})
    assert is_swept(back["dropout"], {"hidden_sizes": "[100]"}) == (when == ((100,), (200, 200)))


def test_a_condition_on_a_tuple_that_is_no_choice_is_refused_in_one_line():
    sweep = {"hidden_sizes": Choices(((100,),)), "dropout": Reals(0.0, 0.5, when={"hidden_sizes": (200, 100)})}
    with pytest.raises(SettingsError, match=r"^[^;]*when hidden_sizes is 200, which is not in \[100\]$"):
        Arm(VAEConfig(hidden_sizes=(100,)), sweep)


def test_the_first_trial_has_values_of_the_parameters_that_are_swept_in_it_alone():
    def first(optimizer):
        conditional = Reals(1e-3, 1e-1, when={"optimizer": "adamax"})
        training = TrainingConfig(optimizer=optimizer, weight_decay=0.05)
        arm = Arm(VAEConfig(), {"optimizer": TWO, "weight_decay": conditional}, training)
        return bind(arm).first_values(arm)

    assert first("adam") == {"optimizer": "adam"}
    assert first("adamax") == {"optimizer": "adamax", "weight_decay": 0.05}


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Integers(8, 2), r"8 … 2"),
        (lambda: Reals(1e-2, 1e-4), r"0.01 … 0.0001"),
        (lambda: Reals(0.0, 1.0, log=True), r"0 … 1, log"),
        (lambda: Integers(0, 4, log=True), r"0 … 4, whole, log"),
        (lambda: Choices(()), r"Choices"),
        (lambda: Choices(((100, (2,)),)), r"^Choices cannot hold \(100, \(2,\)\): a text, a finite number, [^;]*$"),
        (lambda: Choices((1.0, float("nan"))), r"^Choices cannot hold nan: "),
        (lambda: Choices((None, 64)), r"^Choices cannot hold None: "),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused_where_it_is_declared(declare, message):
    with pytest.raises(SettingsError, match=message):
        declare()


def test_the_first_trial_is_the_arms_own_configuration():
    bound = bind()
    assert bound.first_values(VAE) == {"latent_size": 4}
    assert bound.configure(GLOW, bound.first_values(GLOW)) == bound.base(GLOW)
