"""A sequence is an image of height 1: one-row kernels, blocks of its length, and the order of its values."""

import itertools

import numpy as np
import pytest
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

import models.autoregressive.model
import models.bijections.coupling_networks
import models.flows.model
import models.glow.model
import models.jet.model
import models.ladder_vae.networks
import models.vae.networks
from models.autoregressive.config import AutoregressiveConfig
from models.base.distributions import standard_normal_cdf
from models.base.window import window
from models.glow.config import GlowConfig
from models.jet.config import JetConfig
from models.ladder_vae.config import LadderVAEConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend

SHAPE, LEVELS = (1, 8, 2), 5
MODULES = (
    models.autoregressive.model,
    models.flows.model,
    models.glow.model,
    models.jet.model,
    models.ladder_vae.networks,
    models.vae.networks,
)
SMALL = {"hidden_channels": 4}
FAMILIES = {
    "vae, convolutional": VAEConfig(network="convolutional", downsamplings=2, latent_size=3, **SMALL),
    "vae, residual": VAEConfig(network="residual", downsamplings=1, blocks=1, latent_size=3, **SMALL),
    "ladder vae": LadderVAEConfig(latent_layers=2, downsamplings=2, latent_channels=2, **SMALL),
    "autoregressive": AutoregressiveConfig(blocks=2, first_kernel=5, dilation_cycle=2, **SMALL),
    "glow": GlowConfig(levels=2, flow_depth=1, checkerboard_steps=1, dequantisation="variational", **SMALL),
    "glow, residual": GlowConfig(levels=1, flow_depth=1, network="residual", blocks=1, **SMALL),
    "jet": JetConfig(
        patch_size=2, couplings=2, width=4, heads=1, dequantisation="variational", dequantisation_channels=3
    ),
}


def images_of(shape, levels, n=4):
    return np.random.default_rng(0).integers(0, levels, size=(n, *shape))


def with_square_kernels(monkeypatch):
    """Kernels of so many rows as columns, as for images that are higher."""
    for module in MODULES:
        monkeypatch.setattr(module, "window", lambda size, shape: (size, size) if size % 2 else window(size, shape))


def middle_row(values, shape):
    """The part of a square kernel that lies on the image's only row; of a masked one, the last taps."""
    if values.shape == shape:
        return values
    if len(shape) == 4:
        return values[values.shape[0] // 2][None]
    return values[-shape[0] :]


def steps_of(model):
    """A flow's steps one by one, as their weights lie flat in rows."""
    return [each.unrolled() for each in getattr(model, "repeated", ())]


def copy_middle_rows(square, line, square_steps):
    repeated = getattr(line, "repeated", ())
    for own, theirs in zip(repeated, square_steps, strict=True):
        steps = own.unrolled()
        for step, given in zip(steps, theirs, strict=True):
            for name, weights in step.groups.items():
                for weight, value in zip(weights, given.groups[name], strict=True):
                    weight.assign(middle_row(np.array(value), tuple(weight.shape)))
        own.become(steps)
    flat = {id(weight) for own in repeated for weight in own.weights}
    for value, weight in zip(square.weights, line.weights, strict=True):
        if id(weight) not in flat:
            weight.assign(middle_row(np.array(value), tuple(weight.shape)))


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("name", FAMILIES)
def test_a_line_has_the_bound_of_an_image_of_height_1_whose_kernels_outer_rows_see_nothing(
    name, perturb, normal, compiled, array, monkeypatch
):
    line, images = build_model(FAMILIES[name], SHAPE, LEVELS), images_of(SHAPE, LEVELS)
    with monkeypatch.context() as patched:
        with_square_kernels(patched)
        square = perturb(build_model(FAMILIES[name], SHAPE, LEVELS), scale=0.1)
        steps = steps_of(square)
    assert sum(w.numpy().size for w in square.weights) > sum(w.numpy().size for w in line.weights)
    copy_middle_rows(square, line, steps)
    noise = normal(2, 4, *line.posterior_noise_shape)
    expected, found = (array(compiled(model.log_weights)(images, noise)) for model in (square, line))
    assert expected.std() > 0.1
    assert_allclose(found, expected, rtol=2e-5)


# Which lines are taken.


@pytest.mark.parametrize(
    ("config", "length", "message"),
    [
        (GlowConfig(levels=3), 12, "levels=3 squeezes the image 3 times, but 1x12 can be halved only 2 times"),
        (GlowConfig(levels=1), 9, "1x9 can be halved not even once"),
        (GlowConfig(levels=0, checkerboard_steps=1, dequantisation="variational"), 9, "1x9 cannot be halved"),
        (JetConfig(patch_size=4), 10, "patch_size=4 does not divide images of 1x10: take patch_size=2 or 5"),
        (JetConfig(patch_split="rows", couplings=3), 8, "patch_split=rows cannot split 1x2 patches of patch_size=4"),
        (
            VAEConfig(network="residual", downsamplings=4),
            9,
            "downsamplings=4 halves 1x9 images below one pixel: at most 3",
        ),
        (LadderVAEConfig(downsamplings=4), 9, "at most 3"),
    ],
    ids=str,
)
def test_lines_that_cannot_be_halved_or_cut_are_refused(config, length, message):
    with pytest.raises(ValueError, match=message):
        config.check_images((1, length, 1), 5)


def test_lengths_alone_have_to_be_halved():
    GlowConfig(levels=3, dequantisation="variational").check_images((1, 24, 1), 5)
    JetConfig(patch_size=3, couplings=15).check_images((1, 24, 1), 5)
    VAEConfig(network="convolutional", downsamplings=3).check_images((1, 9, 1), 5)


@pytest.mark.slow_on_jax
def test_all_ways_to_split_a_single_row_are_those_of_columns(array):
    settings = {"patch_size": 1, "channel_couplings": 0, "width": 4, "heads": 1}
    model = build_model(JetConfig(couplings=6, **settings), (1, 4, 1), 3)
    masks = array(model.steps._rows["mask"].variable)
    assert masks.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]] * 3


