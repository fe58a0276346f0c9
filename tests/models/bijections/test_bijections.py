import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose

import models.bijections.base
from bench.runtime.autodiff import gradient_program
from models.bijections.actnorm import ActNorm
from models.bijections.base import Chain
from models.bijections.coupling import CheckerboardCoupling, Coupling
from models.bijections.coupling_networks import ResidualNetwork, network_of
from models.bijections.elementwise import Additive, Affine, MixtureLogistic
from models.bijections.flow_step import FlowStep
from models.bijections.invertible_convolution import LUConvolution, PlainConvolution
from models.bijections.repeated import Repeated
from models.bijections.squeeze import Squeeze

pytestmark = pytest.mark.backend

NETWORK = network_of("convolutional", 5, blocks=0)
MAPS = {"additive": Additive(), "affine": Affine(), "mixture": MixtureLogistic(3)}


def residual(channels):
    return ResidualNetwork(4, 2, channels)


def flow_step(convolution=LUConvolution, coupling=Coupling, kind="affine", network=NETWORK):
    return FlowStep(convolution(), coupling(MAPS[kind], network))


def plain_step():
    return flow_step(PlainConvolution, kind="additive")


def mixture_step():
    return flow_step(coupling=CheckerboardCoupling, kind="mixture", network=residual)


BIJECTIONS = {
    "squeeze": Squeeze,
    "squeeze of lines": lambda: Squeeze((1, 2)),
    "actnorm": ActNorm,
    "plain convolution": PlainConvolution,
    "lu convolution": LUConvolution,
    "affine coupling": lambda: Coupling(Affine(), NETWORK),
    "additive coupling": lambda: Coupling(Additive(), NETWORK),
    "mixture coupling": lambda: Coupling(MixtureLogistic(3), NETWORK),
    "residual coupling": lambda: Coupling(Affine(), residual),
    "coupling of lines": lambda: Coupling(Affine(), network_of("convolutional", 5, blocks=0, size=(1, 3))),
    "affine checkerboard": lambda: CheckerboardCoupling(Affine(), NETWORK),
    "mixture checkerboard": lambda: CheckerboardCoupling(MixtureLogistic(2), residual),
    "flow step": flow_step,
    "plain flow step": plain_step,
    "repeated": lambda: Repeated(flow_step, 2),
    "recomputed": lambda: Repeated(flow_step, 2, recompute=True),
    "repeated checkerboard": lambda: Repeated(mixture_step, 3),
    "recomputed checkerboard": lambda: Repeated(mixture_step, 3, recompute=True),
    "chain": lambda: Chain([Squeeze(), ActNorm(), LUConvolution(), Coupling(Affine(), NETWORK), ActNorm()]),
}
SHAPES = [(4, 2, 3), (2, 4, 2)]  # neither square; an odd and an even number of channels


LONG_ON_JAX = (
    "squeeze of lines",
    "additive coupling",
    "coupling of lines",
    "affine checkerboard",
    "flow step",
    "plain flow step",
    "chain",
    "mixture coupling",
    "residual coupling",
    "mixture checkerboard",
    "repeated checkerboard",
    "recomputed checkerboard",
)
"""Each of them is compiled for seconds in several tests, and its parts or its like are tested on JAX too."""


def marked(names):
    return [pytest.param(name, marks=pytest.mark.slow_on_jax if name in LONG_ON_JAX else ()) for name in names]


@pytest.fixture(scope="module")
def built():
    """The bijections by name and shape; those that share them only read them."""
    return {}


@pytest.fixture(params=marked(BIJECTIONS))
def bijection_name(request):
    return request.param


@pytest.fixture(
    params=[SHAPES[0], *(pytest.param(each, marks=pytest.mark.slow_on_jax) for each in SHAPES[1:])], ids=str
)
def bijection_and_images(request, bijection_name, built, float64, perturb, normal):
    shape = request.param
    if (bijection_name, shape) not in built:
        bijection = BIJECTIONS[bijection_name]()
        bijection.build((None, *shape))
        # Several steps of flow together would chunk what is far from the origin beyond all bounds.
        scale = 0.1 if isinstance(bijection, Repeated) else 0.3
        built[bijection_name, shape] = perturb(bijection, scale)
    return built[bijection_name, shape], normal(3, *shape)


# What is recomputed in a gradient changes nothing here.
@pytest.mark.parametrize(
    "bijection_name", marked([n for n in BIJECTIONS if not n.startswith("recomputed")]), indirect=True
)
def test_inverse_undoes_forward_and_forward_undoes_inverse(bijection_and_images, compiled, array):
    bijection, x = bijection_and_images
    forward, inverse = compiled(lambda x: bijection(x)[0]), compiled(bijection.inverse)
    y = forward(x)
    assert y.shape[1:] == bijection.compute_output_shape(x.shape)[1:]
    assert_allclose(array(inverse(y)), x, rtol=0, atol=1e-11)
    assert_allclose(array(forward(inverse(y + 1))), y + 1, rtol=0, atol=1e-11)


