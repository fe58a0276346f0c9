import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops
from numpy.testing import assert_allclose

from models.base.units import bits_per_dim
from models.bijections.base import zeros_per_image
from models.glow.config import GlowConfig
from models.glow.diagnostics import convolutions
from models.glow.model import Glow

pytestmark = pytest.mark.backend

SMALL = {"levels": 2, "flow_depth": 2, "hidden_channels": 4}
VARIANTS = {
    "affine, lu, marginal": {},
    "additive, plain, logit": {"coupling": "additive", "permutation": "plain", "preprocessing": "logit"},
    "affine, lu, linear": {"preprocessing": "linear"},
    "residual, checkerboard": {"network": "residual", "blocks": 1, "checkerboard_steps": 3},
    "mixture": {"coupling": "mixture_logistic", "coupling_components": 3},
}


@pytest.fixture
def glow(float64, perturb):
    """A Glow with perturbed weights in double precision."""

    def build(image_shape=(4, 4, 1), grey_levels=8, scale=None, **settings):
        if scale is None:  # the logistics' scales are exponentials of what the networks give
            scale = 0.1 if settings.get("coupling") == "mixture_logistic" else 0.2
        return perturb(Glow(GlowConfig(**{**SMALL, **settings}), image_shape, grey_levels), scale=scale)

    return build


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow_on_jax if name in ("residual, checkerboard", "mixture") else ())
        for name in VARIANTS
    ]
)
def variant(request):
    return VARIANTS[request.param]


@pytest.fixture
def cube(normal):
    """Continuous images within the unit cube."""
    return lambda *shape: ops.convert_to_tensor(scipy.stats.norm.cdf(normal(*shape)))


def images_of(shape, grey_levels, n=5, seed=0):
    return np.random.default_rng(seed).integers(0, grey_levels, size=(n, *shape))


def flat(latents):
    """All latents as one vector an image, finest first."""
    return ops.concatenate([ops.reshape(z, (z.shape[0], -1)) for z in latents], axis=1)


def log_prior(model, latents, labels, array):
    """log p of all latents from scipy's normal distribution; the kept half is found by inverting the next level."""
    y = latents[-1]
    moments = array(model.top_prior.moments) + array(model.top_prior.class_moments)[labels]
    mean, log_scale = np.split(moments[:, None, None, :], 2, axis=-1)
    log_prob = scipy.stats.norm.logpdf(array(y), mean, np.exp(log_scale)).sum(axis=(1, 2, 3))
    for level in reversed(range(len(model.split_priors))):
        y = model.chains[level + 1].inverse(y)
        mean, log_scale = map(array, model.split_priors[level](y))
        log_prob += scipy.stats.norm.logpdf(array(latents[level]), mean, np.exp(log_scale)).sum(axis=(1, 2, 3))
        y = ops.concatenate([y, latents[level]], axis=-1)
    return log_prob


@pytest.mark.parametrize("image_shape", [(4, 4, 1), (4, 8, 3)], ids=str)
def test_decode_undoes_encode(glow, cube, compiled, array, variant, image_shape):
    model = glow(image_shape, **variant)
    v = cube(3, *image_shape)
    latents, _ = compiled(model.encode)(v)
    assert [z.shape[1:] for z in latents] == model.latent_shapes
    assert sum(z[0].shape[0] * z[0].shape[1] * z[0].shape[2] for z in latents) == model.dimensions
    assert_allclose(array(compiled(model.decode)(latents)), v, atol=1e-10)


