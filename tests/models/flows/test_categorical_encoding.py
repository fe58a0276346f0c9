"""Symbols encoded for a flow: the encoding, its decoder, and the bound against sums and integrals in closed form."""

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

from models.flows.categorical_encoding import CategoricalEncoding
from models.glow.config import GlowConfig
from models.glow.model import Glow
from models.jet.config import JetConfig
from models.jet.model import Jet

pytestmark = [pytest.mark.backend, pytest.mark.usefixtures("float64")]

SYMBOLS, CHANNELS = 3, 2
LINES = np.array(list(itertools.product(range(SYMBOLS), repeat=2)), np.uint8).reshape(9, 1, 2, 1)
"""All of length 2."""


@pytest.fixture
def encoding(perturb):
    """Of symbols that overlap: each about as wide as the distances between them."""
    encoding = CategoricalEncoding(CHANNELS, SYMBOLS)
    encoding.build((None, 1, 2, 1))
    encoding.log_scale.assign(np.full((SYMBOLS, CHANNELS), -0.2))
    return perturb(encoding, scale=0.2)


@pytest.fixture
def flow(encoding):
    """One whose density of points is N(0, I), as a new Jet's is."""
    config = JetConfig(
        patch_size=1,
        couplings=2,
        width=4,
        heads=1,
        patch_split="none",
        dequantisation="categorical",
        encoding_channels=2,
    )
    model = Jet(config, (1, 2, 1), SYMBOLS)
    for weight, value in zip(model.dequantisation.weights, encoding.weights, strict=True):
        weight.assign(value)
    return model


def parts(encoding, array):
    """Means, scales and log p̃."""
    mean, log_scale, logits = (array(each) for each in (encoding.mean, encoding.log_scale, encoding.logits))
    return mean, np.exp(log_scale), scipy.special.log_softmax(logits)


def log_joint(encoding, array, v):
    """log p̃(x) q(v | x) of points (…, d): (…, Q)."""
    mean, scale, log_prior = parts(encoding, array)
    return scipy.stats.norm.logpdf(v[..., None, :], mean, scale).sum(axis=-1) + log_prior


def exact(encoding, array):
    """P(x) of all lines under N(0, I): Π_d ∫ N(v; 0, I) p(x_d | v) dv by a grid."""
    axis = np.linspace(-8, 8, 321)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, CHANNELS)
    density = np.exp(-0.5 * (grid**2).sum(axis=1)) / (2 * np.pi) * (axis[1] - axis[0]) ** 2
    of_symbol = density @ scipy.special.softmax(log_joint(encoding, array, grid), axis=-1)
    return of_symbol[LINES.reshape(9, 2)].prod(axis=1)


def test_a_point_is_drawn_from_its_symbol_s_distribution(encoding, normal, array):
    noise = normal(9, 1, 2, 2)
    v, log_ratio = encoding.encode(LINES, noise)
    mean, scale, _ = parts(encoding, array)
    x = LINES[..., 0]
    assert_allclose(array(v), mean[x] + scale[x] * array(noise), rtol=1e-12)
    log_q = scipy.stats.norm.logpdf(array(v), mean[x], scale[x]).sum(axis=-1)
    joint = log_joint(encoding, array, array(v))
    log_p = np.take_along_axis(joint, x[..., None].astype(int), -1)[..., 0] - scipy.special.logsumexp(joint, axis=-1)
    assert_allclose(array(log_ratio), (log_q - log_p).sum(axis=(1, 2)), rtol=1e-10)
    assert_allclose(array(encoding.decoder(v).log_prob(LINES))[..., 0], log_p, rtol=1e-9)


def test_each_channel_of_a_value_is_encoded_on_its_own(perturb, normal, array):
    encoding = perturb(CategoricalEncoding(CHANNELS, SYMBOLS))
    encoding.build((None, 1, 2, 3))
    x = np.random.default_rng(0).integers(0, SYMBOLS, (5, 1, 2, 3))
    noise = normal(5, 1, 2, 6)
    v, log_ratio = encoding.encode(x, noise)
    assert v.shape == (5, 1, 2, 6)
    one_by_one = [encoding.encode(x[..., c : c + 1], noise[..., 2 * c : 2 * c + 2]) for c in range(3)]
    assert_allclose(array(v), np.concatenate([array(each) for each, _ in one_by_one], axis=-1))
    assert_allclose(array(log_ratio), sum(array(each) for _, each in one_by_one), rtol=1e-10)
    assert array(encoding.decoder(v).logits).shape == (5, 1, 2, 3, SYMBOLS)


