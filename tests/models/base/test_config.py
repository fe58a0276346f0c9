import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from models.autoregressive.config import AutoregressiveConfig
from models.base.registry import registered
from models.families import OWN_FAMILIES, AnyModelConfig
from models.glow.config import GlowConfig
from models.ladder_vae.config import LadderVAEConfig
from models.vae.config import VAEConfig


def test_configurations_import_no_framework():
    script = (
        "import sys, models.families, models; models.VAEConfig, models.Size; "
        "print({'keras', 'tensorflow', 'jax'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"latent_sise": 3}, ["latent_sise", "Extra inputs are not permitted"]),
        ({"latent_size": 0}, ["latent_size", "greater than or equal to 1", "input_value=0"]),
        ({"beta": float("nan")}, ["beta", "finite"]),
        ({"network": "transformer"}, ["network", "'residual' or 'recurrent'", "transformer"]),
        ({"training_samples": 5, "beta": 2.0}, ["training_samples=5", "beta=2.0", "needs beta=1"]),
        ({"training_samples": 5, "free_bits": 0.1}, ["free_bits=0.1"]),
        ({"training_samples": 5, "kl_warmup_steps": 9}, ["kl_warmup_steps=9"]),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_would_be_accepted(fields, parts):
    with pytest.raises(ValidationError) as error:
        VAEConfig(**fields)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(("family", "name"), [(f, name) for f in OWN_FAMILIES for name in registered(f).config.presets])
def test_presets_are_valid_and_take_changes(family, name):
    config = registered(family).config.preset(name)
    assert config.family == family
    field, value = next(iter(registered(family).config.presets[name].items()))
    assert getattr(config, field) == value
    with pytest.raises(ValidationError):
        registered(family).config.preset(name, hidden_channels=0)


def test_configurations_are_frozen_and_survive_json():
    config = GlowConfig(levels=3, classes=10)
    with pytest.raises(ValidationError, match="frozen"):
        config.levels = 1
    assert TypeAdapter(AnyModelConfig).validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("config", "image_shape", "grey_levels", "message"),
    [
        (GlowConfig(levels=3), (28, 28, 1), 256, "28x28 can be halved only 2 times: take levels <= 2"),
        (GlowConfig(levels=1), (7, 4, 1), 256, "not even once: pad or crop"),
        (VAEConfig(observation="bernoulli"), (8, 8, 1), 256, "needs 2 grey levels, the data has 256"),
        (AutoregressiveConfig(observation="bernoulli"), (8, 8, 1), 3, "needs 2 grey levels, the data has 3"),
        (AutoregressiveConfig(first_kernel=4), (8, 8, 1), 3, "first_kernel=4 is even: take 3 or 5"),
        (AutoregressiveConfig(hidden_channels=2), (8, 8, 3), 3, "hidden_channels=2 leaves .* take at least 3"),
        (VAEConfig(network="residual", downsamplings=3), (7, 9, 1), 2, "7x9 images below one pixel: at most 2"),
        (LadderVAEConfig(downsamplings=3), (9, 7, 1), 2, "downsamplings=3 halves 9x7 .* below one pixel: at most 2"),
        (LadderVAEConfig(observation="bernoulli"), (8, 8, 1), 3, "needs 2 grey levels, the data has 3: take auto"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_what_would_be_accepted(config, image_shape, grey_levels, message):
    with pytest.raises(ValueError, match=message):
        config.check_images(image_shape, grey_levels)


@pytest.mark.parametrize(
    ("config", "image_shape"),
    [
        (GlowConfig(levels=2), (28, 28, 1)),
        (GlowConfig(levels=1), (2, 6, 1)),
        (VAEConfig(network="residual", downsamplings=2), (7, 9, 1)),
        (VAEConfig(network="dense", downsamplings=8), (7, 9, 1)),
        (LadderVAEConfig(downsamplings=2, latent_layers=6), (7, 4, 1)),
    ],
)
def test_images_at_the_limit_are_accepted(config, image_shape):
    config.check_images(image_shape, 256)


@pytest.mark.parametrize(
    ("grey_levels", "kind"),
    [(2, "bernoulli"), (3, "categorical"), (32, "categorical"), (33, "logistic_mixture"), (256, "logistic_mixture")],
)
def test_auto_takes_the_observation_that_fits_the_grey_levels(grey_levels, kind):
    assert VAEConfig().observation_for(grey_levels) == kind
    assert VAEConfig(observation="discretised_logistic").observation_for(grey_levels) == "discretised_logistic"