FLOWS = {
    "residual, checkerboard": {"network": "residual", "blocks": 2, "checkerboard_steps": 2},
    "mixture": {"coupling": "mixture_logistic"},
    "mixtures on a checkerboard of an odd size": {
        "levels": 0,
        "checkerboard_steps": 4,
        "coupling": "mixture_logistic",
        "coupling_components": 8,
    },
}


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(
    "preprocessing", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("linear", "logit")), "marginal"]
)
@pytest.mark.parametrize("grey_levels", [2, 256])
@pytest.mark.parametrize("name", FLOWS)
def test_images_come_back_to_the_grey_level_in_single_precision(
    perturb, compiled, array, name, grey_levels, preprocessing
):
    """Black and white ones too, and at the edges of their cells, where a logit or a marginal puts them far out."""
    settings, shape = FLOWS[name], (5, 7, 1) if "odd" in name else (8, 8, 1)
    model = Glow(GlowConfig(**{**SMALL, "preprocessing": preprocessing, **settings}), shape, grey_levels)
    ends = np.stack([np.zeros(shape, int), np.full(shape, grey_levels - 1)])
    images = np.concatenate([images_of(shape, grey_levels, n=14), ends])
    model.initialise(images)
    perturb(model, scale=0.05)
    images, noise = np.tile(images, (3, 1, 1, 1)), np.repeat([-2.0, 0.0, 2.0], len(images)).astype("float32")
    v, _ = model.dequantise(images, np.broadcast_to(noise[:, None, None, None], images.shape))
    assert (array(ops.floor(v * grey_levels)) == images).all()
    back = compiled(model.decode)(compiled(model.encode)(v)[0])
    assert back.dtype == v.dtype
    assert (array(ops.floor(back * grey_levels)) == images).all()


def test_log_density_is_the_prior_plus_the_log_det_of_the_autodiff_jacobian(
    glow, cube, compiled, array, jacobian_log_det, variant
):
    model = glow(**variant)
    v = cube(3, 4, 4, 1)
    latents, log_prob = compiled(model.encode)(v)
    log_det = jacobian_log_det(lambda v: flat(model.encode(v)[0]), v)
    expected = log_prior(model, latents, np.zeros(3, int), array) + log_det
    assert np.abs(log_det).min() > 0.1
    assert_allclose(array(log_prob), expected, atol=1e-9)