# Probabilities.


@pytest.mark.parametrize("scaling", ["centred", "one_hot"])
@pytest.mark.parametrize("shape", [(1, 3, 1), (1, 2, 2)], ids=str)
def test_an_autoregressive_model_gives_all_lines_probabilities_of_sum_1(
    float64, perturb, compiled, array, shape, scaling
):
    config = AutoregressiveConfig(hidden_channels=4, blocks=1, first_kernel=3, input_scaling=scaling)
    model = perturb(build_model(config, shape, 3), scale=0.5)
    number = int(np.prod(shape))
    lines = np.array(list(itertools.product(range(3), repeat=number)), "uint8").reshape(-1, *shape)
    log_p = array(compiled(model.log_prob)(lines))
    assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-10)
    assert log_p.std() > 0.1


@pytest.mark.parametrize(("blocks", "cycle", "reach"), [(2, 1, 4), (3, 3, 9), (3, 2, 6)])
@pytest.mark.slow_on_jax
def test_a_value_of_a_line_sees_as_far_back_as_the_reach(float64, perturb, compiled, array, blocks, cycle, reach):
    config = AutoregressiveConfig(
        hidden_channels=4, blocks=blocks, first_kernel=5, dilation_cycle=cycle, input_scaling="one_hot"
    )
    assert config.reach == reach
    length = 12
    model = perturb(build_model(config, (1, length, 1), 3), scale=0.5)
    line = np.random.default_rng(0).integers(0, 3, length)
    changed = np.repeat(line[None], length, axis=0)
    np.fill_diagonal(changed, (line + 1) % 3)
    logits = compiled(lambda images: model.conditionals(images).logits)
    before = array(logits(line.reshape(1, 1, length, 1))).reshape(length, -1)
    after = array(logits(changed.reshape(length, 1, length, 1))).reshape(length, length, -1)
    moved = np.abs(after - before).max(axis=-1) > 1e-12  # (the value that changed, the conditional)
    behind = np.subtract.outer(np.arange(length), np.arange(length)).T
    assert (moved == ((behind > 0) & (behind <= reach))).all()


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 9, 2), {"dilation_cycle": 3, "input_scaling": "one_hot"}),
        ((5, 6, 1), {"dilation_cycle": 2, "input_scaling": "one_hot"}),
        ((1, 9, 1), {"observation": "logistic_mixture"}),
    ],
    ids=str,
)
def test_each_value_is_the_quantile_of_its_conditional_given_the_sample_so_far(
    perturb, compiled, array, shape, settings
):
    config = AutoregressiveConfig(hidden_channels=6, blocks=3, first_kernel=5, **settings)
    model = perturb(build_model(config, shape, 4), scale=0.3)
    model.initialise(images_of(shape, 4, 30))
    noise = np.random.default_rng(0).standard_normal((7, model.prior_noise_size)).astype("float32")
    samples = array(compiled(model.generate)(noise))
    u = standard_normal_cdf(model.as_float(noise.reshape(7, *shape)))
    expected = array(compiled(lambda x: model.conditionals(x).quantile(u))(samples))
    assert (expected == samples).mean() > 0.99


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_a_vae_gives_all_lines_probabilities_of_sum_1_and_importance_sampling_finds_each(
    float64, perturb, check_probabilities, network
):
    config = VAEConfig(
        network=network, latent_size=2, hidden_sizes=(5,), hidden_channels=3, downsamplings=1, input_scaling="one_hot"
    )
    model = perturb(build_model(config, (1, 3, 1), 3), scale=0.2)
    model.output_bias.assign(np.random.default_rng(0).standard_normal((1, 3, 1, 3)))
    lines = np.array(list(itertools.product(range(3), repeat=3)), "uint8").reshape(27, 1, 3, 1)
    axis = np.linspace(-6, 6, 41)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    weights = scipy.stats.norm.pdf(grid).prod(axis=1) * (axis[1] - axis[0]) ** 2
    check_probabilities(model, lines, model.likelihood(ops.convert_to_tensor(grid)), weights, 2000, 0.2, 1e-6)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("dequantisation", ["uniform", "variational", "categorical"])