ALONE = [name for name in BIJECTIONS if not isinstance(BIJECTIONS[name](), Repeated | Chain)]


@pytest.mark.parametrize("name", marked(ALONE))
@pytest.mark.slow_on_jax
def test_inverse_undoes_forward_at_eight_standard_deviations(name, float64, perturb, normal, compiled, array):
    bijection = BIJECTIONS[name]()
    bijection.build((None, 4, 2, 3))
    bijection = perturb(bijection, 0.1)
    for far in (8.0 * ops.sign(normal(3, 4, 2, 3)), ops.full((1, 4, 2, 3), -8.0, dtype="float64")):
        y = compiled(lambda x: bijection(x)[0])(far)
        assert_allclose(array(compiled(bijection.inverse)(y)), array(far), rtol=0, atol=1e-9)


def test_log_det_of_each_image_is_that_of_the_autodiff_jacobian(
    bijection_and_images, compiled, array, jacobian_log_det
):
    bijection, x = bijection_and_images
    _, log_det = compiled(bijection)(x)
    expected = jacobian_log_det(lambda x: bijection(x)[0], x)
    assert_allclose(array(log_det), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "name",
    [
        "actnorm",
        "lu convolution",
        "plain convolution",
        "affine coupling",
        "flow step",
        "chain",
        "repeated",
        "mixture coupling",
        "affine checkerboard",
    ],
)
@pytest.mark.slow_on_jax
def test_perturbed_log_dets_are_far_from_zero(name, float64, perturb, normal, array):
    """Without this the Jacobian test could not see a wrong sign."""
    bijection = BIJECTIONS[name]()
    bijection.build((None, 4, 2, 3))
    _, log_det = perturb(bijection)(normal(3, 4, 2, 3))
    assert np.abs(array(log_det)).min() > 0.1


@pytest.mark.parametrize("kind", [pytest.param(LUConvolution, marks=pytest.mark.slow_on_jax), PlainConvolution])
def test_convolution_starts_as_a_rotation(kind, float64, array):
    convolution = kind()
    convolution.build((None, 2, 2, 7))
    w = array(convolution.matrix())
    assert_allclose(w @ w.T, np.eye(7), atol=1e-12)
    assert_allclose(array(convolution.log_abs_det()), 0, atol=1e-12)
    assert np.abs(w - np.eye(7)).max() > 0.1


@pytest.mark.parametrize("kind", [LUConvolution, PlainConvolution])
def test_two_seeds_give_two_rotations_and_one_seed_the_same(kind, array):
    matrices = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        convolution = kind()
        convolution.build((None, 2, 2, 4))
        matrices.append(array(convolution.matrix()))
    assert_allclose(matrices[0], matrices[1], rtol=0, atol=0)
    assert np.abs(matrices[0] - matrices[2]).max() > 0.1


def test_gradient_of_log_abs_det_is_the_inverse_transpose(float64, perturb, normal, gradient, array):
    convolution = PlainConvolution()
    convolution.build((None, 2, 2, 5))
    w = array(perturb(convolution).matrix())

    def log_abs_det(kernel):
        return convolution.log_abs_det(lambda weight: kernel)

    assert_allclose(gradient(log_abs_det, w), np.linalg.inv(w).T, atol=1e-10)


@pytest.mark.slow_on_jax
def test_squeeze_moves_each_block_of_two_by_two_into_the_channels_of_one_pixel(array):
    x = np.arange(4 * 6 * 3).reshape(1, 4, 6, 3)
    y = array(Squeeze().forward(ops.convert_to_tensor(x))[0])
    for row in range(2):
        for column in range(3):
            block = x[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert set(y[0, row, column]) == set(block.ravel())


@pytest.mark.slow_on_jax
def test_of_lines_two_pixels_in_a_row_become_the_channels_of_one(array):
    line = ops.reshape(ops.arange(8, dtype="float32"), (1, 1, 4, 2))  # channels 0, 1 of pixel 0, 2, 3 of pixel 1, …
    squeezed, _ = Squeeze((1, 2))(line)
    assert array(squeezed).tolist() == [[[[0, 2, 1, 3], [4, 6, 5, 7]]]]


@pytest.mark.slow_on_jax
def test_coupling_leaves_the_first_half_of_the_channels_alone(float64, perturb, normal, array):
    coupling = Coupling(Affine(), NETWORK)
    coupling.build((None, 2, 2, 5))
    x = normal(2, 2, 2, 5)
    y = array(perturb(coupling)(x)[0])
    assert_allclose(y[..., :2], x[..., :2], rtol=0, atol=0)
    assert (y[..., 2:] != array(x)[..., 2:]).all()


@pytest.mark.slow_on_jax
def test_additive_coupling_starts_as_the_identity(normal, array):
    coupling = Coupling(Additive(), NETWORK)
    coupling.build((None, 2, 2, 4))
    x = normal(2, 2, 2, 4)
    assert_allclose(array(coupling(x)[0]), x, rtol=0, atol=0)


def test_actnorm_initialises_to_mean_0_and_variance_1_in_each_channel(float64, normal, array):
    actnorm = ActNorm()
    actnorm.build((None, 2, 4, 3))
    x = normal(16, 2, 4, 3) * np.array([0.1, 1.0, 30.0]) + np.array([5.0, -2.0, 0.0])
    for y in (array(actnorm.initialise(x)), array(actnorm(x)[0])):
        assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)  # ops.mean is of single precision on JAX
        assert_allclose(y.var(axis=(0, 1, 2)), 1, atol=1e-11)


