"""Our Glow against what normflows 1.7.3 made of the same weights, kept by ``make_normflows_fixture.py``."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.glow.model import Glow
from tests.peers.glow_cases import CASES, make_split_priors_constant, program

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def kept():
    with np.load(Path(__file__).parent / "data" / "normflows.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def glow(kept):
    """The case's model with the kept weights, in the floating type that Keras is set to."""

    def build(name):
        config, shape = CASES[name]
        model = Glow(config, shape, 256)
        assert [weight.name for weight in model.weights] == list(kept[f"{name}/names"])
        ends = np.cumsum([np.prod(weight.shape, dtype=int) for weight in model.weights])
        *values, rest = np.split(kept[f"{name}/weights"], ends)
        assert not rest.size
        for weight, value in zip(model.weights, values, strict=True):
            weight.assign(value.reshape(weight.shape))
        return model

    return build


def normflows_latents(kept, name):
    return [kept[f"{name}/latent_{i}"] for i in range(CASES[name][0].levels)]


@pytest.mark.parametrize("name", CASES)
def test_log_p_and_latents_are_those_of_normflows_whose_latents_we_decode(glow, kept, name, float64):
    model, y, theirs = glow(name), kept[f"{name}/y"].astype(np.float64), normflows_latents(kept, name)
    run = program(model)
    latents, log_prob, decoded = run(y, theirs)
    assert_allclose(log_prob, kept[f"{name}/conditional"], rtol=1e-11)
    for mine, other in zip(latents, theirs, strict=True):
        assert_allclose(mine, other, atol=1e-11)
    assert_allclose(decoded, y, atol=1e-9)
    make_split_priors_constant(model)
    assert_allclose(run(y, theirs)[1], kept[f"{name}/constant"], rtol=1e-11)


@pytest.mark.slow_on_jax
def test_single_precision_agrees_with_normflows_to_a_millionth_of_a_nat_per_dimension(glow, kept):
    name = "affine in colour"
    model, y = glow(name), kept[f"{name}/y"]
    _, log_prob, _ = program(model)(y, [z.astype(np.float32) for z in normflows_latents(kept, name)])
    assert log_prob.dtype == np.float32
    assert_allclose(log_prob, kept[f"{name}/conditional"], atol=1e-6 * model.dimensions)