def test_the_gradient_is_that_of_finite_differences(encoding, normal, array, gradient):
    noise = normal(9, 1, 2, 2)
    kept = array(encoding.mean)

    def value(mean):
        encoding.mean.assign(mean)
        return float(array(ops.sum(encoding.encode(LINES, noise)[1])))

    from tests.models.gradients import gradients

    (found,) = gradients(lambda: ops.sum(encoding.encode(LINES, noise)[1]), [encoding.mean])
    direction = np.random.default_rng(0).standard_normal(kept.shape)
    slope = (value(kept + 1e-5 * direction) - value(kept - 1e-5 * direction)) / 2e-5
    assert (found * direction).sum() == pytest.approx(slope, rel=1e-6)


def test_weights_are_unbiased_estimates_of_the_probabilities_whose_sum_is_1(flow, encoding, normal, compiled, array):
    p, k = exact(encoding, array), 4000
    assert p.sum() == pytest.approx(1, abs=1e-9)
    log_w = array(compiled(flow.log_weights)(LINES, normal(k, 9, 1, 2, 2)))
    w = np.exp(log_w)
    errors = w.std(axis=0) / np.sqrt(k)
    assert (errors < 0.1 * p).all()
    assert (np.abs(w.mean(axis=0) - p) < 4.5 * errors).all()
    assert (log_w.mean(axis=0) < np.log(p)).all()


def test_samples_come_as_often_as_the_lines_are_probable(flow, encoding, normal, compiled, array):
    n = 20_000
    assert flow.prior_noise_size == 2 + 4
    samples = array(compiled(flow.generate)(normal(n, 6))).reshape(n, 2)
    counts = np.bincount(samples @ [3, 1], minlength=9)
    assert scipy.stats.chisquare(counts, n * exact(encoding, array)).pvalue > 1e-4


def test_a_new_model_knows_the_shares_of_the_symbols(array):
    config = GlowConfig(levels=1, flow_depth=1, hidden_channels=4, dequantisation="categorical")
    model = Glow(config, (1, 4, 1), SYMBOLS)
    images = np.random.default_rng(0).choice(SYMBOLS, p=[0.6, 0.3, 0.1], size=(70, 1, 4, 1))
    model.initialise(images)
    shares = (np.bincount(images.ravel(), minlength=3) + 1) / (280 + 3)
    assert_allclose(scipy.special.softmax(array(model.dequantisation.logits)), shares, rtol=1e-6)
    v, _ = model.dequantise(images, np.random.default_rng(1).standard_normal((70, 1, 4, 4)))
    latents, _ = model.encode(v)
    assert 0.3 < array(latents[0]).std() < 3


def test_symbols_are_counted_as_whole_numbers(array):
    """In half precision ones add up to 2,048 at most, as in single precision to 2^24."""
    encoding = CategoricalEncoding(1, 2, dtype="float16")
    encoding.build((None, 1, 1, 1))
    images = np.zeros((5000, 1, 1, 1), np.uint8)
    images[0] = 1
    encoding.fit(images)
    shares = scipy.special.softmax(array(encoding.logits).astype("float64"))
    assert shares[1] == pytest.approx(2 / 5002, rel=0.02)


def test_a_diagnosis_says_how_many_symbols_come_back(flow, encoding, array):
    found = flow.diagnose(LINES, 0, lambda method, *arrays: array(method(flow, *arrays))).numbers
    assert set(found) == {"recovered_share"}
    assert 0.3 < found["recovered_share"].value < 1
    flow.dequantisation.log_scale.assign(np.full((SYMBOLS, CHANNELS), -6.0))
    found = flow.diagnose(LINES, 0, lambda method, *arrays: array(method(flow, *arrays))).numbers
    assert found["recovered_share"].value == 1
