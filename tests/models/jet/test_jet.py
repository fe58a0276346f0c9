"""Jet: its density against autodiff, its splits, and its network against Keras's attention and NumPy."""

import itertools
import re

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

from bench.runtime.autodiff import gradient_program
from models.bijections.squeeze import Squeeze
from models.flows.diagnostics import round_trip_error
from models.jet.config import SPLITS, JetConfig
from models.jet.coupling import TokenCoupling, tokens_that_stay
from models.jet.model import Jet
from models.jet.vision_transformer import Block, SelfAttention, VisionTransformer
from models.layers.normalisation import SMALLEST_VARIANCE, LayerNorm

pytestmark = pytest.mark.backend

SMALL = {"patch_size": 2, "couplings": 3, "channel_couplings": 1, "width": 8, "heads": 2}
VARIANTS = {
    "all": {},
    "tokens of one value": {"patch_size": 1, "channel_couplings": 0, "patch_split": "checkerboard"},
    "channels alone": {"patch_split": "none", "preprocessing": "linear", "blocks": 2},
}


@pytest.fixture
def jet(float64, perturb):
    """A Jet with perturbed weights in double precision."""

    def build(image_shape=(4, 4, 1), grey_levels=8, scale=0.2, **settings):
        return perturb(Jet(JetConfig(**{**SMALL, **settings}), image_shape, grey_levels), scale=scale)

    return build


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow_on_jax if name != "all" else ()) for name in VARIANTS]
)
def variant(request):
    return VARIANTS[request.param]


@pytest.fixture
def cube(normal):
    """Continuous images within the unit cube."""
    return lambda *shape: ops.convert_to_tensor(scipy.stats.norm.cdf(normal(*shape)))


def images_of(shape, grey_levels, n=5, seed=0):
    return np.random.default_rng(seed).integers(0, grey_levels, size=(n, *shape))


# The density.


@pytest.mark.parametrize("image_shape", [(4, 4, 1), pytest.param((4, 6, 3), marks=pytest.mark.slow_on_jax)], ids=str)
def test_decode_undoes_encode(jet, cube, compiled, array, variant, image_shape):
    model = jet(image_shape, **variant)
    v = cube(3, *image_shape)
    latents, _ = compiled(model.encode)(v)
    assert latents[0].shape == (3, *model.steps.shape[1:])
    assert_allclose(array(compiled(model.decode)(latents)), v, atol=1e-10)


def test_log_density_is_the_prior_plus_the_log_det_of_the_autodiff_jacobian(
    jet, cube, compiled, array, jacobian_log_det, variant
):
    model = jet(**variant)
    v = cube(3, 4, 4, 1)
    (z,), log_prob = compiled(model.encode)(v)
    log_det = jacobian_log_det(lambda v: model.encode(v)[0][0], v)
    of_the_preprocessing = jacobian_log_det(lambda v: model.preprocessing(v)[0], v)
    assert np.abs(log_det - of_the_preprocessing).max() > 0.1
    expected = scipy.stats.norm.logpdf(array(z)).sum(axis=(1, 2, 3)) + log_det
    assert_allclose(array(log_prob), expected, atol=1e-9)


@pytest.mark.slow_on_jax
def test_the_gradient_through_the_loop_is_that_through_its_couplings_one_by_one(float64, perturb, cube):
    from tests.models.gradients import gradients

    model, recomputing = (Jet(JetConfig(**SMALL, recompute=recompute), (4, 4, 1), 8) for recompute in (False, True))
    perturb(model, scale=0.2)
    for weight, value in zip(recomputing.weights, model.weights, strict=True):
        weight.assign(value)
    steps, x = model.steps.unrolled(), np.asarray(cube(3, 2, 2, 4))

    def one_by_one(x):
        total = 0.0
        for step in steps:
            x, log_det = step.forward(x)
            total = total + ops.sum(log_det)
        return total + ops.sum(ops.sin(x))

    weights = [weight for step in steps for weight in step.trainable_variables]
    by_weight = {id(w): g for w, g in zip(weights, gradients(one_by_one, weights, x), strict=True)}
    for kind in (model, recomputing):

        def in_a_loop(x, loop=kind.steps):
            y, log_det = loop.forward(x)
            return ops.sum(log_det) + ops.sum(ops.sin(y))

        (found,) = gradient_program(in_a_loop, kind.trainable_variables)(x)
        for row, step in zip(found, steps, strict=True):
            expected = np.concatenate([np.ravel(by_weight[id(weight)]) for weight in step.trainable_variables])
            assert_allclose(row, expected, atol=1e-10)


