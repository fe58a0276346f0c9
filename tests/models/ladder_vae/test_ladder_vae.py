"""The ladder VAE against an implementation in NumPy, layer by layer, and against sums over all images."""

import itertools
import math

import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from models.base.distributions import DiagonalGaussian
from models.base.units import bits_per_dim
from models.ladder_vae.config import LadderVAEConfig
from models.ladder_vae.model import LadderVAE
from models.ladder_vae.networks import LOG_SCALE_LIMIT, double, halve
from models.layers.convolution import Convolution

pytestmark = [pytest.mark.backend, pytest.mark.slow_on_jax]

TINY = {"latent_layers": 2, "downsamplings": 1, "hidden_channels": 4, "latent_channels": 1, "activation": "silu"}
ALL_BINARY_IMAGES = np.array(list(itertools.product((0, 1), repeat=4))).reshape(16, 2, 2, 1)


@pytest.fixture
def ladder(float64, perturb):
    """A ladder VAE with perturbed weights in double precision."""

    def build(image_shape=(2, 2, 1), grey_levels=2, scale=0.3, **settings):
        model = LadderVAE(LadderVAEConfig(**{**TINY, **settings}), image_shape, grey_levels)
        return perturb(model, scale=scale)

    return build


# The model in NumPy: loops over images and channels, densities of z itself by SciPy.


def correlate(layer, x):
    """'same' correlation of x (h, w, c) with the kernel of a Keras layer."""
    kernel = np.asarray(layer.kernel)
    y = np.zeros((*x.shape[:2], kernel.shape[-1]))
    for i, o in itertools.product(range(x.shape[2]), range(kernel.shape[-1])):
        y[..., o] += scipy.signal.correlate2d(x[..., i], kernel[..., i, o], mode="same")
    return y + np.asarray(layer.bias) if layer.use_bias else y


def silu(x):
    return x * scipy.special.expit(x)


