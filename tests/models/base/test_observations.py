import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose

from models.base.distributions import LogisticMixture
from models.base.observations import initial_bias, observation
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend

KINDS = [("bernoulli", 2), ("categorical", 5), ("discretised_logistic", 256), ("logistic_mixture", 256)]


@pytest.mark.parametrize(("kind", "grey_levels"), KINDS)
def test_initial_bias_has_as_many_parameters_as_the_decoder_and_is_finite(kind, grey_levels):
    images = np.zeros((6, 4, 2, 3), "uint8")  # constant: the worst case
    bias = initial_bias(kind, images, grey_levels, components=5)
    assert bias.shape == (4, 2, 3, VAEConfig(observation=kind, mixture_components=5).parameters_per_value(grey_levels))
    assert np.isfinite(bias).all()


@pytest.mark.parametrize("kind", ["discretised_logistic", "logistic_mixture"])
def test_logistics_start_with_the_mean_and_spread_of_each_pixel(float64, array, kind):
    rng = np.random.default_rng(0)
    images = np.stack([rng.binomial(255, 0.5, size=4000), rng.integers(60, 120, size=4000)], axis=-1)[:, None, :, None]
    bias = initial_bias(kind, images, 256, components=5)
    initial = observation(kind, ops.convert_to_tensor(bias[None]), 256)
    levels = np.arange(256).reshape(-1, 1, 1, 1)
    p = np.exp(array(initial.log_prob(np.broadcast_to(levels, (256, 1, 2, 1)))))
    mean = (levels * p).sum(axis=0)
    assert_allclose(mean, images.mean(axis=0), atol=1)
    deviation = np.sqrt(((levels - mean) ** 2 * p).sum(axis=0))
    assert_allclose(deviation, images.std(axis=0), rtol=0.15)


def test_the_components_of_a_mixture_start_apart():
    images = np.random.default_rng(0).integers(0, 256, size=(50, 2, 2, 1))
    bias = initial_bias("logistic_mixture", images, 256, components=3)
    mixture = observation("logistic_mixture", bias, 256)
    assert isinstance(mixture, LogisticMixture)
    assert (np.diff(mixture.components.location, axis=-1) > 0.01).all()