def test_the_bounds_of_a_flow_of_lines_sum_to_at_most_1(perturb, normal, compiled, array, dequantisation):
    config = GlowConfig(levels=1, flow_depth=2, hidden_channels=4, dequantisation=dequantisation, encoding_channels=2)
    model = build_model(config, (1, 4, 1), 3)
    lines = np.array(list(itertools.product(range(3), repeat=4)), "uint8").reshape(81, 1, 4, 1)
    model.initialise(lines)
    if dequantisation == "categorical":  # of symbols as wide as the flow's density, for weights of little variance
        model.dequantisation.log_scale.assign(np.zeros((3, 2)))
    perturb(model, scale=0.05)
    noise = normal(512, 81, *model.posterior_noise_shape)
    w = np.exp(array(compiled(model.log_weights)(lines, noise)).astype("float64"))
    error = np.sqrt((w.var(axis=0) / len(w)).sum())
    assert error < 0.05
    assert 0.5 < w.mean(axis=0).sum() < 1 + 4.5 * error


# Symbols without an order.


def test_one_hot_symbols_are_seen_alike_and_their_distribution_is_categorical(array):
    vae = VAEConfig(hidden_sizes=(4,), latent_size=2, input_scaling="one_hot")
    for config in (vae, AutoregressiveConfig(input_scaling="one_hot"), LadderVAEConfig(input_scaling="one_hot")):
        assert config.observation_for(200) == "categorical"
        assert config.observation_for(2) == "bernoulli"
        assert type(config)().observation_for(200) == "logistic_mixture"
    seen = array(build_model(vae, (1, 2, 2), 3).encoder_input(np.array([[[[0, 2], [1, 1]]]])))
    assert seen.tolist() == [[[[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 1, 0]]]]
    with pytest.raises(ValueError, match="input_scaling=one_hot takes prior=standard or flow"):
        VAEConfig(input_scaling="one_hot", prior="vamp")


@pytest.mark.slow_on_jax
def test_the_mean_of_one_hot_symbols_is_the_likeliest(perturb, array):
    config = VAEConfig(hidden_sizes=(4,), latent_size=2, input_scaling="one_hot")
    model, lines = perturb(build_model(config, (1, 6, 1), 5), 0.8), images_of((1, 6, 1), 5)
    logits = array(model.likelihood(model.posterior(lines).mean).logits)
    found = array(model.reconstruct(lines))
    assert (found == logits.argmax(axis=-1)).all()
    assert len(np.unique(found)) > 1
    assert (array(model.interpolate(lines, lines[::-1], np.array([0.0]))) == found[:, None]).all()


@pytest.mark.slow_on_jax
def test_the_mean_of_two_one_hot_symbols_is_one_of_them(perturb, array):
    config = VAEConfig(hidden_sizes=(4,), latent_size=2, input_scaling="one_hot")
    model, lines = perturb(build_model(config, (1, 6, 1), 2), 0.8), images_of((1, 6, 1), 2)
    assert set(np.unique(array(model.reconstruct(lines)))) == {0.0, 1.0}


@pytest.mark.slow_on_jax
def test_two_hundred_symbols_have_probabilities_of_sum_1_and_begin_with_their_shares(perturb, compiled, array):
    config = AutoregressiveConfig(hidden_channels=8, blocks=1, input_scaling="one_hot", dropout=0.0)
    model = build_model(config, (1, 1, 1), 200)
    symbols = np.arange(200, dtype="uint8").reshape(200, 1, 1, 1)
    some = np.random.default_rng(0).choice(200, p=scipy.stats.binom.pmf(np.arange(200), 199, 0.3), size=(500, 1, 1, 1))
    model.initialise(some)
    p = np.exp(array(compiled(model.log_prob)(symbols)).astype("float64"))
    assert p.sum() == pytest.approx(1, rel=1e-5)
    assert_allclose(p, (np.bincount(some.ravel(), minlength=200) + 1) / 700, rtol=1e-4)
    u = np.random.default_rng(1).standard_normal((5000, 1)).astype("float32")
    assert array(compiled(model.generate)(u)).mean() == pytest.approx((p * np.arange(200)).sum(), abs=2)
