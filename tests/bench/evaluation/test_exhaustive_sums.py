"""After training, the probabilities that the bound finds for all images of a tiny space add up to nearly 1."""

import itertools

import keras
import numpy as np
import pytest

from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.evaluation.diagnostics import Diagnostics
from bench.evaluation.likelihood import log_likelihood
from bench.study.config import RECIPE
from bench.training.loop import train
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend

LEVELS = 3
VALUES = np.array(list(itertools.product(range(LEVELS), repeat=4)), np.uint8)
SQUARE, LINE = (2, 2, 1), (1, 4, 1)
GLOW = {"levels": 1, "flow_depth": 4, "hidden_channels": 24}
MODELS = {
    "vae": VAEConfig(hidden_sizes=(32, 32), latent_size=3),
    "uniform": GlowConfig(**GLOW, dequantisation="uniform"),
    "variational": GlowConfig(**GLOW, dequantisation="variational"),
    "logit": GlowConfig(**GLOW, preprocessing="logit", dequantisation="uniform"),
    "encoded": GlowConfig(**GLOW, dequantisation="categorical", encoding_channels=2),
    "recurrent": VAEConfig(network="recurrent", hidden_channels=16, latent_size=2, input_scaling="one_hot"),
    "linear": GlowConfig(**GLOW, preprocessing="linear", dequantisation="uniform"),
}


def tiny_data(shape):
    """Draws of a skewed distribution over the 81 images of a shape."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(81, 0.3))
    drawn = VALUES[rng.choice(81, size=3000, p=probabilities)].reshape(-1, *shape)
    sizes = {"train": 2000, "validation": 500, "test": 500}
    splits = [Split(part) for part in np.split(drawn, [2000, 2500])]
    return Dataset(DatasetInfo("tiny", shape, LEVELS, sizes, 0, "drawn"), *splits).tuning


def trained_sum(name, shape=SQUARE):
    """Σ_x exp(bound(x)) over all images of a shape, and the trained model."""
    keras.utils.set_random_seed(0)
    model = build_model(MODELS[name], shape, LEVELS)
    config = RECIPE.model_copy(update={"images": 48_000, "evaluations": 12, "learning_rate": 5e-3})
    train(model, tiny_data(shape), config, seed=0)
    # Enough of them that the sum's own error is a tenth of what is asked of it.
    samples = 4096 if name in ("vae", "uniform") else 16_384
    likelihood = log_likelihood(model, VALUES.reshape(-1, *shape), samples, seed=1)
    return float(np.exp(likelihood.bound).sum()), model


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(
    "name", ["vae", "uniform", *(pytest.param(each, marks=pytest.mark.slow) for each in ("variational", "logit"))]
)
def test_the_bound_can_become_tight(name):
    total, model = trained_sum(name)
    assert 0.99 < total < 1.01
    if name != "vae":
        measurements, _ = Diagnostics(model).measure(VALUES.reshape(-1, *SQUARE), seed=0)
        assert next(row.value for row in measurements if row.metric == "outside_share") < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encoded", "recurrent"])
def test_the_bound_of_sequences_can_become_tight(name):
    total, _ = trained_sum(name, LINE)
    assert 0.99 < total < 1.01


@pytest.mark.slow
def test_without_a_bounded_space_some_probability_is_lost_and_it_is_measured():
    total, model = trained_sum("linear")
    assert total < 0.98
    measurements, _ = Diagnostics(model).measure(VALUES.reshape(-1, *SQUARE), seed=0)
    assert next(row.value for row in measurements if row.metric == "outside_share") > 0.005