def test_density_integrates_to_1(glow, normal, compiled, array):
    """By the trapezoid rule on a grid of four dimensions, along the axes of the model's own covariance."""
    model = glow((2, 2, 1), levels=1, preprocessing="linear")
    mean, log_scale = np.split(array(model.top_prior.moments), 2)
    drawn = model.decode([normal(4000, 1, 1, 4) * np.exp(log_scale) + mean])
    drawn = np.reshape(array(drawn), (-1, 4))
    axes = np.linalg.cholesky(np.cov(drawn.T))
    step = 0.6
    grid = np.array(list(itertools.product(np.arange(-9, 10) * step, repeat=4)))
    y = drawn.mean(axis=0) + grid @ axes.T
    _, log_prob = compiled(model.encode)(ops.convert_to_tensor(y.reshape(-1, 2, 2, 1)))
    total = np.exp(array(log_prob)).sum() * step**4 * np.linalg.det(axes)
    assert_allclose(total, 1, atol=1e-3)


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
def test_log_weights_are_density_less_dequantisation_less_d_log_q(glow, normal, compiled, array, dequantisation):
    model = glow(dequantisation=dequantisation, scale=0.1)
    images, noise = images_of((4, 4, 1), 8), normal(3, 5, 4, 4, 1)
    log_weights = array(compiled(model.log_weights)(images, noise))
    assert log_weights.shape == (3, 5)
    for i in range(3):
        v, log_q = compiled(model.dequantise)(images, noise[i])
        _, log_prob = compiled(model.encode)(v)
        assert (array(ops.floor(v * 8)) == images).all()
        assert_allclose(log_weights[i], array(log_prob - log_q) - 16 * np.log(8), rtol=1e-10)


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
def test_probabilities_of_all_images_sum_to_1(glow, normal, compiled, array, dequantisation):
    """Exactly so in expectation, as the density is gathered well inside the unit cube; for few samples the sum of the
    bounds' exponentials lies below and rises. The expectation is taken over wider noise, weighted: q is small at the
    cube's edges, and 1/q under q itself would be too heavy-tailed for its standard error to be believed."""
    model = glow((2, 2, 1), 2, levels=1, dequantisation=dequantisation, scale=0.1, preprocessing="linear")
    repeated = model.chains[0].bijections[1]
    steps = repeated.unrolled()
    actnorm = steps[0].actnorm
    actnorm.bias.assign(array(actnorm.bias) * 0)
    actnorm.log_scale.assign(array(actnorm.log_scale) + np.log(12.0))  # standard deviation about 1/12
    repeated.become(steps)
    k, width = 20_000, 1.4
    images = np.array(list(itertools.product((0, 1), repeat=4))).reshape(16, 2, 2, 1)
    log_weights_of, noise = compiled(model.log_weights), normal(k, 16, 2, 2, 1)
    wide = width * array(noise)
    log_ratio = scipy.stats.norm.logpdf(wide) - scipy.stats.norm.logpdf(wide, scale=width)
    weights = np.exp(array(log_weights_of(images, width * noise)) + log_ratio.sum(axis=(2, 3, 4)))
    total = weights.mean(axis=0).sum()
    error = weights.sum(axis=1).std() / np.sqrt(k)
    assert error < 0.03
    assert abs(total - 1) < 4 * error + 2e-3
    log_weights = array(log_weights_of(images, noise))
    sums = [np.exp(_mean_bound(log_weights, few)).sum() for few in (1, 10, 1000)]
    assert 0 < sums[0] < sums[1] < sums[2] < total + error


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
@pytest.mark.parametrize("preprocessing", ["logit", "marginal"])
def test_probabilities_sum_to_1_wherever_the_density_lies(glow, normal, compiled, array, dequantisation, preprocessing):
    """All of the flow's space but its farthest ends is inside the cube, so that nothing has to be gathered there."""
    settings = {"dequantisation": dequantisation, "preprocessing": preprocessing, "alpha": 1e-6}
    model = glow((2, 2, 1), 3, levels=1, scale=0.1, **settings)
    images = np.array(list(itertools.product(range(3), repeat=4))).reshape(81, 2, 2, 1)
    if preprocessing == "marginal":
        model.preprocessing.fit(images_of((2, 2, 1), 2, n=64))
    k, width = 4000, 1.4
    # Wider noise, weighted, as in the test above.
    noise = normal(k, 81, 2, 2, 1)
    wide = width * array(noise)
    log_ratio = scipy.stats.norm.logpdf(wide) - scipy.stats.norm.logpdf(wide, scale=width)
    weights = np.exp(array(compiled(model.log_weights)(images, width * noise)) + log_ratio.sum(axis=(2, 3, 4)))
    error = weights.sum(axis=1).std() / np.sqrt(k)
    assert error < 0.02
    assert abs(weights.mean(axis=0).sum() - 1) < 4 * error + 2e-3


@pytest.mark.parametrize("preprocessing", ["linear", "logit", "marginal"])
def test_what_overflows_on_its_way_back_is_no_grey_level_and_leaves_other_images_alone(
    normal, perturb, compiled, array, preprocessing
):
    model = perturb(Glow(GlowConfig(**SMALL, preprocessing=preprocessing), (4, 4, 1), 8), scale=0.2)
    noise = array(normal(64, model.prior_noise_size))
    before = array(compiled(model.generate)(noise))
    assert before.min() >= 0
    far = np.where(np.arange(64)[:, None] < 3, 1e37 * noise, noise)
    images = array(compiled(model.generate)(far))
    assert (images[:3] == -1).any(axis=(1, 2, 3)).all()
    assert (images[3:] == before[3:]).all()
    assert images.max() <= 7