def side_by_side(x):
    """Each 2x2 block's pixels as channels, row by row; zeros beyond the edge."""
    h, w, c = x.shape
    padded = np.zeros((h + h % 2, w + w % 2, c))
    padded[:h, :w] = x
    return np.concatenate([padded[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)


def spread(y, height, width):
    c = y.shape[2] // 4
    x = np.zeros((2 * y.shape[0], 2 * y.shape[1], c))
    for number, (i, j) in enumerate(itertools.product((0, 1), repeat=2)):
        x[i::2, j::2] = y[..., number * c : (number + 1) * c]
    return x[:height, :width]


def residual(blocks, x):
    for block in blocks:
        x = x + correlate(block.second, silu(correlate(block.first, silu(x))))
    return x


def moments(layer, x):
    mean, raw = np.split(correlate(layer, silu(x)), 2, axis=-1)
    return mean, np.exp(LOG_SCALE_LIMIT * np.tanh(raw / LOG_SCALE_LIMIT))


def sizes(model):
    """Height and width at each number of halvings."""
    height, width, _ = model.image_shape
    found = [(height, width)]
    for _ in range(model.configuration.downsamplings):
        height, width = (height + 1) // 2, (width + 1) // 2
        found.append((height, width))
    return found


def reference(model, image, noise):
    """Outputs (h, w, c·parameters); log q(z | x) and log p(z) of each layer, or of the prior alone without an image."""
    network, halvings_of = model.top_down, [rung.halvings for rung in model.top_down.rungs]
    features = {}
    if image is not None:
        x = np.asarray(image, float) / (model.grey_levels - 1) - np.asarray(model.input_mean)
        at, per = 0, model.configuration.blocks
        for number in reversed(range(len(halvings_of))):
            while at < halvings_of[number]:
                x = correlate(model.bottom_up.halving[at], side_by_side(x))
                at += 1
            x = residual(model.bottom_up.blocks[number * per : (number + 1) * per], x)
            features[number] = correlate(model.bottom_up.outputs[number], silu(x))
    h, log_q, log_p, used = np.asarray(network.start), [], [], 0
    for number, layer in enumerate(network.layers):
        mean, deviation = moments(layer.prior_moments, h)
        epsilon = noise[used : used + mean.size].reshape(mean.shape)
        used += mean.size
        if image is None:
            z = mean + deviation * epsilon
        else:
            seen = correlate(layer.from_above, silu(h)) + features[number]
            shift, ratio = moments(layer.posterior_moments, seen)
            q_mean, q_deviation = mean + deviation * shift, deviation * ratio
            z = q_mean + q_deviation * epsilon
            log_q.append(scipy.stats.norm.logpdf(z, q_mean, q_deviation).sum())
        log_p.append(scipy.stats.norm.logpdf(z, mean, deviation).sum())
        h = residual(layer.blocks, h + correlate(layer.of_latents, z))
        below = halvings_of[number + 1] if number + 1 < len(halvings_of) else 1
        for at in range(halvings_of[number], below, -1):
            h = spread(correlate(network.doubling[at - 2], h), *sizes(model)[at - 1])
    assert used == noise.size
    outputs = spread(correlate(network.output_convolution, silu(h)), *model.image_shape[:2])
    return outputs, np.array(log_q), np.array(log_p)


def bernoulli_log_prob(model, image, outputs):
    logits = outputs.reshape(model.image_shape) + np.asarray(model.output_bias)[..., 0]
    return scipy.stats.bernoulli.logpmf(image, scipy.special.expit(logits)).sum()


def categorical_log_prob(model, image, outputs):
    logits = outputs.reshape(*model.image_shape, -1) + np.asarray(model.output_bias)
    log_p = logits - scipy.special.logsumexp(logits, axis=-1, keepdims=True)
    return np.take_along_axis(log_p, image[..., None].astype(int), axis=-1).sum()


def mixture_log_prob(model, image, outputs):
    logits, means, log_scales = np.split(
        outputs.reshape(*model.image_shape, -1) + np.asarray(model.output_bias), 3, axis=-1
    )
    levels = model.grey_levels
    upper = np.where(image == levels - 1, np.inf, (image + 1.0) / levels)[..., None]
    lower = np.where(image == 0, -np.inf, image / levels)[..., None]
    cell = scipy.stats.logistic.cdf(upper, means, np.exp(log_scales))
    cell = cell - scipy.stats.logistic.cdf(lower, means, np.exp(log_scales))
    return np.log((scipy.special.softmax(logits, axis=-1) * cell).sum(axis=-1)).sum()


KINDS = {
    "2 levels, two layers at one pixel": ((2, 2, 1), 2, {}, bernoulli_log_prob),
    "2 levels, odd, three resolutions": (
        (9, 11, 1),
        2,
        {"latent_layers": 3, "downsamplings": 3, "hidden_channels": 2, "latent_channels": 2, "blocks": 2},
        bernoulli_log_prob,
    ),
    "17 levels, four layers at two": ((5, 6, 1), 17, {"latent_layers": 4, "downsamplings": 2}, categorical_log_prob),
    "8 bits, colour, a resolution without a layer": (
        (8, 9, 3),
        256,
        {"downsamplings": 3, "hidden_channels": 2, "mixture_components": 2},
        mixture_log_prob,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_log_weights_are_likelihood_times_prior_over_posterior_of_each_layer(ladder, normal, compiled, array, kind):
    image_shape, grey_levels, settings, log_prob = KINDS[kind]
    model = ladder(image_shape, grey_levels, scale=0.15, **settings)
    images = np.random.default_rng(0).integers(0, grey_levels, size=(3, *image_shape))
    noise = normal(2, 3, *model.posterior_noise_shape)
    found = array(compiled(model.log_weights)(images, noise))
    assert found.shape == (2, 3)
    divergences = []
    for k, n in itertools.product(range(2), range(3)):
        outputs, log_q, log_p = reference(model, images[n], array(noise)[k, n])
        divergences.append(np.abs(log_p - log_q))
        expected = log_prob(model, images[n], outputs) + (log_p - log_q).sum()
        assert_allclose(found[k, n], expected, rtol=1e-9)
    assert np.min(np.max(divergences, axis=0)) > 1e-2  # each layer's posterior differs from its prior


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_samples_are_drawn_layer_by_layer_from_the_priors(ladder, normal, array, temperature):
    model = ladder((5, 7, 1), 2, scale=0.6, latent_layers=3, downsamplings=2)
    noise = normal(6, model.prior_noise_size)
    found = array(model.generate(noise, temperature))
    for image, given in zip(found, temperature * array(noise), strict=True):
        outputs, _, _ = reference(model, None, given[: model.latents])
        on = scipy.special.expit(outputs + np.asarray(model.output_bias)[..., 0])
        u = scipy.stats.norm.cdf(given[model.latents :]).reshape(model.image_shape)
        assert (image == (u > 1 - on)).all()
    assert 0.1 < found.mean() < 0.9


def test_probabilities_of_all_images_sum_to_1_and_importance_sampling_finds_each(ladder, check_probabilities, array):
    """The integral over the latents of both layers by Gauss-Hermite quadrature."""
    model = ladder(scale=0.4)
    for layer in model.top_down.layers:  # posteriors near the priors, and wider than the exact ones
        kernel, bias = layer.posterior_moments.kernel, layer.posterior_moments.bias
        kernel.assign(0.2 * array(kernel))
        bias.assign([0.1, 0.25])
    assert model.latents == 2
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    u = ops.convert_to_tensor(np.array(list(itertools.product(nodes, repeat=2))))
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    check_probabilities(model, ALL_BINARY_IMAGES, model.decode(u), weights, k=40_000, error=0.02, rtol=1e-10)


def test_elbo_with_closed_form_kl_is_the_mean_log_weight(ladder, normal, compiled, array):
    model = ladder((4, 4, 1), 2, latent_layers=3, downsamplings=2)
    n = 20_000
    images = np.repeat(np.random.default_rng(0).integers(0, 2, (2, 4, 4, 1)), n, axis=0)
    noise = normal(1, 2 * n, model.latents)
    result = compiled(lambda x, noise: model.objective(x, noise, None, training=False))(images, noise)
    log_weights = array(compiled(model.log_weights)(images, noise))[0].reshape(2, n)
    difference = array(result["bound"]).reshape(2, n) - log_weights
    assert (np.abs(difference.mean(axis=1)) < 4 * difference.std(axis=1) / np.sqrt(n)).all()
    assert (difference.std(axis=1) > 0.1).all()
    assert_allclose(array(result["objective"]), array(result["bound"]), rtol=1e-12)
    assert (array(result["kl"]) > 0).all()


@pytest.mark.parametrize(("grey_levels", "settings"), [(2, {}), (17, {}), (3, {"observation": "categorical"})])
def test_outputs_of_zeros_score_log2_of_the_grey_levels(ladder, array, grey_levels, settings):
    model = ladder((5, 3, 3), grey_levels, **settings)
    for layer in model.top_down.layers:
        for weight in layer.posterior_moments.trainable_variables:
            weight.assign(np.zeros(weight.shape))
    for weight in (model.output_bias, model.top_down.output_convolution.kernel):
        weight.assign(np.zeros(weight.shape))
    images = np.random.default_rng(0).integers(0, grey_levels, size=(5, 5, 3, 3))
    bound = model.log_prob_bound(images, importance_samples=3, seed=0)
    assert_allclose(array(bits_per_dim(bound, 45)), np.log2(grey_levels), rtol=1e-12)


@pytest.mark.parametrize("grey_levels", [2, 256])
def test_log_weights_of_an_image_do_not_depend_on_its_batch(ladder, normal, compiled, array, grey_levels):
    model = ladder((3, 5, 3), grey_levels)
    images = np.random.default_rng(0).integers(0, grey_levels, size=(4, 3, 5, 3))
    noise = normal(3, 4, model.latents)
    log_weights = compiled(model.log_weights)
    together = array(log_weights(images, noise))
    assert np.unique(together.round(9)).size == 12
    for i, j in itertools.product(range(3), range(4)):
        alone = array(log_weights(images[j : j + 1], noise[i : i + 1, j : j + 1]))
        assert_allclose(alone, together[i : i + 1, j : j + 1], rtol=1e-10)


def test_a_layer_depends_on_the_noise_of_its_own_and_of_those_above_alone(ladder, normal, array):
    model = ladder((8, 8, 1), 2, latent_layers=3, downsamplings=2)
    images = np.random.default_rng(0).integers(0, 2, (2, 8, 8, 1))
    noise = array(normal(1, 2, model.latents))
    ends = np.cumsum(model.top_down.sizes)
    plain = model.infer(images, noise).standardised
    for layer, (start, end) in enumerate(itertools.pairwise([0, *ends])):
        changed = noise.copy()
        changed[..., start:end] += 1.0
        moved = model.infer(images, changed).standardised
        assert [bool(np.any(array(a) != array(b))) for a, b in zip(plain, moved, strict=True)] == [
            other >= layer for other in range(3)
        ]


# The training objective.


def _with_divergences(model, shifts):
    """Each layer's posterior shifted by a constant: its KL is latents·shift²/2, whatever the image."""
    for layer, shift in zip(model.top_down.layers, shifts, strict=True):
        layer.posterior_moments.kernel.assign(np.zeros(layer.posterior_moments.kernel.shape))
        bias = np.zeros(layer.posterior_moments.bias.shape)
        bias[: len(bias) // 2] = shift
        layer.posterior_moments.bias.assign(bias)
    return model


def test_free_bits_bound_each_layer_s_kl_from_below(ladder, normal, array):
    model = _with_divergences(ladder((4, 4, 1), 2, latent_layers=3, free_bits=0.5), (0.2, 1.0, 0.0))
    assert model.top_down.sizes == [4, 4, 4]
    images = np.random.default_rng(0).integers(0, 2, (3, 4, 4, 1))
    result = model.objective(images, normal(1, 3, 12), None, training=True)
    assert_allclose(array(result["kl"]), 0.08 + 2.0, rtol=1e-10)
    assert_allclose(array(result["objective"] - result["bound"]), 2.08 - (0.5 + 2.0 + 0.5), rtol=1e-10)
    assert not model.objective_is_by_image


def test_free_bits_compare_the_batch_mean_and_not_each_image(ladder, normal, array):
    model = _with_divergences(ladder(free_bits=0.3), (0.0, 2.0))
    mean = np.zeros((1, 16, 1, 1, 1))
    mean[0, ::2] = 1.0  # KLs 0.5 and 0: 0.25 in the mean
    model.top_down.layers[0].posterior = lambda above, features: DiagonalGaussian(
        ops.convert_to_tensor(mean), ops.zeros(mean.shape)
    )
    result = model.objective(ALL_BINARY_IMAGES, normal(1, 16, 2), None, training=True)
    penalised = array(result["bound"] + result["kl"] - result["objective"])
    assert_allclose(penalised, 0.3 + 2.0, rtol=1e-10)


@pytest.mark.parametrize("free_bits", [0.0, 1.0])
def test_kl_weight_rises_linearly_over_the_warmup_and_holds_outside_training(ladder, normal, array, free_bits):
    model = _with_divergences(ladder(kl_warmup_steps=4, free_bits=free_bits), (0.0, 2.0))
    noise, penalised = normal(1, 16, 2), 2.0 + free_bits

    def weight(training):
        result = {name: array(v) for name, v in model.objective(ALL_BINARY_IMAGES, noise, None, training).items()}
        reconstruction = result["bound"] + result["kl"]
        return ((reconstruction - result["objective"]) / penalised).mean()

    weights = [weight(training=True), weight(training=False), *(weight(training=True) for _ in range(4))]
    assert_allclose(weights, [0.25, 0.25, 0.5, 0.75, 1.0, 1.0], atol=1e-10)


def test_log_scales_stay_within_their_limit(ladder, normal, array):
    model = ladder((4, 4, 1), 2, scale=100.0)
    images = np.random.default_rng(0).integers(0, 2, (3, 4, 4, 1))
    for posterior in model.infer(images, normal(1, 3, model.latents)).posteriors:
        log_scale = array(posterior.log_scale)
        assert np.abs(log_scale).max() <= LOG_SCALE_LIMIT
        assert np.abs(log_scale).max() > 0.9 * LOG_SCALE_LIMIT


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (9, 7, 3)])
def test_a_new_model_has_the_prior_for_its_posterior_and_the_data_s_marginals(image_shape, compiled, array):
    model = LadderVAE(LadderVAEConfig(hidden_channels=4), image_shape, 2)
    images = np.random.default_rng(0).binomial(1, 0.3, (200, *image_shape))
    model.initialise(images)
    objective = compiled(lambda images, noise: model.objective(images, noise, None, False))
    result = objective(images, np.zeros((1, 200, model.latents), "float32"))
    assert_allclose(array(result["kl"]), 0, atol=1e-6)
    on = (images.sum(axis=0) + 1) / 202
    expected = scipy.stats.bernoulli.logpmf(images, on).sum(axis=(1, 2, 3))
    assert_allclose(array(result["bound"]), expected, rtol=1e-5)


def test_fifty_steps_on_digits_lower_the_loss():
    from bench.study.config import TrainingConfig
    from bench.training.loop import compile_for_training
    from bench.training.program import training_program

    images = load_digits().images.astype("uint8")[..., None]
    model = LadderVAE(LadderVAEConfig(hidden_channels=16, latent_channels=4), (8, 8, 1), 17)
    compile_for_training(model, TrainingConfig(learning_rate=3e-3, batch_size=64))
    program = training_program(model)
    program.initialise(images)
    order = np.random.default_rng(0).integers(0, len(images), (50, 64))
    order[-5:] = order[:5]
    logs = program.train(images, None, order, 0, 50)
    assert np.isfinite(logs["loss"]).all()
    assert logs["loss"][-5:].mean() < logs["loss"][:5].mean() - 0.01


# Images from latents, and the size.


def test_reconstruction_is_the_expected_image_at_the_posterior_means(ladder, array):
    model = ladder((3, 4, 1), 2, scale=0.6)
    images = np.random.default_rng(0).integers(0, 2, (4, 3, 4, 1))
    outputs = [reference(model, image, np.zeros(model.latents))[0] for image in images]
    on = scipy.special.expit(np.array(outputs) + np.asarray(model.output_bias)[..., 0])
    assert_allclose(array(model.reconstruct(images)), on, rtol=1e-9)


def test_interpolation_ends_at_the_reconstructions(ladder, array):
    model = ladder((5, 4, 1), 2, scale=0.15, latent_layers=3, downsamplings=2)
    first, second = np.random.default_rng(0).integers(0, 2, (2, 4, 5, 4, 1))
    found = array(model.interpolate(first, second, [0.0, 0.3, 1.0]))
    assert found.shape == (4, 3, 5, 4, 1)
    assert_allclose(found[:, 0], array(model.reconstruct(first)), rtol=1e-9)
    assert_allclose(found[:, 2], array(model.reconstruct(second)), rtol=1e-9)
    assert (np.abs(found[:, 1] - found[:, 0]).max(axis=(1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize("size", [(4, 6), (3, 4), (5, 1)])
def test_doubling_undoes_halving_of_any_size(array, size):
    x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
    y = halve(ops.convert_to_tensor(x))
    assert y.shape == (2, (size[0] + 1) // 2, (size[1] + 1) // 2, 12)
    assert_allclose(array(y)[0], side_by_side(x[0]))
    assert (array(double(y, *size)) == x).all()


@pytest.mark.parametrize(
    ("layers", "downsamplings", "expected"),
    [
        (2, 1, [1, 1]),
        (2, 3, [3, 1]),
        (3, 3, [3, 2, 1]),
        (4, 2, [2, 2, 1, 1]),
        (5, 3, [3, 2, 2, 1, 1]),
        (6, 3, [3, 3, 2, 2, 1, 1]),
    ],
)
def test_layers_are_spread_from_the_coarsest_resolution_to_the_first_halving(layers, downsamplings, expected):
    config = LadderVAEConfig(latent_layers=layers, downsamplings=downsamplings, hidden_channels=5)
    rungs = config.rungs((28, 17, 1))
    assert [rung.halvings for rung in rungs] == expected
    for rung in rungs:
        assert (rung.height, rung.width) == (math.ceil(28 / 2**rung.halvings), math.ceil(17 / 2**rung.halvings))
        assert rung.channels == 5 * 2 ** (rung.halvings - 1)


@pytest.mark.parametrize(("image_shape", "grey_levels"), [((8, 8, 1), 2), ((9, 11, 3), 256)])
def test_the_size_counts_every_multiply_add_of_a_bound(monkeypatch, compiled, image_shape, grey_levels):
    config = LadderVAEConfig(hidden_channels=4, latent_layers=4, downsamplings=3, blocks=2)
    model = LadderVAE(config, image_shape, grey_levels)
    counted = []
    call = Convolution.call

    def counting(layer, inputs):
        y = call(layer, inputs)
        counted.append(math.prod(layer.kernel.shape) * y.shape[1] * y.shape[2])
        return y

    monkeypatch.setattr(Convolution, "call", counting)
    log_weights = compiled(model.log_weights)
    log_weights(np.zeros((1, *image_shape), "uint8"), np.zeros((1, 1, model.latents), "float32"))
    assert config.size(image_shape, grey_levels).multiplications == sum(counted)
