import pytest
from pydantic import ValidationError

from bench.core.errors import SettingsError
from bench.core.results import TRAINING_SETTINGS
from bench.study.config import RunConfig, TrainingConfig, setting_name
from models.autoregressive.config import AutoregressiveConfig
from models.glow.config import GlowConfig
from models.jet.config import JetConfig
from models.ladder_vae.config import LadderVAEConfig
from models.vae.config import VAEConfig


def config(model=None, digest="d", backend="jax", **training):
    return RunConfig(
        model=model or VAEConfig(), training=TrainingConfig(**training), dataset_digest=digest, backend=backend
    )


DIFFERENT = [
    config(),
    config(VAEConfig(latent_size=17)),
    config(VAEConfig(hidden_sizes=(200, 100))),
    config(VAEConfig(hidden_sizes=(100, 200))),
    config(GlowConfig()),
    config(digest="e"),
    config(backend="tensorflow"),
    config(learning_rate=1.0000001e-3),
    config(evaluations=9),
    config(decay="cosine"),
    config(decay="cosine", images=20_000, evaluations=20),
    config(weight_average=0.99),
]


def test_configurations_share_a_hash_only_if_they_are_equal():
    assert len({each.hash for each in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize("one", DIFFERENT)
def test_equal_configurations_share_their_hash_however_they_came_about(one):
    assert RunConfig.model_validate_json(one.model_dump_json()).hash == one.hash
    assert RunConfig.model_validate(dict(reversed(one.model_dump().items()))).hash == one.hash


@pytest.mark.parametrize("schedule", [{}, {"decay": "plateau", "patience": 2}])
def test_budgets_share_a_hash_where_the_schedule_and_the_interval_do_not_depend_on_them(schedule):
    short, longer = config(**schedule), config(**schedule, images=20_000, evaluations=20)
    assert short.hash == longer.hash
    assert short.hash != config(**schedule, images=20_000).hash


LOGGED = {
    "3f97edf47e3b": VAEConfig(),
    "b5a97ed77f40": GlowConfig(),
    "6d804bb32b64": JetConfig(),
    "2f874bfebf4b": LadderVAEConfig(),
    "60f86a943709": AutoregressiveConfig(),
}


@pytest.mark.parametrize("logged", LOGGED)
def test_hashes_of_logged_runs_stay_what_they_were(logged):
    assert config(LOGGED[logged]).hash == logged


@pytest.mark.parametrize(
    "changed",
    [
        VAEConfig(network="recurrent", symbol_dropout=0.1),
        GlowConfig(encoding_channels=3),
        LadderVAEConfig(input_scaling="one_hot"),
        AutoregressiveConfig(dilation_cycle=2),
    ],
)
def test_a_setting_that_came_later_changes_the_hash_where_it_differs(changed):
    (later,) = changed.later_settings & changed.model_fields_set
    without = changed.model_copy(update={later: type(changed).model_fields[later].default})
    assert config(changed).hash != config(without).hash
    assert later not in without.identity
    assert changed.identity[later] == getattr(changed, later)


def test_swept_values_go_where_their_names_belong():
    changed = config().with_values({"latent_size": 3, "learning_rate": 0.5})
    assert (changed.model.latent_size, changed.training.learning_rate) == (3, 0.5)
    assert changed.with_values({"latent_size": 16, "learning_rate": 1e-3}) == config()


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(SettingsError, match=r"no setting is called 'flow_depth': one of .*latent_size.*learning_rate"):
        config().with_values({"flow_depth": 3})


def test_a_swept_value_out_of_range_is_refused():
    with pytest.raises(ValidationError, match="latent_size"):
        config().with_values({"latent_size": 0})


class ClashingConfig(VAEConfig):
    """A model that has a batch size of its own, as one with a memory of other images may."""

    batch_size: int = 3


def test_a_setting_that_model_and_training_both_have_is_called_by_its_part():
    both = config()
    both = both.model_copy(update={"model": ClashingConfig()})
    parameters = both.parameters()
    assert (parameters["model.batch_size"], parameters["training.batch_size"]) == (3, 64)
    assert "batch_size" not in parameters
    assert setting_name(ClashingConfig, "training.batch_size") == "training.batch_size"
    assert setting_name(VAEConfig, "training.batch_size") == "batch_size"
    with pytest.raises(SettingsError, match=r"'batch_size' is .*model.batch_size or training.batch_size"):
        setting_name(ClashingConfig, "batch_size")
    with pytest.raises(SettingsError, match=r"model.batch_size or training.batch_size"):
        both.with_values({"batch_size": 5})


def test_parameters_are_the_settings_of_model_and_training():
    parameters = config(VAEConfig(latent_size=3), batch_size=7).parameters()
    assert (parameters["family"], parameters["latent_size"], parameters["batch_size"]) == ("vae", 3, 7)


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"clip_norm": -1},
        {"weight_average": 1},
        {"batch_size": 0},
        {"images": 0},
        {"evaluations": 0},
        {"rescues": -1},
        {"optimizer": "sgd"},
        {"warmup": 3},
    ],
)
def test_training_settings_out_of_range_or_unknown_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        TrainingConfig(**bad)


def test_the_schema_knows_which_settings_are_the_training_s():
    assert set(TrainingConfig.model_fields) == TRAINING_SETTINGS
