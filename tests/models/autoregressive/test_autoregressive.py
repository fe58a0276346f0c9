"""The autoregressive model: exact probabilities, the order of its values, and samples that have these probabilities."""

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
from numpy.testing import assert_allclose

from models.autoregressive.config import AutoregressiveConfig
from models.autoregressive.masked_convolution import MaskedConvolution, causal_patches, groups, taps
from models.autoregressive.model import Autoregressive
from models.base.distributions import standard_normal_cdf

pytestmark = pytest.mark.backend

KINDS = {
    "grey": ((2, 3, 1), 3, {"first_kernel": 3}),
    "colour": ((2, 1, 3), 3, {"blocks": 2}),
    "binary": ((3, 2, 2), 2, {"activation": "relu"}),
    "mixture": ((2, 1, 2), 5, {"observation": "logistic_mixture", "mixture_components": 2}),
}


@pytest.fixture
def build(perturb):
    def built(image_shape, grey_levels, scale=0.5, **settings):
        small = {"hidden_channels": 6, "blocks": 1, "first_kernel": 5, **settings}
        return perturb(Autoregressive(AutoregressiveConfig(**small), image_shape, grey_levels), scale=scale)

    return built


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def all_images(image_shape, grey_levels):
    values = itertools.product(range(grey_levels), repeat=int(np.prod(image_shape)))
    return np.array(list(values), "uint8").reshape(-1, *image_shape)


def test_probabilities_of_all_images_sum_to_1(float64, build, compiled, array, kind):
    shape, levels, settings = kind
    model = build(shape, levels, **settings)
    log_p = array(compiled(model.log_prob)(all_images(shape, levels)))
    assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-10)
    assert log_p.std() > 0.1


def test_samples_come_as_often_as_the_images_are_probable(build, compiled, array, kind):
    shape, levels, settings = kind
    model = build(shape, levels, scale=0.3, **settings)
    p = np.exp(array(compiled(model.log_prob)(all_images(shape, levels))).astype(np.float64))
    n = 20_000
    noise = np.random.default_rng(0).standard_normal((n, model.prior_noise_size)).astype("float32")
    samples = array(compiled(model.generate)(noise)).reshape(n, -1)
    numbers = samples @ levels ** np.arange(samples.shape[1])[::-1]
    counts = np.bincount(numbers, minlength=len(p))
    often = n * p > 5
    observed, expected = np.append(counts[often], counts[~often].sum()), n * np.append(p[often], p[~often].sum())
    some = expected > 0
    observed, expected = observed[some], expected[some]
    assert scipy.stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


def test_a_conditional_depends_on_all_values_before_it_and_on_none_after(float64, build, compiled, array):
    """In an image that the first kernel sees whole; by single changes of values."""
    shape, levels = (3, 3, 2), 4
    model = build(shape, levels)
    x = np.random.default_rng(0).integers(0, levels, size=18)
    changed = np.repeat(x[None], 18, axis=0)
    np.fill_diagonal(changed, (x + 1) % levels)
    logits = compiled(lambda images: model.conditionals(images).logits)
    before = array(logits(x.reshape(1, *shape))).reshape(18, -1)
    after = array(logits(changed.reshape(-1, *shape))).reshape(18, 18, -1)
    moved = np.abs(after - before).max(axis=-1) > 1e-12  # (the value that changed, the conditional)
    assert (moved == np.triu(np.ones((18, 18), bool), 1)).all()


def test_each_value_is_the_quantile_of_its_conditional_given_the_sample_so_far(build, compiled, array, kind):
    """The network at one pixel, from what earlier pixels left, is the network of the whole image."""
    shape, levels, settings = kind
    model = build((5, 4, shape[2]), levels, **settings)
    noise = np.random.default_rng(0).standard_normal((7, model.prior_noise_size)).astype("float32")
    samples = array(compiled(model.generate)(noise, 0.8))
    u = standard_normal_cdf(model.as_float(0.8 * noise.reshape(7, 5, 4, -1)))
    expected = array(compiled(lambda x: model.conditionals(x).quantile(u))(samples))
    # Rounding may move a quantile across a border of two levels.
    assert (expected == samples).mean() > 0.99


def test_dropout_acts_in_training_alone(build, array):
    model = build((4, 4, 1), 3, dropout=0.5)
    images = np.random.default_rng(0).integers(0, 3, size=(4, 4, 4, 1))
    noise = np.zeros((1, 4, 0), "float32")
    evaluated = array(model.objective(images, noise, None, False)["bound"])
    assert_allclose(evaluated, array(model.log_prob(images)), rtol=1e-6)
    assert (array(model.objective(images, noise, None, True)["bound"]) != evaluated).all()
    assert not model.objective_is_by_image
    assert build((4, 4, 1), 3, dropout=0.0).objective_is_by_image


def test_an_untrained_model_has_the_marginals_of_the_training_images(array):
    images = np.random.default_rng(0).integers(0, 4, size=(500, 3, 3, 1)) // 2
    model = Autoregressive(AutoregressiveConfig(hidden_channels=4, blocks=1), (3, 3, 1), 4)
    model.initialise(images)
    frequencies = np.stack([((images == level).sum(axis=0) + 1) / 504 for level in range(4)], axis=-1)
    logits = array(model.conditionals(images[:1]).logits)[0]
    assert_allclose(scipy.special.softmax(logits, axis=-1), frequencies, rtol=1e-4)


@pytest.mark.parametrize(("size", "dilation"), [(3, 1), (5, 1), (3, 2), ((1, 5), 2)])
def test_the_gradient_of_the_patches_is_their_transpose(float64, normal, gradient, array, size, dilation):
    x, weight = normal(2, 4, 6, 2), normal(2, 4, 6, 2 * len(taps(size)), seed=1)
    slope = gradient(lambda x: causal_patches(x, size, dilation) * weight, x)
    direction = normal(2, 4, 6, 2, seed=2)
    change = (array(causal_patches(direction, size, dilation)) * array(weight)).sum()
    assert_allclose((slope * array(direction)).sum(), change, rtol=1e-10)


def test_a_dilation_beyond_the_image_takes_no_more_memory_and_sees_no_less(float64, build, perturb, normal, array):
    model = build((3, 4, 1), 3, blocks=5, dilation_cycle=5)
    assert [block.convolution.dilation for block in model.blocks] == [1, 2, 4, 4, 4]
    one, x = groups(6, 1), normal(2, 3, 4, 6)
    near, far = (MaskedConvolution("B", 3, one, one, dilation=dilation) for dilation in (4, 16))
    for layer in (near, far):
        layer.build((None, 3, 4, 6))
    far.set_weights(perturb(near).get_weights())
    assert_allclose(array(near(x)), array(far(x)), rtol=1e-12)


def test_kind_a_keeps_a_group_from_itself_and_kind_b_does_not(float64, perturb, array):
    channels = groups(4, 2)
    assert channels.tolist() == [0, 0, 1, 1]
    for kind, expected in (("A", [[False, True], [False, False]]), ("B", [[True, True], [False, True]])):
        layer = MaskedConvolution(kind, 1, channels, channels)
        layer.build((None, 1, 1, 4))
        reach = array(perturb(layer).matrix()) != 0
        assert [[reach[2 * i, 2 * j] for j in (0, 1)] for i in (0, 1)] == expected