@pytest.mark.slow_on_jax
def test_actnorm_centres_but_does_not_scale_a_constant_channel(normal, array):
    actnorm = ActNorm()
    actnorm.build((None, 2, 2, 2))
    x = array(normal(8, 2, 2, 2))
    x[..., 1] = 0.3
    y = array(actnorm.initialise(ops.convert_to_tensor(x)))
    assert_allclose(y[..., 1], 0, atol=1e-6)
    assert array(actnorm.log_scale)[1] == 0
    assert_allclose(y[..., 0].std(), 1, rtol=1e-5)


@pytest.mark.slow_on_jax
def test_chain_standardises_behind_each_of_its_actnorms(float64, normal, perturb, array):
    chain = Chain([Squeeze(), ActNorm(), LUConvolution(), Coupling(Affine(), NETWORK), ActNorm()])
    chain.build((None, 4, 2, 1))
    x = 5 * normal(32, 4, 2, 1) + 2
    chain.initialise(x)
    for bijection in chain.bijections:
        x, _ = bijection(x)
        if isinstance(bijection, ActNorm):
            assert_allclose(array(x).mean(axis=(0, 1, 2)), 0, atol=1e-6)
            assert_allclose(array(x).var(axis=(0, 1, 2)), 1, atol=1e-11)


@pytest.fixture(
    params=[flow_step, *(pytest.param(each, marks=pytest.mark.slow_on_jax) for each in (plain_step, mixture_step))]
)
def repeated(request, float64, perturb):
    repeated = Repeated(request.param, 3)
    repeated.build((None, 4, 2, 3))
    return perturb(repeated, scale=0.1)


@pytest.mark.slow_on_jax
def test_a_step_of_flow_is_its_three_parts_one_after_the_other(float64, perturb, normal, array):
    for make in (flow_step, plain_step, mixture_step):
        step = make()
        step.build((None, 4, 2, 3))
        x = normal(3, 4, 2, 3)
        found, log_det = perturb(step)(x)
        expected, expected_log_det = Chain(step.parts).forward(x)
        assert_allclose(array(found), array(expected), atol=1e-12)
        assert_allclose(array(log_det), array(expected_log_det), atol=1e-12)


def test_repeated_is_the_chain_of_its_copies(repeated, normal, compiled, array):
    x = normal(3, 4, 2, 3)
    chain = Chain(repeated.unrolled())
    for found, expected in zip(compiled(repeated)(x), compiled(chain.forward)(x), strict=True):
        assert_allclose(array(found), array(expected), atol=1e-12)
    assert_allclose(array(compiled(repeated.inverse)(x)), array(compiled(chain.inverse)(x)), atol=1e-11)


@pytest.mark.slow_on_jax
def test_repeated_initialises_as_the_chain_of_its_copies(repeated, normal, array):
    x = 3 * normal(32, 4, 2, 3) + 1
    chain = Chain(repeated.unrolled())
    assert_allclose(array(repeated.initialise(x)), array(chain.initialise(x)), atol=1e-11)
    for copy, original in zip(repeated.unrolled(), chain.bijections, strict=True):
        for found, expected in zip(copy.weights, original.weights, strict=True):
            assert_allclose(array(found), array(expected), atol=1e-12)


@pytest.mark.slow_on_jax
def test_repeated_begins_as_steps_built_one_after_the_other(array):
    keras.utils.set_random_seed(1)
    repeated = Repeated(flow_step, 2)
    repeated.build((None, 4, 2, 3))
    copies = repeated.unrolled()
    keras.utils.set_random_seed(1)
    for copy in copies:
        step = flow_step()
        step.build((None, 4, 2, 3))
        for found, weight in zip(copy.weights, step.weights, strict=True):
            assert_allclose(array(found), array(weight), rtol=0, atol=0)
    assert repeated.count_params() == 2 * step.count_params()
    trained = sum(int(np.prod(weight.shape)) for weight in repeated.trainable_weights)
    assert trained == 2 * sum(int(np.prod(weight.shape)) for weight in step.trainable_weights)