@pytest.mark.parametrize(
    "preprocessing", [*(pytest.param(kind, marks=pytest.mark.slow_on_jax) for kind in ("linear", "logit")), "marginal"]
)
def test_it_begins_as_the_identity_on_preprocessed_images(float64, cube, array, preprocessing):
    model = Jet(JetConfig(**SMALL, preprocessing=preprocessing), (4, 4, 3), 8)
    v = cube(3, 4, 4, 3)
    (z,), log_prob = model.encode(v)
    y, log_det = model.preprocessing(v)
    assert_allclose(array(model.patches.inverse(z)), array(y), rtol=0, atol=1e-12)
    expected = array(log_det) + scipy.stats.norm.logpdf(array(y)).sum(axis=(1, 2, 3))
    assert_allclose(array(log_prob), expected, atol=1e-10)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(
    "preprocessing", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("linear", "logit")), "marginal"]
)
@pytest.mark.parametrize("grey_levels", [2, 256])
def test_images_come_back_to_the_grey_level_in_single_precision(perturb, compiled, array, grey_levels, preprocessing):
    """Black and white ones too, and at the edges of their cells, where a logit or a marginal puts them far out."""
    shape = (6, 6, 1)
    model = Jet(JetConfig(**SMALL, preprocessing=preprocessing), shape, grey_levels)
    ends = np.stack([np.zeros(shape, int), np.full(shape, grey_levels - 1)])
    images = np.concatenate([images_of(shape, grey_levels, n=14), ends])
    model.initialise(images)
    perturb(model, scale=0.05)
    images, noise = np.tile(images, (3, 1, 1, 1)), np.repeat([-2.0, 0.0, 2.0], len(images)).astype("float32")
    v, _ = model.dequantise(images, np.broadcast_to(noise[:, None, None, None], images.shape))
    back = compiled(model.decode)(compiled(model.encode)(v)[0])
    assert back.dtype == v.dtype
    assert (array(ops.floor(back * grey_levels)) == images).all()


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
def test_log_weights_are_density_less_dequantisation_less_d_log_q(jet, normal, compiled, array, dequantisation):
    model = jet(dequantisation=dequantisation, dequantisation_channels=3, scale=0.1)
    images, noise = images_of((4, 4, 1), 8), normal(3, 5, 4, 4, 1)
    log_weights = array(compiled(model.log_weights)(images, noise))
    assert log_weights.shape == (3, 5)
    for i in range(3):
        v, log_q = compiled(model.dequantise)(images, noise[i])
        (z,), _ = compiled(model.encode)(v)
        assert (array(ops.floor(v * 8)) == images).all()
        _, log_prob = compiled(model.encode)(v)
        assert_allclose(log_weights[i], array(log_prob - log_q) - 16 * np.log(8), rtol=1e-10)
    assert np.isfinite(array(z)).all()


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("split", ["patches", "channels"])
def test_probabilities_of_all_images_sum_to_1_and_their_bounds_to_less(jet, normal, compiled, array, split):
    """All of the flow's space but its farthest ends is inside the cube. Wider noise, weighted: 1/q is heavy-tailed."""
    settings = VARIANTS["tokens of one value"] if split == "patches" else {"patch_split": "none"}
    model = jet((2, 2, 1), 2, scale=0.1, preprocessing="marginal", alpha=1e-6, **settings)
    images = np.array(list(itertools.product(range(2), repeat=4))).reshape(16, 2, 2, 1)
    model.initialise(images_of((2, 2, 1), 2, n=64))
    k, width = 1500, 1.4
    log_weights_of, noise = compiled(model.log_weights), normal(k, 16, 2, 2, 1)
    wide = width * array(noise)
    log_ratio = scipy.stats.norm.logpdf(wide) - scipy.stats.norm.logpdf(wide, scale=width)
    weights = np.exp(array(log_weights_of(images, wide)) + log_ratio.sum(axis=(2, 3, 4)))
    error = weights.sum(axis=1).std() / np.sqrt(k)
    assert error < 0.02
    assert abs(weights.mean(axis=0).sum() - 1) < 4 * error + 2e-3
    log_weights = array(log_weights_of(images, noise)).reshape(-1, 1500, 16)
    sums = [
        np.exp((scipy.special.logsumexp(part, axis=1) - np.log(few)).mean(axis=0)).sum()
        for few in (1, 10, 1500)
        for part in [log_weights.reshape(-1, few, 16)]
    ]
    assert 0 < sums[0] < sums[1] < sums[2] < 1 + 4 * error + 2e-3


