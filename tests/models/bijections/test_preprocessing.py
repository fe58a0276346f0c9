import numpy as np
import pytest
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

from models.bijections.preprocessing import UNIFORM_SHARE, Linear, Logit, Marginal
from models.glow.config import GlowConfig
from models.glow.model import Glow

pytestmark = pytest.mark.backend


def skewed(levels, shape=(64, 4, 4, 2), seed=0):
    """Integer images of which most pixels are 0, the second channel's distribution being another one."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, levels, size=shape) * (rng.random(shape) < 0.3)
    images[..., 1] = rng.binomial(levels - 1, 0.7, size=shape[:-1])
    return images


def kinds(levels):
    marginal = Marginal(1e-4, levels)
    marginal.build((None, 4, 4, 2))
    marginal.fit(skewed(levels))
    return {"linear": Linear(), "logit": Logit(1e-4), "marginal": marginal}


@pytest.mark.parametrize("kind", ["linear", "logit", "marginal"])
def test_log_det_is_that_of_the_autodiff_jacobian(float64, normal, compiled, array, jacobian_log_det, kind):
    bijection = kinds(17)[kind]
    v = ops.convert_to_tensor(scipy.stats.norm.cdf(normal(3, 4, 4, 2)))
    _, log_det = compiled(bijection.forward)(v)
    expected = jacobian_log_det(lambda v: bijection.forward(v)[0], v)
    assert_allclose(array(log_det), expected, rtol=1e-10)
    if kind != "linear":
        assert np.abs(array(log_det)).min() > 0.1


@pytest.mark.parametrize("kind", ["linear", "logit", "marginal"])
@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_the_inverse_is_exact_to_the_grey_level_in_single_precision(compiled, array, kind, levels):
    bijection = kinds(levels)[kind]
    x = np.concatenate([np.linspace(0, levels - 1, 13).astype(int), [0, levels - 1, levels // 2]]).reshape(-1, 1, 1, 1)
    x = np.broadcast_to(x, (16, 4, 4, 2))
    u = np.random.default_rng(1).uniform(0.1, 0.9, size=x.shape)
    v = ((x + u) / levels).astype("float32")
    y, _ = compiled(bijection.forward)(v)
    assert (np.floor(array(compiled(bijection.inverse)(y)) * np.float32(levels)) == x).all()


def test_marginal_is_the_normal_quantile_of_the_mixture_of_histogram_and_uniform(float64, array):
    """Against NumPy's histogram and interpolation."""
    levels, images = 17, skewed(17)
    bijection = kinds(levels)["marginal"]
    v = np.random.default_rng(2).random((5, 4, 4, 2))
    y = array(bijection.forward(ops.convert_to_tensor(v))[0])
    for channel in range(2):
        counts = np.bincount(images[..., channel].ravel(), minlength=levels)
        masses = (1 - UNIFORM_SHARE) * counts / counts.sum() + UNIFORM_SHARE / levels
        cdf = np.concatenate([[0], np.cumsum(masses)])
        share = np.interp(v[..., channel], np.arange(levels + 1) / levels, cdf)
        expected = scipy.stats.norm.ppf(1e-4 + (1 - 2e-4) * share)
        assert_allclose(y[..., channel], expected, rtol=1e-6, atol=1e-6)


def test_marginal_makes_room_in_proportion_to_the_pixels(float64, array):
    """Of uniformly dequantised training images, each tenth of the flow's range holds near a tenth of the pixels."""
    images = skewed(17, (512, 4, 4, 2))
    marginal = Marginal(1e-4, 17)
    marginal.build((None, 4, 4, 2))
    marginal.fit(images)
    v = (images + np.random.default_rng(3).random(images.shape)) / 17
    share = scipy.stats.norm.cdf(array(marginal.forward(ops.convert_to_tensor(v))[0]))
    tenths = np.histogram(share, bins=10, range=(0, 1))[0] / share.size
    assert tenths.min() > 0.3 * 0.1
    assert tenths.max() < 2.0 * 0.1


def test_values_far_outside_the_cube_stay_finite_and_outside(array):
    y = np.array([-80.0, -20.0, 20.0, 80.0], "float32").reshape(1, 2, 2, 1).repeat(2, axis=3)
    for bijection in (kinds(256)["logit"], _fitted(256, (2, 2, 2))):
        v = array(bijection.inverse(ops.convert_to_tensor(y))).reshape(4, 2)
        assert np.isfinite(v).all()
        assert (v[:2] < 0).all()
        assert (v[2:] > 1).all()


@pytest.mark.parametrize("kind", ["linear", "logit", "marginal"])
def test_forward_undoes_inverse_far_into_the_tails(float64, compiled, array, kind):
    """What the flow puts far out comes back as the value that it is, inside the cube or outside of it."""
    bijection = kinds(17)[kind]
    y = np.linspace(-3.5, 3.5, 32 * 3).reshape(3, 4, 4, 2)  # Φ⁻¹(α) and logit(α) are -3.7 and -9.2
    v = compiled(bijection.inverse)(ops.convert_to_tensor(y))
    assert_allclose(array(compiled(bijection.forward)(v)[0]), y, rtol=0, atol=1e-9)
    order = np.sort(array(v).reshape(-1, 2), axis=0)
    assert (array(v).reshape(-1, 2) == order).all()
    assert kind == "linear" or ((order > 0).all() and (order < 1).all())


def _fitted(levels, shape):
    marginal = Marginal(1e-4, levels)
    marginal.build((None, *shape))
    marginal.fit(skewed(levels))
    return marginal


@pytest.mark.slow_on_jax
def test_a_saved_glow_keeps_its_marginal(tmp_path, array):
    import keras

    images = np.random.default_rng(0).binomial(16, 0.2, size=(64, 4, 4, 1))
    model = Glow(GlowConfig(levels=1, flow_depth=1, hidden_channels=4), (4, 4, 1), 17)
    model.initialise(ops.convert_to_tensor(images))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.ptp(np.diff(array(again.preprocessing.edges))) > 0.1
    assert_allclose(array(again.log_prob_bound(images, 2, 0)), array(model.log_prob_bound(images, 2, 0)), rtol=1e-6)