@pytest.mark.parametrize("preprocessing", ["linear", "logit", "marginal"])
def test_an_infinite_value_is_none_of_the_ends_of_the_range(normal, array, monkeypatch, preprocessing):
    model = Glow(GlowConfig(**SMALL, preprocessing=preprocessing), (4, 4, 1), 8)
    ends = np.resize([np.inf, 0.0, -np.inf, 1.0], (2, 4, 4, 1)).astype("float32")
    monkeypatch.setattr(model.chains[0], "inverse", lambda y: ops.convert_to_tensor(ends))
    images = array(model.generate(normal(2, model.prior_noise_size)))
    assert ((images == -1) == np.isinf(ends)).all()


def test_samples_go_back_to_the_noise_that_they_came_from(glow, normal, compiled, array, variant):
    """However dark or bright a sample within the cube is, it is the model's own: the inverse loses nothing of it."""
    model = glow(scale=0.05, **variant)
    noise = np.repeat([1.0, 1.5], 512)[:, None] * normal(1024, model.prior_noise_size)
    v = compiled(model.continuous)(noise)
    latents, _ = compiled(model.encode)(v)
    prior = model.top_prior.given(np.zeros(1024))
    parts = [(latents[1] - prior.mean) / ops.exp(prior.log_scale)]
    mean, log_scale = model.split_priors[0](model.chains[1].inverse(latents[1]))
    parts = [(latents[0] - mean) / ops.exp(log_scale), *parts]
    reach = 3.0 if variant.get("preprocessing") == "linear" else 0.5
    inside = (np.abs(array(v) - 0.5) < reach).all(axis=(1, 2, 3))
    assert inside[:512].sum() > 20
    assert inside[512:].sum() > 20
    assert_allclose(array(flat(parts))[inside], array(noise)[inside], rtol=0, atol=1e-7)


def _mean_bound(log_weights, k):
    groups = log_weights.reshape(-1, k, log_weights.shape[1])
    return (scipy.special.logsumexp(groups, axis=1) - np.log(k)).mean(axis=0)


class UniformGlow(Glow):
    """Density 1 on the unit cube."""

    def encode(self, y, labels=None, masks=None):
        return [y], zeros_per_image(y)


@pytest.mark.parametrize("grey_levels", [2, 17, 256])
def test_a_uniform_density_scores_log2_of_the_grey_levels(float64, array, grey_levels):
    model = UniformGlow(GlowConfig(**SMALL), (4, 4, 3), grey_levels)
    bound = model.log_prob_bound(images_of((4, 4, 3), grey_levels), importance_samples=3, seed=0)
    assert_allclose(array(bits_per_dim(bound, 48)), np.log2(grey_levels), rtol=1e-12)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(("name", "classes"), [*((name, 0) for name in VARIANTS), ("affine, lu, marginal", 3)])
def test_generate_undoes_encode(glow, normal, array, name, classes):
    """With the noise that its latents stand for, each image generates itself."""
    model = glow(classes=classes, **VARIANTS[name])
    images, labels = images_of((4, 4, 1), 8), np.array([0, 1, 2, 1, 0]) if classes else None
    y, _ = model.dequantise(images, normal(5, 4, 4, 1))
    latents, _ = model.encode(y, labels)
    prior = model.top_prior.given(labels if classes else np.zeros(5))
    noise = [(latents[1] - prior.mean) / ops.exp(prior.log_scale)]
    mean, log_scale = model.split_priors[0](model.chains[1].inverse(latents[1]))
    noise = [(latents[0] - mean) / ops.exp(log_scale), *noise]
    noise = np.concatenate([array(flat(noise)), np.zeros((5, 1 if classes else 0))], axis=1)
    assert (array(model.generate(ops.convert_to_tensor(noise), 1.0, labels)) == images).all()


def test_generate_at_half_temperature_halves_the_noise(glow, normal, compiled, array):
    model = glow()
    noise = normal(20, 16)
    generate = compiled(model.generate)
    cold, half, full = (array(generate(*inputs)) for inputs in [(noise, 0.5), (0.5 * noise, 1.0), (noise, 1.0)])
    assert (cold == half).all()
    assert (cold != full).any()