@pytest.mark.parametrize("sigmas", [pytest.param(1.0, marks=pytest.mark.slow_on_jax), 1.5])
def test_samples_go_back_to_the_noise_that_they_came_from(jet, normal, compiled, array, variant, sigmas):
    model = jet(scale=0.05, **variant)
    noise = sigmas * normal(512, model.prior_noise_size)
    v = compiled(model.continuous)(noise)
    (z,), _ = compiled(model.encode)(v)
    reach = 3.0 if variant.get("preprocessing") == "linear" else 0.5
    inside = (np.abs(array(v) - 0.5) < reach).all(axis=(1, 2, 3))
    assert inside.sum() > 20
    assert_allclose(array(z).reshape(512, -1)[inside], array(noise)[inside], rtol=0, atol=1e-7)


def test_generate_undoes_encode_and_at_half_temperature_halves_the_noise(jet, normal, compiled, array):
    model = jet()
    images = images_of((4, 4, 1), 8)
    v, _ = model.dequantise(images, normal(5, 4, 4, 1))
    (z,), _ = compiled(model.encode)(v)
    generate = compiled(model.generate)
    noise = ops.reshape(z, (5, 16))
    assert (array(generate(noise, 1.0)) == images).all()
    assert (array(generate(2.0 * noise, 0.5)) == images).all()


@pytest.mark.slow_on_jax
def test_the_round_trip_of_a_diagnosis_is_the_largest_error_of_an_image_in_grey_levels(jet, cube, array, monkeypatch):
    model = jet()
    images, noise = images_of((4, 4, 1), 8), np.zeros((5, 4, 4, 1))
    assert array(round_trip_error(model, images, noise)).max() < 1e-9
    off = np.zeros((5, 4, 4, 1))
    off[2, 1, 3, 0] = -0.25
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda latents: decode(latents) + off)
    assert_allclose(array(round_trip_error(model, images, noise)), [0, 0, 2.0, 0, 0], atol=1e-9)


@pytest.mark.slow_on_jax
def test_dropout_is_random_in_training_and_absent_elsewhere(jet, normal, array):
    model, whole = jet(dropout=0.5, scale=0.05), jet(scale=0.05)
    for weight, value in zip(model.weights, whole.weights, strict=True):
        weight.assign(value)
    images, noise = images_of((4, 4, 1), 8), normal(1, 5, 4, 4, 1)
    expected = array(whole.objective(images, noise, None, training=True)["bound"])
    assert_allclose(array(model.objective(images, noise, None, training=False)["bound"]), expected)
    # Each image of a batch has a draw of its own.
    many = np.tile(images, (30, 1, 1, 1)), ops.tile(noise, (1, 30, 1, 1, 1))
    drawn = array(model.objective(*many, None, training=True)["bound"]).reshape(30, 5)
    assert drawn.std(axis=0).min() > 1e-6
    # And each call others.
    again = array(model.objective(*many, None, training=True)["bound"]).reshape(30, 5)
    assert (again != drawn).all()
    assert np.abs(drawn.mean(axis=0) - expected).max() < 0.1 * np.abs(expected).max()


# The splits.


def masks(array, couplings, **settings):
    """Those of so many couplings of 4x6 tokens of 8 values, one after the other."""
    coupling = TokenCoupling(JetConfig(**settings), lambda channels: VisionTransformer(2, 1, 1, channels))
    coupling.build((None, 4, 6, 8))
    found = []
    for _ in range(couplings):
        found.append(array(coupling.mask).astype(bool))
        coupling.redraw()
    return found


