"""Our Glow against what normflows 1.7.3 made of the same weights, kept by ``make_normflows_fixture.py``."""

from pathlib import Path

import numpy as np
import pytest
from glow_cases import CASES, decode, encode, make_split_priors_constant
from numpy.testing import assert_allclose

from models.glow import Glow

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


@pytest.mark.parametrize("name", CASES)
def test_log_p_and_latents_are_those_of_normflows(glow, kept, name, float64):
    model, y = glow(name), kept[f"{name}/y"].astype(np.float64)
    latents, log_prob = encode(model, y)
    assert_allclose(log_prob, kept[f"{name}/conditional"], rtol=1e-11)
    theirs = [kept[f"{name}/latent_{i}"] for i in range(len(latents))]
    for mine, other in zip(latents, theirs, strict=True):
        assert_allclose(mine, other, atol=1e-11)
    assert_allclose(decode(model, theirs), y, atol=1e-9)
    make_split_priors_constant(model)
    assert_allclose(encode(model, y)[1], kept[f"{name}/constant"], rtol=1e-11)


@pytest.mark.parametrize("name", ["affine in colour"])
def test_single_precision_agrees_with_normflows_to_a_millionth_of_a_nat_per_dimension(glow, kept, name):
    model, y = glow(name), kept[f"{name}/y"]
    _, log_prob = encode(model, y)
    assert log_prob.dtype == np.float32
    assert_allclose(log_prob, kept[f"{name}/conditional"], atol=1e-6 * model.dimensions)