@pytest.mark.slow_on_jax
def test_initialise_standardises_behind_every_actnorm(float64, compiled, array):
    model = Glow(GlowConfig(**SMALL), (4, 4, 1), 256)
    images = np.random.default_rng(0).binomial(255, 0.2, size=(500, 4, 4, 1))
    model.initialise(ops.convert_to_tensor(images))
    v, _ = model.dequantise(images, np.random.default_rng(1).standard_normal(images.shape))
    y, _ = model.preprocessing(v)
    actnorms = 0
    for level, chain in enumerate(model.chains):
        squeeze, repeated = chain.bijections
        y, _ = squeeze(y)
        for step in repeated.unrolled():
            standardised, _ = step.actnorm(y)
            actnorms += 1
            # Another draw of the dequantisation.
            assert_allclose(array(standardised).mean(axis=(0, 1, 2)), 0, atol=0.02)
            assert_allclose(array(standardised).var(axis=(0, 1, 2)), 1, atol=0.02)
            y, _ = step(y)
        if level < len(model.split_priors):
            y = y[..., : -model.latent_shapes[level][-1]]
    assert actnorms == 4


@pytest.mark.slow_on_jax
def test_initialise_leaves_a_finite_likelihood_where_pixels_are_constant(normal, compiled, array):
    model = Glow(GlowConfig(**SMALL), (4, 4, 1), 2)
    images = np.zeros((8, 4, 4, 1), "uint8")
    model.initialise(images)
    assert np.isfinite(array(compiled(model.log_weights)(images, normal(2, 8, 4, 4, 1)))).all()


@pytest.mark.slow_on_jax
def test_density_with_classes_is_that_of_the_class_and_without_labels_their_mixture(
    glow, cube, compiled, array, jacobian_log_det
):
    model = glow(classes=3, scale=0.3)
    v = cube(4, 4, 4, 1)
    log_det = jacobian_log_det(lambda v: flat(model.encode(v)[0]), v)
    encode = compiled(model.encode)
    latents, marginal = encode(v)
    by_class = []
    for label in range(3):
        labels = np.full(4, label)
        by_class.append(array(encode(v, labels)[1]))
        assert_allclose(by_class[-1], log_prior(model, latents, labels, array) + log_det, atol=1e-9)
    assert np.std(by_class, axis=0).min() > 1e-2
    assert_allclose(array(marginal), scipy.special.logsumexp(by_class, axis=0) - np.log(3), rtol=1e-10)


def test_log_weights_give_each_image_its_own_label(glow, normal, compiled, array):
    model = glow(classes=3, scale=0.3)
    images, labels, noise = images_of((4, 4, 1), 8), np.array([2, 0, 1, 1, 2]), normal(3, 5, 4, 4, 1)
    log_weights = compiled(model.log_weights)
    together = array(log_weights(images, noise, labels))
    for i in range(5):
        alone = array(log_weights(images[i : i + 1], noise[:, i : i + 1], labels[i : i + 1]))
        assert_allclose(together[:, i], alone[:, 0], rtol=1e-10)


@pytest.mark.slow_on_jax
def test_samples_without_labels_are_of_every_class_alike(glow, array):
    """Each class's mean lies far from the others' in the top latent, where the samples are found again."""
    model = glow(classes=3, levels=1, grey_levels=256, scale=0.02, preprocessing="linear")
    channels = model.latent_shapes[-1][-1]
    offsets = np.zeros((3, 2 * channels))
    offsets[:, :channels] = np.array([-0.2, 0.0, 0.2])[:, None]
    offsets[:, channels:] = np.log(1e-3)
    model.top_prior.class_moments.assign(offsets)

    def classes_of(samples):
        latents, _ = model.encode((samples + 0.5) / 256)
        return np.round(array(latents[-1]).mean(axis=(1, 2, 3)) / 0.2 + 1).astype(int)

    drawn = classes_of(array(model.sample(600, seed=1)))
    assert_allclose(np.bincount(drawn, minlength=3) / 600, 1 / 3, atol=0.08)
    labels = np.array([2, 0, 1, 1])
    assert (classes_of(array(model.sample(4, seed=1, labels=labels))) == labels).all()