def test_couplings_take_turns_and_keep_a_half_the_next_of_a_kind_the_other(array):
    found = masks(array, couplings=18, channel_couplings=2)
    by_channel = [mask for i, mask in enumerate(found) if i % 3 < 2]
    by_patch = [mask for i, mask in enumerate(found) if i % 3 == 2]
    for mask in by_channel:
        assert (mask == mask[:1, :1]).all()
        assert mask[0, 0].sum() == 4
    assert len({tuple(mask[0, 0]) for mask in by_channel}) > 8
    rows, columns = np.indices((4, 6))
    for i, split in enumerate((rows + columns, columns, rows)):
        for mask, stays in zip(by_patch[2 * i : 2 * i + 2], (split % 2 == 0, split % 2 == 1), strict=True):
            assert (mask == stays[:, :, None]).all()


def test_one_way_to_split_patches_or_none(array):
    for kind in ("rows", "columns", "checkerboard"):
        first, second = masks(array, couplings=2, channel_couplings=0, patch_split=kind)
        assert (first[:, :, 0] == tokens_that_stay(kind, 4, 6)).all()
        assert (first ^ second).all()
    for mask in masks(array, couplings=4, channel_couplings=0, patch_split="none"):
        assert (mask == mask[:1, :1]).all()
        assert 0 < mask[0, 0].sum() < 8


def test_a_seed_decides_the_splits(array):
    found = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        found.append(np.stack(masks(array, couplings=4, patch_split="none")))
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


def test_values_that_stay_do_and_all_others_move_by_them_alone(float64, perturb, normal, compiled, array):
    coupling = TokenCoupling(JetConfig(**SMALL), lambda channels: VisionTransformer(8, 2, 1, channels))
    coupling.build((None, 3, 2, 5))
    perturb(coupling)
    x, other = array(normal(4, 3, 2, 5)), array(normal(4, 3, 2, 5, seed=2))
    for _ in range(2):
        stays = array(coupling.mask).astype(bool)
        forward = compiled(coupling.forward)
        y, log_det = map(array, forward(x))
        assert (y[:, stays] == x[:, stays]).all()
        assert (y[:, ~stays] != x[:, ~stays]).all()
        # An affine map of the values that move: slope and offset from two points of it.
        elsewhere, same_log_det = map(array, forward(np.where(stays, x, other)))
        assert_allclose(same_log_det, log_det, atol=1e-12)
        slope = ((elsewhere - y) / np.where(stays, 1.0, other - x))[:, ~stays]
        assert (slope > 0).all()
        assert (slope < 2).all()
        assert_allclose(np.log(slope).sum(axis=1), log_det, atol=1e-9)
        coupling.redraw()