@pytest.mark.slow_on_jax
def test_repeated_becomes_the_steps_it_is_given(repeated, perturb, normal, array):
    steps = [perturb(step, scale=0.1) for step in repeated.unrolled()]
    x = normal(3, 4, 2, 3)
    repeated.become(steps)
    for found, expected in zip(repeated.forward(x), Chain(steps).forward(x), strict=True):
        assert_allclose(array(found), array(expected), atol=1e-12)


@pytest.mark.parametrize("make", [flow_step, pytest.param(mixture_step, marks=pytest.mark.slow_on_jax)])
def test_the_gradient_through_a_loop_is_that_through_the_chain(float64, perturb, normal, make):
    from tests.models.gradients import gradients

    kept, recomputed = (Repeated(make, 3, recompute) for recompute in (False, True))
    for repeated in (kept, recomputed):
        repeated.build((None, 4, 2, 3))
    perturb(kept, scale=0.1)
    recomputed.become(kept.unrolled())
    chain, x = Chain(kept.unrolled()), np.asarray(normal(3, 4, 2, 3))

    def loss(bijection):
        def of(x):
            y, log_det = bijection.forward(x)
            return ops.sum(ops.sin(y)) + ops.sum(log_det)

        return of

    variables = [variable for step in chain.bijections for variable in step.trainable_variables]
    expected = {id(v): g for v, g in zip(variables, gradients(loss(chain), variables, x), strict=True)}
    for repeated in (kept, recomputed):
        found = gradient_program(loss(repeated), repeated.trainable_variables)(x)
        for by_step, group in zip(found, ("mixing", "coupling"), strict=True):
            for own, step in zip(by_step, chain.bijections, strict=True):
                of_chain = np.concatenate([np.ravel(expected[id(v)]) for v in step.groups[group]])
                assert_allclose(own, of_chain, atol=1e-10)


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("shape", [(3, 5, 1), (4, 3, 2)], ids=str)
def test_a_checkerboard_of_an_odd_size_moves_the_pixels_of_one_colour_alone_and_the_next_step_the_others(
    float64, perturb, normal, compiled, array, jacobian_log_det, shape
):
    coupling = CheckerboardCoupling(Affine(), NETWORK)
    coupling.build((None, *shape))
    perturb(coupling)
    x, sums = normal(2, *shape), np.add.outer(np.arange(shape[0]), np.arange(shape[1]))
    for parity in (0, 1, 0):
        y, log_det = compiled(coupling.forward)(x)
        stay = sums % 2 == parity
        assert (array(y)[:, stay] == array(x)[:, stay]).all()
        assert (array(y)[:, ~stay] != array(x)[:, ~stay]).all()
        assert_allclose(array(compiled(coupling.inverse)(y)), x, atol=1e-12)
        assert_allclose(array(log_det), jacobian_log_det(lambda x: coupling.forward(x)[0], x), atol=1e-10)
        coupling.redraw()


def test_squeeze_refuses_an_odd_image_and_coupling_a_single_channel():
    with pytest.raises(ValueError, match="even height and width, got 3x4"):
        Squeeze().compute_output_shape((None, 3, 4, 1))
    with pytest.raises(ValueError, match="at least 2 channels, got 1"):
        Coupling(Affine(), NETWORK).build((None, 2, 2, 1))


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("n", [5, 16, 21])
def test_a_coupling_is_initialised_in_pieces_with_the_same_result(float64, repeated, normal, array, monkeypatch, n):
    """Of at most eight images at a time, be they a multiple of it or not."""
    x, sizes = 3 * normal(n, 4, 2, 3) + 1, set()
    weights = [array(weight) for weight in repeated.weights]
    expected = array(repeated.initialise(x))
    initialised = [array(weight) for weight in repeated.weights]
    for weight, value in zip(repeated.weights, weights, strict=True):
        weight.assign(value)
    kind = type(repeated.unrolled()[0].coupling)
    forward = kind.forward

    def recorded(coupling, images, *others):
        sizes.add(images.shape[0])
        return forward(coupling, images, *others)

    monkeypatch.setattr(kind, "forward", recorded)
    # Of 4 x 2 positions each.
    monkeypatch.setattr(models.bijections.base, "PIECE", 8 * 8)
    assert_allclose(array(repeated.initialise(x)), expected, atol=1e-11)
    assert sizes == {{5: 5, 16: 8, 21: 7}[n]}
    for weight, value in zip(repeated.weights, initialised, strict=True):
        assert_allclose(array(weight), value, atol=1e-12)