@pytest.mark.slow_on_jax
def test_labels_are_ignored_where_there_are_no_classes(glow, normal, compiled, array):
    model = glow()
    log_weights, generate = compiled(model.log_weights), compiled(model.generate)
    labels = np.array([4, 9])
    images, noise = images_of((4, 4, 1), 8, n=2), normal(1, 2, 4, 4, 1)
    assert_allclose(array(log_weights(images, noise, labels)), array(log_weights(images, noise)))
    noise = normal(2, 16)
    assert (array(generate(noise, 1.0, labels)) == array(generate(noise, 1.0))).all()


def test_a_fixed_top_prior_is_not_trained():
    trained = Glow(GlowConfig(**SMALL), (4, 4, 1), 2)
    fixed = Glow(GlowConfig(**SMALL, learned_top_prior=False), (4, 4, 1), 2)
    assert len(trained.trainable_variables) == len(fixed.trainable_variables) + 1


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("settings", [{}, {"network": "residual", "blocks": 1, "checkerboard_steps": 1}], ids=str)
def test_dropout_is_random_in_training_and_absent_elsewhere(glow, normal, array, settings):
    """In the mean over its draws the hidden layers are as without it, so that a small network's bound stays near."""
    model, whole = glow(dropout=0.5, scale=0.05, **settings), glow(scale=0.05, **settings)
    for weight, value in zip(model.weights, whole.weights, strict=True):
        weight.assign(value)
    images, noise = images_of((4, 4, 1), 8), normal(1, 5, 4, 4, 1)
    expected = array(whole.objective(images, noise, None, training=True)["bound"])
    assert_allclose(array(model.objective(images, noise, None, training=False)["bound"]), expected)
    assert_allclose(array(model.log_weights(images, noise))[0], expected)
    # Each image of a batch has a draw of its own.
    many = np.tile(images, (30, 1, 1, 1)), ops.tile(noise, (1, 30, 1, 1, 1))
    drawn = array(model.objective(*many, None, training=True)["bound"]).reshape(30, 5)
    assert drawn.std(axis=0).min() > 1e-6
    # And each call others.
    again = array(model.objective(*many, None, training=True)["bound"]).reshape(30, 5)
    assert (again != drawn).all()
    assert np.abs(drawn.mean(axis=0) - expected).max() < 0.1 * np.abs(expected).max()


def test_a_flow_without_steps_and_images_that_cannot_be_halved_are_refused():
    with pytest.raises(
        ValueError, match="levels=0 leaves no step of flow: take levels >= 1 or checkerboard_steps >= 1"
    ):
        GlowConfig(levels=0)
    with pytest.raises(ValueError, match=r"5x7 can be halved not even once.* or take levels=0 and checkerboard_steps"):
        GlowConfig(checkerboard_steps=2).check_images((5, 7, 1), 2)
    alone = {"levels": 0, "checkerboard_steps": 2}
    with pytest.raises(
        ValueError, match=r"squeezes the image once, but 5x7 cannot be halved: pad .*, or take dequantisation=uniform$"
    ):
        GlowConfig(**alone, dequantisation="variational").check_images((5, 7, 1), 2)
    GlowConfig(**alone).check_images((5, 7, 1), 2)


@pytest.mark.slow_on_jax
def test_convolutions_are_listed_by_level_those_of_the_checkerboard_before_the_first():
    config = GlowConfig(levels=2, flow_depth=1, checkerboard_steps=2, hidden_channels=4)
    table = convolutions(Glow(config, (4, 4, 3), 2))
    assert table["level"].tolist() == [-1, -1, 0, 1]
    assert table["step"].tolist() == [0, 1, 0, 0]
    assert table["channels"].tolist() == [3, 3, 12, 24]