def test_a_patch_s_pixels_become_the_values_of_one_token(array):
    x = np.arange(6 * 9 * 2).reshape(1, 6, 9, 2)
    y = array(Squeeze(3).forward(ops.convert_to_tensor(x))[0])
    assert y.shape == (1, 2, 3, 18)
    for row, column in itertools.product(range(2), range(3)):
        block = x[0, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        assert set(y[0, row, column]) == set(block.ravel())
    assert (array(Squeeze(3).inverse(ops.convert_to_tensor(y))) == x).all()
    with pytest.raises(ValueError, match="a height and width that 4 divides, got 6x8"):
        Squeeze(4).compute_output_shape((None, 6, 8, 1))


# The network.


@pytest.mark.slow_on_jax
def test_attention_is_keras_s_with_the_same_weights(float64, perturb, normal, array):
    tokens, width, heads = 5, 6, 3
    own = perturb(SelfAttention(tokens, width, heads))
    reference = keras.layers.MultiHeadAttention(heads, width // heads)
    x = normal(2, tokens, width)
    reference.build(x.shape, x.shape)
    kernels = np.split(array(own.projections.kernel).reshape(width, 3, heads, -1), 3, axis=1)
    biases = np.split(array(own.projections.bias).reshape(3, heads, -1), 3, axis=0)
    parts = (reference.query_dense, reference.key_dense, reference.value_dense)
    for part, kernel, bias in zip(parts, kernels, biases, strict=True):
        part.kernel.assign(kernel[:, 0])
        part.bias.assign(bias[0])
    reference.output_dense.kernel.assign(array(own.mixing.kernel).reshape(heads, -1, width))
    reference.output_dense.bias.assign(own.mixing.bias)
    found = own(ops.reshape(x, (-1, width)))
    expected = array(reference(x, x))
    assert expected.std() > 0.1
    assert_allclose(array(found).reshape(expected.shape), expected, atol=1e-6)  # Keras's softmax is in single precision


@pytest.mark.slow_on_jax
def test_attention_mixes_the_tokens_of_an_image_by_softmax_and_no_others(float64, perturb, normal, array):
    tokens, width, heads, size = 4, 6, 2, 3
    own = perturb(SelfAttention(tokens, width, heads))
    x = array(normal(2, tokens, width))
    projected = x @ array(own.projections.kernel) + array(own.projections.bias)
    mixed = np.zeros_like(x)
    for head in range(heads):
        q, k, v = (projected[..., width * i + size * head :][..., :size] for i in range(3))
        fits = scipy.special.softmax(q @ k.swapaxes(1, 2) / np.sqrt(size), axis=-1)
        mixed[..., size * head : size * (head + 1)] = fits @ v
    expected = mixed @ array(own.mixing.kernel) + array(own.mixing.bias)
    assert_allclose(array(own(x.reshape(-1, width))).reshape(x.shape), expected, atol=1e-12)


@pytest.mark.slow_on_jax
def test_a_normalisation_is_keras_s_and_a_block_adds_to_its_rows(float64, perturb, normal, array):
    x = normal(8, 6)
    norm, reference = perturb(LayerNorm(6)), keras.layers.LayerNormalization(epsilon=SMALLEST_VARIANCE)
    reference.build((None, 6))
    reference.gamma.assign(norm.scale)
    reference.beta.assign(norm.shift)
    assert_allclose(array(norm(x)), array(reference(x)), atol=1e-6)  # Keras's is in single precision
    block = perturb(Block(4, 6, 2))
    h = array(x) + array(block.attention(block.norms[0](x)))
    hidden = array(block.norms[1](h)) @ array(block.hidden.kernel) + array(block.hidden.bias)
    gelu = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    expected = h + gelu @ array(block.last.kernel) + array(block.last.bias)
    assert_allclose(array(block(x)), expected, atol=1e-7)  # the constants of Keras's gelu are in single precision


@pytest.mark.slow_on_jax
def test_the_network_sees_where_a_token_lies_and_begins_at_zero(float64, perturb, normal, array):
    network = VisionTransformer(8, 2, 1, 3)
    network.build((None, 2, 3, 4))
    x = array(normal(1, 2, 3, 4))
    assert (array(network(x)) == 0).all()
    assert array(network.places).std() == pytest.approx(8**-0.5, rel=0.4)
    perturb(network)
    turned = x[:, :, ::-1]
    assert np.abs(array(network(turned))[:, :, ::-1] - array(network(x))).max() > 1e-3
    network.places.assign(np.zeros((6, 8)))
    assert_allclose(array(network(turned))[:, :, ::-1], array(network(x)), atol=1e-12)


@pytest.mark.slow_on_jax
def test_the_next_step_s_weights_are_drawn_again(array):
    model = Jet(JetConfig(**SMALL), (4, 4, 1), 8)
    first, second, _ = model.steps.unrolled()
    assert (array(first.mask) != array(second.mask)).any()
    for own, other in zip(first.trainable_variables, second.trainable_variables, strict=True):
        is_random = "kernel" in own.path.rsplit("/", 1)[-1] and "last" not in own.path
        assert (array(own) != array(other)).any() == (array(own).std() > 0), own.path
        assert not is_random or array(own).std() > 0


# The configuration.


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"patch_size": 4}, (28, 28, 1), None),
        (
            {"patch_size": 5},
            (28, 28, 1),
            "patch_size=5 does not divide images of 28x28: take patch_size=2, 4, 7 or 14$",
        ),
        (
            {"patch_size": 4},
            (5, 7, 1),
            "divide images of 5x7: take patch_size=1 with channel_couplings=0, or pad or crop the images$",
        ),
        ({"patch_size": 4}, (5, 7, 3), "patch_size=4 does not divide images of 5x7: take patch_size=1$"),
        (
            {"patch_size": 4},
            (7, 7, 1),
            "take patch_size=1 with channel_couplings=0, or patch_size=7 with patch_split=none, or pad or crop",
        ),
        ({"patch_size": 1, "patch_split": "none"}, (1, 1, 1), "of a single value, which cannot be split: pad or crop"),
        (
            {"patch_size": 1},
            (4, 4, 1),
            "patch_size=1 leaves tokens of a single value.*: take patch_size=2, or channel_couplings=0$",
        ),
        ({"patch_size": 1, "channel_couplings": 0}, (4, 4, 1), None),
        (
            {"patch_size": 4},
            (4, 4, 1),
            "cannot split 1x1 patches of patch_size=4: take patch_size=2, or patch_split=none$",
        ),
        ({"patch_size": 4, "patch_split": "rows"}, (4, 8, 1), "patch_split=rows cannot split 1x2 patches"),
        ({"patch_size": 4, "patch_split": "columns"}, (4, 8, 1), None),
        ({"patch_size": 4, "patch_split": "none"}, (4, 4, 1), None),
        ({"patch_size": 4, "couplings": 3}, (8, 4, 1), None),
        ({"patch_size": 4, "couplings": 9}, (8, 4, 1), "patch_split=all cannot split 2x1 patches"),
        ({"patch_size": 4, "couplings": 4, "channel_couplings": 0}, (4, 8, 1), None),
        ({"patch_size": 4, "couplings": 15}, (4, 8, 1), "patch_split=all cannot split 1x2 patches"),
        ({"patch_size": 5, "dequantisation": "variational"}, (5, 15, 1), "dequantisation=variational squeezes"),
    ],
    ids=str,
)
def test_images_that_cannot_be_cut_or_split_are_refused(settings, shape, message):
    config = JetConfig(**{"patch_split": "none"} if "dequantisation" in settings else {}, **settings)
    if message is None:
        Jet(config.model_copy(update={"width": 4, "couplings": settings.get("couplings", 3)}), shape, 2)
    else:
        with pytest.raises(ValueError, match=message):
            config.check_images(shape, 2)


