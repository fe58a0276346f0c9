import itertools

import numpy as np
import pytest
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

from models.bijections.coupling_networks import network_of
from models.flows.dequantisation import UniformDequantisation, VariationalDequantisation

pytestmark = pytest.mark.backend


@pytest.fixture(params=["convolutional", "residual"])
def kind(request):
    return request.param


@pytest.fixture
def variational(float64, perturb, kind):
    def build(*shape):
        dequantisation = VariationalDequantisation(depth=3, network_of=network_of(kind, 4, blocks=1))
        dequantisation.build((None, *shape))
        return perturb(dequantisation, scale=0.1)

    return build


def test_uniform_dequantisation_is_the_normal_distribution_function_of_the_noise(float64, normal, array):
    noise = normal(3, 2, 4, 2)
    u, log_q = UniformDequantisation().dequantise(normal(3, 2, 4, 2, seed=1), noise)
    assert_allclose(array(u), scipy.stats.norm.cdf(noise), atol=1e-14)
    assert_allclose(array(log_q), np.zeros(3))


def test_variational_log_q_is_that_of_the_noise_less_the_log_det_of_the_autodiff_jacobian(
    variational, normal, compiled, array, jacobian_log_det
):
    dequantisation = variational(4, 2, 3)
    x, noise = normal(3, 4, 2, 3, seed=1), normal(3, 4, 2, 3)
    u, log_q = compiled(dequantisation.dequantise)(x, noise)
    assert array(u).min() > 0
    assert array(u).max() < 1

    # The image travels beside its noise, so that each Jacobian sees its own image.
    def both(x_and_noise):
        image = ops.stop_gradient(x_and_noise[:, 0])
        u, _ = dequantisation.dequantise(image, x_and_noise[:, 1])
        return ops.stack([x_and_noise[:, 0], u], axis=1)

    log_det = jacobian_log_det(both, ops.stack([x, noise], axis=1))
    expected = scipy.stats.norm.logpdf(noise).sum(axis=(1, 2, 3)) - log_det
    assert_allclose(array(log_q), expected, atol=1e-5)


@pytest.mark.slow_on_jax
def test_variational_noise_depends_on_the_image(variational, normal, array):
    dequantisation = variational(2, 2, 1)
    noise = normal(1, 2, 2, 1)
    one, other = (array(dequantisation.dequantise(normal(1, 2, 2, 1, seed=seed), noise)[0]) for seed in (1, 2))
    assert np.abs(one - other).max() > 1e-3


def test_variational_density_covers_the_unit_cube_once(variational, normal, compiled, array):
    """∫ du = ∫ N(ε) / q(u(ε) | x) dε = 1, the volume of the cube, by the trapezoid rule over t with ε = sinh t."""
    dequantisation = variational(2, 2, 1)
    step = 0.4
    t = np.array(list(itertools.product(np.arange(-8, 9) * step, repeat=4))).reshape(-1, 2, 2, 1)
    noise = ops.convert_to_tensor(np.sinh(t))
    x = ops.broadcast_to(normal(1, 2, 2, 1), noise.shape)
    _, log_q = compiled(dequantisation.dequantise)(x, noise)
    log_measure = (scipy.stats.norm.logpdf(noise) + np.log(step * np.cosh(t))).sum(axis=(1, 2, 3))
    volume = np.exp(log_measure - array(log_q)).sum()
    assert_allclose(volume, 1, atol=1e-3)


@pytest.mark.slow_on_jax
def test_variational_dequantisation_starts_near_the_uniform_distribution(kind, normal, array):
    dequantisation = VariationalDequantisation(depth=2, network_of=network_of(kind, 4, blocks=1))
    dequantisation.build((None, 2, 2, 1))
    u, log_q = dequantisation.dequantise(normal(4000, 2, 2, 1, seed=1), normal(4000, 2, 2, 1))
    assert_allclose(np.histogram(array(u), bins=4, range=(0, 1))[0] / u.shape[0] / 4, 0.25, atol=0.05)
    assert 0 < array(log_q).mean() < 0.1  # KL(q ‖ uniform) over 4 dimensions