OPTION = re.compile(r"(?:patch_size=(?P<sizes>[\d, or]*\d))?(?: with )?(?:(?P<name>[a-z_]+)=(?P<value>\w+))?")


@pytest.mark.parametrize("patch_split", SPLITS)
@pytest.mark.parametrize(("couplings", "channel_couplings"), [(9, 2), (3, 0), (1, 2)])
def test_all_that_a_refusal_names_is_accepted(patch_split, couplings, channel_couplings):
    named = 0
    for height, width, channels, p in itertools.product((1, 2, 3, 4, 6, 7), (1, 4, 6, 7), (1, 3), (1, 2, 3, 5, 7)):
        config = JetConfig(
            patch_size=p, patch_split=patch_split, couplings=couplings, channel_couplings=channel_couplings
        )
        try:
            config.check_images((height, width, channels), 2)
            continue
        except ValueError as error:
            refusal = str(error)
        for option in refusal.rpartition(": ")[2].removeprefix("take ").split(", or "):
            if option == "pad or crop the images":
                continue
            found = OPTION.fullmatch(option)
            assert found, refusal
            value = found["value"] and {"0": 0}.get(found["value"], found["value"])
            change = {found["name"]: value} if found["name"] else {}
            for size in re.findall(r"\d+", found["sizes"] or str(p)):
                config.model_copy(update={"patch_size": int(size), **change}).check_images((height, width, channels), 2)
                named += 1
    assert named > 50


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="heads=3 do not divide width=8: take a multiple of heads as width"):
        JetConfig(width=8, heads=3)


def test_a_coupling_multiplies_at_each_token_and_by_each_pair_of_tokens():
    config = JetConfig(patch_size=2, couplings=3, width=8, heads=2, blocks=2)
    block = 8 * 24 + 8 * 8 + 2 * 8 * 32  # projections, mixing, two dense layers
    of_a_token = 12 * 8 + 2 * block + 8 * 24  # 2x2x3 values in; a shift and a scale for each out
    expected = 3 * (6 * of_a_token + 2 * 2 * 6 * 6 * 8)
    assert config.size((4, 6, 3), 256).multiplications == expected


def test_the_presets_sizes():
    sizes = {name: JetConfig.preset(name).size((28, 28, 1), 256).parameters for name in JetConfig.presets}
    assert sizes["tiny"] < 6e5
    assert sizes["small"] == pytest.approx(3e6, rel=0.1)
    assert sizes["paper"] == pytest.approx(2.05e8, rel=0.01)
